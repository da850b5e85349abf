//! `/metrics`: the shared page's counters, and what only the control plane knows.
//!
//! Names from the dataplane's catalogue pass through; each series gets the label `shard`. Names of
//! our own begin with `trunkline_` too. Counters live in the page, hence survive this process;
//! whatever would begin again with it is a gauge.

mod families;
#[cfg(test)]
mod tests;

use crate::procfs::{HugePages, ProcessId};
use crate::watch::{DataplaneView, RATES, Watch, is_absent, labels_of};
use corelink::{Kind, State};
use families::Families;
use prometheus::core::{Collector, Desc};
use prometheus::{Registry, TextEncoder, proto};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Writes `/metrics`.
pub(crate) struct Exporter {
    registry: Registry,
    watch: Arc<Watch>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("watch", &self.watch).finish_non_exhaustive()
    }
}

/// What of the profile is shown.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    /// Name of the profile.
    pub(crate) profile: String,
    /// Name of the instance.
    pub(crate) instance: String,
}

impl Exporter {
    /// Shows what `watch` knows.
    pub(crate) fn new(watch: Arc<Watch>, labels: Labels) -> Exporter {
        let registry = Registry::new();
        let help = "Everything of this appliance, collected at each scrape.".to_owned();
        let desc = Desc::new("trunkline".to_owned(), help, Vec::new(), HashMap::new())
            .expect("a constant name is well formed");
        let page = Page { desc, watch: Arc::clone(&watch), labels };
        registry.register(Box::new(page)).expect("the registry is new");
        Exporter { registry, watch }
    }

    /// The whole text.
    ///
    /// # Errors
    /// When the encoder refuses, which the families' invariant rules out.
    pub(crate) fn text(&self) -> Result<String, String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| error.to_string())
    }

    /// What is shown.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }
}

/// The collector: everything is read when a scrape asks for it.
struct Page {
    desc: Desc,
    watch: Arc<Watch>,
    labels: Labels,
}

impl Collector for Page {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let now = Instant::now();
        let mut families = Families::default();
        self.add_own(&mut families, now);
        add_host(&mut families);
        if let Some(dataplane) = self.watch.snapshot(now).dataplane {
            add_dataplane(&mut families, &dataplane);
            for shard in 0..dataplane.link.shards() {
                add_shard(&mut families, &dataplane, shard);
            }
        }
        let refused = families.refused() as f64;
        let help = "Series left out of this answer because they would break Prometheus' rules.";
        families.gauge("trunkline_metrics_refused", help, &[], refused);
        families.into_proto()
    }
}

impl Page {
    fn add_own(&self, families: &mut Families, now: Instant) {
        let snapshot = self.watch.snapshot(now);
        let build = snapshot.dataplane.as_ref().map_or("", |dataplane| dataplane.link.build());
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("dataplane", build),
            ("profile", self.labels.profile.as_str()),
            ("instance", self.labels.instance.as_str()),
        ];
        families.gauge("trunkline_build_info", "What runs here; always 1.", &labels, 1.0);
        let is_up = f64::from(u8::from(snapshot.dataplane.is_some()));
        let help = "1 when a dataplane process is attached, else 0.";
        families.gauge("trunkline_dataplane_up", help, &[], is_up);
        let is_ready = f64::from(u8::from(self.watch.readiness(now).is_ok()));
        let help = "1 when clients are being served: running, and every heartbeat fresh.";
        families.gauge("trunkline_dataplane_ready", help, &[], is_ready);
        let help = "Dataplanes that this control process started in place of one that ended.";
        families.gauge("trunkline_dataplane_restarts", help, &[], snapshot.restarts as f64);
        let help = "Part of a core that the control process used over the last second.";
        families.gauge("trunkline_control_cpu_ratio", help, &[], snapshot.control_cpu_share);
        let help = "Memory of the control process, resident.";
        let resident = ProcessId::own().and_then(ProcessId::resident_bytes);
        families.gauge("trunkline_control_resident_bytes", help, &[], resident.unwrap_or(0) as f64);
    }
}

fn add_host(families: &mut Families) {
    let Some(pages) = HugePages::read() else { return };
    let labels = [("size", "2MiB")];
    let help = "Huge pages in the host's pool.";
    families.gauge("trunkline_host_hugepages", help, &labels, pages.total as f64);
    let help = "Huge pages of the host's pool that nobody uses.";
    families.gauge("trunkline_host_hugepages_free", help, &labels, pages.free as f64);
}

fn add_dataplane(families: &mut Families, dataplane: &DataplaneView) {
    let link = &dataplane.link;
    let states = [
        (State::Starting, "starting"),
        (State::Running, "running"),
        (State::Draining, "draining"),
        (State::Stopped, "stopped"),
    ];
    for (state, name) in states {
        let help = "1 for the state that the dataplane is in, 0 for the others.";
        let is_in = f64::from(u8::from(link.state() == state));
        families.gauge("trunkline_dataplane_state", help, &[("state", name)], is_in);
    }
    let help = "Control planes that have attached to this dataplane so far.";
    families.gauge("trunkline_dataplane_generation", help, &[], link.generation() as f64);
    let help = "When the dataplane started, in seconds since 1970.";
    let started = link.started_at() as f64 / 1e3;
    families.gauge("trunkline_dataplane_start_time_seconds", help, &[], started);
    if let Some(cpu) = dataplane.process.cpu() {
        let help = "Processor time of the dataplane process, all cores.";
        let seconds = cpu.as_secs_f64();
        families.counter("trunkline_dataplane_cpu_seconds_total", help, &[], seconds);
    }
    if let Some(bytes) = dataplane.process.resident_bytes() {
        let help = "Memory of the dataplane process, resident, without huge pages.";
        families.gauge("trunkline_dataplane_resident_bytes", help, &[], bytes as f64);
    }
    for (shard, age) in dataplane.heartbeat_ages.iter().enumerate() {
        let help = "Time since the shard's heartbeat was last seen to change.";
        let labels = [("shard", shard.to_string())];
        let labels = [(labels[0].0, labels[0].1.as_str())];
        let seconds = age.as_secs_f64();
        families.gauge("trunkline_dataplane_heartbeat_age_seconds", help, &labels, seconds);
    }
}

/// Every slot of one shard's page, and the rates of those that have one.
fn add_shard(families: &mut Families, dataplane: &DataplaneView, shard: u16) {
    let mut values = Vec::new();
    if dataplane.link.read(shard, &mut values).is_err() {
        return;
    }
    let rates = dataplane.rates.get(usize::from(shard)).map_or(&[][..], Vec::as_slice);
    for (index, (slot, value)) in dataplane.link.catalogue().iter().zip(values).enumerate() {
        if is_absent(value) {
            continue;
        }
        let labels = labels_of(slot, shard);
        let rate = RATES.iter().find(|rate| rate.counter == slot.name);
        if let (Some(rate), Kind::Counter) = (rate, slot.kind) {
            let per_second = rates.get(index).copied().unwrap_or(0.0) * rate.factor;
            families.add(Kind::Gauge, rate.gauge, rate.help, labels.clone(), per_second);
        }
        families.add(slot.kind, &slot.name, &slot.help, labels, value as f64);
    }
}
