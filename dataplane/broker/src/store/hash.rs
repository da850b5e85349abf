//! The keyed hash of everything a client may choose: topics, filters, levels, client ids.

use std::fmt;

use siphasher::sip::SipHasher13;

/// The key of all hash tables of a process. Without it nobody can choose texts that collide.
///
/// All shards of a process must have the same one: home shards and interest go by these hashes.
#[derive(Clone, Copy)]
pub(crate) struct Secret(SipHasher13);

impl Secret {
    /// Makes the hash function of a 16-byte key.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&key))
    }

    /// SipHash-1-3 of `bytes`.
    pub(crate) fn hash(self, bytes: &[u8]) -> u64 {
        self.0.hash(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
