//! Neighbour discovery: who is asked for, and who answers (RFC 4861 §7.2, RFC 4862 §5.4.3).

use std::net::IpAddr;

use super::ipv6::Received;
use crate::counters::Drop;
use crate::ethernet;
use crate::event::{Event, NeighborNews};
use crate::ndp::{self, Carrier, Outgoing};
use crate::neighbor::{Claim, Learnt};
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
                    self.events.push(Event::Neighbor {
                        ip: source.into(),
                        mac,
                        news: NeighborNews::Asked,
                    });
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
        let ndp::Advertisement { target_mac: mac, solicited, overrides, .. } = message;
        let learnt = self.neighbors.advertised(now_ns, ip, Claim { mac, solicited, overrides });
        let is_on_link = self.settings.on_link(ip).is_some();
        // It may answer the question of another shard, or move a neighbour that only others know.
        let concerns_others = is_on_link && (solicited || overrides);
        if let Some(mac) = mac.filter(|_| concerns_others || learnt != Learnt::Ignored) {
            let news = if overrides { NeighborNews::Told } else { NeighborNews::Answered };
            self.events.push(Event::Neighbor { ip, mac, news });
        }
        self.after_learning(learnt);
        let is_answer = is_on_link && solicited;
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
