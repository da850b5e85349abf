//! libFuzzer's door to random operations: `cargo +nightly fuzz run operations`, in `tcpstack/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcpstack_fuzz::operations(data));
