//! Rates a second, from counters of the shared page.

use corelink::{Kind, LinkClient, Slot};
use std::time::Instant;

/// A counter whose rate is shown as a gauge.
#[derive(Debug)]
pub(crate) struct RateOf {
    /// Name of the counter in the catalogue.
    pub(crate) counter: &'static str,
    /// Name of the gauge.
    pub(crate) gauge: &'static str,
    /// Help of the gauge.
    pub(crate) help: &'static str,
    /// Units of the gauge for one of the counter.
    pub(crate) factor: f64,
}

/// All rates.
pub(crate) const RATES: &[RateOf] = &[
    RateOf {
        counter: "trunkline_port_packets_total",
        gauge: "trunkline_port_packets_per_second",
        help: "Packets (frames) a second over the last second.",
        factor: 1.0,
    },
    RateOf {
        counter: "trunkline_port_bytes_total",
        gauge: "trunkline_port_bits_per_second",
        help: "Bits a second over the last second, Ethernet headers included.",
        factor: 8.0,
    },
];

/// A slot with this value does not exist on the shard.
const ABSENT: u64 = u64::MAX;

/// Whether a slot with this value does not exist on the shard.
pub(crate) fn is_absent(value: u64) -> bool {
    value == ABSENT
}

/// Labels of a slot on one shard: `{shard}` is its number, and so is the label `shard`, which is
/// added.
pub(crate) fn labels_of(slot: &Slot, shard: u16) -> Vec<(String, String)> {
    let number = shard.to_string();
    let mut labels: Vec<(String, String)> = Vec::with_capacity(slot.labels.len() + 1);
    for (key, value) in &slot.labels {
        if labels.iter().all(|(known, _)| known != key) {
            labels.push((key.clone(), value.replace("{shard}", &number)));
        }
    }
    if labels.iter().all(|(key, _)| key != "shard") {
        labels.push(("shard".to_owned(), number));
    }
    labels
}

/// The counters as they were at the last measurement, and how fast they went up before it.
#[derive(Debug)]
pub(super) struct Rates {
    last: Option<Instant>,
    /// Whether each slot has a rate.
    has_rate: Vec<bool>,
    /// For each shard, the values of all slots; empty when the page could not be read.
    values: Vec<Vec<u64>>,
    /// For each shard, the rate of each slot; 0 for those that have none.
    per_second: Vec<Vec<f64>>,
}

impl Rates {
    pub(super) fn new(link: &LinkClient) -> Rates {
        let rated = |slot: &Slot| {
            slot.kind == Kind::Counter && RATES.iter().any(|rate| rate.counter == slot.name)
        };
        let has_rate: Vec<bool> = link.catalogue().iter().map(rated).collect();
        let shards = usize::from(link.shards());
        Rates {
            last: None,
            values: vec![Vec::new(); shards],
            per_second: vec![vec![0.0; has_rate.len()]; shards],
            has_rate,
        }
    }

    pub(super) fn measure(&mut self, link: &LinkClient, now: Instant) {
        let elapsed = self.last.map(|last| now.saturating_duration_since(last).as_secs_f64());
        self.last = Some(now);
        let mut read = Vec::new();
        for (shard, values) in (0..).zip(&mut self.values) {
            if link.read(shard, &mut read).is_err() {
                // Torn: the counters of the last second are missed, the next rate covers neither.
                values.clear();
                continue;
            }
            let rates = &mut self.per_second[usize::from(shard)];
            let pairs = values.iter().zip(&read).zip(rates.iter_mut()).zip(&self.has_rate);
            for (((before, after), rate), has_rate) in pairs {
                let grown = after.saturating_sub(*before);
                *rate = match elapsed {
                    Some(elapsed) if *has_rate && elapsed > 0.0 => grown as f64 / elapsed,
                    _ => 0.0,
                };
            }
            values.clone_from(&read);
        }
    }

    pub(super) fn per_second(&self) -> &[Vec<f64>] {
        &self.per_second
    }
}
