//! Deadlines. The dataplane owns the wheel; the broker says what is due when.

use crate::broker::{Broker, NANOS_PER_MILLI, NANOS_PER_SECOND, TIMER_REQUESTS_MAX, millis};
use crate::codec::ReasonCode;
use crate::link::{LinkState, flag};
use crate::session::{NEVER, SessionState};

/// Whose deadline it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerOwner {
    /// A link: CONNECT, Keep Alive, closing.
    Link(u32),
    /// A session without a client: will delay, expiry.
    Session(u32),
}

/// A deadline that was set, or moved earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerRequest {
    /// Whose.
    pub owner: TimerOwner,
    /// When, on the shard's clock.
    pub at_ns: u64,
}

/// Links and sessions looked at in one tick when requests were lost.
const SWEEP_MAX: u32 = 1_024;

impl Broker {
    /// A deadline for the wheel. At most one is in force for an owner; a later request replaces it
    /// only when it is earlier.
    pub fn next_timer(&mut self) -> Option<TimerRequest> {
        loop {
            let request = self.timer_requests.pop_front()?;
            // A link can be gone before its request was read: nothing asks for its transport then.
            match request.owner {
                TimerOwner::Link(link) if self.links.get(link).is_none() => {}
                _ => return Some(request),
            }
        }
    }

    /// A link's deadline has come. Returns the next one. Ids that are no longer in use are harmless.
    pub fn on_link_timer(&mut self, now_ns: u64, link: u32) -> Option<u64> {
        self.now_ns = now_ns;
        let record = *self.links.get(link)?;
        let deadline = match record.state() {
            LinkState::Dead => return None,
            _ => self.link_deadline(now_ns, link)?,
        };
        if deadline > now_ns {
            return Some(deadline);
        }
        match record.state() {
            LinkState::AwaitConnect => {
                self.counters.connect_timeouts += 1;
                self.close(now_ns, link);
            }
            LinkState::Claiming => {
                self.counters.connect_timeouts += 1;
                self.refuse(now_ns, link, ReasonCode::SERVER_UNAVAILABLE);
            }
            LinkState::Open => {
                self.counters.keep_alive_timeouts += 1;
                self.refuse(now_ns, link, ReasonCode::KEEP_ALIVE_TIMEOUT);
            }
            LinkState::Closing | LinkState::Dead => {
                self.links[link].set(flag::ABORT);
                self.wake(link);
                return None;
            }
        }
        self.run_own_messages(now_ns);
        self.link_deadline(now_ns, link)
    }

    /// When something is due on a link, by its state.
    fn link_deadline(&self, now_ns: u64, link: u32) -> Option<u64> {
        let record = &self.links[link];
        let timers = &self.config.timers;
        let silent_ms = match record.state() {
            LinkState::AwaitConnect | LinkState::Claiming => timers.connect_timeout_ms,
            // MQTT 5 §3.1.2.10: one and a half times the Keep Alive.
            LinkState::Open if record.keep_alive_s > 0 => u32::from(record.keep_alive_s) * 1_500,
            LinkState::Closing => timers.close_timeout_ms,
            LinkState::Open | LinkState::Dead => return None,
        };
        // A link that we do not read from cannot be heard.
        let held = record.state() == LinkState::Open && record.has(flag::PARKED | flag::CORKED);
        let heard_ms = if held { millis(now_ns) } else { record.heard_ms };
        let left_ms = i64::from(silent_ms) - i64::from(millis(now_ns).wrapping_sub(heard_ms));
        Some(now_ns + left_ms.max(0) as u64 * NANOS_PER_MILLI)
    }

    /// Asks for a link's timer.
    pub(crate) fn request_link_timer(&mut self, link: u32, at_ns: u64) {
        self.request_timer(TimerRequest { owner: TimerOwner::Link(link), at_ns });
    }

    /// Asks for a link's timer by its state, counted from now.
    pub(crate) fn rearm_link(&mut self, now_ns: u64, link: u32) {
        self.links[link].heard_ms = millis(now_ns);
        if let Some(at_ns) = self.link_deadline(now_ns, link) {
            self.request_link_timer(link, at_ns);
        }
    }

    /// Asks for a session's timer.
    pub(crate) fn request_session_timer(&mut self, session: u32, at_ns: u64) {
        if at_ns != NEVER {
            self.request_timer(TimerRequest { owner: TimerOwner::Session(session), at_ns });
        }
    }

    fn request_timer(&mut self, request: TimerRequest) {
        if self.timer_requests.len() < TIMER_REQUESTS_MAX {
            self.timer_requests.push_back(request);
        } else {
            self.timer_sweep = Some(0);
        }
    }

    /// After requests were lost: asks again for every timer, some indices each tick.
    pub(crate) fn sweep_timers(&mut self, now_ns: u64) {
        let Some(from) = self.timer_sweep else { return };
        let room = (TIMER_REQUESTS_MAX - self.timer_requests.len()) as u32 / 2;
        let to = from.saturating_add(SWEEP_MAX.min(room));
        for index in from..to {
            if self.links.is_live(index)
                && let Some(at_ns) = self.link_deadline(now_ns, index)
            {
                self.request_link_timer(index, at_ns);
            }
            if self.sessions.get(index).is_some_and(|s| s.state() == SessionState::Offline) {
                let at_ns = self.session_deadline(index);
                self.request_session_timer(index, at_ns);
            }
        }
        let end = self.links.capacity().max(self.sessions.capacity());
        self.timer_sweep = if to < end { Some(to) } else { None };
    }
}

/// `seconds` from `now_ns` on; `u32::MAX` is for ever.
pub(crate) fn after_seconds(now_ns: u64, seconds: u32) -> u64 {
    if seconds == u32::MAX { NEVER } else { now_ns + u64::from(seconds) * NANOS_PER_SECOND }
}
