//! Attacks that need volume, damaged bytes or statistics. Those that are an exchange of a few
//! packets are scripts: `tests/scripts/attacks`.

mod bench;
mod blind;
mod cookies;
mod ecn;
mod malformed;
mod memory;
mod neighbors;
mod refusal;
mod sender;
mod table;
