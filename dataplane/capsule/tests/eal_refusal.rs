//! An EAL that cannot get its memory, in its own process.
#![cfg(feature = "dpdk")]

use std::path::Path;

use capsule::{Eal, EalError};

#[test]
fn too_few_hugepages_are_explained() {
    let prefix = format!("capsule-test-{}", std::process::id());
    // 16 TB: no machine this runs on has them.
    let args = ["-l", "0", "--in-memory", "--no-pci", "--no-telemetry", "-m", "16777216"];
    let args = args.into_iter().chain(["--file-prefix", &prefix]);
    let args: Vec<_> = args.map(str::to_owned).collect();
    let error = Eal::init(&args).expect_err("there is not that much memory").to_string();
    assert!(
        error.starts_with("EAL refused to start with [\"-l\", \"0\", \"--in-memory\""),
        "{error}"
    );
    assert!(error.contains("/proc/sys/vm/nr_hugepages"), "{error}");
    assert!(!Path::new("/run/dpdk").join(&prefix).exists(), "its directory is left");
    let again = Eal::init(&args).expect_err("one attempt is allowed");
    assert_eq!(again, EalError::AlreadyStarted);
}
