//! Messages: stored once a shard, referred to by every delivery and by the retained store.

use superpage::{Placement, RegionError, Slab, record};

use super::RegionFact;
use super::bytes::{BlobCursor, BlobId, ByteStore, EMPTY};

/// Index of a message.
pub(crate) type MessageId = u32;

record! {
    /// One application message.
    pub(crate) struct Message {
        /// When it expires (MQTT 5 §3.3.2.3.3); 0: never.
        pub(crate) expires_at_ns: u64,
        /// Topic name.
        pub(crate) topic: BlobId,
        /// Properties to forward, encoded.
        pub(crate) properties: BlobId,
        /// Payload received so far.
        pub(crate) payload: BlobId,
        /// Payload bytes there will be.
        pub(crate) payload_bytes: u32,
        /// Session that published it, or `NIL`: another shard or none.
        pub(crate) publisher: u32,
        /// Who holds the message; it is freed at 0.
        pub(crate) references: u32,
        /// Quality of service it was published with.
        pub(crate) qos: u8,
        /// 1 when it was published with RETAIN.
        pub(crate) retain: u8,
        reserved: [u8; 6],
    }
}

const _: () = assert!(size_of::<Message>() == 40);

/// What is known of a message when its header has been parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewMessage<'a> {
    /// Topic name.
    pub(crate) topic: &'a [u8],
    /// Properties to forward, encoded.
    pub(crate) properties: &'a [u8],
    /// Payload bytes to come.
    pub(crate) payload_bytes: u32,
    /// Quality of service.
    pub(crate) qos: u8,
    /// RETAIN flag.
    pub(crate) retain: bool,
    /// When it expires; 0: never.
    pub(crate) expires_at_ns: u64,
    /// Publishing session, or `NIL`.
    pub(crate) publisher: u32,
}

/// How much a [`MessageStore`] holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    /// Messages at the same time.
    pub(crate) messages: u32,
    /// Units of [`NAME_UNIT_BYTES`] for topics and properties.
    pub(crate) name_units: u32,
    /// Units for payloads.
    pub(crate) payload_units: u32,
    /// Bytes of a payload unit: large ones waste on small messages, small ones cost links.
    pub(crate) payload_unit_bytes: u32,
}

/// The messages of a shard.
#[derive(Debug)]
pub(crate) struct MessageStore {
    messages: Slab<Message>,
    names: ByteStore,
    payloads: ByteStore,
}

impl MessageStore {
    /// Makes an empty store.
    pub(crate) fn create(
        limits: &MessageLimits,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let MessageLimits { messages, name_units, payload_units, payload_unit_bytes } = *limits;
        Ok(Self {
            messages: Slab::create("messages", messages, placement)?,
            names: ByteStore::create("message-names", NAME_UNIT_BYTES, name_units, placement)?,
            payloads: ByteStore::create(
                "message-payloads",
                payload_unit_bytes,
                payload_units,
                placement,
            )?,
        })
    }

    /// Bytes of such a store.
    pub(crate) const fn bytes_for(limits: &MessageLimits) -> usize {
        Slab::<Message>::bytes_for(limits.messages)
            + ByteStore::bytes_for(NAME_UNIT_BYTES, limits.name_units)
            + ByteStore::bytes_for(limits.payload_unit_bytes, limits.payload_units)
    }

    /// Stores a message whose payload is still to come; its one reference is the caller's. `None`
    /// when the store is full, which takes nothing.
    pub(crate) fn begin(&mut self, new: &NewMessage<'_>) -> Option<MessageId> {
        let topic = self.names.put(new.topic)?;
        let Some(properties) = self.names.put(new.properties) else {
            self.names.release(topic);
            return None;
        };
        let message = self.messages.insert(Message {
            expires_at_ns: new.expires_at_ns,
            topic,
            properties,
            payload: EMPTY,
            payload_bytes: new.payload_bytes,
            publisher: new.publisher,
            references: 1,
            qos: new.qos,
            retain: u8::from(new.retain),
            reserved: [0; 6],
        });
        if message.is_none() {
            self.names.release(topic);
            self.names.release(properties);
        }
        message
    }

    /// Adds payload, all or none; `false` when there are not enough free units.
    ///
    /// # Panics
    /// When the payload becomes longer than was declared.
    pub(crate) fn append_payload(&mut self, id: MessageId, bytes: &[u8]) -> bool {
        let message = &mut self.messages[id];
        let stored = self.payloads.len(message.payload);
        assert!(stored + bytes.len() <= message.payload_bytes as usize, "payload as declared");
        self.payloads.append(&mut message.payload, bytes)
    }

    /// Whether the whole payload is there.
    pub(crate) fn is_complete(&self, id: MessageId) -> bool {
        let message = &self.messages[id];
        self.payloads.len(message.payload) == message.payload_bytes as usize
    }

    /// The record of a message.
    pub(crate) fn get(&self, id: MessageId) -> &Message {
        &self.messages[id]
    }

    /// Sets when a message expires; 0: never. A will only knows once it is published.
    pub(crate) fn set_expiry(&mut self, id: MessageId, expires_at_ns: u64) {
        self.messages[id].expires_at_ns = expires_at_ns;
    }

    /// Adds a reference.
    pub(crate) fn retain(&mut self, id: MessageId) {
        self.messages[id].references += 1;
    }

    /// Drops a reference; `true` when it was the last one and the message is gone.
    pub(crate) fn release(&mut self, id: MessageId) -> bool {
        let message = &mut self.messages[id];
        message.references -= 1;
        if message.references > 0 {
            return false;
        }
        let Message { topic, properties, payload, .. } = self.messages.remove(id);
        self.names.release(topic);
        self.names.release(properties);
        self.payloads.release(payload);
        true
    }

    /// Bytes of the topic name.
    pub(crate) fn topic_len(&self, id: MessageId) -> usize {
        self.names.len(self.messages[id].topic)
    }

    /// Copies the topic name; returns its bytes that fitted.
    pub(crate) fn read_topic(&self, id: MessageId, into: &mut [u8]) -> usize {
        self.names.read(self.messages[id].topic, 0, into)
    }

    /// Copies the topic name from `offset` on; returns the number of bytes.
    pub(crate) fn read_topic_from(&self, id: MessageId, offset: usize, into: &mut [u8]) -> usize {
        self.names.read(self.messages[id].topic, offset, into)
    }

    /// Whether the topic name is `topic`.
    #[cfg(test)]
    pub(crate) fn topic_is(&self, id: MessageId, topic: &[u8]) -> bool {
        self.names.eq(self.messages[id].topic, topic)
    }

    /// Bytes of the properties.
    pub(crate) fn properties_len(&self, id: MessageId) -> usize {
        self.names.len(self.messages[id].properties)
    }

    /// Copies properties from `offset` on; returns the number of bytes.
    pub(crate) fn read_properties(&self, id: MessageId, offset: usize, into: &mut [u8]) -> usize {
        self.names.read(self.messages[id].properties, offset, into)
    }

    /// Copies payload from `offset` on; returns the number of bytes. It walks to `offset` from the
    /// front.
    #[cfg(test)]
    pub(crate) fn read_payload(&self, id: MessageId, offset: usize, into: &mut [u8]) -> usize {
        self.payloads.read(self.messages[id].payload, offset, into)
    }

    /// A cursor at the first byte of the payload of a complete message.
    pub(crate) fn payload_start(&self, id: MessageId) -> BlobCursor {
        self.payloads.start(self.messages[id].payload)
    }

    /// Copies payload from the cursor on, and moves the cursor along.
    pub(crate) fn read_payload_next(
        &self,
        id: MessageId,
        cursor: &mut BlobCursor,
        into: &mut [u8],
    ) -> usize {
        self.payloads.read_next(self.messages[id].payload, cursor, into)
    }

    /// Messages in the store.
    pub(crate) fn messages(&self) -> u32 {
        self.messages.len()
    }

    /// Messages there is room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> u32 {
        self.messages.capacity()
    }

    /// Free units for topics and properties.
    pub(crate) fn name_units_free(&self) -> u32 {
        self.names.free_units()
    }

    /// Free units for payloads.
    pub(crate) fn payload_units_free(&self) -> u32 {
        self.payloads.free_units()
    }

    /// What the store lies on.
    pub(crate) fn regions(&self) -> Vec<RegionFact> {
        let (names, payloads) = (self.names.region(), self.payloads.region());
        vec![
            ("messages", self.messages.tier(), self.messages.region_bytes()),
            ("message-names", names.0, names.1),
            ("message-payloads", payloads.0, payloads.1),
        ]
    }
}

/// Unit of topics and properties: a topic of up to 24 bytes takes one.
pub(crate) const NAME_UNIT_BYTES: u32 = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use superpage::NIL;

    use super::*;
    use crate::store::test_support::SMALL;

    const LIMITS: MessageLimits =
        MessageLimits { messages: 4, name_units: 12, payload_units: 10, payload_unit_bytes: 64 };

    fn new<'a>(topic: &'a [u8], properties: &'a [u8], payload_bytes: u32) -> NewMessage<'a> {
        NewMessage {
            topic,
            properties,
            payload_bytes,
            qos: 1,
            retain: true,
            expires_at_ns: 77,
            publisher: NIL,
        }
    }

    fn free(store: &MessageStore) -> (u32, u32, u32) {
        let messages = store.capacity() - store.messages();
        (messages, store.name_units_free(), store.payload_units_free())
    }

    #[test]
    fn message_is_freed_with_its_last_reference() {
        let mut store = MessageStore::create(&LIMITS, SMALL).unwrap();
        let id = store.begin(&new(b"a/b", b"props", 3)).unwrap();
        assert!(!store.is_complete(id));
        assert!(store.append_payload(id, b"abc") && store.is_complete(id));
        store.retain(id);
        assert!(!store.release(id));
        assert!(store.topic_is(id, b"a/b"));
        assert!(store.release(id));
        assert_eq!(free(&store), (4, 12, 10));
    }

    #[test]
    fn refused_message_takes_nothing() {
        let mut store = MessageStore::create(&LIMITS, SMALL).unwrap();
        let long = [b'x'; 32 * 6];
        assert_eq!(store.begin(&new(&long, &long, 0)), None);
        assert_eq!(free(&store), (4, 12, 10));
        for _ in 0..4 {
            store.begin(&new(b"t", b"", 0)).unwrap();
        }
        assert_eq!(store.begin(&new(b"t", b"p", 0)), None);
        assert_eq!(free(&store), (0, 8, 10));
    }

    #[test]
    fn payload_that_does_not_fit_is_refused_whole() {
        let mut store = MessageStore::create(&LIMITS, SMALL).unwrap();
        let id = store.begin(&new(b"t", b"", 1000)).unwrap();
        assert!(store.append_payload(id, &[1; 600]));
        assert!(!store.append_payload(id, &[1; 400]));
        assert_eq!(store.read_payload(id, 590, &mut [0; 64]), 10);
        assert!(store.append_payload(id, &[1; 32]));
        store.release(id);
        assert_eq!(free(&store), (4, 12, 10));
    }

    #[test]
    #[should_panic(expected = "payload as declared")]
    fn more_payload_than_declared_is_our_mistake() {
        let mut store = MessageStore::create(&LIMITS, SMALL).unwrap();
        let id = store.begin(&new(b"t", b"", 2)).unwrap();
        store.append_payload(id, b"abc");
    }

    proptest! {
        #[test]
        fn messages_read_back_as_written(
            topic in "[a-z/]{1,60}",
            properties in prop::collection::vec(any::<u8>(), 0..60),
            payload in prop::collection::vec(any::<u8>(), 0..500),
            cut in 1..200_usize,
        ) {
            let mut store = MessageStore::create(&LIMITS, SMALL).unwrap();
            let header = new(topic.as_bytes(), &properties, payload.len() as u32);
            let id = store.begin(&header).unwrap();
            for part in payload.chunks(cut) {
                prop_assert!(store.append_payload(id, part));
            }
            prop_assert!(store.is_complete(id));
            let mut into = [0; 500];
            let read = store.read_topic(id, &mut into);
            prop_assert_eq!(&into[..read], topic.as_bytes());
            prop_assert_eq!(store.topic_len(id), read);
            let read = store.read_properties(id, 0, &mut into);
            prop_assert_eq!(&into[..read], &properties[..]);
            prop_assert_eq!(store.properties_len(id), read);
            let (mut cursor, mut seen) = (store.payload_start(id), Vec::new());
            loop {
                let read = store.read_payload_next(id, &mut cursor, &mut into[..cut]);
                if read == 0 {
                    break;
                }
                seen.extend_from_slice(&into[..read]);
            }
            prop_assert_eq!(&seen, &payload);
            prop_assert!(store.release(id));
            prop_assert_eq!(free(&store), (4, 12, 10));
        }
    }
}
