//! Doubly linked lists through records of a slab: queues of connections and entries that cost no
//! memory beside the records.

use std::marker::PhantomData;

use superpage::{NIL, Record, Slab, record};

record! {
    /// Neighbours of a record in a list. Meaningless while it is in none.
    #[derive(PartialEq, Eq)]
    pub(crate) struct Links {
        pub(crate) prev: u32,
        pub(crate) next: u32,
    }
}

impl Links {
    /// Those of nobody.
    pub(crate) const NONE: Self = Self { prev: NIL, next: NIL };
}

/// Which links of a record a list goes through.
pub(crate) trait Linked {
    /// The record.
    type Record: Record;
    /// Its links.
    fn links(record: &Self::Record) -> &Links;
    /// Its links, writable.
    fn links_mut(record: &mut Self::Record) -> &mut Links;
}

/// A list. Whether a record is in it is the record's own knowledge.
#[derive(Debug)]
pub(crate) struct List<L: Linked> {
    head: u32,
    tail: u32,
    len: u32,
    links: PhantomData<L>,
}

impl<L: Linked> List<L> {
    pub(crate) const fn new() -> Self {
        Self { head: NIL, tail: NIL, len: 0, links: PhantomData }
    }

    /// The oldest record, if any.
    pub(crate) fn head(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn push_back(&mut self, slab: &mut Slab<L::Record>, index: u32) {
        *L::links_mut(&mut slab[index]) = Links { prev: self.tail, next: NIL };
        match self.tail {
            NIL => self.head = index,
            tail => L::links_mut(&mut slab[tail]).next = index,
        }
        self.tail = index;
        self.len += 1;
    }

    /// Takes a record out that is in this list.
    pub(crate) fn remove(&mut self, slab: &mut Slab<L::Record>, index: u32) {
        let Links { prev, next } = *L::links(&slab[index]);
        match prev {
            NIL => self.head = next,
            prev => L::links_mut(&mut slab[prev]).next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => L::links_mut(&mut slab[next]).prev = prev,
        }
        self.len -= 1;
    }

    pub(crate) fn pop_front(&mut self, slab: &mut Slab<L::Record>) -> Option<u32> {
        let index = self.head()?;
        self.remove(slab, index);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use superpage::Placement;

    use super::*;

    record! {
        /// A record with links.
        struct Item { links: Links }
    }

    struct ByItem;

    impl Linked for ByItem {
        type Record = Item;
        fn links(item: &Item) -> &Links {
            &item.links
        }
        fn links_mut(item: &mut Item) -> &mut Links {
            &mut item.links
        }
    }

    #[test]
    fn order_is_kept_when_records_leave_from_everywhere() {
        let mut slab = Slab::create("items", 5, Placement::default()).expect("slab");
        let mut list = List::<ByItem>::new();
        for _ in 0..5 {
            let index = slab.insert(Item::zeroed()).expect("room");
            list.push_back(&mut slab, index);
        }
        list.remove(&mut slab, 0);
        list.remove(&mut slab, 2);
        list.remove(&mut slab, 4);
        list.push_back(&mut slab, 0);
        assert_eq!(list.len(), 3);
        let order: Vec<u32> = std::iter::from_fn(|| list.pop_front(&mut slab)).collect();
        assert_eq!(order, [1, 3, 0]);
        assert!(list.head().is_none());
    }
}
