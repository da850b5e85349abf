//! Topics: names and filters, who subscribed to what, and which other shards may care.
//!
//! [`name`] turns bytes into valid names and filters. [`tree`] keeps texts by their levels and
//! [`walk`] finds all filters of such a tree that match a name. On these stand [`index`], the
//! subscriptions of a shard's sessions, with [`matcher`] to read it; [`interest`], what the other
//! shards subscribed to; and the retained store.
//!
//! | structure | a record, bytes | with it |
//! |---|---|---|
//! | subscription | 24 | its (session, filter) index 6.7; an identifier, only when given: 8 and 6.7 |
//! | filter | 24 | text in 32-byte units (24 bytes take one), index 6.7 |
//! | level of a wildcard filter | 48 | level text in 32-byte units, index 6.7 |
//! | exact filter of another shard | 8 at the advised size | one counter a shard and slot |
//! | wildcard filter of another shard | 8 | levels as above |
//!
//! A slab adds 4 bytes of generation and one bit to each record, a unit 4 bytes of link. The
//! common session, one exact filter of its own of up to 24 bytes, so takes
//! 24 + 6.7 + 24 + 32 + 6.7 + 12 = 106 bytes.

mod identifiers;
pub(crate) mod index;
pub(crate) mod interest;
pub(crate) mod matcher;
pub(crate) mod name;
pub(crate) mod tree;
pub(crate) mod walk;
