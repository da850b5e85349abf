//! Refusals, facts and threads, on a port that needs no network (`net_null`), in its own process.
#![cfg(feature = "dpdk")]

mod support;

use capsule::{Eal, Mempool, MempoolConfig, Port, PortConfig, RxBatch, TxBatch};

#[test]
fn a_port_grants_what_it_has_and_refuses_the_rest_by_name() {
    let eal = support::eal(&["net_null0,size=100"]);
    let pool = support::mempool(&eal, 1_023);
    refusals_name_value_and_limit(&eal, &pool);
    pools_are_refused_by_name(&eal);

    let key: [u8; 40] = std::array::from_fn(|i| i as u8);
    // The driver has no filter to open for groups: it is taken as it is.
    let wishes =
        PortConfig { rss_key: Some(key), all_groups: true, ..support::wishes("net_null0", 2) };
    let mut port = Port::open(&eal, &wishes, &pool).expect("it opens after refusals, too");
    port.start().expect("it starts");
    let facts = port.facts();
    assert_eq!((facts.driver.as_str(), facts.device.as_str()), ("net_null", "net_null0"));
    assert!(facts.granted.rss && !facts.granted.tx_checksum && !facts.granted.rx_checksum);
    let in_turn: Vec<u16> = (0..128).map(|entry| entry % 2).collect();
    assert_eq!(facts.reta, in_turn);
    assert_eq!(facts.rss_key, key);
    assert_eq!((facts.mtu, facts.rx_queues, facts.rx_slots), (1_500, 2, 256));

    queues_run_on_threads_of_their_own(&eal, &mut port);
    let frames = port.stats().rx_frames;
    let xstats = port.xstats();
    assert!(xstats.contains(&("rx_good_packets".to_owned(), frames)), "{xstats:?}");
    assert!(port.stop(), "all queues are back");
    assert_eq!(pool.in_use(), 0);
}

fn refusals_name_value_and_limit(eal: &Eal, pool: &Mempool) {
    let refusal = |config: &PortConfig| {
        Port::open(eal, config, pool).expect_err("must be refused").to_string()
    };
    let wishes = support::wishes("net_null0", 1);
    let cases = [
        (
            PortConfig { device: "net_tap7".into(), ..wishes.clone() },
            "port net_tap7: EAL has no such device; it has net_null0.",
        ),
        (
            PortConfig { tx_queues: 2, ..wishes.clone() },
            "port net_null0: 1 RX and 2 TX queues; queues come in pairs",
        ),
        (
            PortConfig { rx_queues: 2_000, tx_queues: 2_000, ..wishes.clone() },
            "port net_null0 (net_null): rx_queues = 2000 is outside 1 to 1024: the port has no more",
        ),
        (
            PortConfig { rx_slots: 1_000, ..wishes.clone() },
            "port net_null0 (net_null): rx_slots = 1000 is outside 1 to 959: every RX slot holds",
        ),
        (
            PortConfig { rx_slots: 0, ..wishes.clone() },
            "port net_null0 (net_null): rx_slots = 0 is outside 1 to 65535",
        ),
        (
            PortConfig { mtu: 9_000, ..wishes.clone() },
            "port net_null0 (net_null): mtu = 9000 is outside 0 to 2022: a frame must fit one mbuf",
        ),
    ];
    for (config, start) in cases {
        let refusal = refusal(&config);
        assert!(refusal.starts_with(start), "{refusal}");
    }
}

fn pools_are_refused_by_name(eal: &Eal) {
    let fits = MempoolConfig {
        name: "pool".to_owned(),
        mbufs: 255,
        cache: 0,
        data_room_bytes: 2_176,
        numa_node: None,
    };
    let cases = [
        (MempoolConfig { name: "x".repeat(23), ..fits.clone() }, "mempool name \"xxx"),
        (MempoolConfig { cache: 200, ..fits.clone() }, "mempool pool: a cache of 200 mbufs"),
        (
            MempoolConfig { data_room_bytes: 128, ..fits.clone() },
            "mempool pool: data_room_bytes 128",
        ),
        (
            MempoolConfig { mbufs: 1 << 20, ..fits.clone() },
            "mempool pool: 1048576 mbufs of 2176 bytes were refused: Cannot allocate memory. \
             They need about 2372 MB",
        ),
    ];
    for (config, start) in cases {
        let refusal = Mempool::create(eal, &config).expect_err("must be refused").to_string();
        assert!(refusal.starts_with(start), "{refusal}");
    }
}

fn queues_run_on_threads_of_their_own(eal: &Eal, port: &mut Port) {
    std::thread::scope(|scope| {
        for mut queue in port.take_queues() {
            scope.spawn(move || {
                let _registration = eal.register_thread().expect("there are numbers left");
                let (mut rx, mut tx) = (RxBatch::new(), TxBatch::new());
                for turn in 1..=100 {
                    assert_eq!(queue.receive(&mut rx), 64);
                    assert!((0..64).all(|i| rx.frame(i).len() == 100));
                    queue.reserve(&mut tx, 1_514).expect("there is room").fill(0);
                    assert_eq!(queue.send(&mut tx), 1);
                    assert_eq!(queue.counters().rx_frames, turn * 64);
                }
                an_empty_pool_is_counted(&mut queue);
            });
        }
    });
}

fn an_empty_pool_is_counted(queue: &mut capsule::PortQueue) {
    assert_eq!(queue.frame_bytes_max(), 2_048);
    let mut tx = TxBatch::new();
    assert!(queue.reserve(&mut tx, 2_049).is_none());
    assert_eq!(queue.counters().tx_no_mbuf, 0, "too long is not an empty pool");
    let mut full = Vec::new();
    while queue.counters().tx_no_mbuf == 0 {
        while queue.reserve(&mut tx, 60).is_some() {}
        full.push(std::mem::take(&mut tx));
        assert!(full.len() < 100, "the pool has an end");
    }
    drop(full);
    assert!(queue.reserve(&mut tx, 60).is_some(), "and mbufs come back");
}
