use super::*;
use crate::source::{Overrides, embedded, parse};

fn dev() -> Profile {
    embedded(&Overrides::default()).expect("the embedded profile is valid")
}

#[test]
fn plan_is_the_sum_of_its_terms_in_whole_huge_pages() {
    let plan = dev().plan();
    let sum: u64 = plan.terms.iter().map(|term| term.bytes).sum();
    assert_eq!(plan.bytes(), sum);
    assert!(plan.terms.iter().all(|term| term.bytes % HUGEPAGE_BYTES == 0), "{plan}");
    assert_eq!(plan.hugepages() * HUGEPAGE_BYTES, sum);
}

#[test]
fn every_region_has_a_name_of_its_own_and_every_term_a_reason() {
    let mut profile = dev();
    profile.shards.cores = vec![0, 1];
    let plan = profile.plan();
    let names: Vec<_> = plan.terms.iter().flat_map(|t| &t.regions).map(|r| r.name).collect();
    let unique: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    assert!(names.len() > 30 && plan.terms.iter().all(|term| !term.reason.is_empty()));
}

#[test]
fn session_terms_vanish_without_an_mqtt_listener() {
    let mut profile = dev();
    profile.listeners.retain(|listener| listener.kind != ListenerKind::Mqtt);
    let plan = profile.plan();
    assert_eq!(plan.sessions, 0);
    assert_eq!(plan.bytes_each(Owner::Mqtt), 0);
}

#[test]
fn shards_get_their_share_and_some_slack_but_never_more_than_all() {
    let mut profile = dev();
    assert_eq!(profile.per_shard(65_536), 65_536);
    profile.shards.cores = vec![0, 1];
    assert_eq!(profile.per_shard(65_536), 32_768 + 6 * 182);
    assert_eq!(profile.per_shard(4), 4);
    assert_eq!(profile.per_shard(0), 0);
}

/// The byte budget of an idle connection and session at scale: pools and rounding are shared by
/// millions there.
#[test]
fn millions_of_idle_clients_stay_in_their_byte_budget() {
    let text = include_str!("../../profiles/baremetal-10g.toml");
    let plan = parse("metal", text, &Overrides::default()).expect("valid").plan();
    let idle = ["connections", "flow table", "timers"];
    let idle: u64 = plan.terms.iter().filter(|t| idle.contains(&t.name)).map(|t| t.bytes).sum();
    let each = idle / u64::from(plan.connections);
    assert!(each <= 384, "an idle TCP connection takes {each} bytes\n{plan}");
}
