//! ICMP errors arrive (RFC 1122 §4.2.3.9, RFC 5927).

use crate::context::{Context, Then};
use crate::counters::Drop;
use crate::event::CloseReason;
use crate::flow::FlowKey;
use crate::flow_table::Entry;
use crate::icmp_error::{Quoted, Report};
use crate::path_mtu::narrowing::{full_packet_bytes, narrow};
use crate::path_mtu::reported_mtu;
use crate::stack::Stack;
use crate::tcb::{State, Tcb, flag};

impl Stack {
    /// Takes an ICMP error that quotes a segment.
    pub(super) fn icmp_error_arrives(
        &mut self,
        now_ns: u64,
        report: Report,
        quoted: &Quoted,
    ) -> Result<(), Drop> {
        // RFC 6633 §3: whatever it quotes.
        if report == Report::SourceQuench {
            self.counters.icmp_source_quench += 1;
            return Ok(());
        }
        let local = self.settings.local(quoted.source).ok_or(Drop::IcmpFlow)?;
        let (port, remote_port) = (quoted.source_port, quoted.destination_port);
        let key = FlowKey::new(quoted.destination, remote_port, local, port);
        let tcbs = &self.tcbs;
        let is_ours = |entry| match entry {
            Entry::Connection(conn) => tcbs.get(conn).is_some_and(|tcb| tcb.key == key),
            _ => false,
        };
        // Entries without a TCB have sent nothing that could be too big, and end by themselves.
        let found = self.table.find(self.hasher.hash(&key), is_ours);
        let Some(Entry::Connection(conn)) = found else { return Err(Drop::IcmpFlow) };
        let (tcb, mut context) = self.connection(now_ns, conn).ok_or(Drop::IcmpFlow)?;
        // RFC 5927 §4.1: only what is under way can have met a router.
        if quoted.seq.since(tcb.snd_una) >= tcb.snd_nxt.since(tcb.snd_una) {
            return Err(Drop::IcmpSequence);
        }
        let then = match report {
            Report::TooBig { mtu } => {
                too_big(tcb, &mut context, quoted, mtu)?;
                Then::GoOn
            }
            Report::Hard => unreachable(tcb, &mut context),
            Report::Soft | Report::SourceQuench => {
                // RFC 1122 §4.2.3.9: the connection is not aborted.
                context.counters.icmp_soft_error += 1;
                Then::GoOn
            }
        };
        self.carry_out(now_ns, conn, then);
        Ok(())
    }
}

/// RFC 1191 §6.4, RFC 8201 §5.4, with the suspicion of RFC 5927 §7.2.
fn too_big(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    quoted: &Quoted,
    mtu: u32,
) -> Result<(), Drop> {
    // What is sent to open a connection passes everywhere.
    let full = full_packet_bytes(tcb);
    // Who quotes only a part of the packet often changes its length too.
    let is_plausible = (PACKET_BYTES_MIN..=full).contains(&quoted.packet_bytes);
    let packet_bytes = if is_plausible { quoted.packet_bytes } else { full };
    let mtu = reported_mtu(!tcb.key.is_ipv6(), mtu, packet_bytes)
        .filter(|mtu| *mtu < full && tcb.state() >= State::Established)
        .ok_or(Drop::IcmpMtu)?;
    if tcb.has(flag::FULL_ACKED) {
        context.counters.path_mtu_doubted += 1;
        context.paths.doubt(&tcb.key.remote, context.conn, quoted.seq, mtu);
    } else {
        context.counters.path_mtu_reduced += 1;
        narrow(tcb, context, mtu, false);
    }
    Ok(())
}

/// No router has dropped a packet that was shorter: RFC 1122 §3.3.3.
const PACKET_BYTES_MIN: u16 = 576;

/// RFC 5927 §5.2: where data flows, even a hard error may pass, or be forged, and the connection
/// goes on until its own timer gives it up. A connection that is being opened ends at once, as RFC
/// 1122 §4.2.3.9 has it: its user waits, and an attacker would have to guess our initial sequence
/// number.
fn unreachable(tcb: &Tcb, context: &mut Context<'_>) -> Then {
    context.counters.icmp_hard_error += 1;
    if tcb.state() == State::SynSent {
        return Then::End { reason: CloseReason::Refused, reset: false };
    }
    Then::GoOn
}
