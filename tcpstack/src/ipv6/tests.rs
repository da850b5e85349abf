use super::*;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 2);
const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 1);

/// A packet that begins with the header `next`.
fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    let header = ip::Header {
        source: SOURCE.into(),
        destination: DESTINATION.into(),
        protocol: next,
        traffic_class: 0xb9,
        flow_label: 0xabcde,
        hop_limit: 64,
        payload_bytes: payload.len(),
        part: None,
    };
    header.emit(&mut bytes);
    bytes.extend(payload);
    bytes
}

fn walked(next: u8, payload: &[u8]) -> Result<Payload, Refusal> {
    let mut bytes = packet(next, payload);
    bytes.extend([0xee; 6]);
    walk(&bytes, &parse(&bytes).expect("valid"))
}

fn refused(next: u8, payload: &[u8]) -> (Drop, Option<(u8, u16)>) {
    let refusal = walked(next, payload).expect_err("refused");
    (refusal.reason, refusal.problem.map(|problem| (problem.code, problem.pointer)))
}

/// An options header with these options, padded, before what `next` is.
fn options(next: u8, options: &[u8]) -> Vec<u8> {
    let mut header = vec![next, 0];
    header.extend(options);
    header.resize(header.len().next_multiple_of(8), 0);
    header[1] = (header.len() / 8 - 1) as u8;
    header
}

fn chain(headers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = headers.concat();
    bytes.extend([0; 20]);
    bytes
}

#[test]
fn emitted_header_parses_and_padding_is_left_out() {
    let mut bytes = packet(protocol::TCP, &[0; 20]);
    bytes.extend([0xee; 6]);
    assert_eq!(bytes[..8], [0x6b, 0x9a, 0xbc, 0xde, 0, 20, 6, 64]);
    let parsed = parse(&bytes).expect("valid");
    assert_eq!((parsed.source, parsed.destination), (SOURCE, DESTINATION));
    assert_eq!((parsed.hop_limit, parsed.packet_bytes), (64, 60));
    let payload = walk(&bytes, &parsed).expect("valid");
    assert_eq!((payload.protocol, payload.range), (protocol::TCP, 40..60));
    assert_eq!((payload.part, payload.was_fragment), (None, false));
}

#[test]
fn malformed_headers_and_impossible_senders_are_refused() {
    let reason = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = packet(protocol::TCP, &[0; 20]);
        damage(&mut bytes);
        parse(&bytes).expect_err("dropped")
    };
    let from = |text: &str| {
        let source: Ipv6Addr = text.parse().expect("address");
        reason(&|bytes| bytes[8..24].copy_from_slice(&source.octets()))
    };
    assert_eq!(reason(&|bytes| bytes.truncate(39)), Drop::Ipv6Malformed);
    assert_eq!(reason(&|bytes| bytes.truncate(59)), Drop::Ipv6Malformed);
    assert_eq!(reason(&|bytes| bytes[0] = 0x40), Drop::Ipv6Malformed);
    for source in ["ff02::1", "::1", "::ffff:10.0.0.2"] {
        assert_eq!(from(source), Drop::Ipv6Source, "{source}");
    }
}

#[test]
fn known_extension_headers_are_passed_over_in_any_order() {
    let hop_by_hop = options(DESTINATION_OPTIONS, &[OPTION_ROUTER_ALERT, 2, 0, 0]);
    let destination = options(ROUTING, &[OPTION_PADN, 2, 0, 0]);
    let routing = [FRAGMENT, 0, 0, 0, 0, 0, 0, 0];
    let whole = [DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 9];
    let last = options(protocol::TCP, &[0x1e, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let bytes = chain(&[&hop_by_hop, &destination, &routing, &whole, &last]);
    let payload = walked(HOP_BY_HOP, &bytes).expect("valid");
    assert_eq!((payload.protocol, payload.range), (protocol::TCP, 88..108));
    assert_eq!((payload.part, payload.was_fragment), (None, true));
    assert_eq!(payload.protocol_at, 72);
}

#[test]
fn hop_by_hop_is_only_first() {
    let bytes = chain(&[&options(HOP_BY_HOP, &[]), &options(protocol::TCP, &[])]);
    let told = Some((PROBLEM_NEXT_HEADER, 40));
    assert_eq!(refused(DESTINATION_OPTIONS, &bytes), (Drop::Ipv6Protocol, told));
}

#[test]
fn unknown_options_do_what_their_bits_say() {
    let with = |option: u8| options(protocol::TCP, &[OPTION_PAD1, option, 1, 7]);
    assert!(walked(DESTINATION_OPTIONS, &chain(&[&with(0x1e)])).is_ok());
    assert_eq!(refused(DESTINATION_OPTIONS, &chain(&[&with(0x5e)])), (Drop::Ipv6Option, None));
    for (option, for_groups) in [(0x9e, true), (0xde, false)] {
        for kind in [HOP_BY_HOP, DESTINATION_OPTIONS] {
            let refusal = walked(kind, &chain(&[&with(option)])).expect_err("refused");
            let problem = Problem { code: PROBLEM_OPTION, pointer: 43, for_groups };
            assert_eq!(refusal, Refusal { reason: Drop::Ipv6Option, problem: Some(problem) });
        }
    }
}

#[test]
fn routing_headers_with_a_way_to_go_are_refused() {
    for kind in [0, 2, 3, 4, 253] {
        let done = [protocol::TCP, 0, kind, 0, 0, 0, 0, 0];
        assert!(walked(ROUTING, &chain(&[&done])).is_ok(), "{kind}");
        let ahead = [protocol::TCP, 0, kind, 1, 0, 0, 0, 0];
        let told = Some((PROBLEM_FIELD, 42));
        assert_eq!(refused(ROUTING, &chain(&[&ahead])), (Drop::Ipv6Routing, told), "{kind}");
    }
}

#[test]
fn fragments_are_told_apart_from_whole_packets() {
    let header = |offset: u16, more: u16| {
        let [high, low] = (offset | more).to_be_bytes();
        [protocol::TCP, 0, high, low, 0, 0, 1, 2]
    };
    let part = |offset: u16, more: u16| {
        let payload = walked(FRAGMENT, &[&header(offset, more)[..], &[7; 16]].concat());
        payload.expect("valid")
    };
    assert_eq!(part(0, 1).part, Some(Part { id: 0x102, offset: 0, more: true }));
    assert_eq!(part(1_232, 0).part, Some(Part { id: 0x102, offset: 1_232, more: false }));
    assert_eq!((part(8, 1).protocol, part(8, 1).range), (protocol::TCP, 48..64));
    assert!(part(0, 0).part.is_none() && part(0, 0).was_fragment);

    let odd = [&header(0, 1)[..], &[7; 17]].concat();
    assert_eq!(refused(FRAGMENT, &odd), (Drop::Ipv6Fragment, Some((PROBLEM_FIELD, 4))));
    let beyond = [&header(0xfff8, 0)[..], &[7; 16]].concat();
    assert_eq!(refused(FRAGMENT, &beyond), (Drop::Ipv6Fragment, Some((PROBLEM_FIELD, 42))));
}

#[test]
fn what_nobody_knows_is_told_where_it_stands() {
    // ESP, AH, an experiment.
    for next in [50, 51, 253] {
        let told = Some((PROBLEM_NEXT_HEADER, 6));
        assert_eq!(refused(next, &[0; 20]), (Drop::Ipv6Protocol, told));
        let behind = chain(&[&options(next, &[])]);
        let told = Some((PROBLEM_NEXT_HEADER, 40));
        assert_eq!(refused(DESTINATION_OPTIONS, &behind), (Drop::Ipv6Protocol, told));
    }
    assert_eq!(refused(NO_NEXT_HEADER, &[0; 20]), (Drop::Ipv6NoPayload, None));
}

#[test]
fn chains_are_bounded_in_headers_bytes_and_options() {
    let chained = |count: usize, header: &[u8]| {
        let mut bytes = header.repeat(count);
        let last = bytes.len() - header.len();
        bytes[last] = protocol::TCP;
        bytes.extend([0; 20]);
        bytes
    };
    let small = options(DESTINATION_OPTIONS, &[]);
    let limit = (Drop::Ipv6ExtensionHeaders, None);
    assert!(walked(DESTINATION_OPTIONS, &chained(EXTENSION_HEADERS_MAX, &small)).is_ok());
    let more = chained(EXTENSION_HEADERS_MAX + 1, &small);
    assert_eq!(refused(DESTINATION_OPTIONS, &more), limit);

    let large = options(
        DESTINATION_OPTIONS,
        &[OPTION_PADN, 252].into_iter().chain([0; 252]).collect::<Vec<u8>>(),
    );
    assert!(walked(DESTINATION_OPTIONS, &chained(2, &large)).is_ok());
    assert_eq!(refused(DESTINATION_OPTIONS, &chained(3, &large)), limit);

    let padded = |count| options(protocol::TCP, &[OPTION_PADN, 0].repeat(count));
    assert!(walked(DESTINATION_OPTIONS, &chain(&[&padded(OPTIONS_MAX)])).is_ok());
    assert_eq!(refused(DESTINATION_OPTIONS, &chain(&[&padded(OPTIONS_MAX + 1)])), limit);
}

#[test]
fn headers_cut_short_anywhere_are_malformed() {
    let bytes = chain(&[
        &options(ROUTING, &[0x1e, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        &[FRAGMENT, 0, 0, 0, 0, 0, 0, 0],
        &[protocol::TCP, 0, 0, 0, 0, 0, 0, 9],
    ]);
    for len in 0..bytes.len() - 20 {
        assert_eq!(
            refused(DESTINATION_OPTIONS, &bytes[..len]),
            (Drop::Ipv6Malformed, None),
            "{len}"
        );
    }
    let beyond = options(protocol::TCP, &[0x1e, 5, 0, 0]);
    assert_eq!(refused(DESTINATION_OPTIONS, &chain(&[&beyond])), (Drop::Ipv6Malformed, None));
}
