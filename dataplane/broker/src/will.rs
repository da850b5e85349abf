//! Will messages (MQTT 5 §3.1.2.5): kept with the session, published when it loses its client.
//!
//! The life of a will begins when it is published. Until then its message holds the interval where
//! other messages hold the time.

use superpage::NIL;

use crate::broker::Broker;
use crate::route::Routed;
use crate::session::NEVER;

impl Broker {
    /// Publishes a session's will, if it has one. `false` when there is no room on the way to
    /// another shard now.
    pub(crate) fn publish_will(&mut self, now_ns: u64, session: u32) -> bool {
        let will = self.sessions[session].will;
        if will != NIL {
            let interval_ns = self.messages.get(will).expires_at_ns;
            if interval_ns != 0 {
                self.messages.set_expiry(will, now_ns + interval_ns);
            }
            if self.route(now_ns, will, None) == Routed::Full {
                self.messages.set_expiry(will, interval_ns);
                return false;
            }
            self.counters.wills_published += 1;
        }
        self.drop_will(session);
        true
    }

    /// Forgets a session's will.
    pub(crate) fn drop_will(&mut self, session: u32) {
        let record = &mut self.sessions[session];
        record.will_at_ns = NEVER;
        let will = std::mem::replace(&mut record.will, NIL);
        if will != NIL {
            self.messages.release(will);
        }
    }
}
