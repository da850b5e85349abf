//! Generates the bindings and compiles the shim against the DPDK that pkg-config finds.

use std::env;
use std::panic;
use std::path::PathBuf;
use std::process::Command;

/// The libraries whose symbols the bindings and the shim use. Drivers, buses and mempool handlers
/// are not among them: EAL loads those at start from the distribution's driver folder.
const LIBRARIES: [&str; 4] = ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool"];

/// Every function we call. Tight on purpose, so that a newer DPDK has little to break.
const FUNCTIONS: [&str; 42] = [
    "rte_eal_cleanup",
    "rte_eal_get_runtime_dir",
    "rte_eal_has_hugepages",
    "rte_eal_init",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_is_valid_port",
    "rte_eth_dev_mac_addr_add",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_dev_rss_hash_update",
    "rte_eth_dev_rss_reta_query",
    "rte_eth_dev_rss_reta_update",
    "rte_eth_dev_rx_intr_ctl_q_get_fd",
    "rte_eth_dev_rx_intr_disable",
    "rte_eth_dev_rx_intr_enable",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_macaddr_get",
    "rte_eth_allmulticast_enable",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_tx_queue_setup",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
    "shim_.*",
];

/// Types we only ever hold by pointer. Their fields differ between releases; nobody here needs them.
const OPAQUE: [&str; 7] = [
    "rte_device",
    "rte_eth_dev",
    "rte_mbuf",
    "rte_mbuf_ext_shared_info",
    "rte_mempool",
    "rte_memzone",
    "rte_ring",
];

fn main() {
    for file in ["shim.h", "shim.c"] {
        println!("cargo::rerun-if-changed=src/{file}");
    }
    let dpdk = Dpdk::find();
    compile_shim(&dpdk);
    generate_bindings(&dpdk);
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}

/// What pkg-config says about the installed DPDK.
struct Dpdk {
    /// All of `--cflags`, in order: also `-march` and `-include rte_config.h`, which the
    /// `pkg-config` crate drops and without which structures come out with other sizes.
    cflags: Vec<String>,
}

impl Dpdk {
    fn find() -> Self {
        let found = pkg_config::Config::new()
            .cargo_metadata(false)
            .env_metadata(true)
            .atleast_version("22.11")
            .probe("libdpdk");
        let library = found.unwrap_or_else(|error| {
            give_up(&[
                "DPDK 22.11 or later was not found by pkg-config.",
                "On Debian and Ubuntu: apt-get install libdpdk-dev pkg-config",
                "Elsewhere: install DPDK and name the folder of libdpdk.pc in PKG_CONFIG_PATH.",
                "Code that needs no DPDK can use capsule without its feature `dpdk`.",
                &error.to_string(),
            ])
        });
        for path in &library.link_paths {
            println!("cargo::rustc-link-search=native={}", path.display());
        }
        Self { cflags: cflags() }
    }
}

/// `pkg-config --cflags libdpdk`, word by word.
fn cflags() -> Vec<String> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(program)
        .args(["--cflags", "libdpdk"])
        .output()
        .expect("pkg-config has just answered a probe");
    assert!(output.status.success(), "pkg-config --cflags libdpdk: {output:?}");
    let text = String::from_utf8(output.stdout).expect("compiler flags are text");
    text.split_whitespace().map(str::to_owned).collect()
}

fn compile_shim(dpdk: &Dpdk) {
    let mut build = cc::Build::new();
    build.file("src/shim.c").opt_level(3).warnings(true).flag("-std=gnu11");
    for flag in &dpdk.cflags {
        build.flag(flag);
    }
    build.compile("trunkline_dpdk_shim");
}

fn generate_bindings(dpdk: &Dpdk) {
    let mut builder = bindgen::Builder::default()
        .header("src/shim.h")
        .clang_args(&dpdk.cflags)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .allowlist_var("SHIM_.*")
        .derive_default(true)
        .layout_tests(true)
        .generate_comments(false)
        .prepend_enum_name(false);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    // Without libclang bindgen panics; either way the reason is printed.
    let generate = || builder.generate().map_err(|error| eprintln!("{error}"));
    let generated = panic::catch_unwind(panic::AssertUnwindSafe(generate));
    let Ok(Ok(bindings)) = generated else {
        give_up(&[
            "bindgen could not read the DPDK headers with libclang.",
            "On Debian: apt-get install libclang-14-dev",
            "Elsewhere: install libclang and name the folder of libclang.so in LIBCLANG_PATH.",
        ])
    };
    let path = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("dpdk.rs");
    bindings.write_to_file(path).expect("OUT_DIR is writable");
}

/// Ends the build with these lines as cargo's error.
fn give_up(lines: &[&str]) -> ! {
    for line in lines.iter().flat_map(|text| text.lines()) {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}
