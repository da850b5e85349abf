//! EAL and ports as the tests use them. EAL can be started once in a process, so every file here
//! has one test.

use capsule::{Eal, Mempool, MempoolConfig, Offloads, PortConfig};

/// EAL with ordinary memory, no PCI and no files, with `vdevs`.
pub(crate) fn eal(vdevs: &[&str]) -> Eal {
    let prefix = format!("capsule-test-{}", std::process::id());
    let mut args = vec!["-l", "0", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry"];
    args.extend(["-m", "64", "--iova-mode=va", "--file-prefix", &prefix]);
    for vdev in vdevs {
        args.extend(["--vdev", vdev]);
    }
    let args: Vec<_> = args.into_iter().map(str::to_owned).collect();
    Eal::init(&args).expect("EAL starts")
}

/// A pool of `mbufs`, without caches, so that its counts are exact.
pub(crate) fn mempool(eal: &Eal, mbufs: u32) -> Mempool {
    let config = MempoolConfig {
        name: format!("test{mbufs}"),
        mbufs,
        cache: 0,
        data_room_bytes: 2_176,
        numa_node: None,
    };
    Mempool::create(eal, &config).expect("the pool fits")
}

/// Wishes for `device` with `queues` pairs.
pub(crate) fn wishes(device: &str, queues: u16) -> PortConfig {
    PortConfig {
        device: device.to_owned(),
        rx_queues: queues,
        tx_queues: queues,
        rx_slots: 256,
        tx_slots: 256,
        mtu: 1_500,
        promiscuous: false,
        all_groups: false,
        rss_key: None,
        want: Offloads { rx_checksum: true, tx_checksum: true, rss: true },
    }
}
