//! What no single key can say: sums, subsets, and rules between sections.

use crate::profile::{ListenerKind, Profile};
use crate::source::Source;
use crate::values::Cidr;
use std::collections::HashSet;
use std::net::IpAddr;

/// EAL options that the dataplane sets itself, from other keys.
const EAL_ARGS_OWN: &[&str] = &[
    "-l",
    "-c",
    "-m",
    "-a",
    "--lcores",
    "--main-lcore",
    "--in-memory",
    "--file-prefix",
    "--huge-dir",
    "--no-huge",
    "--no-pci",
    "--allow",
    "--socket-mem",
    "--iova-mode",
    "--proc-type",
];

/// Notes every rule that `profile` breaks.
pub(crate) fn check(profile: &Profile, source: &mut Source<'_>) {
    check_addresses(profile, source);
    check_port(profile, source);
    check_shards(profile, source);
    check_buffers(profile, source);
    check_mbufs(profile, source);
    check_timers(profile, source);
    check_mqtt(profile, source);
    check_listeners(profile, source);
    check_impairment(profile, source);
}

fn check_addresses(profile: &Profile, source: &mut Source<'_>) {
    let addresses = &profile.port.addresses;
    let mut seen = HashSet::new();
    for cidr in addresses {
        if !seen.insert(cidr.address) {
            let limit = format!("{} stands twice", cidr.address);
            source.refuse("port.addresses", cidr, &limit);
        }
    }
    check_gateway("port.gateway", profile.port.gateway.map(IpAddr::V4), addresses, source);
    let gateway_ipv6 = profile.port.gateway_ipv6.map(IpAddr::V6);
    check_gateway("port.gateway_ipv6", gateway_ipv6, addresses, source);
    // RFC 8200 §5: every link of IPv6 takes packets of so many bytes.
    let has_ipv6 = addresses.iter().any(|cidr| cidr.address.is_ipv6());
    if has_ipv6 && profile.port.mtu < 1_280 {
        source.refuse("port.mtu", &profile.port.mtu, "must be at least 1280 with IPv6 addresses");
    }
}

fn check_gateway(key: &str, gateway: Option<IpAddr>, addresses: &[Cidr], source: &mut Source<'_>) {
    let Some(gateway) = gateway else { return };
    let has_ipv6 = addresses.iter().any(|cidr| cidr.address.is_ipv6());
    // Every port with IPv6 is on the link-local network too.
    let is_link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local() && has_ipv6);
    if !is_link_local && !addresses.iter().any(|cidr| cidr.contains(gateway)) {
        source.refuse(key, &gateway, "must be on the network of one of port.addresses");
    } else if addresses.iter().any(|cidr| cidr.address == gateway) {
        source.refuse(key, &gateway, "is the port's own address");
    }
}

fn check_port(profile: &Profile, source: &mut Source<'_>) {
    let port = &profile.port;
    for arg in &port.eal_args {
        let name = arg.split('=').next().unwrap_or_default();
        if EAL_ARGS_OWN.contains(&name) {
            let limit = format!("{name} is set by the dataplane; leave it out");
            source.refuse("port.eal_args", arg, &limit);
        }
    }
    let makes_device = |arg: &String| {
        arg.strip_prefix("--vdev=").is_some_and(|d| d.split(',').next() == Some(&port.device))
    };
    if !port.is_pci() && !port.eal_args.iter().any(makes_device) {
        let limit = format!("port.eal_args must create it: \"--vdev={},…\"", port.device);
        source.refuse("port.device", &port.device, &limit);
    }
}

fn check_shards(profile: &Profile, source: &mut Source<'_>) {
    let cores = &profile.shards.cores;
    let unique: HashSet<_> = cores.iter().collect();
    if unique.len() != cores.len() {
        source.refuse("shards.cores", &"", "a core stands twice; each shard needs one of its own");
    }
    let slots = profile.port.rx_slots.min(profile.port.tx_slots);
    let batch = profile.shards.batch_frames;
    if u32::from(batch) * 4 > u32::from(slots) {
        let limit = format!(
            "at most {}: a quarter of port.rx_slots and port.tx_slots, so that the port can go on \
             while a batch is worked on",
            slots / 4
        );
        source.refuse("shards.batch_frames", &batch, &limit);
    }
}

fn check_buffers(profile: &Profile, source: &mut Source<'_>) {
    let memory = &profile.memory;
    let buffers = [
        ("memory.receive_buffer_bytes", memory.receive_buffer_bytes),
        ("memory.send_buffer_bytes", memory.send_buffer_bytes),
    ];
    let window_min = 2 * u32::from(profile.port.mtu);
    for (key, bytes) in buffers {
        if bytes < window_min {
            let limit = format!("at least {window_min}: two segments of port.mtu");
            source.refuse(key, &bytes, &limit);
        }
    }
    let shard_bytes = u64::from(profile.per_shard(memory.chunks)) * u64::from(memory.chunk_bytes);
    let one = u64::from(memory.receive_buffer_bytes) + u64::from(memory.send_buffer_bytes);
    if shard_bytes < 2 * one {
        let limit = format!(
            "a shard's chunks hold {shard_bytes} bytes, but two connections with full buffers \
             need {}; give more chunks or smaller buffers",
            2 * one
        );
        source.refuse("memory.chunks", &memory.chunks, &limit);
    }
    if memory.flights > memory.connections {
        let limit = format!("at most memory.connections = {}", memory.connections);
        source.refuse("memory.flights", &memory.flights, &limit);
    }
}

fn check_mbufs(profile: &Profile, source: &mut Source<'_>) {
    let memory = &profile.memory;
    let mbufs_min = profile.mbufs_min();
    if u64::from(memory.mbufs) < mbufs_min {
        let limit = format!(
            "at least {mbufs_min}: {} shard(s) × (port.rx_slots + port.tx_slots + \
             4 × shards.batch_frames)",
            profile.shard_count()
        );
        source.refuse("memory.mbufs", &memory.mbufs, &limit);
    }
    let eal_mb_min = profile.eal_mb_min();
    if u64::from(memory.eal_mb) < eal_mb_min {
        let limit = format!(
            "at least {eal_mb_min} MiB: memory.mbufs × (data room + overhead), device rings, 16 \
             MiB of EAL's own"
        );
        source.refuse("memory.eal_mb", &memory.eal_mb, &limit);
    }
}

fn check_mqtt(profile: &Profile, source: &mut Source<'_>) {
    if !profile.listeners.iter().any(|listener| listener.kind == ListenerKind::Mqtt) {
        return;
    }
    if !profile.mqtt.allow_anonymous {
        let limit = "there is no authentication yet, so no client could connect: say \
                     allow_anonymous = true to let in anyone who reaches the port, or remove the \
                     mqtt listeners";
        source.refuse("mqtt.allow_anonymous", &false, limit);
    }
    let memory = &profile.memory;
    let tables = [
        ("memory.sessions", memory.sessions),
        ("memory.subscriptions", memory.subscriptions),
        ("memory.filters", memory.filters),
        ("memory.messages", memory.messages),
        ("memory.deliveries", memory.deliveries),
        ("memory.active_links", memory.active_links),
        ("memory.payload_units", memory.payload_units),
        ("memory.output_chunks", memory.output_chunks),
    ];
    for (key, count) in tables {
        if count == 0 {
            source.refuse(key, &count, "must not be 0 with an mqtt listener");
        }
    }
    let shard_bytes =
        u64::from(profile.per_shard(memory.payload_units)) * u64::from(memory.payload_unit_bytes);
    if u64::from(profile.mqtt.packet_bytes_max) * 4 > shard_bytes {
        let limit = format!(
            "at most {}: a shard's payload units must hold four such packets",
            shard_bytes / 4
        );
        source.refuse("mqtt.packet_bytes_max", &profile.mqtt.packet_bytes_max, &limit);
    }
}

fn check_timers(profile: &Profile, source: &mut Source<'_>) {
    let tcp = &profile.tcp;
    if tcp.rto_min_ms <= tcp.delayed_ack_ms {
        let limit = format!(
            "must be above tcp.delayed_ack_ms = {}: else every delayed acknowledgement looks lost",
            tcp.delayed_ack_ms
        );
        source.refuse("tcp.rto_min_ms", &tcp.rto_min_ms, &limit);
    }
    if tcp.rto_initial_ms < tcp.rto_min_ms || tcp.rto_initial_ms > tcp.rto_max_ms {
        let limit = format!(
            "must be between tcp.rto_min_ms = {} and tcp.rto_max_ms = {}",
            tcp.rto_min_ms, tcp.rto_max_ms
        );
        source.refuse("tcp.rto_initial_ms", &tcp.rto_initial_ms, &limit);
    }
}

fn check_listeners(profile: &Profile, source: &mut Source<'_>) {
    if profile.listeners.is_empty() {
        source.refuse("listeners", &"[]", "at least one [[listeners]] with port and kind");
    }
    let mut seen = HashSet::new();
    for (index, listener) in profile.listeners.iter().enumerate() {
        if !seen.insert(listener.port) {
            let key = format!("listeners[{index}].port");
            source.refuse(&key, &listener.port, "another listener has this port");
        }
    }
}

fn check_impairment(profile: &Profile, source: &mut Source<'_>) {
    let impairment = &profile.impairment;
    if impairment.enabled && profile.port.is_pci() && !impairment.on_physical_port {
        let limit = "port.device is a physical port, whose clients it would hurt: say \
                     on_physical_port = true if they are only there for the test";
        source.refuse("impairment.enabled", &true, limit);
    }
}
