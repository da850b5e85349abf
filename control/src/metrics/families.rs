//! Families of series that keep Prometheus' rules by construction.

use corelink::Kind;
use prometheus::proto;
use std::collections::BTreeMap;

/// Labels of a series, sorted by key when it is stored.
pub(super) type Labels = Vec<(String, String)>;

/// All families of one scrape.
///
/// Invariant: names and labels are well formed, counters end in `_total` and nothing else does, a
/// name has one kind and one help, and no series stands twice.
#[derive(Debug, Default)]
pub(super) struct Families {
    families: BTreeMap<String, Family>,
    refused: u64,
}

#[derive(Debug)]
struct Family {
    help: String,
    kind: Kind,
    series: BTreeMap<Labels, f64>,
}

impl Families {
    /// Adds one series. What would break the rules is left out and counted.
    pub(super) fn add(&mut self, kind: Kind, name: &str, help: &str, labels: Labels, value: f64) {
        if !self.try_add(kind, name, help, labels, value) {
            self.refused += 1;
        }
    }

    /// Adds a gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(Kind::Gauge, name, help, own(labels), value);
    }

    /// Adds a counter.
    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(Kind::Counter, name, help, own(labels), value);
    }

    /// Series left out so far because they would break the rules.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn try_add(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        mut labels: Labels,
        value: f64,
    ) -> bool {
        labels.sort();
        let keys_differ = labels.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let keys_fit = labels.iter().all(|(key, _)| is_name(key) && !key.starts_with("__"));
        let suffix_fits = name.ends_with("_total") == (kind == Kind::Counter);
        if !(is_name(name) && suffix_fits && keys_differ && keys_fit) {
            return false;
        }
        let family = self.families.entry(name.to_owned()).or_insert_with(|| Family {
            help: if help.is_empty() { name.to_owned() } else { help.to_owned() },
            kind,
            series: BTreeMap::new(),
        });
        if family.kind != kind || family.series.contains_key(&labels) {
            return false;
        }
        family.series.insert(labels, value);
        true
    }

    /// The families as the `prometheus` crate passes them on.
    pub(super) fn into_proto(self) -> Vec<proto::MetricFamily> {
        self.families.into_iter().map(|(name, family)| family.into_proto(name)).collect()
    }
}

impl Family {
    fn into_proto(self, name: String) -> proto::MetricFamily {
        let kind = self.kind;
        let metrics = self.series.into_iter().map(|(labels, value)| metric(kind, labels, value));
        let mut family = proto::MetricFamily::default();
        family.set_name(name);
        family.set_help(self.help);
        family.set_field_type(match kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
        });
        family.set_metric(metrics.collect());
        family
    }
}

fn metric(kind: Kind, labels: Labels, value: f64) -> proto::Metric {
    let pairs = labels.into_iter().map(|(key, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(key);
        pair.set_value(value);
        pair
    });
    let mut metric = proto::Metric::default();
    metric.set_label(pairs.collect());
    match kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn own(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Lower case letters, digits and underscores, no digit first.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(inner) && name.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(add: impl FnOnce(&mut Families)) -> bool {
        let mut families = Families::default();
        families.gauge("known", "A gauge.", &[("a", "1")], 1.0);
        add(&mut families);
        families.refused() == 1
    }

    #[test]
    fn series_that_break_the_rules_are_left_out_and_counted() {
        assert!(refused(|f| f.gauge("known", "Again.", &[("a", "1")], 2.0)));
        assert!(refused(|f| f.gauge("gauge_total", "", &[], 1.0)));
        assert!(refused(|f| f.counter("counter", "", &[], 1.0)));
        assert!(refused(|f| f.gauge("9lives", "", &[], 1.0)));
        assert!(refused(|f| f.gauge("Upper", "", &[], 1.0)));
        assert!(refused(|f| f.gauge("", "", &[], 1.0)));
        assert!(refused(|f| f.gauge("twice", "", &[("a", "1"), ("a", "2")], 1.0)));
        assert!(refused(|f| f.gauge("reserved", "", &[("__name", "x")], 1.0)));
        assert!(!refused(|f| f.gauge("known", "Another.", &[("a", "2")], 2.0)));
    }
}
