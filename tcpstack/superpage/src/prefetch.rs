//! Asking the CPU for a cache line before it is needed.
//!
//! At millions of connections each packet touches cold lines. A stage that knows which record the
//! next stage will read asks for it now, does the same for the rest of the burst, and the misses
//! overlap instead of adding up.

/// Asks for the cache line at `address` in all cache levels. A hint: no address is an error.
#[inline(always)]
pub fn line<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is in every x86_64 CPU, reads nothing into the program and does not
        // fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the cache line where `value` begins.
#[inline(always)]
pub fn read<T: ?Sized>(value: &T) {
    line(std::ptr::from_ref(value).cast::<u8>());
}
