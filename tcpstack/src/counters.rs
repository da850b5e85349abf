//! What the stack counts. A metric's name is `trunkline_tcpstack_<field>_<unit>_total`.

use superpage::counters;

counters! {
    /// Counters of one stack. Invariant: `received` = `accepted` + every `drop_*`.
    pub struct StackCounters {
        /// Frames given to the stack.
        received: frames,
        /// Frames the stack took.
        accepted: frames,
        /// Frames dropped: shorter than an Ethernet header.
        drop_ethernet_short: frames,
        /// Frames dropped: for another MAC address, or a group the stack is not in.
        drop_ethernet_destination: frames,
        /// Frames dropped: neither ARP nor IP.
        drop_ethernet_type: frames,
        /// Frames dropped: of another network of IEEE 802.1Q than the port's.
        drop_ethernet_vlan: frames,
        /// Frames dropped: malformed ARP.
        drop_arp_malformed: frames,
        /// Frames dropped: ARP that concerns none of the stack's addresses and no known neighbour.
        drop_arp_foreign: frames,
        /// Frames dropped: ARP of a sender whose address is on no network of the stack.
        drop_arp_sender: frames,
        /// Frames dropped: ARP requests beyond the queue of replies.
        drop_arp_queue_full: frames,
        /// Frames dropped: IPv4 header cut short, of a wrong version or with impossible lengths.
        drop_ipv4_malformed: frames,
        /// Frames dropped: wrong IPv4 header checksum.
        drop_ipv4_checksum: frames,
        /// Frames dropped: IPv4 source routes.
        drop_ipv4_source_route: frames,
        /// Frames dropped: IPv4 for an address that is not the stack's.
        drop_ipv4_destination: frames,
        /// Frames dropped: IPv4 from a group, broadcast, loopback or own address.
        drop_ipv4_source: frames,
        /// Frames dropped: IPv4 with none of TCP, UDP and ICMP.
        drop_ipv4_protocol: frames,
        /// Frames dropped: IPv6 header cut short, of a wrong version or with an impossible length.
        drop_ipv6_malformed: frames,
        /// Frames dropped: IPv6 for an address that is not the stack's.
        drop_ipv6_destination: frames,
        /// Frames dropped: IPv6 from a group, loopback, IPv4-mapped or own address.
        drop_ipv6_source: frames,
        /// Frames dropped: IPv6 with a header or payload of an unknown kind.
        drop_ipv6_protocol: frames,
        /// Frames dropped: fragments that are empty, or not the last and no multiple of 8 octets.
        drop_fragment_malformed: frames,
        /// Frames dropped: first fragments without a whole TCP or ICMP header.
        drop_fragment_tiny: frames,
        /// Frames dropped: fragments that end beyond the largest datagram reassembled.
        drop_fragment_length: frames,
        /// Frames dropped: fragments that overlap others with other octets, or end elsewhere.
        drop_fragment_overlap: frames,
        /// Frames dropped: fragments of a datagram discarded before.
        drop_fragment_discarded: frames,
        /// Frames dropped: fragments whose ECN codepoints contradict each other.
        drop_fragment_ecn: frames,
        /// Frames dropped: IPv6 fragments with impossible lengths, or around what cannot be in parts.
        drop_ipv6_fragment: frames,
        /// Frames dropped: IPv6 options that forbid to go on without knowing them.
        drop_ipv6_option: frames,
        /// Frames dropped: IPv6 routing headers that go on to elsewhere.
        drop_ipv6_routing: frames,
        /// Frames dropped: IPv6 with more extension headers or options than are looked at.
        drop_ipv6_extension_headers: frames,
        /// Frames dropped: IPv6 headers without a payload.
        drop_ipv6_no_payload: frames,
        /// Frames dropped: IPv6 for an own address that is not in use yet, or another station's.
        drop_ipv6_tentative: frames,
        /// Frames dropped: neighbour discovery that breaks a rule of RFC 4861 §7.1.
        drop_ndp_malformed: frames,
        /// Frames dropped: neighbour discovery that concerns none of the stack's addresses and no
        /// known neighbour.
        drop_ndp_foreign: frames,
        /// Frames dropped: messages of routers and redirects; routes are the operator's.
        drop_ndp_router: frames,
        /// Frames dropped: neighbour solicitations beyond the queue of answers.
        drop_ndp_queue_full: frames,
        /// Frames dropped: UDP with a wrong length or checksum.
        drop_udp_malformed: frames,
        /// Frames dropped: UDP, for which nobody listens.
        drop_udp_port: frames,
        /// Frames dropped: ICMP cut short.
        drop_icmp_malformed: frames,
        /// Frames dropped: wrong ICMP checksum.
        drop_icmp_checksum: frames,
        /// Frames dropped: ICMP messages of other types.
        drop_icmp_type: frames,
        /// Frames dropped: ICMP errors about no connection of ours.
        drop_icmp_flow: frames,
        /// Frames dropped: ICMP errors about octets that are not under way.
        drop_icmp_sequence: frames,
        /// Frames dropped: ICMP reports of an MTU that is impossible, or not smaller than what is used.
        drop_icmp_mtu: frames,
        /// Frames dropped: echo requests beyond the queue of replies.
        drop_icmp_queue_full: frames,
        /// Frames dropped: TCP header cut short or with an impossible length.
        drop_tcp_malformed: frames,
        /// Frames dropped: TCP options with impossible lengths.
        drop_tcp_options: frames,
        /// Frames dropped: wrong TCP checksum.
        drop_tcp_checksum: frames,
        /// Frames dropped: TCP from port 0.
        drop_tcp_port: frames,
        /// Frames dropped: SYNs, and last ACKs, after `refuse_new`; reset.
        drop_tcp_refused: frames,
        /// Frames dropped: SYNs of peers to whom no route leads back.
        drop_tcp_unreachable: frames,
        /// Frames dropped: segments for no connection and no listener.
        drop_tcp_no_connection: frames,
        /// Frames dropped: segments for a listener that do not open a connection.
        drop_tcp_listen: frames,
        /// Frames dropped: SYNs beyond the table of passive opens.
        drop_tcp_syn_full: frames,
        /// Frames dropped: acknowledgments for a listener that are no SYN cookie; reset.
        drop_tcp_syn_cookie: frames,
        /// Frames dropped: SYNs, and last ACKs of SYN cookies, beyond the table of connections.
        drop_tcp_connections_full: frames,
        /// Frames dropped: segments outside the receive window.
        drop_tcp_window: frames,
        /// Frames dropped: segments with an old timestamp (PAWS).
        drop_tcp_paws: frames,
        /// Frames dropped: segments without the negotiated timestamp.
        drop_tcp_timestamp_missing: frames,
        /// Frames dropped: resets that are not at the next expected octet.
        drop_tcp_reset: frames,
        /// Frames dropped: SYNs on a synchronized connection.
        drop_tcp_syn: frames,
        /// Frames dropped: segments without an acknowledgment.
        drop_tcp_ack_missing: frames,
        /// Frames dropped: acknowledgments of what was not sent or long ago.
        drop_tcp_ack: frames,
        /// Frames dropped: data in the window for which there was no chunk; unacknowledged.
        drop_tcp_chunks: frames,
        /// Frames dropped: data after the application had closed, or after the peer's FIN.
        drop_tcp_closed: frames,
        /// Frames dropped: segments for a connection in TIME-WAIT that change nothing.
        drop_tcp_time_wait: frames,

        /// Frames handed to the port.
        sent: frames,
        /// Bytes of frames handed to the port.
        sent_frame: bytes,
        /// ARP requests sent.
        arp_request_sent: frames,
        /// ARP replies sent.
        arp_reply_sent: frames,
        /// ARP messages in which another machine uses one of the stack's addresses.
        arp_conflict: frames,
        /// Announcements that defended one of the stack's addresses.
        arp_defended: announcements,
        /// Neighbour solicitations sent, probes for own addresses included.
        ndp_solicitation_sent: frames,
        /// Neighbour advertisements sent.
        ndp_advertisement_sent: frames,
        /// Neighbour advertisements of another station for an address that the stack uses.
        ndp_conflict: frames,
        /// Own addresses not used because another station has them.
        ndp_duplicate: addresses,
        /// Neighbours forgotten for a new one.
        neighbor_evicted: entries,
        /// Neighbours heard and not remembered: those in use have every place they could have.
        neighbor_refused: entries,
        /// Frames not sent because the next hop's MAC address is not known.
        neighbor_unresolved: frames,
        /// Frames kept until the next hop's MAC address is known.
        neighbor_held: frames,
        /// IPv4 packets with options, which are ignored.
        ipv4_options: packets,
        /// ICMP echo requests answered.
        icmp_echo: requests,
        /// ICMP errors about a connection after which trying again will not help. They end only
        /// connections that are being opened.
        icmp_hard_error: messages,
        /// ICMP errors about a connection after which trying again may help.
        icmp_soft_error: messages,
        /// ICMP source quenches, which are ignored.
        icmp_source_quench: messages,
        /// Fragments received again.
        fragment_duplicate: fragments,
        /// Datagrams reassembled.
        fragment_reassembled: datagrams,
        /// Datagrams given up: their fragments did not all come in time.
        fragment_expired: datagrams,
        /// Datagrams given up for others.
        fragment_evicted: datagrams,
        /// Datagrams reassembled that the caller had no room for.
        fragment_oversized: datagrams,
        /// Connections that use smaller segments because ICMP reported a narrow path.
        path_mtu_reduced: connections,
        /// ICMP reports of a narrow path that are not believed yet.
        path_mtu_doubted: messages,
        /// ICMP reports of a narrow path that turned out not to be true.
        path_mtu_disproved: messages,
        /// Times a connection tried smaller segments because full ones vanish.
        path_mtu_guessed: connections,
        /// Connections that try full segments again.
        path_mtu_raised: connections,
        /// ICMP errors sent: protocol or port unreachable, parameter problem.
        icmp_error_sent: messages,
        /// ICMP errors not sent: beyond their rate, or the queue was full.
        icmp_error_limited: messages,

        /// Segments received for the stack, with a right checksum.
        tcp_received: segments,
        /// Octets of the stream received in order.
        tcp_received_stream: bytes,
        /// Segments received that came out of order.
        tcp_received_out_of_order: segments,
        /// Segments received whose data was there already.
        tcp_received_duplicate: segments,
        /// Segments sent.
        tcp_sent: segments,
        /// Octets of the stream sent, without retransmissions.
        tcp_sent_stream: bytes,
        /// Segments sent again.
        tcp_retransmitted: segments,
        /// Losses found before a time-out.
        tcp_fast_retransmit: losses,
        /// Window reductions taken back: what was sent again had arrived.
        tcp_recovery_undone: losses,
        /// Probes for a lost tail sent (RFC 8985).
        tcp_tail_probe: segments,
        /// Blocks of selective acknowledgments of no use: impossible, or beyond the records.
        tcp_sack_ignored: blocks,
        /// Times a peer discarded what it had acknowledged selectively.
        tcp_sack_reneged: times,
        /// Expiries of the retransmission timer.
        tcp_timeout: expiries,
        /// Windows reduced because the peer has received marked segments (ECN).
        tcp_ecn_reduction: reductions,
        /// Segments received that a router has marked for congestion (ECN).
        tcp_congestion_experienced: segments,
        /// Connections that agreed on ECN.
        tcp_ecn: connections,
        /// Zero-window probes sent.
        tcp_window_probe: segments,
        /// Keep-alive probes sent.
        tcp_keep_alive_probe: segments,
        /// Acknowledgments sent without data.
        tcp_pure_ack: segments,
        /// Challenge acknowledgments asked for, RFC 5961.
        tcp_challenge_ack: segments,
        /// Challenge acknowledgments beyond the limit of their connection.
        tcp_challenge_ack_limited: segments,
        /// Connections whose data behind an old hole was dropped because chunks were short.
        tcp_hole_reclaimed: connections,
        /// Connections reset because chunks were short and the peer took nothing for long.
        tcp_stalled: connections,
        /// Resets sent.
        tcp_reset_sent: segments,
        /// Resets received that ended a connection.
        tcp_reset_received: segments,
        /// Resets and other answers without a connection lost to a full queue.
        tcp_answer_lost: segments,
        /// SYNs that began a passive open.
        tcp_syn_received: segments,
        /// SYNs answered by a cookie, without remembering them.
        tcp_syn_cookie_sent: segments,
        /// Connections accepted by the cookie in their last ACK; among `tcp_accepted`.
        tcp_syn_cookie_accepted: connections,
        /// SYN-ACKs sent again.
        tcp_syn_ack_retransmitted: segments,
        /// Passive opens forgotten: no last ACK after all SYN-ACKs.
        tcp_syn_expired: entries,
        /// Passive opens forgotten for a new SYN, or for the connection of a SYN cookie.
        tcp_syn_evicted: entries,
        /// Connections accepted.
        tcp_accepted: connections,
        /// Active opens begun.
        tcp_connect: connections,
        /// Active opens that reached ESTABLISHED.
        tcp_connected: connections,
        /// Active opens that failed.
        tcp_connect_failed: connections,
        /// Connections ended in order.
        tcp_finished: connections,
        /// Connections ended by the peer's reset.
        tcp_reset: connections,
        /// Connections ended because the peer did not answer.
        tcp_timed_out: connections,
        /// Connections ended by a reset of ours.
        tcp_aborted: connections,
        /// Connections reset because the stack's address was removed.
        tcp_address_removed: connections,
        /// Connections in TIME-WAIT forgotten for a new one.
        tcp_time_wait_evicted: entries,
        /// SYNs that took over an address pair in TIME-WAIT.
        tcp_time_wait_reused: entries,
        /// Times output waited because no flight was free.
        tcp_flight_wait: waits,
        /// Dropped segments left out of the trace, because there were too many at once.
        trace_skipped: records,
    }
}

counters! {
    /// What a stack holds now. A metric's name is `trunkline_tcpstack_<field>_<unit>`.
    pub struct StackGauges {
        /// Connections in SYN-SENT.
        syn_sent: connections,
        /// Connections in SYN-RECEIVED.
        syn_received: connections,
        /// Connections in ESTABLISHED.
        established: connections,
        /// Connections in FIN-WAIT-1.
        fin_wait_1: connections,
        /// Connections in FIN-WAIT-2.
        fin_wait_2: connections,
        /// Connections in CLOSE-WAIT.
        close_wait: connections,
        /// Connections in CLOSING.
        closing: connections,
        /// Connections in LAST-ACK.
        last_ack: connections,
        /// Connections in TIME-WAIT.
        time_wait: connections,
        /// TCBs in use, with those whose end the application has not been told.
        in_use: connections,
        /// TCBs there are.
        capacity: connections,
        /// Entries of the flow table.
        flows: entries,
        /// Chunks free.
        free: chunks,
        /// Chunks there are.
        total: chunks,
        /// Flights free or idle.
        available: flights,
        /// Records of what was sent not in use.
        unused: sent_ranges,
        /// Neighbours known.
        known: neighbors,
        /// Destinations whose path was found to be narrow.
        narrow: paths,
        /// IPv4 addresses of the stack that another machine has used within the last minute.
        contested: addresses,
        /// Datagrams of which fragments are missing.
        collecting: datagrams,
        /// Own IPv6 addresses that are still being asked for.
        tentative: addresses,
        /// Own IPv6 addresses that another station has.
        duplicate: addresses,
        /// Addresses removed whose connections have not all ended yet.
        leaving: addresses,
    }
}

/// Declares [`Drop`]: a reason for each `drop_*` counter.
macro_rules! drops {
    ($($reason:ident => $field:ident,)+) => {
        /// Why a frame was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Drop {
            $($reason,)+
        }

        impl Drop {
            /// Name of the counter of the reason with this code.
            pub(crate) fn name_of(code: u8) -> &'static str {
                [$(stringify!($field),)+].get(usize::from(code)).copied().unwrap_or("unknown")
            }
        }

        impl StackCounters {
            /// Accounts for one received frame.
            pub(crate) fn verdict(&mut self, verdict: Result<(), Drop>) {
                match verdict {
                    Ok(()) => self.accepted += 1,
                    $(Err(Drop::$reason) => self.$field += 1,)+
                }
            }
        }
    };
}

drops! {
    EthernetShort => drop_ethernet_short,
    EthernetDestination => drop_ethernet_destination,
    EthernetType => drop_ethernet_type,
    EthernetVlan => drop_ethernet_vlan,
    ArpMalformed => drop_arp_malformed,
    ArpForeign => drop_arp_foreign,
    ArpSender => drop_arp_sender,
    ArpQueueFull => drop_arp_queue_full,
    Ipv4Malformed => drop_ipv4_malformed,
    Ipv4Checksum => drop_ipv4_checksum,
    Ipv4SourceRoute => drop_ipv4_source_route,
    Ipv4Destination => drop_ipv4_destination,
    Ipv4Source => drop_ipv4_source,
    Ipv4Protocol => drop_ipv4_protocol,
    Ipv6Malformed => drop_ipv6_malformed,
    Ipv6Destination => drop_ipv6_destination,
    Ipv6Source => drop_ipv6_source,
    Ipv6Protocol => drop_ipv6_protocol,
    FragmentMalformed => drop_fragment_malformed,
    FragmentTiny => drop_fragment_tiny,
    FragmentLength => drop_fragment_length,
    FragmentOverlap => drop_fragment_overlap,
    FragmentDiscarded => drop_fragment_discarded,
    FragmentEcn => drop_fragment_ecn,
    Ipv6Fragment => drop_ipv6_fragment,
    Ipv6Option => drop_ipv6_option,
    Ipv6Routing => drop_ipv6_routing,
    Ipv6ExtensionHeaders => drop_ipv6_extension_headers,
    Ipv6NoPayload => drop_ipv6_no_payload,
    Ipv6Tentative => drop_ipv6_tentative,
    NdpMalformed => drop_ndp_malformed,
    NdpForeign => drop_ndp_foreign,
    NdpRouter => drop_ndp_router,
    NdpQueueFull => drop_ndp_queue_full,
    UdpMalformed => drop_udp_malformed,
    UdpPort => drop_udp_port,
    IcmpMalformed => drop_icmp_malformed,
    IcmpChecksum => drop_icmp_checksum,
    IcmpType => drop_icmp_type,
    IcmpFlow => drop_icmp_flow,
    IcmpSequence => drop_icmp_sequence,
    IcmpMtu => drop_icmp_mtu,
    IcmpQueueFull => drop_icmp_queue_full,
    TcpMalformed => drop_tcp_malformed,
    TcpOptions => drop_tcp_options,
    TcpChecksum => drop_tcp_checksum,
    TcpPort => drop_tcp_port,
    TcpRefused => drop_tcp_refused,
    TcpUnreachable => drop_tcp_unreachable,
    TcpNoConnection => drop_tcp_no_connection,
    TcpListen => drop_tcp_listen,
    TcpSynFull => drop_tcp_syn_full,
    TcpSynCookie => drop_tcp_syn_cookie,
    TcpConnectionsFull => drop_tcp_connections_full,
    TcpWindow => drop_tcp_window,
    TcpPaws => drop_tcp_paws,
    TcpTimestampMissing => drop_tcp_timestamp_missing,
    TcpReset => drop_tcp_reset,
    TcpSyn => drop_tcp_syn,
    TcpAckMissing => drop_tcp_ack_missing,
    TcpAck => drop_tcp_ack,
    TcpChunks => drop_tcp_chunks,
    TcpClosed => drop_tcp_closed,
    TcpTimeWait => drop_tcp_time_wait,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_counter_has_its_reason() {
        let reasons = StackCounters::FIELDS.iter().filter(|field| field.name.starts_with("drop_"));
        assert_eq!(reasons.count(), Drop::TcpTimeWait as usize + 1);
    }
}
