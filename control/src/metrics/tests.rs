use super::*;
use corelink::{LinkClient, LinkServer, LinkSpec, ShardPage};
use std::collections::{BTreeMap, HashSet};
use std::os::unix::net::UnixListener;
use std::time::Duration;

const CATALOGUE: &str = "\
trunkline_port_packets_total\tcounter\tport=net_tap0,queue={shard},direction=rx\tPackets.\n\
trunkline_port_packets_total\tcounter\tport=net_tap0,queue={shard},direction=tx\tPackets, too.\n\
trunkline_port_bytes_total\tcounter\tport=net_tap0,queue={shard},direction=rx\tBytes.\n\
trunkline_drops_total\tcounter\treason=a \"quoted\" \\ reason\tDrops.\n\
trunkline_sessions\tgauge\t\tSessions.\n\
trunkline_memory_bytes\tgauge\tregion=tcb,tier=base-4k\tMapped bytes.\n\
trunkline_gauge_total\tgauge\t\tA gauge that calls itself a counter.\n";

/// A dataplane within this process, attached to.
struct Double {
    server: LinkServer,
    pages: Vec<ShardPage>,
    watch: Arc<Watch>,
    exporter: Exporter,
    attached: Instant,
}

impl Double {
    fn new(shards: u16) -> Double {
        let (server, pages) = LinkServer::create(&LinkSpec {
            shards,
            catalogue: CATALOGUE.to_owned(),
            counters_per_shard: 7,
            build: "trunkline 9.9".to_owned(),
            started_at_unix_ms: 1_000,
            ..LinkSpec::default()
        })
        .expect("memory files can be made");
        let link = Arc::new(attach(&server));
        let watch = Arc::new(Watch::new(Duration::from_secs(2)));
        let attached = Instant::now();
        watch.attach(link, ProcessId::own().expect("/proc is mounted"), attached);
        let labels = Labels { profile: "test".to_owned(), instance: "dev".to_owned() };
        let exporter = Exporter::new(Arc::clone(&watch), labels);
        server.set_state(State::Running);
        Double { server, pages, watch, exporter, attached }
    }

    fn publish(&mut self, shard: usize, packets: u64) {
        self.pages[shard].publish(&[packets, 2, 3, 4, 5, u64::MAX, 7]);
    }

    fn scrape(&self) -> Scrape {
        Scrape::parse(&self.exporter.text().expect("the text can be written"))
    }
}

fn attach(server: &LinkServer) -> LinkClient {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (stream, _) = listener.accept().expect("a client comes");
            corelink::hello(&stream, server).expect("the greeting is taken");
        });
        LinkClient::attach(&socket).expect("the dataplane greets")
    })
}

/// The text format, read strictly, as `promtool check metrics` would.
#[derive(Debug, Default)]
struct Scrape {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    fn parse(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        let (mut helps, mut ended) = (HashSet::new(), HashSet::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help has a text");
                assert!(!help.is_empty(), "{line}");
                assert!(helps.insert(name.to_owned()), "a second HELP: {line}");
                assert!(ended.insert(std::mem::replace(&mut current, name.to_owned())));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a kind");
                assert_eq!(name, current, "TYPE stands after its HELP");
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_none());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
                let name = series.split('{').next().expect("a sample has a name");
                assert_eq!(name, current, "series stand below their own HELP and TYPE");
                assert!(scrape.kinds.contains_key(name), "no TYPE before {line}");
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(name.chars().all(fits) && name.starts_with("trunkline_"), "{line}");
                let value = value.parse().expect("a value is a number");
                assert!(scrape.series.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        scrape
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series))
    }
}

#[test]
fn text_follows_prometheus_conventions_with_every_series_once() {
    let mut double = Double::new(2);
    double.publish(0, 10);
    double.publish(1, 20);
    let scrape = double.scrape();
    assert!(scrape.kinds.len() > 12, "{:?}", scrape.kinds);
    let packets = |queue, direction| {
        format!(
            "trunkline_port_packets_total{{direction=\"{direction}\",port=\"net_tap0\",\
             queue=\"{queue}\",shard=\"{queue}\"}}"
        )
    };
    assert_eq!(scrape.value(&packets(0, "rx")), 10.0);
    assert_eq!(scrape.value(&packets(1, "rx")), 20.0);
    assert_eq!(scrape.value(&packets(1, "tx")), 2.0);
    let quoted = "trunkline_drops_total{reason=\"a \\\"quoted\\\" \\\\ reason\",shard=\"0\"}";
    assert_eq!(scrape.value(quoted), 4.0);
    assert_eq!(scrape.value("trunkline_dataplane_state{state=\"running\"}"), 1.0);
    let info = "trunkline_build_info{dataplane=\"trunkline 9.9\",instance=\"dev\",\
                profile=\"test\",version=\"0.1.0\"}";
    assert_eq!(scrape.value(info), 1.0);
}

#[test]
fn absent_slots_are_left_out_and_misnamed_ones_counted() {
    let mut double = Double::new(1);
    double.publish(0, 1);
    let scrape = double.scrape();
    assert!(!scrape.kinds.contains_key("trunkline_memory_bytes"));
    assert!(!scrape.kinds.contains_key("trunkline_gauge_total"));
    assert_eq!(scrape.value("trunkline_metrics_refused"), 1.0);
}

#[test]
fn packets_per_second_are_the_growth_of_the_last_interval() {
    let mut double = Double::new(1);
    let at = |double: &Double, ms| double.attached + Duration::from_millis(ms);
    let series = "trunkline_port_packets_per_second{direction=\"rx\",port=\"net_tap0\",\
                  queue=\"0\",shard=\"0\"}";
    double.publish(0, 1_000);
    double.watch.measure(at(&double, 1_000));
    assert_eq!(double.scrape().value(series), 0.0, "nothing to compare with yet");
    double.publish(0, 4_000);
    double.watch.measure(at(&double, 2_500));
    assert_eq!(double.scrape().value(series), 2_000.0);
    double.watch.measure(at(&double, 3_500));
    assert_eq!(double.scrape().value(series), 0.0);
    let bits = series.replace("packets_per_second", "bits_per_second");
    assert_eq!(double.scrape().value(&bits), 0.0);
}

#[test]
fn counters_go_on_for_another_control_plane() {
    let mut double = Double::new(1);
    double.publish(0, 77);
    let before = double.scrape();
    // Another process would know nothing but what it attaches to.
    let watch = Arc::new(Watch::new(Duration::from_secs(2)));
    let process = ProcessId::own().expect("/proc is mounted");
    watch.attach(Arc::new(attach(&double.server)), process, Instant::now());
    let labels = Labels { profile: "test".to_owned(), instance: "dev".to_owned() };
    let after = Exporter::new(watch, labels).text().expect("the text can be written");
    let after = Scrape::parse(&after);
    let counters = before.series.iter().filter(|(series, _)| {
        before
            .kinds
            .get(series.split('{').next().unwrap_or_default())
            .is_some_and(|k| k == "counter")
    });
    for (series, value) in counters {
        assert!(after.value(series) >= *value, "{series} went back");
    }
    assert_eq!(after.value("trunkline_dataplane_generation"), 2.0);
}

#[test]
fn nothing_of_a_dataplane_is_shown_when_there_is_none() {
    let double = Double::new(1);
    double.watch.detach();
    let scrape = double.scrape();
    assert_eq!(scrape.value("trunkline_dataplane_up"), 0.0);
    assert_eq!(scrape.value("trunkline_dataplane_ready"), 0.0);
    assert!(!scrape.kinds.contains_key("trunkline_port_packets_total"));
}
