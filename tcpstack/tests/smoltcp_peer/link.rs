//! A wire with seeded loss, duplication, reordering and delay, in virtual time.

use std::collections::BTreeMap;

/// What the wire does to frames, in parts per thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    pub(crate) loss: u32,
    pub(crate) duplication: u32,
    pub(crate) reordering: u32,
    pub(crate) delay_ns: u64,
}

/// One direction of the wire.
#[derive(Debug)]
pub(crate) struct Link {
    impairment: Impairment,
    random: fastrand::Rng,
    /// By arrival time, then by order of departure.
    in_flight: BTreeMap<(u64, u64), Vec<u8>>,
    departed: u64,
}

impl Link {
    pub(crate) fn new(impairment: Impairment, seed: u64) -> Link {
        let random = fastrand::Rng::with_seed(seed);
        Link { impairment, random, in_flight: BTreeMap::new(), departed: 0 }
    }

    pub(crate) fn send(&mut self, now_ns: u64, frame: &[u8]) {
        if self.chance(self.impairment.loss) {
            return;
        }
        let copies = 1 + u32::from(self.chance(self.impairment.duplication));
        for _ in 0..copies {
            let mut arrival_ns = now_ns + self.impairment.delay_ns;
            if self.chance(self.impairment.reordering) {
                arrival_ns += self.random.u64(1..=3 * self.impairment.delay_ns);
            }
            self.departed += 1;
            self.in_flight.insert((arrival_ns, self.departed), frame.to_vec());
        }
    }

    /// Frames that have arrived by `now_ns`, in order.
    pub(crate) fn arrived(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let later = self.in_flight.split_off(&(now_ns + 1, 0));
        std::mem::replace(&mut self.in_flight, later).into_values().collect()
    }

    pub(crate) fn next_arrival_ns(&self) -> Option<u64> {
        self.in_flight.keys().next().map(|&(arrival_ns, _)| arrival_ns)
    }

    fn chance(&mut self, per_thousand: u32) -> bool {
        self.random.u32(0..1000) < per_thousand
    }
}
