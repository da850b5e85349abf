use super::*;

const SECOND: u64 = 1_000_000_000;
const ICMP: u8 = 1;

fn ipv4(last: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]
}

fn table(capacity: u32) -> Fragments {
    Fragments::create(capacity, &[7; 16], Placement::default()).expect("table")
}

fn fragment(offset: u32, octets: &[u8], more: bool) -> Fragment<'_> {
    Fragment {
        source: ipv4(2),
        destination: ipv4(1),
        id: 77,
        protocol: ICMP,
        offset,
        more,
        ecn: 0,
        mac: [2; 6],
        octets,
    }
}

/// Octets 0, 1, 2, ….
fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| at as u8).collect()
}

#[test]
fn fragments_of_every_order_become_the_datagram() {
    let whole = payload(100);
    let parts = [(0, 40, true), (40, 80, true), (80, 100, false)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut table = table(8);
        for (step, part) in order.into_iter().enumerate() {
            let (start, end, more) = parts[part];
            let taken = table.take(0, &fragment(start as u32, &whole[start..end], more));
            let expected = if step == 2 { Taken::Completed } else { Taken::Kept };
            assert_eq!(taken, Ok(expected), "{order:?}");
        }
        let (at, collected) = table.complete().expect("complete");
        assert_eq!((collected.octets, collected.id), (&whole[..], 77));
        table.free(at);
        assert!(table.complete().is_none());
        assert_eq!(table.collecting(), 0);
    }
}

#[test]
fn same_octets_again_are_a_duplicate_and_other_octets_discard_the_datagram() {
    let whole = payload(48);
    let mut table = table(8);
    let mut take =
        |offset: usize, octets: &[u8], more| table.take(0, &fragment(offset as u32, octets, more));
    assert_eq!(take(0, &whole[..24], true), Ok(Taken::Kept));
    assert_eq!(take(0, &whole[..24], true), Ok(Taken::Duplicate));
    assert_eq!(take(8, &whole[8..16], true), Ok(Taken::Duplicate));
    assert_eq!(take(16, &whole[16..32], true), Err(Drop::FragmentOverlap));
    assert_eq!(take(24, &whole[24..], false), Err(Drop::FragmentDiscarded), "RFC 5722 §3");
    assert_eq!(table.collecting(), 0);
    let (_, datagram) = table.expired(30 * SECOND).expect("its time is over");
    assert!(datagram.is_none(), "nobody is told");
}

#[test]
fn different_content_of_the_same_range_discards_the_datagram() {
    let mut table = table(8);
    assert_eq!(table.take(0, &fragment(0, &[1; 24], true)), Ok(Taken::Kept));
    assert_eq!(table.take(0, &fragment(0, &[2; 24], true)), Err(Drop::FragmentOverlap));
    assert_eq!(table.take(0, &fragment(24, &[3; 8], false)), Err(Drop::FragmentDiscarded));
}

#[test]
fn two_ends_or_octets_beyond_the_end_discard_the_datagram() {
    let cases: [[(u32, usize, bool); 2]; 4] = [
        [(40, 8, false), (48, 8, true)],
        [(40, 8, false), (24, 8, false)],
        [(40, 8, false), (64, 8, false)],
        [(48, 8, true), (40, 8, false)],
    ];
    for [first, second] in cases {
        let mut table = table(8);
        let octets = payload(8);
        let mut take = |(offset, len, more): (u32, usize, bool)| {
            table.take(0, &fragment(offset, &octets[..len], more))
        };
        assert_eq!(take(first), Ok(Taken::Kept));
        assert_eq!(take(second), Err(Drop::FragmentOverlap), "{first:?} {second:?}");
    }
}

#[test]
fn impossible_fragments_have_their_own_reasons() {
    let mut table = table(8);
    let mut reason = |fragment: Fragment<'_>| table.take(0, &fragment).expect_err("dropped");
    assert_eq!(reason(fragment(0, &[0; 25], true)), Drop::FragmentMalformed, "no whole block");
    assert_eq!(reason(fragment(8, &[], false)), Drop::FragmentMalformed, "empty");
    assert_eq!(reason(fragment(65_528, &[0; 100], false)), Drop::FragmentLength, "RFC 791");
    assert_eq!(reason(fragment(16_384, &[0; 8], true)), Drop::FragmentLength, "ours");
    assert_eq!(table.collecting(), 0, "none of them took a place");
}

#[test]
fn first_fragment_of_ipv6_has_the_whole_header_chain() {
    let source = [0xfd; 16];
    let mut table = table(8);
    let mut take = |id, protocol, octets: &[u8]| {
        let fragment = Fragment { source, id, protocol, ..fragment(0, octets, true) };
        table.take(0, &fragment)
    };
    let mut tcp = [0; 32];
    tcp[12] = 0x80;
    assert_eq!(take(1, PROTOCOL_TCP, &tcp), Ok(Taken::Kept));
    assert_eq!(take(2, PROTOCOL_TCP, &tcp[..24]), Err(Drop::FragmentTiny), "options are cut");
    let mut options = vec![PROTOCOL_TCP, 0, 1, 4, 0, 0, 0, 0];
    options.extend(tcp);
    assert_eq!(take(3, PROTOCOL_DESTINATION_OPTIONS, &options), Ok(Taken::Kept));
    let cut = take(4, PROTOCOL_DESTINATION_OPTIONS, &options[..16]);
    assert_eq!(cut, Err(Drop::FragmentTiny));
    options[1] = 200;
    assert_eq!(take(5, PROTOCOL_DESTINATION_OPTIONS, &options), Err(Drop::FragmentTiny));
}

#[test]
fn next_header_of_later_ipv6_fragments_does_not_count() {
    let mut table = table(8);
    let of = |protocol, offset, octets, more| Fragment {
        source: [0xfd; 16],
        protocol,
        ..fragment(offset, octets, more)
    };
    assert_eq!(table.take(0, &of(99, 24, &[1; 8], false)), Ok(Taken::Kept));
    assert_eq!(table.take(0, &of(58, 0, &[2; 24], true)), Ok(Taken::Completed));
    assert_eq!(table.complete().expect("complete").1.protocol, 58);
}

#[test]
fn datagram_that_stays_incomplete_is_given_up_and_reported_by_its_first_fragment() {
    let mut table = table(8);
    let ipv6 = Fragment { source: [0xfd; 16], ..fragment(0, &[6; 24], true) };
    table.take(0, &ipv6).expect("taken");
    table.take(SECOND, &fragment(0, &[4; 24], true)).expect("taken");
    table.take(SECOND, &Fragment { id: 78, ..fragment(24, &[5; 24], true) }).expect("taken");
    assert_eq!(table.next_expiry(), Some(31 * SECOND));
    assert!(table.expired(31 * SECOND - 1).is_none());
    let mut reported = Vec::new();
    while let Some((at, datagram)) = table.expired(31 * SECOND) {
        reported.push(datagram.map(|datagram| datagram.octets.to_vec()));
        table.free(at);
    }
    reported.sort();
    assert_eq!(reported, [None, Some(vec![4; 24])]);
    assert_eq!(table.next_expiry(), Some(60 * SECOND));
    let (at, datagram) = table.expired(60 * SECOND).expect("expired");
    assert_eq!(datagram.expect("first fragment").octets, [6; 24]);
    table.free(at);
    assert!(table.expired(u64::MAX - 1).is_none());
    assert_eq!((table.next_expiry(), table.collecting()), (None, 0));
}

#[test]
fn flood_of_one_source_evicts_its_own_oldest() {
    let mut table = table(64);
    let other = (3..=255)
        .find(|last| table.sets.of(&ipv4(*last)) != table.sets.of(&ipv4(2)))
        .expect("another set");
    table.take(0, &Fragment { source: ipv4(other), ..fragment(0, &[1; 24], true) }).expect("taken");
    for id in 0..100 {
        let taken = table.take(id.into(), &Fragment { id, ..fragment(0, &[1; 24], true) });
        assert_eq!(taken, Ok(Taken::Kept));
    }
    assert_eq!((table.collecting(), table.evicted()), (9, 92));
    let rest = fragment(24, &[2; 8], false);
    assert_eq!(table.take(100, &Fragment { id: 92, ..rest }), Ok(Taken::Completed), "the newest");
    assert_eq!(table.take(100, &Fragment { source: ipv4(other), ..rest }), Ok(Taken::Completed));
}

#[test]
fn eviction_of_a_complete_datagram_takes_it_out_of_the_queue() {
    let mut table = table(8);
    for id in 0..20 {
        let whole = Fragment { id, ..fragment(0, &[1; 24], true) };
        table.take(id.into(), &whole).expect("taken");
        let rest = Fragment { id, ..fragment(24, &[2; 8], false) };
        assert_eq!(table.take(id.into(), &rest), Ok(Taken::Completed));
    }
    let mut ids = Vec::new();
    while let Some((at, datagram)) = table.complete() {
        ids.push(datagram.id);
        table.free(at);
    }
    assert_eq!(ids, (12..20).collect::<Vec<_>>());
}

#[test]
fn congestion_of_a_fragment_is_the_datagrams() {
    for (codepoints, whole) in [
        (&[0, 0][..], Some(0)),
        (&[2, 2], Some(2)),
        (&[1, 1], Some(1)),
        (&[1, 2], Some(2)),
        (&[2, 3], Some(3)),
        (&[0, 2], Some(0)),
        (&[0, 3], None),
    ] {
        let mut table = table(8);
        let part = |ecn, offset, more| Fragment { ecn, ..fragment(offset, &[1; 24], more) };
        table.take(0, &part(codepoints[0], 0, true)).expect("taken");
        let taken = table.take(0, &part(codepoints[1], 24, false));
        match whole {
            None => assert_eq!(taken, Err(Drop::FragmentEcn)),
            Some(_) => assert_eq!(taken, Ok(Taken::Completed)),
        }
        assert_eq!(table.complete().map(|(_, datagram)| datagram.ecn), whole, "{codepoints:?}");
    }
}
