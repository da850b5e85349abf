//! Two hosts, the wire between them, and a virtual clock.

use crate::frame::describe;
use crate::host::Host;
use crate::link::{ETHERNET_BYTES, Frame, Link};
use crate::peer::Peer;
use crate::router::too_big;
use crate::scenario::{Family, Mishap, Scenario};
use crate::watch::Watch;
use crate::wire::End;
use tcpstack::{CloseReason, SynCookies};

/// A host of either make.
enum Node {
    Ours {
        host: Box<Host>,
        watch: Watch,
    },
    Smoltcp(Box<Peer>),
    /// It is switched off.
    Gone,
}

pub(crate) struct World {
    scenario: Scenario,
    now_ns: u64,
    nodes: [Node; 2],
    /// The way to host 1, and the way to host 0.
    links: [Link; 2],
    random: fastrand::Rng,
    /// Connections to begin.
    left: usize,
    next_connect_ns: u64,
    mishap: Mishap,
    has_healed: bool,
    is_traced: bool,
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let seed = scenario.seed;
        let nodes = [End(0), End(1)].map(|end| Node::new(&scenario, end));
        let [there, back] = scenario.links;
        Self {
            now_ns: START_NS,
            nodes,
            links: [Link::new(seed ^ 1, there), Link::new(seed ^ 2, back)],
            random: fastrand::Rng::with_seed(seed ^ 3),
            left: scenario.connections,
            next_connect_ns: START_NS,
            mishap: scenario.mishap,
            has_healed: false,
            is_traced: std::env::var_os("SIMULATION_TRACE").is_some(),
            scenario,
        }
    }

    /// Runs until nothing will ever happen again, and looks at what is left.
    pub(crate) fn run(mut self) {
        let ends_ns = START_NS + self.scenario.ends_ms() * NS_PER_MS;
        while let Some(next_ns) = self.step() {
            let jitter_ns = 1_000 * self.random.u64(1..100);
            self.now_ns = (self.now_ns + jitter_ns).max(next_ns);
            let is_over = self.now_ns < ends_ns || self.is_through();
            assert!(is_over, "stuck at {} s: {}", self.now_ns / 1_000_000_000, self.left_open());
        }
        assert!(self.is_through(), "nobody will ever move again: {}", self.left_open());
        // Where chunks are short, they are taken back from whoever does not move.
        let has_stalled = self.nodes.iter().any(|node| match node {
            Node::Ours { host, .. } => host.stack.counters().tcp_stalled > 0,
            Node::Smoltcp(peer) => peer.has_stalled,
            Node::Gone => false,
        });
        for (number, node) in self.nodes.iter().enumerate() {
            if let Node::Ours { host, .. } = node {
                host.check_rest();
            }
            if self.scenario.is_orderly() && !has_stalled {
                for (reason, program) in node.ended() {
                    // smoltcp stays in TIME-WAIT for ten seconds, and where there is little room
                    // it may be shorter; our last FIN may be sent later.
                    let is_short = self.scenario.has_smoltcp || self.scenario.is_scarce;
                    let is_late = is_short && program.has_sent_all();
                    let is_ok =
                        (*reason == CloseReason::Finished || is_late) && program.has_received_all();
                    assert!(is_ok || !program.must_finish(), "{number}: {reason:?} {program:?}");
                }
            }
        }
    }

    /// One turn of both hosts; gives the time of the next.
    fn step(&mut self) -> Option<u64> {
        let now_ns = self.now_ns;
        self.weather();
        if self.left > 0 && now_ns >= self.next_connect_ns {
            let pause_ns = self.random.u64(..=self.scenario.pause_max_ms) * NS_PER_MS;
            self.next_connect_ns = now_ns + pause_ns;
            let end = usize::from(self.random.bool());
            let is_ipv6 = match self.scenario.family {
                Family::Ipv4 => false,
                Family::Ipv6 => true,
                Family::Both => self.random.bool(),
            };
            if self.nodes[end].connect(now_ns, is_ipv6) {
                self.left -= 1;
            } else {
                self.next_connect_ns += 100 * NS_PER_MS;
            }
        }
        for end in [0, 1] {
            let incoming = &mut self.links[1 - end];
            let frames: Vec<Frame> = std::iter::from_fn(|| incoming.receive(now_ns)).collect();
            for bytes in self.nodes[end].turn(now_ns, frames) {
                self.transmit(end, bytes);
            }
        }
        let connect = (self.left > 0).then_some(self.next_connect_ns);
        let mishap = self.mishap.at_ns();
        let nodes = self.nodes.iter().map(Node::next_ns);
        let links = self.links.iter().map(Link::next_ns);
        nodes.chain(links).chain([connect, mishap]).flatten().min()
    }

    /// A host sends a frame.
    fn transmit(&mut self, end: usize, bytes: Vec<u8>) {
        let now_ns = self.now_ns;
        let line = self.is_traced.then(|| describe(&bytes));
        let mtu = self.links[end].impairment.mtu;
        let is_told = self.scenario.narrowing.is_some_and(|narrowing| narrowing.is_told);
        let is_too_big = mtu > 0 && bytes.len() > mtu + ETHERNET_BYTES;
        let report = (is_told && is_too_big).then(|| too_big(&bytes, mtu));
        let fate = self.links[end].send(now_ns, bytes);
        if let Some(line) = line {
            println!("{:12} {end} {line} {fate:?}", now_ns / 1_000);
        }
        if let Some(report) = report {
            self.links[1 - end].send(now_ns, report);
        }
    }

    /// What befalls the wire and the hosts with time.
    fn weather(&mut self) {
        let now_ms = (self.now_ns - START_NS) / NS_PER_MS;
        for &(from_ms, to_ms) in &self.scenario.blackouts_ms {
            if (from_ms..to_ms).contains(&now_ms) {
                for link in &mut self.links {
                    link.dark_until_ns = link.dark_until_ns.max(START_NS + to_ms * NS_PER_MS);
                }
            }
        }
        if let Some(narrowing) = self.scenario.narrowing.filter(|it| now_ms >= it.at_ms) {
            for (link, mtu) in self.links.iter_mut().zip(narrowing.mtus) {
                link.impairment.mtu = mtu;
            }
        }
        if now_ms >= self.scenario.heals_ms && !self.has_healed {
            self.has_healed = true;
            for link in &mut self.links {
                link.impairment.heal();
            }
        }
        if self.mishap.at_ns().is_some_and(|at_ns| at_ns <= self.now_ns) {
            match std::mem::replace(&mut self.mishap, Mishap::None) {
                Mishap::Vanish { end, .. } => {
                    self.nodes[usize::from(end.0)] = Node::Gone;
                    self.left = 0;
                }
                Mishap::Restart { end, .. } => {
                    self.nodes[usize::from(end.0)].restart(&self.scenario, end)
                }
                Mishap::None => {}
            }
        }
    }

    fn is_through(&self) -> bool {
        self.left == 0 && self.nodes.iter().all(Node::is_idle)
    }

    fn left_open(&self) -> String {
        let open = |node: &Node| match node {
            Node::Ours { host, .. } => host.describe(),
            Node::Smoltcp(peer) => peer.describe(),
            Node::Gone => "gone".to_owned(),
        };
        let nodes: Vec<_> = self.nodes.iter().map(open).collect();
        format!("{:?}\n{}", self.scenario, nodes.join("\n"))
    }
}

impl Mishap {
    fn at_ns(self) -> Option<u64> {
        match self {
            Mishap::None => None,
            Mishap::Vanish { at_ms, .. } | Mishap::Restart { at_ms, .. } => {
                Some(START_NS + at_ms * NS_PER_MS)
            }
        }
    }
}

impl Node {
    fn new(scenario: &Scenario, end: End) -> Self {
        let Scenario { seed, mut habits, .. } = *scenario;
        if scenario.has_smoltcp && end == End(1) {
            habits.has_half_close = true;
            return Node::Smoltcp(Box::new(Peer::new(end, seed, habits)));
        }
        let features = scenario.features[usize::from(end.0)];
        habits.may_repeat = features.syn_cookies != SynCookies::Never;
        let watch = Watch::new(habits.may_repeat);
        let stack = scenario.stack(end);
        Node::Ours { host: Box::new(Host::new(stack, end, seed, habits)), watch }
    }

    fn restart(&mut self, scenario: &Scenario, end: End) {
        let Node::Ours { host, watch } = self else { return };
        host.restart(scenario.stack(end));
        *watch = watch.renewed();
    }

    fn connect(&mut self, now_ns: u64, is_ipv6: bool) -> bool {
        match self {
            Node::Ours { host, .. } => host.connect(now_ns, is_ipv6),
            Node::Smoltcp(peer) => peer.connect(is_ipv6),
            Node::Gone => false,
        }
    }

    fn turn(&mut self, now_ns: u64, frames: Vec<Frame>) -> Vec<Vec<u8>> {
        match self {
            Node::Ours { host, watch } => {
                for frame in frames.iter().filter(|frame| !frame.is_corrupted) {
                    watch.arrives(&frame.bytes);
                }
                let sent = host.turn(now_ns, &frames);
                for bytes in &sent {
                    watch.leaves(bytes);
                }
                sent
            }
            Node::Smoltcp(peer) => peer.turn(now_ns, frames),
            Node::Gone => Vec::new(),
        }
    }

    fn next_ns(&self) -> Option<u64> {
        match self {
            Node::Ours { host, .. } => host.next_ns(),
            Node::Smoltcp(peer) => peer.next_ns(),
            Node::Gone => None,
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Node::Ours { host, .. } => host.programs.is_empty(),
            Node::Smoltcp(peer) => peer.is_idle(),
            Node::Gone => true,
        }
    }

    fn ended(&self) -> &[(CloseReason, crate::program::Program)] {
        match self {
            Node::Ours { host, .. } => &host.ended,
            Node::Smoltcp(peer) => &peer.ended,
            Node::Gone => &[],
        }
    }
}

const START_NS: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
