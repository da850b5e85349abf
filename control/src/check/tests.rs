use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A host made of files.
struct Fake(tempfile::TempDir);

impl Fake {
    /// A host that suits the development profile.
    fn good() -> Fake {
        let fake = Fake(tempfile::tempdir().expect("a temporary folder"));
        fake.file("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu constant_tsc nonstop_tsc\n");
        fake.file("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-7\n");
        fake.file("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    8000000 kB\n");
        fake.file("sys/devices/system/cpu/online", "0-7\n");
        fake.file("sys/devices/system/cpu/isolated", "\n");
        fake.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "4096\n");
        fake.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "4096\n");
        fake.file("dev/net/tun", "");
        fake.file("run/netns/trunkline-dev", "");
        fake
    }

    /// A host that suits the bare-metal profile.
    fn metal() -> Fake {
        let fake = Fake::good();
        let node = "sys/devices/system/node/node0";
        fake.file(&format!("{node}/cpulist"), "0-7\n");
        fake.file(&format!("{node}/hugepages/hugepages-2048kB/free_hugepages"), "9999\n");
        fake.file(&format!("{node}/hugepages/hugepages-2048kB/nr_hugepages"), "9999\n");
        fake.file("sys/devices/system/cpu/isolated", "2-5\n");
        let device = "sys/bus/pci/devices/0000:03:00.0";
        fake.file(&format!("{device}/class"), "0x020000\n");
        fake.file(&format!("{device}/numa_node"), "0\n");
        fake.file(&format!("{device}/iommu_group/type"), "DMA\n");
        fake.link(&format!("{device}/driver"), "/sys/bus/pci/drivers/vfio-pci");
        fake.file("sys/class/net/eno2/operstate", "up\n");
        fake
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        if path.is_symlink() {
            fs::remove_file(&path).expect("the old link goes");
        }
        symlink(Path::new(target), path).expect("a link");
    }

    fn remove(&self, path: &str) {
        let path = self.0.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
            .expect("it was there");
    }

    /// What is not fine for `profile` here.
    fn complaints(&self, profile: &Profile) -> Vec<Finding> {
        let findings = inspect(profile, &Host::at(self.0.path()));
        findings.into_iter().filter(|finding| finding.level != Level::Fine).collect()
    }

    /// The one complaint about `profile` here.
    #[track_caller]
    fn only(&self, profile: &Profile) -> Finding {
        let complaints = self.complaints(profile);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        complaints.into_iter().next().expect("there is one")
    }
}

fn dev() -> Profile {
    hwconfig::embedded(&Overrides::default()).expect("the embedded profile is valid")
}

fn metal() -> Profile {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../hwconfig/profiles/baremetal-10g.toml");
    hwconfig::load(&path, &Overrides::default()).expect("the profile is valid")
}

#[test]
fn good_hosts_get_no_complaint() {
    assert_eq!(Fake::good().complaints(&dev()), []);
    assert_eq!(Fake::metal().complaints(&metal()), []);
}

#[test]
fn uneven_clock_is_a_problem() {
    let host = Fake::good();
    host.file("proc/cpuinfo", "flags : fpu constant_tsc\n");
    let finding = host.only(&dev());
    assert_eq!(finding.level, Level::Problem);
    assert!(finding.mend.contains("+invtsc"), "{finding}");
}

#[test]
fn absent_and_barred_cores_are_problems() {
    let host = Fake::metal();
    host.file("sys/devices/system/cpu/online", "0-3\n");
    assert!(host.only(&metal()).text.starts_with("shards.cores: 4,5 not on this host"));
    let host = Fake::metal();
    host.file("proc/self/status", "Cpus_allowed_list:\t0-4\n");
    assert!(host.only(&metal()).text.starts_with("shards.cores: 5 barred"));
}

#[test]
fn shared_polling_cores_are_a_warning_with_the_boot_options() {
    let host = Fake::metal();
    host.file("sys/devices/system/cpu/isolated", "2-4\n");
    let finding = host.only(&metal());
    assert_eq!(finding.level, Level::Warning);
    assert!(finding.text.starts_with("cores 5 are not isolated"), "{finding}");
    assert!(finding.mend.contains("isolcpus=2,3,4,5"), "{finding}");
}

#[test]
fn missing_huge_pages_are_a_problem_only_when_nothing_else_will_do() {
    let host = Fake::metal();
    host.file("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "7\n");
    let finding = host.only(&metal());
    assert_eq!(finding.level, Level::Problem);
    let wanted = 9999 + metal().plan().hugepages() - 7;
    assert!(finding.mend.starts_with(&format!("echo {wanted} > /sys/devices/system/node/node0")));

    let host = Fake::good();
    host.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
    host.file("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always [advise] never\n");
    assert_eq!(host.only(&dev()).level, Level::Warning);
    host.file("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always advise [never]\n");
    let mends: Vec<_> = host.complaints(&dev()).into_iter().map(|f| f.mend).collect();
    assert!(mends[1].starts_with("echo advise > "), "{mends:?}");
    host.file("proc/meminfo", "MemAvailable:    1000 kB\n");
    assert_eq!(host.complaints(&dev())[2].level, Level::Problem);
}

#[test]
fn network_card_must_exist_and_be_in_our_hands() {
    let host = Fake::metal();
    let device = "sys/bus/pci/devices/0000:03:00.0";
    host.link(&format!("{device}/driver"), "/sys/bus/pci/drivers/ixgbe");
    let finding = host.only(&metal());
    assert_eq!(finding.mend, "modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci 0000:03:00.0");
    host.file(&format!("{device}/net/enp3s0/x"), "");
    host.file("sys/class/net/enp3s0/operstate", "up\n");
    let finding = host.only(&metal());
    assert!(finding.mend.starts_with("ip link set enp3s0 down && "), "{finding}");
    assert!(finding.text.contains("be sure that you do not reach this host"), "{finding}");
    host.file(&format!("{device}/class"), "0x030000\n");
    assert!(host.only(&metal()).text.ends_with("is not a network card"));
    host.remove(device);
    assert!(host.only(&metal()).text.contains("no PCI device 0000:03:00.0"));
}

#[test]
fn device_without_iommu_is_a_problem_unless_the_operator_waived_it() {
    let host = Fake::metal();
    host.remove("sys/bus/pci/devices/0000:03:00.0/iommu_group");
    let finding = host.only(&metal());
    assert_eq!(finding.level, Level::Problem);
    assert!(finding.mend.contains("intel_iommu=on"), "{finding}");
    host.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert_eq!(host.only(&metal()).level, Level::Warning);
}

#[test]
fn tap_needs_its_device_file_and_its_namespace() {
    let host = Fake::good();
    host.remove("run/netns/trunkline-dev");
    assert_eq!(host.only(&dev()).mend, "ip netns add trunkline-dev   (as root)");
    host.remove("dev/net/tun");
    assert_eq!(host.complaints(&dev())[0].mend, "modprobe tun");
}

#[test]
fn absent_backend_interface_is_a_problem() {
    let host = Fake::metal();
    host.remove("sys/class/net/eno2");
    assert!(host.only(&metal()).text.contains("there is no interface eno2"));
}
