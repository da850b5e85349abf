//! libFuzzer's door to the packet harness: `cargo +nightly fuzz run packets`, in `dataplane/broker/`.
#![no_main]

#[path = "../packets.rs"]
mod packets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| packets::run(data));
