//! Who owns a client id: the home shard's directory, and what a claim to it leads to.
//!
//! One session owns an id at a time. Its home (by hash) knows which: the one that claimed it last.
//! The claimant then takes the former owner's state over: as an image from another shard; on the
//! same shard by giving the old session its connection, after which the directory is told that the
//! new session lives on in the old one. Every session has an epoch no other has had for long, so
//! that index and epoch together tell a session from others before and after it.

use superpage::{Handle, NIL, record};

use crate::broker::Broker;
use crate::codec::ReasonCode;
use crate::config::SHARDS_MAX;
use crate::lifecycle::Leave;
use crate::link::LinkState;
use crate::session::{Session, SessionState, flag};
use crate::shards::wire::{SessionRef, ShardMessage};
use crate::store::directory::Owner;

record! {
    /// A session on its way to its client id, from CONNECT to CONNACK.
    pub(crate) struct Claim {
        pub(crate) session: u32,
        /// The former owner: its session,
        pub(crate) peer_session: u32,
        /// the epoch of that,
        pub(crate) peer_epoch: u32,
        /// and its shard.
        pub(crate) peer_shard: u16,
        /// A [`ClaimState`].
        pub(crate) state: u8,
        pub(crate) reserved: u8,
    }
}

/// How far a claim is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum ClaimState {
    /// The home shard was asked.
    AtHome = 0,
    /// The former owner is to be asked (again).
    Stalled = 1,
    /// The former owner was asked, or is sending the first part of the session's image.
    AtPeer = 2,
    /// All shards know of its subscriptions; the former owner sends the second part.
    Subscribed = 3,
}

/// Bits of an epoch that count; the shard is above them.
const EPOCH_COUNT_BITS: u32 = 26;
const EPOCH_COUNT_MASK: u32 = (1 << EPOCH_COUNT_BITS) - 1;
const _: () = assert!(SHARDS_MAX as u32 <= 1 << (32 - EPOCH_COUNT_BITS));

/// Claims looked at in one tick for stalled ones.
const RETRIES_MAX: u32 = 256;

impl Broker {
    /// An epoch for a new session.
    pub(crate) fn new_epoch(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1) & EPOCH_COUNT_MASK;
        u32::from(self.config.shard) << EPOCH_COUNT_BITS | self.epoch
    }

    /// Asks the home shard for the id of a new session. Room for it was made sure of.
    pub(crate) fn claim(&mut self, home: u16, session: u32, client_id: &[u8]) {
        let claim = Claim {
            session,
            peer_session: NIL,
            peer_epoch: 0,
            peer_shard: 0,
            state: ClaimState::AtHome as u8,
            reserved: 0,
        };
        let Some(claim) = self.claims.insert(claim) else { unreachable!("room was checked") };
        let token = self.claims.handle(claim);
        let of = SessionRef { session, epoch: self.sessions[session].epoch };
        let sent = self.send(home, &ShardMessage::Claim { token, of, client_id });
        debug_assert!(sent, "room was checked");
    }

    /// Home: a shard claims an id.
    pub(crate) fn on_claim(&mut self, from: u16, token: Handle, of: SessionRef, client_id: &[u8]) {
        let owner = Owner { shard: from, session: of.session, epoch: of.epoch };
        let answer = match self.directory.set(client_id, owner) {
            Ok(previous) => ShardMessage::Granted { token, previous },
            Err(_) => ShardMessage::ClaimRefused { token },
        };
        self.send(from, &answer);
    }

    /// Home: a session has ended. Stale when its id has been claimed again meanwhile.
    pub(crate) fn on_release(&mut self, client_id: &[u8], epoch: u32) {
        self.directory.remove(client_id, epoch);
    }

    /// Home: a session lives on in another one of the same shard.
    pub(crate) fn on_rehome(&mut self, from: u16, of: SessionRef, session: u32, client_id: &[u8]) {
        let named = Owner { shard: from, session: of.session, epoch: of.epoch };
        let ok = self.directory.get(client_id) == Some(named);
        if ok {
            // The id is in the directory, so there is room.
            let _ = self.directory.set(client_id, Owner { session, ..named });
        }
        self.send(from, &ShardMessage::Rehomed { of, ok });
    }

    /// The directory names the session that lives on; the record it named before can go. If the id
    /// was claimed again, that claimant will still ask for the old name.
    pub(crate) fn on_rehomed(&mut self, of: SessionRef, ok: bool) {
        if ok {
            self.drop_adopted(of);
        }
    }

    /// Claimant: the directory is full.
    pub(crate) fn on_claim_refused(&mut self, now_ns: u64, token: Handle) {
        let Some(claim) = self.claims.resolve(token) else { return };
        let session = self.claims.remove(claim).session;
        let link = self.sessions[session].link;
        if link != NIL {
            self.refuse(now_ns, link, ReasonCode::QUOTA_EXCEEDED);
        }
        self.discard_session(session);
    }

    /// Claimant: the id is ours.
    pub(crate) fn on_granted(&mut self, now_ns: u64, token: Handle, previous: Option<Owner>) {
        let Some(index) = self.claims.resolve(token) else { return };
        let session = self.claims[index].session;
        let Some(owner) = previous else {
            self.claims.remove(index);
            self.establish(now_ns, session, false);
            return;
        };
        let claim = &mut self.claims[index];
        claim.peer_session = owner.session;
        claim.peer_epoch = owner.epoch;
        claim.peer_shard = owner.shard;
        self.pursue(now_ns, index);
    }

    /// Takes the former owner's session over, or stalls the claim until that can be done.
    fn pursue(&mut self, now_ns: u64, index: u32) {
        let claim = self.claims[index];
        let done = if claim.peer_shard == self.config.shard {
            self.take_over_here(now_ns, index)
        } else {
            self.ask_peer(index)
        };
        if !done {
            self.claims[index].state = ClaimState::Stalled as u8;
            self.claims_stalled = true;
        }
    }

    fn ask_peer(&mut self, index: u32) -> bool {
        let claim = self.claims[index];
        let record = &mut self.sessions[claim.session];
        record.set_state(SessionState::MovingIn);
        let to = SessionRef { session: claim.session, epoch: record.epoch };
        let clean_start = record.has(flag::CLEAN_START);
        let of = SessionRef { session: claim.peer_session, epoch: claim.peer_epoch };
        let token = self.claims.handle(index);
        let message = ShardMessage::TakeOver { token, of, to, clean_start };
        let sent = self.send(claim.peer_shard, &message);
        if sent {
            self.claims[index].state = ClaimState::AtPeer as u8;
        }
        sent
    }

    /// The former owner has its hands full.
    pub(crate) fn on_take_over_later(&mut self, token: Handle) {
        if let Some(index) = self.claims.resolve(token) {
            self.claims[index].state = ClaimState::Stalled as u8;
            self.claims_stalled = true;
        }
    }

    /// There is no former state.
    pub(crate) fn on_nothing_to_move(&mut self, now_ns: u64, token: Handle) {
        let Some(index) = self.claims.resolve(token) else { return };
        let session = self.claims.remove(index).session;
        self.establish(now_ns, session, false);
    }

    /// Goes on with claims that were stalled.
    pub(crate) fn retry_claims(&mut self, now_ns: u64) {
        if !std::mem::take(&mut self.claims_stalled) {
            return;
        }
        let mut at = 0;
        for _ in 0..RETRIES_MAX {
            let Some(index) = self.claims.next_live(at) else { return };
            at = index + 1;
            if self.claims[index].state == ClaimState::Stalled as u8 {
                self.pursue(now_ns, index);
            }
        }
        self.claims_stalled = true;
    }

    /// Takes a session of this shard over. `false` when it cannot be done yet.
    fn take_over_here(&mut self, now_ns: u64, index: u32) -> bool {
        let claim = self.claims[index];
        let of = SessionRef { session: claim.peer_session, epoch: claim.peer_epoch };
        let clean_start = self.sessions[claim.session].has(flag::CLEAN_START);
        let old = self.former_session(of);
        let freed = old.map(|old| (old, self.free_for_take_over(now_ns, old, clean_start)));
        match freed {
            Some((_, Freed::NotYet)) => return false,
            Some((old, Freed::Offline)) if !self.adopt(now_ns, index, old) => return false,
            Some((_, Freed::Offline)) => {}
            Some((_, Freed::Ended)) | None => {
                self.claims.remove(index);
                self.establish(now_ns, claim.session, false);
            }
        }
        self.drop_adopted(of);
        true
    }

    /// Disconnects the client of a session that is taken over. Afterwards the session is offline,
    /// or has ended because it was not to outlive its connection or its successor starts clean.
    pub(crate) fn free_for_take_over(
        &mut self,
        now_ns: u64,
        session: u32,
        clean_start: bool,
    ) -> Freed {
        let link = self.sessions[session].link;
        if link != NIL {
            self.counters.takeovers += 1;
            let reason = match self.links[link].state() {
                LinkState::Open => ReasonCode::SESSION_TAKEN_OVER,
                // A CONNACK has no such reason.
                _ => ReasonCode::SERVER_BUSY,
            };
            self.refuse_as(now_ns, link, reason, Leave::TakenOver);
        }
        match self.sessions[session].state() {
            SessionState::Offline => {}
            SessionState::Ending => return Freed::Ended,
            _ => return Freed::NotYet,
        }
        let ends = clean_start || self.sessions[session].expiry_s == 0;
        let will_due = ends || self.sessions[session].will_at_ns <= now_ns;
        if will_due && !self.publish_will(now_ns, session) {
            return Freed::NotYet;
        }
        if ends {
            self.end_session(session);
            return Freed::Ended;
        }
        // MQTT 5 §3.1.3.2.2: a will that is delayed is not sent when the session goes on first.
        self.drop_will(session);
        Freed::Offline
    }

    /// Gives an offline session the connection, and what its CONNECT asked for, of a claiming one.
    /// That one stays behind as a signpost until home names the other. `false`: home cannot be told
    /// now.
    fn adopt(&mut self, now_ns: u64, claim: u32, old: u32) -> bool {
        let new = self.claims[claim].session;
        let of = SessionRef { session: new, epoch: self.sessions[new].epoch };
        let mut text = std::mem::take(&mut self.scratch.topic);
        let len = self.names.read(self.sessions[old].client_id, 0, &mut text);
        let client_id = &text[..len];
        let home = self.shard_of(self.secret.hash(client_id));
        let sent = self.send(home, &ShardMessage::Rehome { of, session: old, client_id });
        self.scratch.topic = text;
        if !sent {
            return false;
        }
        self.claims.remove(claim);
        let Session {
            link,
            epoch,
            will,
            will_delay_s,
            expiry_s,
            packet_bytes_max,
            receive_maximum,
            flags,
            ..
        } = self.sessions[new];
        let signpost = &mut self.sessions[new];
        signpost.set_state(SessionState::Adopted);
        signpost.next = old;
        signpost.link = NIL;
        signpost.will = NIL;
        let record = &mut self.sessions[old];
        record.link = link;
        record.epoch = epoch;
        record.will = will;
        record.will_delay_s = will_delay_s;
        record.expiry_s = expiry_s;
        record.packet_bytes_max = packet_bytes_max;
        record.receive_maximum = receive_maximum;
        record.flags = flags;
        if link != NIL {
            self.links[link].session = old;
        }
        self.establish(now_ns, old, true);
        true
    }

    /// Removes a signpost, if that is what `of` is: nobody will ask for it any more.
    pub(crate) fn drop_adopted(&mut self, of: SessionRef) {
        if let Some(session) = self.session_of(of)
            && self.sessions[session].state() == SessionState::Adopted
        {
            self.discard_session(session);
        }
    }

    /// The live session a reference stands for.
    pub(crate) fn session_of(&self, to: SessionRef) -> Option<u32> {
        let record = self.sessions.get(to.session)?;
        (record.epoch == to.epoch).then_some(to.session)
    }

    /// The session that a take-over is about, or the one it lives on in.
    pub(crate) fn former_session(&self, of: SessionRef) -> Option<u32> {
        let session = self.session_of(of)?;
        let record = &self.sessions[session];
        match record.state() {
            SessionState::Adopted => self.session_of(SessionRef { session: record.next, ..of }),
            _ => Some(session),
        }
    }

    /// Removes a session that never came to be.
    fn discard_session(&mut self, session: u32) {
        self.drop_will(session);
        let record = self.sessions.remove(session);
        self.names.release(record.client_id);
    }
}

/// What has become of a session that is to be taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freed {
    /// It has no client any more and its state is whole.
    Offline,
    /// It has no state worth taking.
    Ended,
    /// It is itself being set up, moved, or waits to publish its will.
    NotYet,
}
