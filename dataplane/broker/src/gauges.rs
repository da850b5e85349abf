//! The broker as operators see it, and the housekeeping of every millisecond.

use superpage::Tier;

use crate::broker::Broker;
use crate::counters::{BrokerCounters, BrokerGauges};

/// A pass over all sessions, some each tick, for what no counter knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Survey {
    cursor: u32,
    /// Of the pass that is going on.
    non_empty: u64,
    longest: u64,
    /// Of the last complete one.
    shown_non_empty: u64,
    shown_longest: u64,
}

/// Sessions looked at in one tick.
const SURVEY_MAX: u32 = 256;
/// Parked links tried again in one tick.
const PARKED_MAX: u32 = 1_024;

impl Broker {
    /// Housekeeping, once a millisecond: goes on with everything that had to wait. Bounded.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.retry_untold();
        self.retry_claims(now_ns);
        self.continue_moves();
        self.continue_endings();
        self.continue_jobs(now_ns);
        self.retry_parked(now_ns, PARKED_MAX);
        self.sweep_timers(now_ns);
        self.go_on_surveying();
        self.run_own_messages(now_ns);
    }

    fn go_on_surveying(&mut self) {
        for _ in 0..SURVEY_MAX {
            let Some(session) = self.sessions.next_live(self.survey.cursor) else {
                let Survey { non_empty, longest, .. } = self.survey;
                self.survey = Survey {
                    shown_non_empty: non_empty,
                    shown_longest: longest,
                    ..Survey::default()
                };
                return;
            };
            self.survey.cursor = session + 1;
            let queued = u64::from(self.sessions[session].queued());
            self.survey.non_empty += u64::from(queued > 0);
            self.survey.longest = self.survey.longest.max(queued);
        }
    }

    /// What happened since the start.
    pub fn counters(&self) -> &BrokerCounters {
        &self.counters
    }

    /// How things are now.
    pub fn gauges(&self) -> BrokerGauges {
        BrokerGauges {
            links: self.open_links.into(),
            active_links: self.works.len().into(),
            parked_links: self.parked_links.into(),
            sessions: self.sessions.len().into(),
            connected: self.connected.into(),
            clients: self.directory.clients().into(),
            subscriptions: self.index.subscriptions().into(),
            filters: self.index.filters().into(),
            wildcard_filters: self.index.wildcard_filters().into(),
            wildcard_levels: self.index.nodes().into(),
            filter_units_free: self.index.filter_units_free().into(),
            identifiers: self.index.identifiers().into(),
            interest_wildcards: self.interest.wildcards().into(),
            interest_everything: self.interest.fallen_back().into(),
            messages: self.messages.messages().into(),
            message_name_units_free: self.messages.name_units_free().into(),
            payload_units_free: self.messages.payload_units_free().into(),
            retained: self.retained.topics().into(),
            deliveries: self.deliveries.deliveries().into(),
            queues_non_empty: self.survey.shown_non_empty,
            queue_longest: self.survey.shown_longest,
            pending: self.pending.len().into(),
            claims: self.claims.len().into(),
            retained_jobs: self.retained_jobs.len().into(),
            output_chunks_free: self.output.free_count().into(),
            name_units_free: self.names.free_units().into(),
            moves: self.moves.len().into(),
            staged_bytes: self.staging.iter().map(|staging| staging.used() as u64).sum(),
        }
    }

    /// Where the broker's memory is: name, kind of pages, bytes.
    pub fn regions(&self) -> Vec<(&'static str, Tier, usize)> {
        let mut regions = vec![
            ("links", self.links.tier(), self.links.region_bytes()),
            ("works", self.works.tier(), self.works.region_bytes()),
            ("output", self.output.tier(), self.output.region_bytes()),
            ("aliases", self.aliases.tier(), self.aliases.region_bytes()),
            ("pending", self.pending.tier(), self.pending.region_bytes()),
            ("claims", self.claims.tier(), self.claims.region_bytes()),
            ("sessions", self.sessions.tier(), self.sessions.region_bytes()),
            ("moves", self.moves.tier(), self.moves.region_bytes()),
            ("retained-jobs", self.retained_jobs.tier(), self.retained_jobs.region_bytes()),
            ("staging", self.staging_arena.tier(), self.staging_arena.bytes()),
        ];
        let (tier, bytes) = self.names.region();
        regions.push(("names", tier, bytes));
        regions.extend(self.index.regions());
        regions.extend(self.messages.regions());
        regions.extend(self.deliveries.regions());
        regions.extend(self.directory.regions());
        regions.extend(self.retained.regions());
        regions.extend(self.interest.regions());
        regions
    }
}
