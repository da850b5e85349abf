//! libFuzzer's door to the frame harness: `cargo +nightly fuzz run frames`, in `tcpstack/`.
#![no_main]

#[path = "../frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::run(data));
