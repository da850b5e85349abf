//! RFC 9293 §3.10.7.1 and §3.10.7.2: segments for which there is no connection.

use crate::answers::reset_for;
use crate::counters::Drop;
use crate::segment::{Header, Segment, control};

/// What an endpoint without a connection does with a segment. The caller carries it out.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnListen {
    /// It is dropped.
    Ignore(Drop),
    /// It is dropped, and the peer is told that there is nothing.
    Reset(Drop, Header),
    /// A passive open begins.
    Open,
    /// It is perhaps the last ACK of a SYN cookie. If not, this is the answer.
    CheckCookie(Header),
}

/// `listens`: there is a listener on the port. Otherwise the state is CLOSED. `cookies`: there are SYN
/// cookies that have not been acknowledged.
pub(super) fn on_listen(segment: &Segment, listens: bool, cookies: bool) -> OnListen {
    let reason = if listens { Drop::TcpListen } else { Drop::TcpNoConnection };
    // First: a reset can be for nothing here. Second: so can an acknowledgment, and is reset. In
    // CLOSED everything else is reset too.
    let is_reset = segment.has(control::ACK) || !listens;
    match reset_for(segment) {
        None => OnListen::Ignore(reason),
        // RFC 4987 §3.6: SYN-RECEIVED without an entry.
        Some(reset) if listens && cookies && is_plain_ack(segment) => OnListen::CheckCookie(reset),
        Some(reset) if is_reset => OnListen::Reset(reason, reset),
        // Third: a SYN. Its text, if any, is not kept: the peer sends it again. With a FIN it is a
        // scanner's: whoever opens has something to wait for.
        Some(_) if segment.has(control::SYN) && !segment.has(control::FIN) => OnListen::Open,
        // Fourth: it should not get here.
        Some(_) => OnListen::Ignore(reason),
    }
}

fn is_plain_ack(segment: &Segment) -> bool {
    segment.has(control::ACK) && !segment.has(control::SYN)
}

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;
    use crate::flow::FlowKey;
    use crate::options::Options;
    use crate::seq::SeqNum;

    fn segment(control: u8) -> Segment {
        Segment {
            key: FlowKey::zeroed(),
            hash: 0,
            seq: SeqNum(100),
            ack: SeqNum(900),
            window: 0,
            control,
            ecn: 0,
            options: Options::default(),
            frame: 0,
            start: 0,
            octets: 5,
        }
    }

    #[test]
    fn listener_follows_rfc_9293_section_3_10_7_2() {
        use control::{ACK, FIN, RST, SYN};
        for ignored in [RST, RST | ACK, RST | SYN, 0, FIN, SYN | FIN] {
            let outcome = on_listen(&segment(ignored), true, false);
            assert!(matches!(outcome, OnListen::Ignore(Drop::TcpListen)), "{ignored}");
        }
        for reset in [ACK, ACK | SYN, ACK | FIN] {
            let OnListen::Reset(_, header) = on_listen(&segment(reset), true, false) else {
                panic!("{reset}");
            };
            assert_eq!((header.seq, header.control), (SeqNum(900), RST));
        }
        assert!(matches!(on_listen(&segment(SYN), true, false), OnListen::Open));
    }

    #[test]
    fn plain_acks_are_looked_at_while_cookies_are_out() {
        use control::{ACK, FIN, PSH, RST, SYN};
        for plain in [ACK, ACK | PSH, ACK | FIN] {
            let outcome = on_listen(&segment(plain), true, true);
            assert!(matches!(outcome, OnListen::CheckCookie(_)), "{plain}");
            let outcome = on_listen(&segment(plain), false, true);
            assert!(matches!(outcome, OnListen::Reset(..)), "{plain}");
        }
        for other in [SYN, ACK | SYN, RST, RST | ACK, 0] {
            let outcome = on_listen(&segment(other), true, true);
            assert!(!matches!(outcome, OnListen::CheckCookie(_)), "{other}");
        }
    }

    #[test]
    fn closed_port_resets_all_but_resets() {
        use control::{ACK, FIN, RST, SYN};
        let header = |control| match on_listen(&segment(control), false, false) {
            OnListen::Reset(Drop::TcpNoConnection, header) => Some(header),
            _ => None,
        };
        assert!(header(RST).is_none() && header(RST | ACK).is_none());
        let with_ack = header(ACK).expect("reset");
        assert_eq!((with_ack.seq, with_ack.control), (SeqNum(900), RST));
        let without = header(SYN | FIN).expect("reset");
        assert_eq!((without.seq, without.control), (SeqNum(0), RST | ACK));
        assert_eq!(without.ack, SeqNum(107), "text, SYN and FIN are acknowledged");
    }
}
