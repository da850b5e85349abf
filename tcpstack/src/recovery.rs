//! Loss recovery: what an acknowledgment and the flight's timer mean for the scoreboard, the
//! congestion window and the timer. The order is that of RFC 8985 §6.2 and §7, RFC 6675 §5 and
//! RFC 9937 §6; without SACK, RFC 6582.
//!
//! A flight has one timer at a time. While data is on its way and nothing is wrong it is the probe
//! for a lost tail (RFC 8985 §7); while a segment is missing and may only be late, it ends the
//! reordering window (§6.3); otherwise it is the retransmission time-out, counted from the first
//! unacknowledged transmission or the last progress. None of the former is ever later than the latter.

use crate::congestion::{Growth, Loss, Phase};
use crate::context::Context;
use crate::flight::{Flight, Probe, Timer};
use crate::prr::Progress;
use crate::rack::Situation;
use crate::sack::Block;
use crate::scoreboard::{Delivered, Fate, Scoreboard, Sent};
use crate::segment::Segment;
use crate::seq::SeqNum;
use crate::settings::{NS_PER_MS, Settings, milliseconds};
use crate::tcb::{State, Tcb, flag};

/// The clock of transmissions: µs, modulo 2³².
pub(crate) fn microseconds(now_ns: u64) -> u32 {
    (now_ns / NS_PER_US) as u32
}

/// What an acknowledgment was found to say.
#[derive(Clone, Copy, Debug)]
struct News {
    /// Octets by which SND.UNA moved.
    acked: u32,
    delivered: Delivered,
    /// Octets found lost.
    lost: u32,
    /// A part that arrived twice, RFC 2883.
    duplicate: Option<Block>,
    /// A duplicate acknowledgment, RFC 5681 §2.
    is_duplicate: bool,
    /// Time until the reordering window of a missing segment ends.
    patience_us: Option<u32>,
    /// Everything sent when the round trip began is acknowledged.
    ends_round: bool,
}

/// Takes an acceptable acknowledgment, by which SND.UNA has moved by `acked`.
pub(crate) fn on_ack(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    acked: u32,
    is_duplicate: bool,
) {
    if acked == 0 && !tcb.has_unacked() {
        return;
    }
    let (conn, now_ns) = (context.conn, context.now_ns);
    let (settings, counters) = (context.settings, &mut *context.counters);
    let Some((flight, ranges)) = context.flights.parts(conn, tcb.flight) else { return };
    // The answer to a zero-window probe is no sign of loss.
    if acked == 0 && flight.is_persisting() {
        return;
    }
    let mut board = Scoreboard { flight, ranges, nxt: tcb.snd_nxt };
    let mut news = News {
        acked,
        delivered: Delivered::default(),
        lost: 0,
        duplicate: None,
        is_duplicate,
        patience_us: None,
        ends_round: acked > 0 && tcb.snd_una.at_or_after(board.flight.round_end),
    };
    let was_sacked = board.flight.chain.sacked;
    board.acknowledge(tcb.snd_una, &mut news.delivered);
    if tcb.has(flag::SACK) {
        counters.tcp_sack_ignored += take_blocks(tcb, &mut board, segment, &mut news);
    } else {
        estimate_delivered(tcb, &mut board, &mut news);
    }
    if acked > 0 {
        board.flight.backoff = 0;
        if board.flight.probe() == Probe::Window {
            board.flight.set_probe(Probe::None);
        }
        board.flight.progress_ms = milliseconds(now_ns);
    }
    if news.ends_round {
        board.flight.round_end = tcb.snd_nxt;
        board.flight.rack.on_round();
    }
    measure(tcb, settings, now_ns, segment, &news);
    if board.first().is_some_and(|(_, fate)| fate == Fate::Sacked) {
        // RFC 2018 §8: the peer acknowledges less than it has reported: it has discarded the rest.
        counters.tcp_sack_reneged += 1;
        board.lose_all();
        news.lost = board.flight.chain.lost;
    } else if tcb.has(flag::SACK) {
        find_lost(tcb, &mut board, settings, now_ns, segment, &mut news);
    } else {
        find_lost_by_count(tcb, &mut board, &mut news);
    }
    counters.tcp_recovery_undone += u64::from(take_back(tcb, &mut board, segment, &news));
    on_tail_probe_ack(tcb, &mut board, settings, &news);
    counters.tcp_fast_retransmit +=
        u64::from(respond(tcb, &mut board, settings, now_ns, &news, was_sacked));
    if tcb.snd_una == tcb.snd_nxt {
        let ssthresh = tcb.ssthresh;
        board.flight.congestion.rest(ssthresh);
        context.flights.rest(tcb.flight);
        return;
    }
    rearm(tcb, &mut board, settings, now_ns, &news);
    if news.delivered.octets > 0 || is_duplicate || news.lost > 0 {
        // Unless it was all sent already, more may be due.
        tcb.set(flag::OUTPUT);
    }
}

/// RFC 2018 §3, RFC 2883 §4. Returns how many blocks were of no use: impossible ones, and those
/// for which there was no record.
fn take_blocks(tcb: &Tcb, board: &mut Scoreboard<'_>, segment: &Segment, news: &mut News) -> u64 {
    let blocks = segment.options.sack;
    let mut ignored = 0;
    for (at, block) in blocks.iter().enumerate() {
        let is_ordered = block.start.before(block.end);
        let is_known = block.end.at_or_before(tcb.snd_nxt)
            && block.start.at_or_after(tcb.snd_una - tcb.snd_wnd_max);
        if !is_ordered || !is_known {
            ignored += 1;
            continue;
        }
        let is_inside = |outer: Block| {
            block.start.at_or_after(outer.start) && block.end.at_or_before(outer.end)
        };
        if at == 0
            && (block.end.at_or_before(segment.ack) || blocks.iter().nth(1).is_some_and(is_inside))
        {
            news.duplicate = Some(block);
            continue;
        }
        let start = block.start.latest(tcb.snd_una);
        if start.before(block.end) {
            let block = Block { start, ..block };
            ignored += u64::from(!board.sack(block, &mut news.delivered));
        }
    }
    ignored
}

/// Without SACK each duplicate acknowledgment stands for a segment delivered (RFC 9937 §6).
fn estimate_delivered(tcb: &Tcb, board: &mut Scoreboard<'_>, news: &mut News) {
    let (mss, dup_acks) = (u32::from(tcb.mss), &mut board.flight.chain.dup_acks);
    if news.acked > 0 {
        let counted = u32::from(*dup_acks) * mss;
        news.delivered.octets = news.acked.saturating_sub(counted);
        *dup_acks = (counted.saturating_sub(news.acked) / mss).min(u32::from(u16::MAX)) as u16;
    } else if news.is_duplicate {
        *dup_acks = dup_acks.saturating_add(1);
        news.delivered.octets = mss;
    }
}

/// One measurement of the round-trip time in a round trip: RFC 6298 §3.
fn measure(tcb: &mut Tcb, settings: &Settings, now_ns: u64, segment: &Segment, news: &News) {
    if !news.ends_round {
        return;
    }
    let sample_ns = if let Some(oldest) = news.delivered.oldest {
        u64::from(microseconds(now_ns).wrapping_sub(oldest.at_us)) * NS_PER_US
    } else if let Some(stamp) = segment.options.timestamp.filter(|_| tcb.has(flag::TIMESTAMPS)) {
        // RFC 7323 §4.1: after retransmissions only the echo tells which copy was heard.
        let passed_ms = settings.timestamp(now_ns).wrapping_sub(stamp.echo);
        if passed_ms > u32::MAX / 2 {
            return;
        }
        u64::from(passed_ms) * NS_PER_MS
    } else {
        return;
    };
    tcb.measure(sample_ns);
}

/// RFC 8985 §6.2: losses by time.
fn find_lost(
    tcb: &Tcb,
    board: &mut Scoreboard<'_>,
    settings: &Settings,
    now_ns: u64,
    segment: &Segment,
    news: &mut News,
) {
    let now_us = microseconds(now_ns);
    let echo = segment.options.timestamp.filter(|_| tcb.has(flag::TIMESTAMPS));
    let is_echo_older = |sent_us: u32| {
        let sent_ns = now_ns.saturating_sub(u64::from(now_us.wrapping_sub(sent_us)) * NS_PER_US);
        let stamp = settings.timestamp(sent_ns);
        echo.is_some_and(|echo| (echo.echo.wrapping_sub(stamp) as i32) < 0)
    };
    board.flight.rack.update(now_us, &news.delivered, is_echo_older);
    (news.lost, news.patience_us) = detect(tcb, board, now_us);
}

/// RACK_detect_loss of RFC 8985 §6.2: octets found lost, and when to look again.
fn detect(tcb: &Tcb, board: &mut Scoreboard<'_>, now_us: u32) -> (u32, Option<u32>) {
    let rack = board.flight.rack;
    let is_open = board.flight.congestion.phase() == Phase::Open;
    let reordering_us = rack.reordering_us(Situation {
        srtt_us: tcb.srtt_us,
        recovering: !is_open,
        is_past_threshold: board.flight.chain.sacked >= DUP_THRESH * u32::from(tcb.mss),
    });
    let mut patience_us = None;
    let is_lost = |sent: &Sent| match rack.patience_us(now_us, sent, reordering_us) {
        Some(0) => true,
        more_us => {
            patience_us = patience_us.max(more_us);
            false
        }
    };
    // While nothing was sent again, what follows in the sequence left later.
    let in_order = is_open && board.flight.probe() == Probe::None;
    let lost = board.lose(is_lost, in_order);
    (lost, patience_us)
}

/// RFC 5681 §3.2 and RFC 6582 §3.2: the third duplicate, and each partial acknowledgment.
fn find_lost_by_count(tcb: &Tcb, board: &mut Scoreboard<'_>, news: &mut News) {
    let is_lost = match board.flight.congestion.phase() {
        Phase::Open => {
            u32::from(board.flight.chain.dup_acks) == DUP_THRESH
                && news.is_duplicate
                && tcb.snd_una.after(board.flight.congestion.recover)
        }
        Phase::Recovery => news.acked > 0 && tcb.snd_una.before(board.flight.congestion.recover),
        Phase::TimedOut => false,
    };
    if is_lost {
        board.lose_first(tcb.snd_una, tcb.mss.into());
        news.lost = board.flight.chain.lost;
    }
}

/// Takes a reduction back that was for nothing: the original arrived, says the echoed timestamp
/// (RFC 3522), or all copies arrived twice, say duplicate reports (RFC 3708).
fn take_back(tcb: &mut Tcb, board: &mut Scoreboard<'_>, segment: &Segment, news: &News) -> bool {
    let echo = segment.options.timestamp.filter(|_| tcb.has(flag::TIMESTAMPS));
    let is_recovering = board.flight.congestion.phase() != Phase::Open;
    let mut is_spurious = news.acked > 0
        && is_recovering
        && echo.is_some_and(|echo| board.flight.congestion.is_echo_older(echo.echo));
    if let Some(block) = news.duplicate {
        board.flight.rack.on_duplicate();
        let is_tail_probe =
            board.flight.probe() == Probe::TailCopy && block.end == board.flight.congestion.recover;
        let octets = block.end.since(block.start);
        is_spurious |= !is_tail_probe && board.flight.congestion.on_duplicate(octets);
    }
    if is_spurious {
        board.flight.rack.on_duplicate();
        board.flight.congestion.undo(&mut tcb.ssthresh);
        board.find_all();
        tcb.set(flag::OUTPUT);
    }
    is_spurious
}

/// RFC 8985 §7.4: was a tail lost and repaired by its probe?
fn on_tail_probe_ack(tcb: &mut Tcb, board: &mut Scoreboard<'_>, settings: &Settings, news: &News) {
    let probe = board.flight.probe();
    let end = board.flight.congestion.recover;
    let is_out = matches!(probe, Probe::TailNew | Probe::TailCopy);
    if !is_out || tcb.snd_una.before(end) || board.flight.congestion.phase() != Phase::Open {
        return;
    }
    let is_copy_reported = news.duplicate.is_some_and(|block| block.end == end);
    let is_bare_duplicate = news.acked == 0 && news.delivered.octets == 0 && news.is_duplicate;
    if probe == Probe::TailNew || is_copy_reported || is_bare_duplicate {
        board.flight.set_probe(Probe::None);
    } else if tcb.snd_una.after(end) {
        let loss = loss(tcb, settings, 0);
        board.flight.congestion.on_congestion(&mut tcb.ssthresh, loss);
        board.flight.set_probe(Probe::None);
    }
}

/// The congestion response. Returns whether a recovery began.
fn respond(
    tcb: &mut Tcb,
    board: &mut Scoreboard<'_>,
    settings: &Settings,
    now_ns: u64,
    news: &News,
    was_sacked: u32,
) -> bool {
    let mss = u32::from(tcb.mss);
    let flight_size = tcb.snd_nxt.since(tcb.snd_una);
    let mut begins = false;
    if board.flight.congestion.phase() != Phase::Open
        && tcb.snd_una.at_or_after(board.flight.congestion.recover)
    {
        board.flight.congestion.leave(tcb.ssthresh);
        board.flight.rack.on_recovered();
        board.flight.chain.dup_acks = 0;
    }
    if board.flight.congestion.phase() == Phase::Open && board.flight.probe() == Probe::None {
        board.flight.congestion.follow(tcb.snd_una);
    }
    if news.lost > 0 && board.flight.congestion.phase() == Phase::Open {
        // RFC 9937 §6: what was reported before does not count as delivered in recovery.
        let recover_fs = flight_size.saturating_sub(was_sacked) + news.acked;
        let loss = loss(tcb, settings, flight_size);
        board.flight.congestion.enter_recovery(&mut tcb.ssthresh, loss, recover_fs);
        board.flight.set_probe(Probe::None);
        begins = true;
    }
    if board.flight.congestion.phase() == Phase::Recovery {
        if news.delivered.octets > 0 || begins {
            let progress = Progress {
                delivered: news.delivered.octets,
                pipe: pipe(tcb, board),
                is_safe: news.acked > 0 && news.lost == 0,
            };
            board.flight.congestion.on_recovery_ack(progress, tcb.ssthresh, mss);
        }
    } else if news.acked > 0 {
        let now_us = microseconds(now_ns);
        let newest = news.delivered.newest.filter(|newest| !newest.again);
        let growth = Growth {
            control: settings.features.congestion_control,
            mss,
            acked: news.acked,
            now_ms: milliseconds(now_ns),
            srtt_us: tcb.srtt_us,
            sample_us: newest.map(|newest| now_us.wrapping_sub(newest.at_us)),
            ends_round: news.ends_round,
        };
        board.flight.congestion.on_ack(&mut tcb.ssthresh, growth);
    }
    begins
}

/// Octets on their way, RFC 6675 §4; without SACK duplicates stand for what has arrived.
pub(crate) fn pipe(tcb: &Tcb, board: &Scoreboard<'_>) -> u32 {
    let pipe = board.pipe(tcb.snd_una);
    pipe.saturating_sub(u32::from(board.flight.chain.dup_acks) * u32::from(tcb.mss))
}

fn loss(tcb: &Tcb, settings: &Settings, flight_size: u32) -> Loss {
    Loss {
        control: settings.features.congestion_control,
        mss: tcb.mss.into(),
        flight_size,
        nxt: tcb.snd_nxt,
    }
}

/// The peer echoes with `ack` that a segment was marked (RFC 3168 §6.1.2). `true`: the window was
/// reduced for it, which happens once for the segments of a window.
pub(crate) fn on_congestion_experienced(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    ack: SeqNum,
) -> bool {
    let loss = loss(tcb, context.settings, tcb.snd_nxt.since(tcb.snd_una));
    let Some(flight) = context.flights.get_mut(context.conn, tcb.flight) else { return false };
    let congestion = &mut flight.congestion;
    if congestion.phase() != Phase::Open || !ack.after(congestion.recover) {
        return false;
    }
    congestion.on_congestion(&mut tcb.ssthresh, loss);
    congestion.recover = loss.nxt;
    flight.set_probe(Probe::None);
    true
}

/// Sets the timer anew after an acknowledgment.
fn rearm(tcb: &Tcb, board: &mut Scoreboard<'_>, settings: &Settings, now_ns: u64, news: &News) {
    let says_nothing = (news.acked, news.delivered.octets, news.lost) == (0, 0, 0);
    if says_nothing && board.flight.due_ns != 0 {
        return;
    }
    let rto_ns = settings.rto_ns(tcb, board.flight.backoff);
    let retransmit_ns = if news.acked > 0 {
        // RFC 6298 §5, (5.3).
        now_ns + rto_ns
    } else if board.flight.timer() == Timer::Retransmit && board.flight.due_ns != 0 {
        board.flight.due_ns
    } else {
        (waiting_since_ns(board, now_ns) + rto_ns).max(now_ns + CLOCK_GRANULARITY_NS)
    };
    let reordering_ns = news
        .patience_us
        .map(|patience_us| now_ns + u64::from(patience_us.max(PATIENCE_US_MIN)) * NS_PER_US)
        .filter(|due_ns| *due_ns < retransmit_ns);
    if let Some(due_ns) = reordering_ns {
        board.flight.arm(Timer::Reordering, due_ns);
    } else if may_probe_tail(tcb, board.flight) {
        arm_tail(tcb, board, now_ns, retransmit_ns);
    } else {
        board.flight.arm(Timer::Retransmit, retransmit_ns);
    }
}

/// RFC 8985 §7.2: a probe takes the place of the first time-out, but is never later.
fn arm_tail(tcb: &Tcb, board: &mut Scoreboard<'_>, now_ns: u64, retransmit_ns: u64) {
    board.flight.arm(Timer::Tail, (now_ns + tail_ns(tcb)).min(retransmit_ns));
}

/// Sets the timer after something was sent from `seq` on, perhaps for the first time.
pub(crate) fn arm_after_sending(
    tcb: &Tcb,
    board: &mut Scoreboard<'_>,
    settings: &Settings,
    now_ns: u64,
    (seq, is_new): (SeqNum, bool),
) {
    // What the time-out waits for was sent again: it waits for that.
    let is_first = !is_new && seq == tcb.snd_una && board.flight.timer() == Timer::Retransmit;
    let is_off = board.flight.due_ns == 0 || board.flight.timer() == Timer::Persist || is_first;
    if !is_off && (!is_new || board.flight.timer() == Timer::Reordering) {
        return;
    }
    let rto_ns = settings.rto_ns(tcb, board.flight.backoff);
    if may_probe_tail(tcb, board.flight) {
        arm_tail(tcb, board, now_ns, waiting_since_ns(board, now_ns) + rto_ns);
    } else if is_off {
        // RFC 6298 §5, (5.1).
        board.flight.arm(Timer::Retransmit, now_ns + rto_ns);
    }
}

/// Since when the time-out is counted: the last transmission of the first unacknowledged octet, or
/// the last acknowledgment of new data.
fn waiting_since_ns(board: &Scoreboard<'_>, now_ns: u64) -> u64 {
    let progress_ms = milliseconds(now_ns).wrapping_sub(board.flight.progress_ms);
    let passed_ns = board.first().map_or(0, |(sent, _)| {
        u64::from(microseconds(now_ns).wrapping_sub(sent.at_us)) * NS_PER_US
    });
    now_ns.saturating_sub(passed_ns.min(u64::from(progress_ms) * NS_PER_MS))
}

/// RFC 8985 §7.2: with SACK, nothing missing, and no probe out.
fn may_probe_tail(tcb: &Tcb, flight: &Flight) -> bool {
    tcb.has(flag::SACK)
        && tcb.state() >= State::Established
        && tcb.srtt_us != 0
        && flight.backoff == 0
        && flight.congestion.phase() == Phase::Open
        && (flight.chain.sacked, flight.chain.lost) == (0, 0)
        && flight.probe() == Probe::None
}

/// PTO of RFC 8985 §7.2.
fn tail_ns(tcb: &Tcb) -> u64 {
    let is_single = tcb.snd_nxt.since(tcb.snd_una) <= u32::from(tcb.mss);
    let delay_ns = if is_single { MAX_ACK_DELAY_NS } else { 2 * NS_PER_MS };
    2 * u64::from(tcb.srtt_us) * NS_PER_US + delay_ns
}

/// The reordering window of a missing segment ended: RFC 8985 §6.3.
pub(crate) fn on_reordering_timer(tcb: &mut Tcb, context: &mut Context<'_>) {
    let (conn, now_ns, settings) = (context.conn, context.now_ns, context.settings);
    let Some((flight, ranges)) = context.flights.parts(conn, tcb.flight) else { return };
    let mut board = Scoreboard { flight, ranges, nxt: tcb.snd_nxt };
    board.flight.disarm();
    let (lost, patience_us) = detect(tcb, &mut board, microseconds(now_ns));
    let news = News {
        acked: 0,
        delivered: Delivered::default(),
        lost,
        duplicate: None,
        is_duplicate: false,
        patience_us,
        ends_round: false,
    };
    let was_sacked = board.flight.chain.sacked;
    let begins = respond(tcb, &mut board, settings, now_ns, &news, was_sacked);
    rearm(tcb, &mut board, settings, now_ns, &news);
    context.counters.tcp_fast_retransmit += u64::from(begins);
    tcb.set(flag::OUTPUT);
}

/// Nothing was heard for long: RFC 8985 §7.3. Output sends the probe.
pub(crate) fn on_tail_timer(tcb: &mut Tcb, context: &mut Context<'_>) {
    if let Some(flight) = context.flight(tcb) {
        flight.disarm();
        flight.set_probe(Probe::TailDue);
        tcb.set(flag::OUTPUT);
    }
}

/// The probe for a lost tail was sent, up to `end`.
pub(crate) fn on_tail_probe_sent(
    tcb: &Tcb,
    flight: &mut Flight,
    settings: &Settings,
    now_ns: u64,
    (end, probe): (SeqNum, Probe),
) {
    flight.set_probe(probe);
    flight.congestion.recover = end;
    flight.arm(Timer::Retransmit, now_ns + settings.rto_ns(tcb, flight.backoff));
}

/// The retransmission timer expired: RFC 6298 §5, (5.4) to (5.6). Everything is sent again as the
/// window allows (RFC 2018 §8).
pub(crate) fn on_retransmission_timer(tcb: &mut Tcb, context: &mut Context<'_>) {
    let loss = loss(tcb, context.settings, tcb.snd_nxt.since(tcb.snd_una));
    let Some((flight, ranges)) = context.flights.parts(context.conn, tcb.flight) else { return };
    let mut board = Scoreboard { flight, ranges, nxt: tcb.snd_nxt };
    board.lose_all();
    let flight = board.flight;
    flight.disarm();
    flight.set_probe(Probe::None);
    flight.chain.dup_acks = 0;
    flight.congestion.on_timeout(&mut tcb.ssthresh, loss, flight.backoff == 0);
    flight.backoff = flight.backoff.saturating_add(1);
    context.counters.tcp_timeout += 1;
    context.trace.timed_out(context.now_ns, tcb.spot(context.conn), tcb.state());
    tcb.set(flag::OUTPUT);
}

/// What was sent has not left, or was not wanted: it is sent again without blaming congestion.
pub(crate) fn send_again(tcb: &Tcb, context: &mut Context<'_>) {
    if !tcb.has_unacked() {
        return;
    }
    if let Some((flight, ranges)) = context.flights.parts(context.conn, tcb.flight) {
        Scoreboard { flight, ranges, nxt: tcb.snd_nxt }.lose_all();
    }
}

const NS_PER_US: u64 = 1_000;
/// DupThresh, RFC 6675 §2.
const DUP_THRESH: u32 = 3;
/// TLP.max_ack_delay, RFC 8985 §7.2: how long our peers' kernels delay at most.
const MAX_ACK_DELAY_NS: u64 = 200 * NS_PER_MS;
/// G of RFC 6298 §2: a deadline that has passed is met so much later.
const CLOCK_GRANULARITY_NS: u64 = NS_PER_MS;
/// The timer does not fire more often.
const PATIENCE_US_MIN: u32 = 100;
