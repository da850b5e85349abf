//! What happens in a run. Everything follows from its seed.

use tcpstack::{CongestionControl, Ecn, Features, Limits, Stack, SynCookies, Timers};

use crate::link::Impairment;
use crate::peer;
use crate::program::Habits;
use crate::wire::{self, End};

/// A run's story.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// The way to host 1, and the way to host 0.
    pub(crate) links: [Impairment; 2],
    /// When nothing passes, from and to, in ms.
    pub(crate) blackouts_ms: Vec<(u64, u64)>,
    /// From then on the wire is good.
    pub(crate) heals_ms: u64,
    pub(crate) connections: usize,
    /// Time between two connections' beginnings, at most; 0: all begin at once.
    pub(crate) pause_max_ms: u64,
    pub(crate) habits: Habits,
    pub(crate) limits: [Limits; 2],
    pub(crate) timers: Timers,
    /// What connections travel over.
    pub(crate) family: Family,
    pub(crate) features: [Features; 2],
    pub(crate) narrowing: Option<Narrowing>,
    pub(crate) mishap: Mishap,
    /// There is not enough of everything for everybody.
    pub(crate) is_scarce: bool,
    /// Host 1 is smoltcp's.
    pub(crate) has_smoltcp: bool,
}

/// Versions of IP in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
    Both,
}

/// The path becomes narrower for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrowing {
    pub(crate) at_ms: u64,
    /// Largest packets that pass to host 1, and to host 0; 0: all.
    pub(crate) mtus: [usize; 2],
    /// Whether the sender of a larger one is told.
    pub(crate) is_told: bool,
}

/// The worst that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    None,
    /// A host is switched off for ever.
    Vanish {
        end: End,
        at_ms: u64,
    },
    /// A host is switched off and on again, with the same secret: ports repeat.
    Restart {
        end: End,
        at_ms: u64,
    },
}

impl Scenario {
    pub(crate) fn of(seed: u64, has_smoltcp: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x7363_656e);
        let random = &mut random;
        let mut links = links(random);
        if has_smoltcp {
            // It needs a minute for each segment when a queue has lost many of a window.
            links[1].octets_per_ms = 0;
        }
        let heals_ms = random.u64(1_000..120_000);
        let blackouts_ms = (0..random.usize(..3))
            .map(|_| {
                let from = random.u64(..heals_ms);
                (from, from + random.u64(100..20_000))
            })
            .collect();
        let mishap = mishap(random, has_smoltcp);
        let is_large = random.u8(..8) == 0;
        let octets_max = if is_large { 1_000_000 } else { 1 << random.u32(8..18) };
        let connections = if is_large { random.usize(1..4) } else { random.usize(1..40) };
        let habits = Habits {
            octets_max,
            has_rude: random.u8(..3) == 0,
            has_half_close: false,
            may_repeat: true,
            sleep_max_ms: [0, 200, 3_000][random.usize(..3)],
            portion_max: 1 << random.u32(if is_large { 10 } else { 6 }..16),
        };
        let family = [Family::Ipv4, Family::Ipv6, Family::Both][random.usize(..3)];
        let is_scarce = random.u8(..4) == 0;
        let mut limits = [limits(random, is_scarce), limits(random, is_scarce)];
        if has_smoltcp {
            // Its sockets repeat their SYNs all at the same time, after a minute in the end.
            limits[0].syn_entries = limits[0].syn_entries.max(peer::SOCKETS as u32);
        }
        // Where a connection ends early, its peer's next segment opens a cookie again, with the same
        // numbers and another application: what is gone is not remembered.
        let is_restart = matches!(mishap, Mishap::Restart { .. });
        let has_cookies = !habits.has_rude && !is_restart;
        Self {
            seed,
            links,
            blackouts_ms,
            heals_ms,
            connections,
            pause_max_ms: [0, 10, 1_000][random.usize(..3)],
            habits,
            limits,
            timers: timers(mishap),
            family,
            features: features(random, has_cookies),
            narrowing: narrowing(random, family, has_smoltcp),
            mishap,
            is_scarce,
            has_smoltcp,
        }
    }

    /// A stack of ours at `end`.
    pub(crate) fn stack(&self, end: End) -> Stack {
        let number = usize::from(end.0);
        wire::stack(self.seed, end, self.limits[number], self.timers, self.features[number])
    }

    /// Whether every connection between two polite ends must end in order.
    pub(crate) fn is_orderly(&self) -> bool {
        self.mishap == Mishap::None
    }

    /// When everything must have ended, in virtual time.
    pub(crate) fn ends_ms(&self) -> u64 {
        let mishap_ms = match self.mishap {
            Mishap::None => 0,
            Mishap::Vanish { at_ms, .. } | Mishap::Restart { at_ms, .. } => {
                at_ms + u64::from(self.timers.user_timeout_ms) * 3
            }
        };
        let begun_ms = self.connections as u64 * self.pause_max_ms;
        let slowest =
            self.links.map(|link| link.octets_per_ms).into_iter().filter(|&rate| rate > 0);
        let octets = (2 * self.connections * self.habits.octets_max) as u64;
        let sent_ms = octets / slowest.min().unwrap_or(1_000);
        // An application that sleeps every fortieth time for so long.
        let portions = (self.habits.octets_max / self.habits.portion_max) as u64 * 4;
        let slept_ms = (portions / 40 + 4) * self.habits.sleep_max_ms + portions * 3;
        let quiet_ms = self.heals_ms.max(mishap_ms) + self.blackouts_ms.len() as u64 * 20_000;
        // What cookies opened again has a peer in TIME-WAIT. A rude peer's reset may be lost: then
        // the state itself ends the connection.
        let Timers { time_wait_ms, fin_wait_2_ms, .. } = self.timers;
        let left_ms = if self.habits.has_rude { fin_wait_2_ms } else { time_wait_ms };
        u64::from(left_ms) + quiet_ms + begun_ms + 2 * sent_ms + slept_ms + ENDS_MS
    }
}

fn links(random: &mut fastrand::Rng) -> [Impairment; 2] {
    let often = |random: &mut fastrand::Rng, most: u32| {
        if random.bool() { 0 } else { random.u32(..=most) }
    };
    let shared = Impairment {
        delay_us: [20, 500, 5_000, 30_000, 150_000][random.usize(..5)],
        jitter_us: [0, 0, 100, 3_000, 30_000][random.usize(..5)],
        loss_permille: often(random, 200),
        burst_permille: often(random, 20),
        mark_permille: often(random, 100),
        duplicate_permille: often(random, 100),
        corrupt_permille: often(random, 50),
        reorder_permille: often(random, 150),
        reorder_us: random.u64(10..20_000),
        ..Impairment::default()
    };
    [0, 1].map(|_| Impairment {
        octets_per_ms: [0, 0, 100, 1_000, 12_500][random.usize(..5)],
        queue_frames: random.usize(4..200),
        loss_permille: if random.u8(..4) == 0 { 0 } else { shared.loss_permille },
        ..shared
    })
}

fn mishap(random: &mut fastrand::Rng, has_smoltcp: bool) -> Mishap {
    let at_ms = random.u64(100..60_000);
    // Whoever stays must be ours: its memory is looked at.
    let end = if has_smoltcp { End(1) } else { End(random.u8(..2)) };
    match random.u8(..10) {
        0 => Mishap::Vanish { end, at_ms },
        1 if !has_smoltcp => Mishap::Restart { end, at_ms },
        _ => Mishap::None,
    }
}

fn limits(random: &mut fastrand::Rng, is_scarce: bool) -> Limits {
    let [receive_buffer_bytes, send_buffer_bytes] = [0, 0].map(|_| 2_048 << random.u32(1..10));
    let chunk_bytes = [64, 256, 512, 2_048][random.usize(..4)];
    let limits = Limits {
        connections: 100,
        syn_entries: 100,
        time_wait_entries: 200,
        flights: 100,
        sent_ranges: 1_000,
        chunks: (16 << 20) / chunk_bytes,
        chunk_bytes,
        receive_buffer_bytes,
        send_buffer_bytes,
        neighbors: 4,
        paths: 4,
        fragments: 8,
    };
    if is_scarce {
        // Enough for one connection to get on.
        let chunks = random.u32(2 * 65_536..4 * 65_536) / chunk_bytes;
        Limits {
            syn_entries: random.u32(1..10),
            time_wait_entries: random.u32(..10),
            flights: random.u32(2..10),
            chunks,
            ..limits
        }
    } else {
        limits
    }
}

fn features(random: &mut fastrand::Rng, has_cookies: bool) -> [Features; 2] {
    let mut both = [Features::default(); 2];
    for features in &mut both {
        let cookies = [SynCookies::WhenFull, SynCookies::Always, SynCookies::Never];
        let choice = random.usize(..8).min(2);
        features.syn_cookies = if has_cookies { cookies[choice] } else { SynCookies::Never };
        let controls = [CongestionControl::Cubic, CongestionControl::NewReno];
        features.congestion_control = controls[random.usize(..2)];
        features.ecn = [Ecn::Off, Ecn::Accept, Ecn::Request][random.usize(..3)];
    }
    both
}

fn narrowing(random: &mut fastrand::Rng, family: Family, has_smoltcp: bool) -> Option<Narrowing> {
    if random.u8(..4) != 0 {
        return None;
    }
    // Every link takes IPv6 packets of 1,280 bytes.
    let least = if family == Family::Ipv4 { 576 } else { 1_280 };
    let mtu = [least, 1_280, 1_400, 1_492][random.usize(..4)];
    // smoltcp takes no notice of its path.
    let back = if has_smoltcp || random.bool() { 0 } else { mtu };
    Some(Narrowing { at_ms: random.u64(..30_000), mtus: [mtu, back], is_told: random.bool() })
}

fn timers(mishap: Mishap) -> Timers {
    // With these losses FINs need many attempts; nobody shall give up before.
    let patient = Timers {
        rto_max_ms: 10_000,
        time_wait_ms: 120_000,
        fin_wait_2_ms: 300_000,
        user_timeout_ms: 1_000_000,
        connect_timeout_ms: 600_000,
        syn_ack_retries: 7,
        keep_alive_idle_ms: 60_000,
        keep_alive_interval_ms: 5_000,
        duplicate_address_probes: 0,
        // A burst of losses lasts for many probes when nothing else is sent.
        keep_alive_probes: 50,
        ..Timers::default()
    };
    match mishap {
        Mishap::None => patient,
        // Whoever is left behind must not wait for ever.
        _ => Timers {
            time_wait_ms: 60_000,
            fin_wait_2_ms: 60_000,
            user_timeout_ms: 100_000,
            keep_alive_probes: 9,
            ..patient
        },
    }
}

/// What protocol timers add: probes, retransmissions, keep-alive.
const ENDS_MS: u64 = 400_000;
