//! EAL's command line, from the profile.

use hwconfig::memory::HUGEPAGE_BYTES;
use hwconfig::{Profile, TierChoice};

/// What EAL needs besides the pages that `-m` counts, in huge pages of 2 MiB.
const EAL_SPARE_PAGES: u64 = 2;

/// Where DPDK's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EalMemory {
    /// Huge pages.
    Hugepages,
    /// 4 KiB pages: there were too few huge pages, and the profile allows that.
    NoHuge,
}

impl EalMemory {
    /// Huge pages when enough of them are free.
    ///
    /// # Errors
    /// When they are not and the profile insists on them. The text names the command that mends it.
    pub(super) fn choose(profile: &Profile, free_hugepages: u64) -> Result<EalMemory, String> {
        let wanted = eal_pages(profile);
        if free_hugepages >= wanted {
            return Ok(EalMemory::Hugepages);
        }
        if profile.memory.tier == TierChoice::Hugetlb || profile.port.is_pci() {
            return Err(format!(
                "memory.eal_mb = {}: DPDK needs {wanted} free huge pages of 2 MiB and there are \
                 {free_hugepages}; reserve them with: sysctl vm.nr_hugepages={}",
                profile.memory.eal_mb,
                profile.plan().hugepages() + EAL_SPARE_PAGES
            ));
        }
        Ok(EalMemory::NoHuge)
    }
}

fn eal_pages(profile: &Profile) -> u64 {
    (u64::from(profile.memory.eal_mb) << 20).div_ceil(HUGEPAGE_BYTES) + EAL_SPARE_PAGES
}

/// EAL's arguments for a profile, the profile's own at the end.
pub(super) fn eal_args(profile: &Profile, memory: EalMemory) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut add = |parts: &[&str]| args.extend(parts.iter().map(|part| (*part).to_owned()));
    // One core only: EAL starts threads of its own on all others named.
    add(&["-l", &profile.shards.cores[0].to_string()]);
    match memory {
        EalMemory::Hugepages => add(&["--in-memory"]),
        EalMemory::NoHuge => add(&["--no-huge", "--no-shconf"]),
    }
    add(&["-m", &profile.memory.eal_mb.to_string()]);
    add(&["--file-prefix", &format!("tl-{}", profile.instance)]);
    add(&["--iova-mode=va", "--no-telemetry"]);
    // The tap driver warns of a secondary process that does not exist and of filters nobody uses.
    add(&["--log-level=pmd.net.tap:alert"]);
    if profile.port.is_pci() {
        add(&["-a", &profile.port.device]);
    } else {
        add(&["--no-pci"]);
    }
    args.extend(profile.port.eal_args.iter().cloned());
    args
}

#[cfg(test)]
mod tests {
    use hwconfig::Overrides;

    use super::*;

    fn dev_tap() -> Profile {
        hwconfig::embedded(&Overrides::default()).expect("the embedded profile is right")
    }

    #[test]
    fn instance_names_what_dpdk_makes() {
        let overrides = Overrides { instance: Some("two".into()), ..Overrides::default() };
        let profile = hwconfig::embedded(&overrides).expect("a legal name");
        let args = eal_args(&profile, EalMemory::Hugepages).join(" ");
        assert!(args.contains("--file-prefix tl-two"), "{args}");
        assert!(args.contains("iface=tl-two"), "{args}");
    }

    #[test]
    fn too_few_huge_pages_are_refused_only_when_the_profile_insists() {
        let mut profile = dev_tap();
        let wanted = eal_pages(&profile);
        assert_eq!(EalMemory::choose(&profile, wanted), Ok(EalMemory::Hugepages));
        assert_eq!(EalMemory::choose(&profile, wanted - 1), Ok(EalMemory::NoHuge));
        profile.memory.tier = TierChoice::Hugetlb;
        let refusal = EalMemory::choose(&profile, wanted - 1).expect_err("insists");
        assert!(refusal.contains("sysctl vm.nr_hugepages="), "{refusal}");
    }

    #[test]
    fn in_memory_and_no_huge_are_never_combined() {
        let args = eal_args(&dev_tap(), EalMemory::NoHuge);
        assert!(!args.contains(&"--in-memory".to_owned()), "EAL refuses both together");
    }
}
