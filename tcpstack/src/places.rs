//! The lists a connection can wait in: one at a time.

use superpage::Slab;

use crate::ConnId;
use crate::list::List;
use crate::tcb::{ByPlace, Place, Tcb};

/// One list for each [`Place`] but `Idle`.
#[derive(Debug)]
pub(crate) struct Places {
    lists: [List<ByPlace>; PLACES],
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { lists: [const { List::new() }; PLACES] }
    }

    /// Takes a connection out of where it waits and puts it at the end of another list. Where it
    /// is already, it keeps its turn.
    pub(crate) fn put(&mut self, tcbs: &mut Slab<Tcb>, conn: ConnId, place: Place) {
        let from = tcbs[conn].place;
        if from == place as u8 {
            return;
        }
        if from != Place::Idle as u8 {
            self.lists[usize::from(from) - 1].remove(tcbs, conn);
        }
        tcbs[conn].place = place as u8;
        if place != Place::Idle {
            self.lists[place as usize - 1].push_back(tcbs, conn);
        }
    }

    /// Who waits longest in a list.
    pub(crate) fn first(&self, place: Place) -> Option<ConnId> {
        self.lists[place as usize - 1].head()
    }

    /// How many wait in a list.
    pub(crate) fn len(&self, place: Place) -> u32 {
        self.lists[place as usize - 1].len()
    }
}

const PLACES: usize = 5;
const _: () = assert!(Place::Ended as usize == PLACES);
