//! The metrics of a shard, described once: what `/metrics` will say, without the control plane knowing
//! a single type of ours.
//!
//! A catalogue is text, one line a slot: name, kind, labels and help, separated by tabs. The order of
//! the lines is the order of the values that [`crate::publish`] writes. Names are whole Prometheus
//! names. `{shard}` in a label stands for the number of the shard that published the slot, and a slot
//! that says [`ABSENT`] does not exist on that shard.

use std::fmt::Write;

use corelink::Kind;
use superpage::{Field, Tier};

/// The value of a slot that has none on this shard.
pub const ABSENT: u64 = u64::MAX;

/// Every tier a region can have got, in the order of its slots.
pub const TIERS: [Tier; 3] = [Tier::Hugetlb, Tier::Transparent, Tier::Base];

/// States of a connection (RFC 9293 §3.3.2), by which gauges are told apart.
const TCP_STATES: [&str; 9] = [
    "syn_sent",
    "syn_received",
    "established",
    "fin_wait_1",
    "fin_wait_2",
    "close_wait",
    "closing",
    "last_ack",
    "time_wait",
];

/// Collects the lines of a catalogue.
#[derive(Debug, Default)]
pub struct Catalogue {
    text: String,
    slots: u32,
}

impl Catalogue {
    /// One slot.
    ///
    /// # Panics
    /// When a part holds a tab or a line break, which would shift every slot behind it.
    pub fn slot(&mut self, name: &str, kind: Kind, labels: &[(&str, &str)], help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let line = [name, kind, &labels.join(","), help];
        assert!(line.iter().all(|part| !part.contains(['\t', '\n'])), "{line:?}");
        writeln!(self.text, "{}", line.join("\t")).expect("a String takes everything");
        self.slots += 1;
    }

    /// A block of counters: `trunkline_<subject>_<field>_<unit>_total`. The fields `drop_<reason>` of
    /// one unit share a name and differ by their label `reason`.
    pub fn counters(&mut self, subject: &str, labels: &[(&str, &str)], fields: &[Field]) {
        for field in fields {
            let mut labels = labels.to_vec();
            let name = match field.name.strip_prefix("drop_") {
                Some(reason) => {
                    labels.push(("reason", reason));
                    metric_name(&[subject, "drop", field.unit, "total"])
                }
                None => metric_name(&[subject, field.name, field.unit, "total"]),
            };
            self.slot(&name, Kind::Counter, &labels, field.help);
        }
    }

    /// A block of gauges: `trunkline_<subject>_<field>_<unit>`. Fields named after a TCP state share
    /// a name and differ by their label `state`.
    pub fn gauges(&mut self, subject: &str, labels: &[(&str, &str)], fields: &[Field]) {
        for field in fields {
            let mut labels = labels.to_vec();
            let name = if TCP_STATES.contains(&field.name) {
                labels.push(("state", field.name));
                metric_name(&[subject, field.unit])
            } else {
                metric_name(&[subject, field.name, field.unit])
            };
            self.slot(&name, Kind::Gauge, &labels, field.help);
        }
    }

    /// A block of counters that are parts of one whole: one name, and the field as label.
    pub fn parts(&mut self, name: &str, label: &str, fields: &[Field]) {
        for field in fields {
            self.slot(name, Kind::Counter, &[(label, field.name)], field.help);
        }
    }

    /// A region: one slot for each tier, of which one has a value.
    pub fn region(&mut self, region: &str) {
        for tier in TIERS {
            self.slot(
                "trunkline_memory_bytes",
                Kind::Gauge,
                &[("region", region), ("tier", &tier.to_string())],
                "Mapped bytes of a region, by the kind of pages it got.",
            );
        }
    }

    /// The text and the number of its slots.
    pub fn finish(self) -> (String, u32) {
        (self.text, self.slots)
    }
}

/// Joins the parts, leaving out a unit that the name before it ends with already.
fn metric_name(parts: &[&str]) -> String {
    let mut name = String::from("trunkline");
    for part in parts {
        if !name.ends_with(&format!("_{part}")) {
            name.push('_');
            name.push_str(part);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use superpage::counters;

    use super::*;

    counters! {
        /// Counters of this test.
        pub struct Sample {
            /// Frames taken.
            received: frames,
            /// Bytes taken.
            received_bytes: bytes,
            /// Frames dropped: too short.
            drop_short: frames,
        }
    }

    #[test]
    fn counters_become_prometheus_names_and_drops_share_one() {
        let mut catalogue = Catalogue::default();
        catalogue.counters("port", &[("queue", "{shard}")], Sample::FIELDS);
        let (text, slots) = catalogue.finish();
        assert_eq!(
            text,
            "trunkline_port_received_frames_total\tcounter\tqueue={shard}\tFrames taken.\n\
             trunkline_port_received_bytes_total\tcounter\tqueue={shard}\tBytes taken.\n\
             trunkline_port_drop_frames_total\tcounter\tqueue={shard},reason=short\t\
             Frames dropped: too short.\n"
        );
        assert_eq!(slots, 3);
    }

    #[test]
    #[should_panic(expected = "two\\nlines")]
    fn text_that_would_shift_the_slots_is_refused() {
        Catalogue::default().slot("name", Kind::Gauge, &[], "two\nlines");
    }
}
