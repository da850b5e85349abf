//! The client directory: which shard serves a client id, kept on the id's home shard.

use superpage::{Placement, RegionError, Slab, record};
use thiserror::Error;

use super::RegionFact;
use super::bytes::{BlobId, ByteStore};
use super::hash::Secret;
use super::table::HashIndex;

record! {
    /// One client id and who owns its session.
    struct Client {
        id: BlobId,
        /// Low half of the id's hash: spares most comparisons.
        hash: u32,
        session: u32,
        epoch: u32,
        shard: u16,
        reserved: u16,
    }
}

const _: () = assert!(size_of::<Client>() == 20);

/// Who owns the session of a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Shard that holds the session.
    pub(crate) shard: u16,
    /// Index of the session there.
    pub(crate) session: u32,
    /// Goes up with every take-over of the id.
    pub(crate) epoch: u32,
}

/// No room for another client id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the client directory is full")]
pub(crate) struct DirectoryFull;

/// How much a [`ClientDirectory`] holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryLimits {
    /// Client ids.
    pub(crate) clients: u32,
    /// Units of [`ID_UNIT_BYTES`] for the ids.
    pub(crate) id_units: u32,
}

/// The client ids whose home is this shard.
#[derive(Debug)]
pub(crate) struct ClientDirectory {
    secret: Secret,
    clients: Slab<Client>,
    ids: ByteStore,
    index: HashIndex,
}

impl ClientDirectory {
    /// Makes an empty directory.
    pub(crate) fn create(
        limits: &DirectoryLimits,
        secret: Secret,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        Ok(Self {
            secret,
            clients: Slab::create("directory", limits.clients, placement)?,
            ids: ByteStore::create("directory-ids", ID_UNIT_BYTES, limits.id_units, placement)?,
            index: HashIndex::create("directory-index", limits.clients, placement)?,
        })
    }

    /// Bytes of such a directory.
    pub(crate) const fn bytes_for(limits: &DirectoryLimits) -> usize {
        Slab::<Client>::bytes_for(limits.clients)
            + ByteStore::bytes_for(ID_UNIT_BYTES, limits.id_units)
            + HashIndex::bytes_for(limits.clients)
    }

    /// Who owns the session of `client_id`.
    pub(crate) fn get(&self, client_id: &[u8]) -> Option<Owner> {
        let index = self.find(self.secret.hash(client_id), client_id)?;
        Some(owner(&self.clients[index]))
    }

    /// Enters or replaces the owner; returns the previous one.
    ///
    /// # Errors
    /// [`DirectoryFull`] when the id is new and there is no room for it.
    pub(crate) fn set(
        &mut self,
        client_id: &[u8],
        owner: Owner,
    ) -> Result<Option<Owner>, DirectoryFull> {
        let hash = self.secret.hash(client_id);
        let Owner { shard, session, epoch } = owner;
        if let Some(index) = self.find(hash, client_id) {
            let client = &mut self.clients[index];
            let previous = self::owner(client);
            *client = Client { shard, session, epoch, ..*client };
            return Ok(Some(previous));
        }
        let id = self.ids.put(client_id).ok_or(DirectoryFull)?;
        let client = Client { id, hash: hash as u32, session, epoch, shard, reserved: 0 };
        let Some(index) = self.clients.insert(client) else {
            self.ids.release(id);
            return Err(DirectoryFull);
        };
        self.index.insert(hash, index);
        Ok(None)
    }

    /// Removes a client id if its epoch is still `if_epoch`; returns the owner it had. A late
    /// removal, by an owner that has been taken over, does nothing.
    pub(crate) fn remove(&mut self, client_id: &[u8], if_epoch: u32) -> Option<Owner> {
        let hash = self.secret.hash(client_id);
        let index = self.find(hash, client_id)?;
        if self.clients[index].epoch != if_epoch {
            return None;
        }
        let client = self.clients.remove(index);
        self.ids.release(client.id);
        self.index.remove(hash, index);
        Some(owner(&client))
    }

    /// Client ids in the directory.
    pub(crate) fn clients(&self) -> u32 {
        self.clients.len()
    }

    /// What the directory lies on.
    pub(crate) fn regions(&self) -> Vec<RegionFact> {
        let (ids, index) = (self.ids.region(), self.index.region());
        vec![
            ("directory", self.clients.tier(), self.clients.region_bytes()),
            ("directory-ids", ids.0, ids.1),
            ("directory-index", index.0, index.1),
        ]
    }

    fn find(&self, hash: u64, client_id: &[u8]) -> Option<u32> {
        self.index.find(hash, |index| {
            let client = &self.clients[index];
            client.hash == hash as u32 && self.ids.eq(client.id, client_id)
        })
    }
}

fn owner(client: &Client) -> Owner {
    Owner { shard: client.shard, session: client.session, epoch: client.epoch }
}

/// Unit of client ids: an id of up to 16 bytes takes one.
pub(crate) const ID_UNIT_BYTES: u32 = 24;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::test_support::SMALL;

    const LIMITS: DirectoryLimits = DirectoryLimits { clients: 6, id_units: 9 };

    fn directory() -> ClientDirectory {
        ClientDirectory::create(&LIMITS, Secret::new([7; 16]), SMALL).unwrap()
    }

    fn owner(shard: u16, epoch: u32) -> Owner {
        Owner { shard, session: 100 + u32::from(shard), epoch }
    }

    #[test]
    fn removal_by_a_former_owner_does_nothing() {
        let mut directory = directory();
        assert_eq!(directory.set(b"c", owner(0, 1)), Ok(None));
        assert_eq!(directory.set(b"c", owner(3, 2)), Ok(Some(owner(0, 1))));
        assert_eq!(directory.remove(b"c", 1), None);
        assert_eq!(directory.get(b"c"), Some(owner(3, 2)));
        assert_eq!(directory.remove(b"c", 2), Some(owner(3, 2)));
        assert_eq!(directory.get(b"c"), None);
    }

    proptest! {
        #[test]
        fn directory_behaves_like_a_map(
            steps in prop::collection::vec((0..3_u8, 0..10_usize, 0..4_u16, 0..3_u32), 0..150)
        ) {
            let mut directory = directory();
            let mut model: HashMap<Vec<u8>, Owner> = HashMap::new();
            // Ids of one and of two units.
            let id = |at: usize| vec![b'a' + at as u8; 12 + at];
            let units = |id: &Vec<u8>| if id.len() > 16 { 2 } else { 1 };
            for (kind, at, shard, epoch) in steps {
                let (id, owner) = (id(at), owner(shard, epoch));
                if kind < 2 {
                    let used: u32 = model.keys().map(units).sum();
                    let fits = model.len() < 6 && used + units(&id) <= LIMITS.id_units;
                    let result = directory.set(&id, owner);
                    if model.contains_key(&id) || fits {
                        prop_assert_eq!(result, Ok(model.insert(id, owner)));
                    } else {
                        prop_assert_eq!(result, Err(DirectoryFull));
                    }
                } else {
                    let current = model.get(&id).is_some_and(|owner| owner.epoch == epoch);
                    let expected = if current { model.remove(&id) } else { None };
                    prop_assert_eq!(directory.remove(&id, epoch), expected);
                }
                for at in 0..10 {
                    let id = vec![b'a' + at as u8; 12 + at];
                    prop_assert_eq!(directory.get(&id), model.get(&id).copied());
                }
                prop_assert_eq!(directory.clients() as usize, model.len());
            }
            for (id, owner) in model {
                prop_assert_eq!(directory.remove(&id, owner.epoch), Some(owner));
            }
            prop_assert_eq!((directory.clients(), directory.ids.free_units()), (0, 9));
        }
    }
}
