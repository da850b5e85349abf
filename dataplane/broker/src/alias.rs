//! Topic aliases that clients set (MQTT 5 §3.3.2.3.4). We set none ourselves.

use superpage::{NIL, record};

use crate::broker::Broker;
use crate::store::bytes::BlobId;

record! {
    /// One alias of one connection.
    pub(crate) struct Alias {
        next: u32,
        topic: BlobId,
        alias: u16,
        reserved: u16,
    }
}

impl Broker {
    /// Copies the topic an alias stands for; `None` when it was never set.
    pub(crate) fn resolve_alias(&self, session: u32, alias: u16, into: &mut [u8]) -> Option<usize> {
        let index = self.find_alias(session, alias)?;
        Some(self.names.read(self.aliases[index].topic, 0, into))
    }

    /// Sets what an alias stands for; `false` when memory for it is short.
    pub(crate) fn set_alias(&mut self, session: u32, alias: u16, topic: &[u8]) -> bool {
        if let Some(index) = self.find_alias(session, alias)
            && self.names.eq(self.aliases[index].topic, topic)
        {
            return true;
        }
        let Some(text) = self.names.put(topic) else { return false };
        if let Some(index) = self.find_alias(session, alias) {
            let old = std::mem::replace(&mut self.aliases[index].topic, text);
            self.names.release(old);
            return true;
        }
        let next = self.sessions[session].aliases;
        match self.aliases.insert(Alias { next, topic: text, alias, reserved: 0 }) {
            Some(index) => {
                self.sessions[session].aliases = index;
                true
            }
            None => {
                self.names.release(text);
                false
            }
        }
    }

    /// Forgets all aliases of a session: they end with the connection.
    pub(crate) fn drop_aliases(&mut self, session: u32) {
        let mut at = std::mem::replace(&mut self.sessions[session].aliases, NIL);
        while at != NIL {
            let alias = self.aliases.remove(at);
            self.names.release(alias.topic);
            at = alias.next;
        }
    }

    /// At most Topic Alias Maximum steps.
    fn find_alias(&self, session: u32, alias: u16) -> Option<u32> {
        let mut at = self.sessions[session].aliases;
        while at != NIL {
            if self.aliases[at].alias == alias {
                return Some(at);
            }
            at = self.aliases[at].next;
        }
        None
    }
}
