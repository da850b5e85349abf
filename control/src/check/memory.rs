//! Huge pages and what stands in for them.

use super::Finding;
use super::host::Host;
use hwconfig::memory::HUGEPAGE_BYTES;
use hwconfig::{Profile, TierChoice};

/// Whether the plan's memory is there, in the pages that the profile wants.
pub(super) fn pages(profile: &Profile, host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted = profile.plan().hugepages();
    let folder = pages_folder(profile);
    let free = host.number(&format!("{folder}/free_hugepages")).unwrap_or(0).unsigned_abs();
    let total = host.number(&format!("{folder}/nr_hugepages")).unwrap_or(0).unsigned_abs();
    let fits = free >= wanted;
    match profile.memory.tier {
        TierChoice::Base => {}
        _ if fits => findings.push(Finding::fine(format!(
            "{free} of {total} huge pages of 2 MiB are free, the plan takes {wanted}"
        ))),
        TierChoice::Hugetlb => findings.push(Finding::problem(
            format!("{free} of {total} huge pages of 2 MiB are free, the plan takes {wanted}"),
            reserve(&folder, total, wanted - free),
        )),
        TierChoice::Best => findings.push(Finding::warning(
            format!(
                "{free} of {total} huge pages of 2 MiB are free, the plan takes {wanted}: some \
                 tables will lie on smaller pages"
            ),
            reserve(&folder, total, wanted - free),
        )),
    }
    if profile.memory.tier == TierChoice::Best && !fits {
        findings.push(transparent(host));
    }
    if profile.memory.tier != TierChoice::Hugetlb && !fits {
        findings.extend(available(host, (wanted - free) * HUGEPAGE_BYTES));
    }
    findings
}

fn pages_folder(profile: &Profile) -> String {
    let pages = "hugepages/hugepages-2048kB";
    match profile.memory.numa_node {
        Some(node) => format!("sys/devices/system/node/node{node}/{pages}"),
        None => format!("sys/kernel/mm/{pages}"),
    }
}

fn reserve(folder: &str, total: u64, missing: u64) -> String {
    format!("echo {} > /{folder}/nr_hugepages   (as root; early after boot)", total + missing)
}

/// Shared memory takes transparent huge pages only if the kernel is told to.
fn transparent(host: &Host) -> Finding {
    let path = "sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let setting = host.read(path).unwrap_or_default();
    let chosen = setting.split(['[', ']']).nth(1).unwrap_or("absent");
    match chosen {
        "advise" | "always" | "within_size" | "force" => {
            Finding::fine(format!("transparent huge pages for shared memory: {chosen}"))
        }
        _ => Finding::warning(
            format!(
                "transparent huge pages for shared memory: {chosen}; tables would lie on 4 KiB"
            ),
            format!("echo advise > /{path}   (as root)"),
        ),
    }
}

fn available(host: &Host, bytes: u64) -> Option<Finding> {
    let text = host.field("proc/meminfo", "MemAvailable")?;
    let kilobytes: u64 = text.split_whitespace().next()?.parse().ok()?;
    let (have, need) = (kilobytes >> 10, bytes >> 20);
    if have >= need {
        return Some(Finding::fine(format!("{have} MiB of memory available, {need} MiB needed")));
    }
    Some(Finding::problem(
        format!("{have} MiB of memory available, {need} MiB needed beside the huge pages"),
        "make the tables of [memory] smaller",
    ))
}
