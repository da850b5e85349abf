//! A crate that forbids `unsafe` declares records and counters and keeps them in regions.
#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub, missing_debug_implementations)]

use superpage::{Array, ChunkPool, Placement, Slab, Tier, TierPolicy, counters, record};

record! {
    /// Nested in the record below.
    #[derive(Default, PartialEq, Eq)]
    pub struct Inner {
        /// A half.
        pub half: u16,
        /// The other half, private.
        rest: [u8; 2],
    }
}

record! {
    /// A record as protocol crates write them.
    pub struct Outer {
        /// Time.
        pub at_ns: u64,
        /// Several nested records.
        pub inner: [Inner; 2],
    }
}

counters! {
    /// What happened.
    pub struct Happenings {
        /// Things that came.
        came: things,
        /// Things that went.
        went: things,
    }
}

const SMALL: Placement = Placement { tier: TierPolicy::BaseOnly, numa_node: None };

#[test]
fn records_and_counters_need_no_unsafe_in_their_crate() {
    let mut slab = Slab::<Outer>::create("outer", 10, SMALL).unwrap();
    let inner = Inner { half: 3, rest: [4, 5] };
    let index = slab.insert(Outer { at_ns: 2, inner: [inner, Inner::default()] }).unwrap();
    slab[index].inner[1].half += 1;
    assert_eq!((slab[index].inner[0], slab[index].inner[1].half), (inner, 1));

    let mut counters = Array::<Happenings>::create("counters", 2, SMALL).unwrap();
    counters[1].went = 9;
    assert_eq!(counters[1].values(), [0, 9]);
    let names: Vec<_> = Happenings::FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(names, ["came", "went"]);

    let pool = ChunkPool::create("chunks", 8, 1, SMALL).unwrap();
    assert_eq!(pool.tier(), Tier::Base);
}
