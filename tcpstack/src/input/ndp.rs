//! Neighbour discovery: who is asked for, and who answers (RFC 4861 §7.2, RFC 4862 §5.4.3).

use std::net::IpAddr;

use super::ipv6::Received;
use crate::counters::Drop;
use crate::ethernet;
use crate::event::Event;
use crate::ndp::{self, Carrier, Outgoing};
use crate::neighbor::Learnt;
use crate::stack::Stack;

impl Stack {
    /// Somebody asks for one of our addresses, or wants it for itself.
    pub(super) fn solicitation_arrives(
        &mut self,
        now_ns: u64,
        received: &Received<'_>,
    ) -> Result<(), Drop> {
        let message = ndp::solicitation(received.payload, &carrier(received))?;
        let source = received.header.source;
        let local = self.settings.local(message.target.into()).ok_or(Drop::NdpForeign)?;
        if received.mac == self.settings.station.mac {
            // RFC 4862 §5.4.3: a question of our own that came back is nobody's claim.
            return Err(Drop::NdpForeign);
        }
        if source.is_unspecified() {
            if self.lose(message.target.into(), local) {
                return Ok(());
            }
            return self.reply(local, Outgoing::Announcement { own: message.target });
        }
        let learnt = match message.source_mac {
            Some(mac) if self.settings.on_link(source.into()).is_some() => {
                let learnt = self.neighbors.hear(now_ns, source.into(), mac, true);
                if learnt != Learnt::Ignored {
                    self.events.push(Event::Neighbor { ip: source.into(), mac });
                }
                learnt
            }
            _ => Learnt::Ignored,
        };
        self.after_learning(learnt);
        let mac = message.source_mac.unwrap_or(received.mac);
        if !ethernet::is_unicast(mac) {
            return Err(Drop::NdpMalformed);
        }
        self.reply(local, Outgoing::Reply { own: message.target, to: source, mac })
    }

    /// A neighbour says where it is.
    pub(super) fn advertisement_arrives(
        &mut self,
        now_ns: u64,
        received: &Received<'_>,
    ) -> Result<(), Drop> {
        let message = ndp::advertisement(received.payload, &carrier(received))?;
        let ip = IpAddr::V6(message.target);
        if let Some(local) = self.settings.local(ip) {
            if received.mac != self.settings.station.mac && !self.lose(ip, local) {
                self.counters.ndp_conflict += 1;
            }
            return Err(Drop::NdpForeign);
        }
        let learnt = self.neighbors.advertised(now_ns, &message);
        // An answer may be to the question of another shard.
        let is_answer = message.solicited && self.settings.on_link(ip).is_some();
        if let Some(mac) = message.target_mac.filter(|_| is_answer || learnt != Learnt::Ignored) {
            self.events.push(Event::Neighbor { ip, mac });
        }
        self.after_learning(learnt);
        if learnt == Learnt::Ignored && !is_answer { Err(Drop::NdpForeign) } else { Ok(()) }
    }

    /// Somebody else has or wants an address of ours. Whether it is lost by that.
    fn lose(&mut self, ip: IpAddr, local: u16) -> bool {
        let is_lost = self.claims.contest(local);
        if is_lost {
            self.counters.ndp_duplicate += 1;
            self.events.push(Event::Duplicate { ip });
        }
        is_lost
    }

    fn reply(&mut self, local: u16, message: Outgoing) -> Result<(), Drop> {
        if !self.claims.is_preferred(local) {
            return Err(Drop::Ipv6Tentative);
        }
        if self.ndp.push(message) { Ok(()) } else { Err(Drop::NdpQueueFull) }
    }
}

fn carrier(received: &Received<'_>) -> Carrier {
    Carrier {
        source: received.header.source,
        destination: received.header.destination,
        hop_limit: received.header.hop_limit,
        was_fragment: received.was_fragment,
    }
}
