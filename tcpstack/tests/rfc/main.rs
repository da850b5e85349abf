//! The stack's behaviour segment by segment, as the RFCs have it.

mod bench;
mod closing;
mod handshake;
mod link;
mod path;
mod receiving;
mod sending;
mod validity;
