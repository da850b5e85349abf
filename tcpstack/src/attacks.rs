//! Attacks on a TCP/IP host, and what this stack answers. There is no code here.
//!
//! Tests are in `tests/attacks/` (`.rs`: volume, damaged bytes, statistics) and `tests/scripts/`
//! (`.tcp`: a few packets). Every counter is in [`StackCounters`](crate::StackCounters).
//!
//! # Connections that are not meant
//!
//! | attack | answer | counter | test |
//! |---|---|---|---|
//! | SYN flood (RFC 4987) | a SYN without an entry is answered by a cookie, which costs nothing until its last ACK; a finished handshake takes the place of an unfinished one | `tcp_syn_cookie_sent`, `tcp_syn_evicted` | `cookies.rs`, scripts `cookies/` |
//! | guessed cookies | looked at only while cookies are out, right with 2⁻²⁸ each, reset | `drop_tcp_syn_cookie` | `cookies.rs` |
//! | connections without end | as many as there are TCBs; then SYNs are dropped. What a client may hold is its application's to say: MQTT has its keep-alive and a limit before CONNECT | `drop_tcp_connections_full` | `handshake/full_table_of_connections_drops_syns` |
//! | SYN with data | the data is not acknowledged, so not kept | | `malformed.rs`, `attacks/syn_data_is_not_taken` |
//! | SYN from where no route leads back | dropped before it takes an entry | `drop_tcp_unreachable` | `refusal.rs` |
//! | land: both ends are ours | dropped | `drop_ipv4_source`, `drop_ipv6_source` | `malformed.rs`, `attacks/land` |
//! | from or to broadcast and multicast, martians | dropped without an answer (RFC 1122 §4.2.3.10) | `drop_ipv4_source`, `drop_ipv4_destination`, `drop_ethernet_destination` | `malformed.rs` |
//! | NULL, XMAS, SYN FIN, SYN RST | open nothing, and get no answer from a listener; a closed port resets as RFC 9293 §3.10.7.1 has it | `drop_tcp_listen`, `drop_tcp_ack_missing` | `malformed.rs`, `attacks/xmas_*` |
//! | from port 0 | dropped; to port 0: reset | `drop_tcp_port` | `malformed.rs` |
//!
//! # Blind: the attacker does not see the connection
//!
//! | attack | answer | counter | test |
//! |---|---|---|---|
//! | RST (RFC 5961 §3) | believed at RCV.NXT alone; in the window questioned; else dropped | `drop_tcp_reset`, `tcp_challenge_ack` | `blind.rs` |
//! | SYN (§4) | questioned, whatever its number | `drop_tcp_syn` | `blind.rs` |
//! | data (§5) | its acknowledgment must lie in MAX.SND.WND before SND.UNA up to SND.NXT | `drop_tcp_ack` | `blind.rs` |
//! | counting challenge ACKs (CVE-2016-5696) | ten in five seconds for each connection and for each passive open. On purpose there is no limit for all: whatever is shared can be counted by everybody. Their sum is bounded by what comes in, one for one | `tcp_challenge_ack_limited` | `blind.rs` |
//! | guessing initial sequence numbers | SipHash of the flow and a clock of 4 µs (RFC 9293 §3.4.1) | | `blind.rs` |
//! | reset of TIME-WAIT (RFC 1337) | ignored | `drop_tcp_time_wait` | `attacks/time_wait_is_not_assassinated` |
//! | ICMP (RFC 5927) | about octets in flight alone; unreachables end nothing; narrow paths are doubted until data is lost | `path_mtu_doubted`, `path_mtu_disproved` | scripts `mtu/`, `icmp/` |
//!
//! # Peers that want too much
//!
//! | attack | answer | counter | test |
//! |---|---|---|---|
//! | optimistic ACK | beyond SND.NXT refused. An ACK of what is on its way but not arrived cannot be told from an honest one: the peer loses what it skips, and gets no more than the send buffer holds | `drop_tcp_ack` | `sender.rs`, `attacks/optimistic_ack_is_refused` |
//! | ACK division | octets count, not acknowledgments (RFC 3465) | | `sender.rs` |
//! | duplicate ACKs without end | no more than what was in flight leaves for them | | `sender.rs` |
//! | SACK blocks tiny, torn, impossible (CVE-2019-11477, -11478) | bounded records, ignored beyond what was sent; nothing is cut to their size | | `sender.rs`, `attacks/sack_of_what_was_never_sent` |
//! | ECN marks and echoes without end | the window is reduced once a window, never below a segment or two | `tcp_ecn_reduction` | `ecn.rs` |
//! | tiny MSS (CVE-2019-11479) | segments are cut to 88 octets at the least | | `sender.rs`, `attacks/tiny_mss_is_not_believed` |
//! | tiny windows, silly window | slivers are not used (RFC 9293 §3.8.6.2.1) | | `sender.rs`, `attacks/tiny_window_gets_no_slivers` |
//! | window taken back | respected, and probed | `tcp_window_probe` | `attacks/window_taken_back_is_not_overrun` |
//! | window closed for ever (slow reader) | its right while chunks last (MUST-37); when they are short it is reset after seven probes; without an application after the user timeout | `tcp_stalled`, `tcp_timed_out` | `memory.rs` |
//! | holes never filled (slow sender) | chunks of a connection are bounded, and data behind an old hole is dropped when they are short; data in order always has room | `tcp_hole_reclaimed`, `drop_tcp_chunks` | `memory.rs` |
//! | single octets out of order | no chunk for each | `drop_tcp_chunks` | `memory.rs` |
//! | FIN-WAIT-2, CLOSING, LAST-ACK held | a minute; R2 | `tcp_timed_out` | `attacks/fin_wait_2_*`, `attacks/last_ack_*` |
//! | overlapping segments of different content | the first octets are delivered | | `attacks/overlap_*` |
//! | TIME-WAIT without end | the oldest makes room | `tcp_time_wait_evicted` | scripts `time_wait/` |
//!
//! # Packets that are not right
//!
//! | attack | answer | counter | test |
//! |---|---|---|---|
//! | lengths that contradict each other, cut frames (AMNESIA:33) | dropped | `drop_*_malformed`, `drop_ethernet_short` | `malformed.rs`, fuzzing |
//! | padding that looks like data (EtherLeak and its reverse) | cut off by the total length; what we send has none | | `malformed.rs` |
//! | checksums | dropped | `drop_*_checksum` | `malformed.rs` |
//! | IP options: source routes | dropped | `drop_ipv4_source_route` | `malformed.rs` |
//! | IP options: record route, malformed | passed over; dropped | `ipv4_options`, `drop_ipv4_malformed` | `malformed.rs` |
//! | TCP options of length 0, overrun, forty NOPs | dropped, dropped, harmless | `drop_tcp_options` | `malformed.rs` |
//! | urgent pointers (URGENT/11: CVE-2019-12255, -12260, -12261, -12263) | never followed: urgent data is data (RFC 6093) | | `malformed.rs`, `attacks/urgent_*` |
//! | chains of IPv6 extension headers, routing headers, options that want an answer | bounded, dropped, answered as RFC 8200 says within limits | `drop_ipv6_extension_headers`, `drop_ipv6_routing`, `drop_ipv6_option` | `attacks/ipv6_*` |
//! | fragments: tiny, overlapping, never complete | RFC 5722 for both families; few, for a short time | `drop_fragment_*` | scripts `fragments/` |
//! | DNS answers (NAME:WRECK) | there is no DNS here, nor DHCP, IGMP or any other protocol on UDP | `drop_ipv4_protocol` | scripts `link/` |
//!
//! # The link
//!
//! | attack | answer | counter | test |
//! |---|---|---|---|
//! | ARP and NDP floods | the table is bounded, and who is in use keeps its place | `neighbor_evicted`, `neighbor_refused` | `neighbors.rs` |
//! | SYNs from hosts that are not there | questions are bounded; an answer is learnt whatever waits | `neighbor_unresolved` | `neighbors.rs` |
//! | ARP replies and advertisements that nobody asked for | a neighbour is remembered that asked for us or was asked for (RFC 826, RFC 4861 §7.2.5), on every shard | `drop_arp_foreign`, `drop_ndp_foreign` | `neighbors.rs`, scripts `arp/`, `ndp/` |
//! | another machine with our address (RFC 5227) | counted; never learnt | `arp_conflict` | scripts `link/` |
//! | a neighbour's address taken by another machine | ARP has no proof: believed, as by every host. Whoever can send it owns the link anyway | | scripts `link/neighbour_that_moved_is_followed` |
