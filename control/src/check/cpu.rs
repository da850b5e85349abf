//! Clock and cores.

use super::Finding;
use super::host::{Host, parse_list};
use hwconfig::{Idle, Profile};
use std::collections::BTreeSet;

/// The shards read the TSC once a turn: it must count at one rate, whatever the core does.
pub(super) fn clock(host: &Host) -> Finding {
    let flags = host.field("proc/cpuinfo", "flags").unwrap_or_default();
    let has = |wanted| flags.split_whitespace().any(|flag| flag == wanted);
    if has("constant_tsc") && has("nonstop_tsc") {
        return Finding::fine("the TSC is invariant");
    }
    Finding::problem(
        "the TSC is not invariant (CPU flags constant_tsc and nonstop_tsc): time would run \
         unevenly",
        "use a CPU that has it; in a virtual machine pass it on, as QEMU does with -cpu \
         host,+invtsc",
    )
}

/// Whether the shards' cores are there, ours to use, and free of others.
pub(super) fn cores(profile: &Profile, host: &Host) -> Vec<Finding> {
    let wanted: BTreeSet<u16> = profile.shards.cores.iter().copied().collect();
    let online = host.list("sys/devices/system/cpu/online").unwrap_or_default();
    let missing: Vec<_> = wanted.difference(&online).collect();
    if !missing.is_empty() {
        return vec![Finding::problem(
            format!(
                "shards.cores: {} not on this host, which has {}",
                join(missing),
                join(&online)
            ),
            "name cores that exist in the profile's shards.cores",
        )];
    }
    let allowed = host.field("proc/self/status", "Cpus_allowed_list");
    let allowed = allowed.and_then(|text| parse_list(&text)).unwrap_or(online);
    let barred: Vec<_> = wanted.difference(&allowed).collect();
    if !barred.is_empty() {
        return vec![Finding::problem(
            format!("shards.cores: {} barred by this process's CPU affinity", join(barred)),
            "start from a cpuset (or container) that includes them",
        )];
    }
    let mut findings = vec![Finding::fine(format!("cores {} are there", join(&wanted)))];
    findings.extend(isolation(profile, host, &wanted));
    findings.extend(locality(profile, host, &wanted));
    findings
}

/// A polling shard shares its core with nobody, or it misses its turns.
fn isolation(profile: &Profile, host: &Host, wanted: &BTreeSet<u16>) -> Option<Finding> {
    if profile.shards.idle != Idle::Poll {
        return None;
    }
    let isolated = host.list("sys/devices/system/cpu/isolated").unwrap_or_default();
    let shared: Vec<_> = wanted.difference(&isolated).collect();
    if shared.is_empty() {
        return Some(Finding::fine(format!("cores {} are isolated", join(wanted))));
    }
    let list = join(wanted);
    Some(Finding::warning(
        format!("cores {} are not isolated: other work will interrupt the polling", join(shared)),
        format!(
            "add `isolcpus={list} nohz_full={list} rcu_nocbs={list}` to GRUB_CMDLINE_LINUX in \
             /etc/default/grub, then: update-grub && reboot"
        ),
    ))
}

/// Cores on another NUMA node than the memory pay for every cache miss twice.
fn locality(profile: &Profile, host: &Host, wanted: &BTreeSet<u16>) -> Option<Finding> {
    let node = profile.memory.numa_node?;
    let Some(local) = host.list(&format!("sys/devices/system/node/node{node}/cpulist")) else {
        return Some(Finding::problem(
            format!("memory.numa_node = {node}: this host has no such node"),
            "name a node of `ls /sys/devices/system/node` or leave the key out",
        ));
    };
    let remote: Vec<_> = wanted.difference(&local).collect();
    if remote.is_empty() {
        return Some(Finding::fine(format!("cores and memory are on NUMA node {node}")));
    }
    Some(Finding::warning(
        format!("cores {} are not on NUMA node {node}, where memory goes", join(remote)),
        format!("choose shards.cores among {}", join(&local)),
    ))
}

fn join<'c>(cores: impl IntoIterator<Item = &'c u16>) -> String {
    cores.into_iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}
