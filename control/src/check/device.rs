//! The user-facing port and the back-end NIC.

use super::Finding;
use super::host::Host;
use hwconfig::Profile;

/// Kernel modules that hand a PCI device to a program.
const USER_DRIVERS: &[&str] = &["vfio-pci", "igb_uio", "uio_pci_generic"];

/// Network cards that are driven beside their kernel driver and stay bound to it.
const BIFURCATED_DRIVERS: &[&str] = &["mlx4_core", "mlx5_core", "mana"];

/// What the port needs: a PCI device in our hands, or the files behind a virtual one.
pub(super) fn port(profile: &Profile, host: &Host) -> Vec<Finding> {
    let mut findings = if profile.port.is_pci() {
        pci(&profile.port.device, profile, host)
    } else {
        Vec::from_iter(virtual_device(&profile.port.device, host))
    };
    findings.extend(namespace(profile, host));
    findings
}

fn pci(device: &str, profile: &Profile, host: &Host) -> Vec<Finding> {
    let folder = format!("sys/bus/pci/devices/{}", device.to_ascii_lowercase());
    if !host.exists(&folder) {
        return vec![Finding::problem(
            format!("port.device: no PCI device {device} on this host"),
            "find it with `lspci -D | grep -i ethernet` and correct the profile",
        )];
    }
    if !host.read(&format!("{folder}/class")).unwrap_or_default().starts_with("0x02") {
        return vec![Finding::problem(
            format!("port.device: PCI device {device} is not a network card"),
            "find it with `lspci -D | grep -i ethernet` and correct the profile",
        )];
    }
    let mut findings = vec![driver(device, &folder, host)];
    findings.extend(iommu(&folder, host));
    let node = host.number(&format!("{folder}/numa_node")).filter(|node| *node >= 0);
    if let (Some(node), Some(wanted)) = (node, profile.memory.numa_node)
        && node != i64::from(wanted)
    {
        findings.push(Finding::warning(
            format!("{device} is on NUMA node {node}, memory goes to node {wanted}"),
            format!("set memory.numa_node = {node} and choose shards.cores there"),
        ));
    }
    findings
}

fn driver(device: &str, folder: &str, host: &Host) -> Finding {
    let driver = host.link_name(&format!("{folder}/driver"));
    let name = driver.as_deref().unwrap_or("no driver");
    if USER_DRIVERS.contains(&name) || BIFURCATED_DRIVERS.contains(&name) {
        return Finding::fine(format!("{device} is bound to {name}"));
    }
    let interfaces = host.names(&format!("{folder}/net"));
    let in_use: Vec<_> = interfaces.iter().filter(|name| is_up(name, host)).collect();
    let bind = format!("modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {device}");
    match in_use.first() {
        Some(interface) => Finding::problem(
            format!(
                "{device} is bound to {name} and its interface {interface} is up: be sure that \
                 you do not reach this host through it"
            ),
            format!("ip link set {interface} down && {bind}"),
        ),
        None => Finding::problem(format!("{device} is bound to {name}, not to vfio-pci"), bind),
    }
}

fn is_up(interface: &str, host: &Host) -> bool {
    host.read(&format!("sys/class/net/{interface}/operstate")).is_some_and(|state| state == "up")
}

fn iommu(folder: &str, host: &Host) -> Option<Finding> {
    let driver = host.link_name(&format!("{folder}/driver"));
    if driver.as_deref().is_some_and(|name| BIFURCATED_DRIVERS.contains(&name)) {
        return None;
    }
    if host.exists(&format!("{folder}/iommu_group")) {
        return Some(Finding::fine("the IOMMU guards the device's memory accesses"));
    }
    let unsafe_mode = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    if host.read(unsafe_mode).is_some_and(|mode| mode == "Y") {
        return Some(Finding::warning(
            "vfio works without an IOMMU: the device can reach all of memory",
            "switch on VT-d or AMD-Vi in the firmware and add `intel_iommu=on iommu=pt` to \
             GRUB_CMDLINE_LINUX, then: update-grub && reboot",
        ));
    }
    Some(Finding::problem(
        "there is no IOMMU group for the device, so vfio-pci cannot drive it",
        "switch on VT-d or AMD-Vi in the firmware and add `intel_iommu=on iommu=pt` to \
         GRUB_CMDLINE_LINUX, then: update-grub && reboot",
    ))
}

fn virtual_device(device: &str, host: &Host) -> Option<Finding> {
    let needs_tun = device.starts_with("net_tap") || device.starts_with("virtio_user");
    if !needs_tun {
        return None;
    }
    Some(if host.exists("dev/net/tun") {
        Finding::fine("/dev/net/tun is there for the tap interface")
    } else {
        Finding::problem("there is no /dev/net/tun, which the tap interface needs", "modprobe tun")
    })
}

fn namespace(profile: &Profile, host: &Host) -> Option<Finding> {
    let name = profile.port.netns.as_deref()?;
    Some(if host.exists(&format!("run/netns/{name}")) {
        Finding::fine(format!("network namespace {name} is there"))
    } else {
        Finding::problem(
            format!("port.netns: there is no network namespace {name}"),
            format!("ip netns add {name}   (as root)"),
        )
    })
}

/// The second NIC, where the profile names it.
pub(super) fn backend(profile: &Profile, host: &Host) -> Option<Finding> {
    let interface = profile.backend.interface.as_deref()?;
    Some(if host.exists(&format!("sys/class/net/{interface}")) {
        Finding::fine(format!("back-end interface {interface} is there"))
    } else {
        Finding::problem(
            format!("backend.interface: there is no interface {interface}"),
            "find it with `ip -br link` and correct the profile",
        )
    })
}
