//! Runs a script: every packet we send and everything the application is told must be expected, at
//! its time, in its order; at the end all memory must be free again.

use std::fmt::Write;

use tcpstack::{Stack, StackCounters, StackGauges};

use crate::app::{self, App};
use crate::flow::Flow;
use crate::script::{Action, Body, Call, Num, Packet, Payload, Script, Step, Told, When, flag};
use crate::setup::{self, PEER_MAC, Setup};
use crate::wire::Wire;
use crate::words::{Fault, expected};
use crate::{build, compare, parse, read};

/// Why a script failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) line: usize,
    pub(crate) fault: Fault,
    /// What happened until then.
    pub(crate) trace: String,
}

/// Runs the script that is in `text`.
pub(crate) fn run(text: &str) -> Result<(), Failure> {
    let early = |(line, fault)| Failure { line, fault, trace: String::new() };
    let script = parse::script(text).map_err(early)?;
    let setup = Setup::new(&script.config).map_err(early)?;
    let mut run = Run::new(&script, setup).map_err(|fault| early((1, fault)))?;
    run.all(&script).map_err(|(line, fault)| Failure { line, fault, trace: run.trace })
}

struct Run {
    setup: Setup,
    wire: Wire,
    app: App,
    /// When the last step was.
    at_ns: u64,
    trace: String,
}

impl Run {
    fn new(script: &Script, setup: Setup) -> Result<Self, Fault> {
        let stack = Stack::new(setup.stack.clone()).map_err(|error| error.to_string())?;
        let wire = Wire::new(stack);
        let at_ns = wire.now_ns;
        let mut run = Self { setup, wire, app: App::default(), at_ns, trace: String::new() };
        for (_, ends) in &script.flows {
            let (peer, own) = run.setup.ends(ends.number);
            let (peer, own) = (ends.peer.unwrap_or(peer), ends.own.unwrap_or(own));
            let flow = Flow::new(peer, own, ends.mac.unwrap_or(PEER_MAC), run.setup.irs);
            run.app.flows.insert(ends.number, flow);
        }
        run.flow(1);
        if !run.setup.stranger {
            let peers = run.app.flows.values().map(|flow| (flow.peer.ip(), flow.mac));
            for (ip, mac) in peers.chain(setup::gateways(&run.setup.stack).map(|ip| (ip, PEER_MAC)))
            {
                setup::learn(&mut run.wire.stack, ip, mac);
            }
        }
        Ok(run)
    }

    fn flow(&mut self, number: usize) -> &mut Flow {
        let setup = &self.setup;
        self.app.flows.entry(number).or_insert_with(|| {
            let (peer, own) = setup.ends(number);
            Flow::new(peer, own, PEER_MAC, setup.irs)
        })
    }

    fn all(&mut self, script: &Script) -> Result<(), (usize, Fault)> {
        let mut rest = &script.steps[..];
        while let Some(first) = rest.first() {
            let joined = rest[1..].iter().take_while(|step| step.joined).count();
            let (turn, after) = rest.split_at(1 + joined);
            self.turn(turn).map_err(|fault| (first.line, fault))?;
            rest = after;
        }
        let last = script.steps.last().map_or(1, |step| step.line);
        let end = self.quiet().and_then(|()| self.unclaimed()).and_then(|()| self.clean_up());
        end.map_err(|fault| (last, format!("after the last line: {fault}")))
    }

    /// A step, with those that share its turn.
    fn turn(&mut self, steps: &[Step]) -> Result<(), Fault> {
        let Step { when, action, .. } = &steps[0];
        match action {
            Action::Us(flow, packet) => self.expect(*flow, packet, *when)?,
            Action::Event(flow, told) => self.expect_told(*flow, told, *when)?,
            Action::Skip(count) => self.skip(*count, *when)?,
            _ => {
                let end_ns = self.at_ns + when.latest_ns;
                while self.pass(end_ns)? {}
                self.quiet()?;
            }
        }
        self.at_ns = self.wire.now_ns;
        match action {
            Action::Peer(..) | Action::App(..) => self.act(steps),
            Action::State(flow, state) => self.check_state(*flow, state),
            Action::Metric(name, value) => self.check_metric(name, *value),
            _ => Ok(()),
        }
    }

    /// Peers send and the application calls; then output.
    fn act(&mut self, steps: &[Step]) -> Result<(), Fault> {
        let mut burst = Vec::new();
        for step in steps {
            if let Action::Peer(number, packet) = &step.action {
                self.note(format_args!("peer{} {packet}", suffix(*number)));
                let flow = self.flow(*number);
                burst.extend(build::frames(flow, packet));
            }
        }
        self.wire.input(&burst, |stack, news| self.app.hear(stack, news));
        for step in steps {
            if let Action::App(number, call) = &step.action {
                self.note(format_args!("app{} {call:?}", suffix(*number)));
                self.call(*number, call)?;
            }
        }
        self.output()
    }

    fn output(&mut self) -> Result<(), Fault> {
        let known = self.wire.sent.len();
        self.wire.output(|stack, news| self.app.hear(stack, news));
        self.look(known)
    }

    /// The next timer that is due until `end_ns`. `false`: none is.
    fn pass(&mut self, end_ns: u64) -> Result<bool, Fault> {
        let known = self.wire.sent.len();
        let more = self.wire.pass(end_ns, |stack, news| self.app.hear(stack, news));
        self.look(known)?;
        Ok(more)
    }

    /// Learns from what was just sent.
    fn look(&mut self, known: usize) -> Result<(), Fault> {
        for (at_ns, bytes) in self.wire.sent.iter().skip(known) {
            let heard = read::frame(bytes).map_err(|fault| format!("we sent {fault}"))?;
            let ends = heard.ends;
            let mut flows = self.app.flows.iter_mut();
            let flow = flows.find(|(_, flow)| Some((flow.peer, flow.own)) == ends);
            let mut shown = heard.packet.clone();
            let mut number = 1;
            if let (Some((of, flow)), Body::Tcp(segment)) = (flow, &heard.packet.body) {
                flow.see(segment);
                number = *of;
                shown = flow.show(&heard.packet);
                if let (0, Some(Num::Raw(seq))) =
                    (segment.flags & flag::SYN ^ flag::SYN, segment.seq)
                {
                    let _ = writeln!(self.trace, "{:>17}our 0 is {seq} on the wire", "");
                }
            }
            let ms = self.wire.elapsed_ns(*at_ns) as f64 / 1e6;
            let _ = writeln!(self.trace, "{ms:>12.3} ms  us{} {shown}", suffix(number));
        }
        self.app.fault.take().map_or(Ok(()), Err)
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let ms = self.wire.elapsed_ns(self.wire.now_ns) as f64 / 1e6;
        let _ = writeln!(self.trace, "{ms:>12.3} ms  {what}");
    }

    fn expect(&mut self, number: usize, packet: &Packet, when: When) -> Result<(), Fault> {
        let (start_ns, end_ns) = (self.at_ns, self.at_ns + when.latest_ns);
        while self.wire.sent.is_empty() && self.pass(end_ns)? {}
        let what = format!("us{} {packet}", suffix(number));
        let Some((at_ns, bytes)) = self.wire.sent.pop_front() else {
            let last = self
                .flow(number)
                .told
                .back()
                .map_or(String::new(), |told| format!(" (last event: {told})"));
            return Err(format!("expected `{what}`, came nothing{last}"));
        };
        let heard = read::frame(&bytes)?;
        let flow = self.flow(number);
        let came = flow.show(&heard.packet);
        if let Some(difference) = compare::difference(flow, packet, &heard) {
            return Err(format!("expected `{what}`, came `us {came}`: another {difference}"));
        }
        let after_ns = at_ns.saturating_sub(start_ns);
        if at_ns < start_ns || !(when.earliest_ns..=when.latest_ns).contains(&after_ns) {
            let ms = after_ns as f64 / 1e6;
            return Err(format!(
                "expected `{what}` at another time: it came {ms} ms after the line before"
            ));
        }
        Ok(())
    }

    fn expect_told(&mut self, number: usize, told: &Told, when: When) -> Result<(), Fault> {
        if let Told::Received(payload) = told {
            return self.expect_received(number, payload, when);
        }
        let (start_ns, end_ns) = (self.at_ns, self.at_ns + when.latest_ns);
        if let Told::Neighbor(host, mac) = told {
            let flow = self.flow(number);
            let wanted = (flow.ip(*host), flow.mac(*mac));
            let mut list = std::mem::take(&mut self.app.told).into_iter();
            let flow = self.flow(number);
            let found = list.any(|came| match came {
                Told::Neighbor(host, mac) => (flow.ip(host), flow.mac(mac)) == wanted,
                _ => false,
            });
            return if found { Ok(()) } else { Err(format!("expected event `{told}`, came none")) };
        }
        let is_optional = *told == Told::Readable;
        loop {
            let flow = self.flow(number);
            if !is_optional {
                flow.told.retain(|told| *told != Told::Readable);
            }
            if let Some(came) = flow.told.pop_front() {
                if came != *told {
                    return Err(expected(format_args!("event `{told}`"), came));
                }
                break;
            }
            if !self.pass(end_ns)? && self.flow(number).told.is_empty() {
                return Err(format!("expected event `{told}`, came none"));
            }
        }
        let after_ns = self.wire.now_ns - start_ns;
        if after_ns < when.earliest_ns {
            let ms = after_ns as f64 / 1e6;
            return Err(format!(
                "expected event `{told}` later: it came {ms} ms after the line before"
            ));
        }
        Ok(())
    }

    fn expect_received(&mut self, number: usize, what: &Payload, when: When) -> Result<(), Fault> {
        let end_ns = self.at_ns + when.latest_ns;
        while self.pass(end_ns)? {}
        let fresh = std::mem::take(&mut self.flow(number).fresh);
        match what {
            Payload::Empty if !fresh.is_empty() => {
                Err(format!("expected no octets, came {}", fresh.len()))
            }
            Payload::Len(len) if fresh.len() != *len => {
                Err(format!("expected {len} octets, came {}", fresh.len()))
            }
            Payload::Text(text) if fresh != *text => {
                Err(expected(format_args!("`{}`", text.escape_ascii()), fresh.escape_ascii()))
            }
            _ => Ok(()),
        }
    }

    fn skip(&mut self, count: Option<usize>, when: When) -> Result<(), Fault> {
        let end_ns = self.at_ns + when.latest_ns;
        while self.pass(end_ns)? {}
        let there = self.wire.sent.len();
        if count.is_some_and(|count| count > there) {
            return Err(format!("expected {} packets to skip, came {there}", count.unwrap_or(0)));
        }
        self.wire.sent.drain(..count.unwrap_or(there));
        Ok(())
    }

    fn call(&mut self, number: usize, call: &Call) -> Result<(), Fault> {
        let now_ns = self.wire.now_ns;
        self.flow(number);
        let Self { wire, app, .. } = self;
        let Some(flow) = app.flows.get_mut(&number) else { return Ok(()) };
        let stack = &mut wire.stack;
        if let Call::Connect { fails } = call {
            match (setup::connect(stack, now_ns, flow.peer), fails) {
                (Ok(conn), None) => {
                    flow.begin(conn);
                    flow.own = setup::ends(stack, conn).map_or(flow.own, |ends| ends.1);
                }
                (Err(error), Some(wanted)) if error == wanted => {}
                (came, _) => return Err(format!("connect gave {came:?}")),
            }
            return Ok(());
        }
        if matches!(call, Call::Announce) {
            stack.announce();
            return Ok(());
        }
        if let Call::Address { change, fails } = call {
            let came = setup::change(stack, now_ns, *change);
            let is_it = came.err() == fails.as_deref();
            return if is_it { Ok(()) } else { Err(format!("the change gave {came:?}")) };
        }
        let conn = flow.conn.ok_or("there is no connection for this call")?;
        match call {
            Call::Connect { .. } | Call::Announce | Call::Address { .. } => {}
            Call::Send { what, takes } => {
                let octets = flow.our_octets(what);
                let taken = stack.send(now_ns, conn, &octets);
                flow.written.extend(&octets[..taken]);
                let wanted = takes.unwrap_or(octets.len());
                if taken != wanted {
                    return Err(format!("expected that {wanted} octets are taken, came {taken}"));
                }
            }
            Call::Close => stack.close(now_ns, conn),
            Call::Abort => stack.abort(now_ns, conn),
            Call::Hold => flow.holding = true,
            Call::Resume => {
                flow.holding = false;
                app::read(stack, flow, usize::MAX)?;
            }
            Call::Read(count) => app::read(stack, flow, *count)?,
            Call::WantWritable => stack.want_writable(conn),
        }
        Ok(())
    }

    fn check_state(&mut self, number: usize, wanted: &str) -> Result<(), Fault> {
        let conn = self.flow(number).conn;
        let stack = &self.wire.stack;
        let gauges = stack.gauges();
        let state = match conn.and_then(|conn| stack.state(conn)) {
            Some(state) => setup::state_name(state),
            // Entries without a connection are told by their number.
            None if gauges.syn_received > 0 => "SYN-RECEIVED",
            None if gauges.time_wait > 0 => "TIME-WAIT",
            None => "CLOSED",
        };
        // What listens has no state of its own.
        let is_none = state == "CLOSED" && wanted == "LISTEN";
        if state == wanted || is_none { Ok(()) } else { Err(expected(wanted, state)) }
    }

    fn check_metric(&self, name: &str, wanted: u64) -> Result<(), Fault> {
        let (counters, gauges) = (self.wire.stack.counters(), self.wire.stack.gauges());
        let counter = StackCounters::FIELDS.iter().zip(counters.values());
        let gauge = StackGauges::FIELDS.iter().zip(gauges.values());
        let found = counter.chain(gauge).find(|(field, _)| field.name == name);
        let (_, value) = found.ok_or_else(|| format!("there is no counter or gauge `{name}`"))?;
        if *value == wanted {
            Ok(())
        } else {
            Err(expected(format_args!("{name} {wanted}"), value))
        }
    }

    /// Nothing was sent, and the application was told nothing, that no line expects.
    fn quiet(&mut self) -> Result<(), Fault> {
        if let Some((_, bytes)) = self.wire.sent.front() {
            let heard = read::frame(bytes)?;
            let mut flows = self.app.flows.values();
            let flow = flows.find(|flow| Some((flow.peer, flow.own)) == heard.ends);
            let shown = flow.map_or(heard.packet.clone(), |flow| flow.show(&heard.packet));
            return Err(expected("nothing to be sent", format_args!("us {shown}")));
        }
        for (number, flow) in &mut self.app.flows {
            flow.told.retain(|told| *told != Told::Readable);
            if let Some(told) = flow.told.front() {
                return Err(expected("no event", format_args!("event{} {told}", suffix(*number))));
            }
        }
        Ok(())
    }

    /// Octets the application got that no line mentions.
    fn unclaimed(&mut self) -> Result<(), Fault> {
        for (number, flow) in &self.app.flows {
            if !flow.fresh.is_empty() {
                let came = format!("event{} received {}", suffix(*number), flow.fresh.len());
                return Err(expected("no octets for the application", came));
            }
        }
        Ok(())
    }

    /// Ends what is left; then everything is free again, and every frame is accounted for.
    fn clean_up(&mut self) -> Result<(), Fault> {
        for flow in self.app.flows.values() {
            if let Some(conn) = flow.conn {
                self.wire.stack.abort(self.wire.now_ns, conn);
            }
        }
        self.wire.output(|stack, news| self.app.hear(stack, news));
        let end_ns = self.wire.now_ns + FORGOTTEN_NS;
        while self.wire.pass(end_ns, |stack, news| self.app.hear(stack, news)) {}
        let gauges = self.wire.stack.gauges();
        let left = [
            ("connections", gauges.in_use),
            ("entries of the flow table", gauges.flows),
            ("passive opens", gauges.syn_received),
            ("connections in TIME-WAIT", gauges.time_wait),
            ("chunks", gauges.total - gauges.free),
            ("flights", u64::from(self.setup.stack.limits.flights) - gauges.available),
        ];
        if let Some((what, count)) = left.iter().find(|(_, count)| *count > 0) {
            return Err(format!("{count} {what} were not given back"));
        }
        let counters = self.wire.stack.counters();
        let drops = StackCounters::FIELDS.iter().zip(counters.values());
        let dropped: u64 = drops
            .filter(|(field, _)| field.name.starts_with("drop_"))
            .map(|(_, count)| count)
            .sum();
        if counters.received != counters.accepted + dropped {
            return Err(format!(
                "{} frames came, {} accepted, {dropped} dropped",
                counters.received, counters.accepted
            ));
        }
        Ok(())
    }
}

fn suffix(number: usize) -> String {
    if number == 1 { String::new() } else { number.to_string() }
}

/// Longer than any entry without a connection lives.
const FORGOTTEN_NS: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_scripts_fail_where_and_as_they_should() {
        let cases = [
            ("given ESTABLISHED\nstate CLOSING", 3, "expected CLOSING, came `ESTABLISHED`"),
            ("given ESTABLISHED\npeer RST seq 2", 3, "came `us ACK seq 1 ack 1"),
            ("given SYN-RECEIVED\npeer ACK seq 1 ack 1", 3, "came `event accepted`"),
            ("peer SYN seq 0\nus SYN,ACK seq 0 ack 2", 3, "another ack"),
            ("peer SYN seq 0\nus SYN,ACK seq 0 ack 1 <ws 0>", 3, "`ws 0` is missing"),
            ("peer SYN seq 0\nus SYN,ACK seq 0 ack 1 <>", 3, "options: there are more"),
            ("peer SYN seq 0\n+1ms us SYN,ACK seq 0", 3, "at another time"),
            ("given ESTABLISHED\n+1s us ACK", 3, "came nothing"),
            ("given ESTABLISHED\napp send 5\nus ACK len 5 data \"hello\"", 4, "another data"),
            ("given ESTABLISHED\napp send \"hello\"\nus ACK len 4", 4, "another length"),
            ("given ESTABLISHED\npeer ACK seq 1 ack 1 len 9\nskip all", 4, "received 9"),
            ("given ESTABLISHED\nevent peer-closed", 3, "came none"),
            ("given ESTABLISHED\nmetric tcp_accepted 2", 3, "expected tcp_accepted 2, came `1`"),
        ];
        for (text, line, part) in cases {
            let failure = run(&format!("# RFC\n{text}")).expect_err(text);
            let Failure { line: at, fault, trace } = failure;
            assert!(at == line && fault.contains(part), "{text}: line {at}: {fault}\n{trace}");
        }
    }
}
