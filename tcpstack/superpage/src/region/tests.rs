use std::io::Write;

use super::*;

/// Tests leave the machine's huge pages to others.
pub(crate) const SMALL: Placement = Placement { tier: TierPolicy::BaseOnly, numa_node: None };

const LAYOUT: Layout = Layout { hash: 1, record_bytes: 2, capacity: 3 };

fn duplicate(region: &Region) -> OwnedFd {
    region.as_fd().try_clone_to_owned().unwrap()
}

#[test]
fn base_region_is_rounded_to_pages_and_zeroed() {
    let region = Region::create("base", 4097, LAYOUT, SMALL).unwrap();
    assert_eq!((region.tier(), region.bytes()), (Tier::Base, 8192));
    // SAFETY: the only section of this region.
    let bytes = unsafe { region.section::<u8>(HEADER_BYTES, 4096) };
    assert!(bytes.slice().iter().all(|&byte| byte == 0));
}

#[test]
fn hugetlb_region_is_rounded_to_huge_pages_or_refused_cleanly() {
    let placement = Placement { tier: TierPolicy::HugetlbOnly, numa_node: None };
    match Region::create("huge", 2 << 20 | 1, LAYOUT, placement) {
        Ok(region) => {
            assert_eq!((region.tier(), region.bytes()), (Tier::Hugetlb, 4 << 20));
            // SAFETY: the only section of this region.
            let mut bytes = unsafe { region.section::<u8>(HEADER_BYTES, (4 << 20) - HEADER_BYTES) };
            bytes.slice_mut().fill(1);
            let fd = duplicate(&region);
            drop(region);
            assert_eq!(Region::open(fd, LAYOUT).unwrap().tier(), Tier::Hugetlb);
        }
        Err(error) => assert!(matches!(error, RegionError::System { .. }), "{error}"),
    }
}

#[test]
fn more_than_the_huge_pages_falls_back_without_a_signal() {
    // 1 TB: beyond any pool of huge pages, and untouched it costs nothing.
    let region = Region::create("tera", 1 << 40, LAYOUT, Placement::default()).unwrap();
    assert_ne!(region.tier(), Tier::Hugetlb);
    // SAFETY: the only section of this region.
    let mut bytes = unsafe { region.section::<u8>((1 << 40) - 1, 1) };
    bytes.slice_mut()[0] = 1;

    let placement = Placement { tier: TierPolicy::HugetlbOnly, numa_node: None };
    let error = Region::create("tera", 1 << 40, LAYOUT, placement).unwrap_err();
    assert!(error.to_string().contains("hugetlb-2m"), "{error}");
}

#[test]
fn impossible_size_is_an_error() {
    for bytes in [usize::MAX, usize::MAX / 2, 1 << 62] {
        let error = Region::create("huge", bytes, LAYOUT, SMALL).unwrap_err();
        let expected = matches!(error, RegionError::TooLarge { .. } | RegionError::System { .. });
        assert!(expected, "{error}");
    }
}

#[test]
fn name_with_a_zero_byte_is_an_error() {
    assert!(Region::create("a\0b", 1, LAYOUT, SMALL).is_err());
}

#[test]
fn node_zero_exists_and_a_far_one_does_not() {
    let on = |node| Placement { numa_node: Some(node), ..SMALL };
    Region::create("node", 1 << 16, LAYOUT, on(0)).unwrap();
    for node in [1000, 1024, u32::MAX] {
        assert!(Region::create("node", 1 << 16, LAYOUT, on(node)).is_err(), "node {node}");
    }
}

#[test]
fn region_has_one_owner_at_a_time() {
    let region = Region::create("owned", 1, LAYOUT, SMALL).unwrap();
    let fd = duplicate(&region);
    assert!(matches!(Region::open(duplicate(&region), LAYOUT), Err(RegionError::InUse)));
    drop(region);
    let region = Region::open(fd, LAYOUT).unwrap();
    assert!(matches!(Region::open(duplicate(&region), LAYOUT), Err(RegionError::InUse)));
}

#[test]
fn successor_takes_capacity_from_the_file_and_refuses_another_layout() {
    let region = Region::create("layout", 1, LAYOUT, SMALL).unwrap();
    let fds = [duplicate(&region), duplicate(&region), duplicate(&region)];
    drop(region);
    let [first, second, third] = fds;
    let other_hash = Layout { hash: 9, ..LAYOUT };
    assert!(matches!(Region::open(first, other_hash), Err(RegionError::Layout { .. })));
    let other_size = Layout { record_bytes: 9, ..LAYOUT };
    assert!(matches!(Region::open(second, other_size), Err(RegionError::Layout { .. })));
    let region = Region::open(third, Layout { capacity: 0, ..LAYOUT }).unwrap();
    assert_eq!(region.layout(), LAYOUT);
}

#[test]
fn other_files_are_no_regions() {
    let resizable = sys::memory_file("resizable", false).unwrap();
    resizable.set_len(8192).unwrap();
    assert!(matches!(Region::open(resizable.into(), LAYOUT), Err(RegionError::NotARegion)));

    let mut garbage = sys::memory_file("garbage", false).unwrap();
    garbage.write_all(&[0xa5; 8192]).unwrap();
    sys::seal(&garbage).unwrap();
    assert!(matches!(Region::open(garbage.into(), LAYOUT), Err(RegionError::NotARegion)));

    let short = sys::memory_file("short", false).unwrap();
    sys::seal(&short).unwrap();
    assert!(matches!(Region::open(short.into(), LAYOUT), Err(RegionError::NotARegion)));

    let plain = File::open("/proc/self/exe").unwrap();
    assert!(matches!(Region::open(plain.into(), LAYOUT), Err(RegionError::NotARegion)));
}

#[test]
fn unknown_version_and_tier_are_refused() {
    let altered = |change: fn(&mut Header)| {
        let region = Region::create("altered", 1, LAYOUT, SMALL).unwrap();
        // SAFETY: the only section of this region.
        let mut header = unsafe { region.section::<Header>(0, 1) };
        change(&mut header.slice_mut()[0]);
        let fd = duplicate(&region);
        drop(region);
        Region::open(fd, LAYOUT).unwrap_err()
    };
    let error = altered(|header| header.version += 1);
    assert!(matches!(error, RegionError::Version { found: 2 }), "{error}");
    assert!(matches!(altered(|header| header.tier = 0), RegionError::Corrupt));
}

#[test]
fn memory_file_cannot_be_shrunk() {
    let region = Region::create("sealed", 1 << 16, LAYOUT, SMALL).unwrap();
    let file = File::from(duplicate(&region));
    assert!(file.set_len(0).is_err());
}

#[test]
#[should_panic(expected = "beyond its region")]
fn section_beyond_the_region_is_refused() {
    let region = Region::create("section", 1, LAYOUT, SMALL).unwrap();
    // SAFETY: the only section of this region; it panics before it exists.
    let _ = unsafe { region.section::<u64>(HEADER_BYTES, 1) };
}

#[test]
fn tiers_are_named_as_in_metrics() {
    let names = [Tier::Hugetlb, Tier::Transparent, Tier::Base].map(|tier| tier.to_string());
    assert_eq!(names, ["hugetlb-2m", "transparent", "base-4k"]);
}
