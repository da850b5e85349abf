use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const MAC: Mac = [2, 0, 0, 0, 0, 2];
const SECOND: u64 = 1_000_000_000;

fn table(capacity: u32) -> Neighbors {
    Neighbors::create(capacity, &[7; 16], Placement::default()).expect("table")
}

fn known(table: &mut Neighbors, now_ns: u64) -> Option<Mac> {
    table.resolve(now_ns, PEER, u16::MAX).known.map(|(mac, _)| mac)
}

#[test]
fn unknown_neighbour_is_asked_for_once_a_second_until_it_answers() {
    let mut table = table(16);
    let ask = |table: &mut Neighbors, now_ns| table.resolve(now_ns, PEER, u16::MAX).ask;
    assert_eq!(ask(&mut table, 0), Some(BROADCAST));
    assert_eq!(ask(&mut table, SECOND - 1), None);
    assert_eq!(ask(&mut table, SECOND), Some(BROADCAST));
    assert_eq!(table.learn(SECOND, PEER, MAC, false), Learnt::Answered);
    let resolution = table.resolve(SECOND, PEER, u16::MAX);
    let (mac, place) = resolution.known.expect("known");
    assert_eq!((mac, resolution.ask), (MAC, None));
    assert_eq!(table.resolve(SECOND, PEER, place), resolution, "by its place");
    assert_eq!(table.resolve(SECOND, PEER, place ^ 1), resolution, "by a wrong place");
}

#[test]
fn unanswered_question_is_forgotten() {
    let mut table = table(16);
    table.resolve(5, PEER, u16::MAX);
    assert_eq!(table.next_expiry(), Some(5 + ASKING_NS));
    table.expire(4 + ASKING_NS);
    assert_eq!(table.learn(6, PEER, MAC, false), Learnt::Answered);
    table.expire(u64::MAX);
    assert_eq!(known(&mut table, 7), Some(MAC), "who has answered stays");
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn strangers_are_ignored_and_those_who_ask_us_remembered() {
    let mut table = table(16);
    assert_eq!(table.learn(0, PEER, MAC, false), Learnt::Ignored);
    assert_eq!(table.learn(0, PEER, MAC, true), Learnt::Known);
    let moved = [2, 0, 0, 0, 0, 3];
    assert_eq!(table.learn(1, PEER, moved, false), Learnt::Known);
    assert_eq!((known(&mut table, 1), table.known()), (Some(moved), 1));
}

#[test]
fn old_knowledge_is_doubted_polled_then_asked_of_everybody_and_used_meanwhile() {
    let mut table = table(16);
    table.learn(0, PEER, MAC, true);
    let start = REACHABLE_NS + 2;
    let seconds = |table: &mut Neighbors, seconds: std::ops::Range<u64>| -> Vec<Option<Mac>> {
        let ask = |second| {
            let resolution = table.resolve(start + second * SECOND, PEER, u16::MAX);
            assert_eq!(resolution.known.map(|(mac, _)| mac), Some(MAC));
            resolution.ask
        };
        seconds.map(ask).collect()
    };
    assert_eq!(seconds(&mut table, 0..5), [None; 5], "DELAY");
    let (poll, everybody) = (Some(MAC), Some(BROADCAST));
    assert_eq!(seconds(&mut table, 5..10), [poll, poll, poll, everybody, everybody]);
    table.learn(start + 10 * SECOND, PEER, MAC, false);
    assert_eq!(table.resolve(start + 16 * SECOND, PEER, u16::MAX).ask, None);
}

#[test]
fn progress_of_tcp_keeps_a_neighbour_from_being_asked() {
    let mut table = table(16);
    table.learn(0, PEER, MAC, true);
    let (_, place) = table.resolve(0, PEER, NO_HINT).known.expect("known");
    assert!(!table.is_aging(SECOND, place) && table.is_aging(2 * SECOND, place));
    for second in 0..200 {
        assert_eq!(table.resolve(second * SECOND, PEER, place).ask, None, "{second}");
        table.confirm(second * SECOND, PEER, place);
    }
    table.confirm(201 * SECOND, IpAddr::from([10, 0, 0, 3]), place);
    assert!(table.is_aging(202 * SECOND, place), "another address is another neighbour");
    assert!(!table.is_aging(u64::MAX, NO_HINT));
}

#[test]
fn own_questions_displace_whom_we_only_heard_then_questions_then_the_longest_unused() {
    let mut table = table(8);
    let peer = |last| IpAddr::from([10, 0, 0, last]);
    for last in 1..=7 {
        table.learn(u64::from(last), peer(last), MAC, true);
        if last > 2 {
            table.resolve(u64::from(last), peer(last), NO_HINT);
        }
    }
    table.resolve(100, peer(8), NO_HINT);
    for (last, gone) in [(9, 1), (10, 2), (11, 8), (12, 9)] {
        table.resolve(200 + u64::from(last), peer(last), NO_HINT);
        assert!(table.find(&ip::octets(peer(gone))).is_none(), "{last} for {gone}");
        assert!(table.find(&ip::octets(peer(last))).is_some());
    }
    for last in [10, 11, 12] {
        table.learn(300, peer(last), MAC, false);
        table.resolve(300, peer(last), NO_HINT);
    }
    table.resolve(301, peer(3), NO_HINT);
    table.resolve(302, peer(13), NO_HINT);
    assert!(table.find(&ip::octets(peer(4))).is_none(), "longest unused");
    assert!(table.find(&ip::octets(peer(3))).is_some(), "used lately");
}

#[test]
fn flood_of_strangers_disturbs_neither_neighbours_in_use_nor_questions() {
    let mut table = table(16);
    let used: Vec<IpAddr> = (0..5).map(|last| IpAddr::from([10, 0, 0, last])).collect();
    for ip in &used {
        table.learn(0, *ip, MAC, true);
        table.resolve(SECOND, *ip, NO_HINT);
    }
    let asked = IpAddr::from([10, 0, 0, 9]);
    table.resolve(SECOND, asked, NO_HINT);
    for at in 0..100_000_u32 {
        let stranger = IpAddr::from(Ipv6Addr::from_bits(0xfd54 << 112 | u128::from(at)));
        table.hear(2 * SECOND, stranger, MAC, true);
    }
    assert!(table.known() <= 15);
    for ip in &used {
        assert!(table.find(&ip::octets(*ip)).is_some(), "{ip} is in use");
    }
    assert_eq!(table.learn(2 * SECOND, asked, MAC, false), Learnt::Answered);
}

#[test]
fn stranger_has_the_place_of_who_is_idle_but_of_nobody_in_use() {
    let mut table = table(8);
    let peer = |last| IpAddr::from([10, 0, 0, last]);
    for last in 0..8 {
        table.learn(0, peer(last), MAC, true);
        table.resolve(SECOND, peer(last), NO_HINT);
    }
    assert_eq!(table.hear(SECOND + IN_USE_NS, peer(9), MAC, true), Learnt::Ignored);
    assert_eq!(table.refused(), 1);
    assert_eq!(table.hear(SECOND + IN_USE_NS + 1, peer(9), MAC, true), Learnt::Known);
    assert_eq!((table.known(), table.evicted()), (8, 1));
}

/// RFC 4861 §7.2.3.
#[test]
fn who_is_heard_is_used_at_once_and_verified_when_in_use() {
    let mut table = table(16);
    assert_eq!(table.hear(SECOND, PEER, MAC, true), Learnt::Known);
    assert_eq!(table.hear(SECOND, PEER, MAC, true), Learnt::Ignored, "nothing new");
    assert_eq!(known(&mut table, 2 * SECOND), Some(MAC));
    assert_eq!(table.resolve(6 * SECOND, PEER, NO_HINT).ask, None, "DELAY");
    assert_eq!(table.resolve(7 * SECOND, PEER, NO_HINT).ask, Some(MAC), "PROBE");
    table.learn(8 * SECOND, PEER, MAC, false);
    assert_eq!(table.hear(9 * SECOND, PEER, [2; 6], true), Learnt::Known);
    assert_eq!(known(&mut table, 10 * SECOND), Some([2; 6]), "it has moved");
    assert_eq!(table.resolve(15 * SECOND, PEER, NO_HINT).ask, Some([2; 6]), "is it true?");
}

/// The table of RFC 4861 §7.2.5 and appendix C.
#[test]
fn advertisements_change_what_their_flags_allow() {
    let peer = Ipv6Addr::from_bits(0xfd54 << 112 | 2);
    let other: Mac = [2, 0, 0, 0, 0, 9];
    let message = |mac, solicited, overrides| Claim { mac, solicited, overrides };
    let fresh = |was_known: bool| {
        let mut table = table(16);
        if was_known {
            table.learn(SECOND, peer.into(), MAC, true);
        }
        table.resolve(SECOND, peer.into(), NO_HINT);
        table
    };
    let mut empty = table(16);
    let stranger = message(Some(MAC), true, true);
    assert_eq!(empty.advertised(SECOND, peer.into(), stranger), Learnt::Ignored, "nobody asked");

    // Known before, the message, what it changed, the address afterwards, whether it is trusted.
    let cases = [
        (false, message(None, true, true), Learnt::Ignored, None, false),
        (false, message(Some(MAC), true, false), Learnt::Answered, Some(MAC), true),
        (false, message(Some(MAC), false, true), Learnt::Answered, Some(MAC), false),
        (true, message(Some(other), false, false), Learnt::Ignored, Some(MAC), false),
        (true, message(Some(other), true, false), Learnt::Ignored, Some(MAC), false),
        (true, message(Some(other), true, true), Learnt::Known, Some(other), true),
        (true, message(Some(other), false, true), Learnt::Known, Some(other), false),
        (true, message(Some(MAC), true, false), Learnt::Known, Some(MAC), true),
        (true, message(Some(MAC), false, true), Learnt::Known, Some(MAC), true),
        (true, message(None, true, true), Learnt::Known, Some(MAC), true),
    ];
    for (at, (was_known, message, learnt, mac, trusted)) in cases.into_iter().enumerate() {
        let mut table = fresh(was_known);
        assert_eq!(table.advertised(2 * SECOND, peer.into(), message), learnt, "case {at}");
        let resolution = table.resolve(2 * SECOND, peer.into(), NO_HINT);
        assert_eq!(resolution.known.map(|(mac, _)| mac), mac, "case {at}");
        let place = table.find(&ip::octets(peer.into())).expect("there");
        assert_eq!(table.places[place].is_reachable(2 * SECOND), trusted, "case {at}");
    }
}

#[test]
fn questions_at_the_same_time_are_bounded() {
    let mut table = table(32_768);
    for at in 0..1_000_u32 {
        table.resolve(0, Ipv4Addr::from(0x0a01_0000 + at).into(), u16::MAX);
    }
    assert_eq!(table.asking.len(), ASKING_MAX);
    assert_eq!(known(&mut table, 0), None);
    assert_eq!(table.learn(0, PEER, MAC, false), Learnt::Ignored, "it was not asked for");
    table.make_room_to_ask(PEER);
    assert_eq!(known(&mut table, 0), None);
    table.make_room_to_ask(PEER);
    assert_eq!(table.asking.len(), ASKING_MAX, "the oldest question was given up, once");
    assert_eq!(table.learn(0, PEER, MAC, false), Learnt::Answered);
}

#[test]
fn questions_are_given_up_although_they_are_asked_again_and_again() {
    let mut table = table(16);
    for at in 0..30 {
        table.resolve(at * SECOND / 10, PEER, NO_HINT);
    }
    assert_eq!(table.asking.len(), 1);
    table.expire(3 * SECOND);
    assert_eq!(table.asking.len(), 0, "others want its place");
}
