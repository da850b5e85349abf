//! Queues of deliveries: what waits for a session, and what it has not acknowledged yet.

use superpage::{NIL, Placement, RegionError, Slab, record};

use super::RegionFact;
use super::message::MessageId;

record! {
    /// A first-in-first-out queue of deliveries, to embed in its owner's record.
    ///
    /// The deliveries form a ring: the last one links to the first.
    pub(crate) struct DeliveryQueue {
        /// Newest delivery, or `NIL`.
        tail: u32,
        /// Deliveries in the queue.
        pub(crate) len: u32,
    }
}

impl DeliveryQueue {
    /// The queue of nothing.
    pub(crate) const EMPTY: Self = Self { tail: NIL, len: 0 };

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

record! {
    /// One message on its way to one session. What queues and copies is up to the caller: no
    /// reference of the message is counted here.
    #[derive(PartialEq, Eq)]
    pub(crate) struct Delivery {
        /// Next in its queue's ring; the pool's.
        next: u32,
        /// The message.
        pub(crate) message: MessageId,
        /// Subscription identifier to send (MQTT 5 §3.3.2.3.8); 0: none.
        pub(crate) subscription_identifier: u32,
        /// Packet identifier, once it has one; 0: none.
        pub(crate) packet_id: u16,
        /// Quality of service it is sent with.
        pub(crate) qos: u8,
        /// [`DELIVERY_RETAIN`], [`DELIVERY_DUP`] and bits of the owner.
        pub(crate) flags: u8,
    }
}

const _: () = assert!(size_of::<DeliveryQueue>() == 8 && size_of::<Delivery>() == 16);

/// Delivery flag: sent with RETAIN set.
pub(crate) const DELIVERY_RETAIN: u8 = 1;
/// Delivery flag: was sent before on an earlier connection.
pub(crate) const DELIVERY_DUP: u8 = 2;

impl Delivery {
    /// A delivery without packet identifier.
    pub(crate) fn new(
        message: MessageId,
        qos: u8,
        flags: u8,
        subscription_identifier: u32,
    ) -> Self {
        Self { next: NIL, message, subscription_identifier, packet_id: 0, qos, flags }
    }
}

/// The deliveries of all queues of a shard.
#[derive(Debug)]
pub(crate) struct DeliveryPool {
    deliveries: Slab<Delivery>,
}

impl DeliveryPool {
    /// Makes an empty pool.
    pub(crate) fn create(capacity: u32, placement: Placement) -> Result<Self, RegionError> {
        Ok(Self { deliveries: Slab::create("deliveries", capacity, placement)? })
    }

    /// Bytes of such a pool.
    pub(crate) const fn bytes_for(capacity: u32) -> usize {
        Slab::<Delivery>::bytes_for(capacity)
    }

    /// Appends a delivery and returns its index; `None` when the pool is full.
    pub(crate) fn push(&mut self, queue: &mut DeliveryQueue, delivery: Delivery) -> Option<u32> {
        let index = self.deliveries.insert(delivery)?;
        self.link_last(queue, index);
        Some(index)
    }

    /// Takes the oldest delivery out.
    pub(crate) fn pop(&mut self, queue: &mut DeliveryQueue) -> Option<Delivery> {
        let tail = self.last(queue)?;
        Some(self.take_after(queue, tail))
    }

    /// Moves the oldest delivery of one queue to the end of another; returns its index.
    pub(crate) fn move_first(
        &mut self,
        from: &mut DeliveryQueue,
        to: &mut DeliveryQueue,
    ) -> Option<u32> {
        let before = self.last(from)?;
        let index = self.unlink_after(from, before);
        self.link_last(to, index);
        Some(index)
    }

    /// Index of the oldest delivery.
    pub(crate) fn first(&self, queue: &DeliveryQueue) -> Option<u32> {
        Some(self.deliveries[self.last(queue)?].next)
    }

    /// Index of the newest delivery.
    pub(crate) fn last(&self, queue: &DeliveryQueue) -> Option<u32> {
        (queue.len > 0).then_some(queue.tail)
    }

    /// Index of the delivery that follows `index` in `queue`.
    pub(crate) fn after(&self, queue: &DeliveryQueue, index: u32) -> Option<u32> {
        (index != queue.tail).then(|| self.deliveries[index].next)
    }

    /// A delivery.
    pub(crate) fn get(&self, index: u32) -> &Delivery {
        &self.deliveries[index]
    }

    /// A delivery, writable.
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Delivery {
        &mut self.deliveries[index]
    }

    /// Index of the delivery with this packet identifier. Looks from the oldest on.
    pub(crate) fn find(&self, queue: &DeliveryQueue, packet_id: u16) -> Option<u32> {
        let before = self.before(queue, packet_id)?;
        Some(self.deliveries[before].next)
    }

    /// Takes the delivery with this packet identifier out. Looks from the oldest on, which is the
    /// one a client acknowledges first.
    pub(crate) fn remove(&mut self, queue: &mut DeliveryQueue, packet_id: u16) -> Option<Delivery> {
        let before = self.before(queue, packet_id)?;
        Some(self.take_after(queue, before))
    }

    /// Deliveries in all queues.
    pub(crate) fn deliveries(&self) -> u32 {
        self.deliveries.len()
    }

    /// Deliveries there is room for.
    pub(crate) fn capacity(&self) -> u32 {
        self.deliveries.capacity()
    }

    /// What the pool lies on.
    pub(crate) fn regions(&self) -> Vec<RegionFact> {
        vec![("deliveries", self.deliveries.tier(), self.deliveries.region_bytes())]
    }

    /// The delivery before the oldest one with this packet identifier.
    fn before(&self, queue: &DeliveryQueue, packet_id: u16) -> Option<u32> {
        let mut before = self.last(queue)?;
        for _ in 0..queue.len {
            let index = self.deliveries[before].next;
            if self.deliveries[index].packet_id == packet_id {
                return Some(before);
            }
            before = index;
        }
        None
    }

    fn link_last(&mut self, queue: &mut DeliveryQueue, index: u32) {
        if queue.is_empty() {
            self.deliveries[index].next = index;
        } else {
            self.deliveries[index].next = self.deliveries[queue.tail].next;
            self.deliveries[queue.tail].next = index;
        }
        queue.tail = index;
        queue.len += 1;
    }

    /// Takes the one after `before` out of the ring.
    fn unlink_after(&mut self, queue: &mut DeliveryQueue, before: u32) -> u32 {
        let index = self.deliveries[before].next;
        self.deliveries[before].next = self.deliveries[index].next;
        queue.len -= 1;
        if queue.is_empty() {
            queue.tail = NIL;
        } else if queue.tail == index {
            queue.tail = before;
        }
        index
    }

    fn take_after(&mut self, queue: &mut DeliveryQueue, before: u32) -> Delivery {
        let index = self.unlink_after(queue, before);
        let delivery = self.deliveries.remove(index);
        Delivery { next: NIL, ..delivery }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::store::test_support::SMALL;

    const CAPACITY: u32 = 12;

    #[derive(Clone, Debug)]
    enum Step {
        Push { queue: usize, qos: u8 },
        Pop { queue: usize },
        Move,
        Remove { queue: usize, packet_id: u16 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let queue = 0..2_usize;
        prop_oneof![
            5 => (queue.clone(), 0..2_u8).prop_map(|(queue, qos)| Step::Push { queue, qos }),
            1 => queue.clone().prop_map(|queue| Step::Pop { queue }),
            2 => Just(Step::Move),
            2 => (queue, 1..30_u16)
                .prop_map(|(queue, packet_id)| Step::Remove { queue, packet_id }),
        ]
    }

    fn listed(pool: &DeliveryPool, queue: &DeliveryQueue) -> Vec<u16> {
        let mut listed = Vec::new();
        let mut at = pool.first(queue);
        while let Some(index) = at {
            listed.push(pool.get(index).packet_id);
            at = pool.after(queue, index);
        }
        listed
    }

    proptest! {
        #[test]
        fn queues_behave_like_deques(steps in prop::collection::vec(step(), 0..200)) {
            let mut pool = DeliveryPool::create(CAPACITY, SMALL).unwrap();
            let mut queues = [DeliveryQueue::EMPTY; 2];
            let mut model: [VecDeque<(u16, u8)>; 2] = Default::default();
            let mut next_id = 0;
            let key = |delivery: Delivery| (delivery.packet_id, delivery.qos);
            for step in steps {
                match step {
                    Step::Push { queue, qos } => {
                        next_id = next_id % 29 + 1;
                        let delivery =
                            Delivery { packet_id: next_id, ..Delivery::new(5, qos, 0, 9) };
                        let pushed = pool.push(&mut queues[queue], delivery);
                        let full = model.iter().map(VecDeque::len).sum::<usize>()
                            == CAPACITY as usize;
                        prop_assert_eq!(pushed.is_none(), full);
                        if !full {
                            model[queue].push_back((next_id, qos));
                        }
                    }
                    Step::Pop { queue } => {
                        let popped = pool.pop(&mut queues[queue]).map(key);
                        prop_assert_eq!(popped, model[queue].pop_front());
                    }
                    Step::Move => {
                        let [from, to] = &mut queues;
                        let moved = pool.move_first(from, to).map(|index| key(*pool.get(index)));
                        let expected = model[0].pop_front();
                        prop_assert_eq!(moved, expected);
                        model[1].extend(expected);
                    }
                    Step::Remove { queue, packet_id } => {
                        let at = model[queue].iter().position(|&(id, _)| id == packet_id);
                        let expected = at.and_then(|at| model[queue].remove(at));
                        let found = pool.find(&queues[queue], packet_id);
                        prop_assert_eq!(found.map(|index| key(*pool.get(index))), expected);
                        let removed = pool.remove(&mut queues[queue], packet_id);
                        prop_assert_eq!(removed.map(key), expected);
                    }
                }
                for (queue, model) in queues.iter().zip(&model) {
                    let expected: Vec<u16> = model.iter().map(|&(id, _)| id).collect();
                    prop_assert_eq!(listed(&pool, queue), expected);
                    prop_assert_eq!(queue.len as usize, model.len());
                }
            }
            for queue in &mut queues {
                while pool.pop(queue).is_some() {}
                prop_assert!(queue.is_empty());
            }
            prop_assert_eq!(pool.deliveries(), 0);
        }
    }
}
