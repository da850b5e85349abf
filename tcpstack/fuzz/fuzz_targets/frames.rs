//! libFuzzer's door to frames in every state: `cargo +nightly fuzz run frames`, in `tcpstack/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcpstack_fuzz::frames(data));
