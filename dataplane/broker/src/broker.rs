//! The broker of one shard: what it owns, and the calls that concern links as such.

use std::collections::VecDeque;

use superpage::{Arena, ChunkPool, NIL, Slab};

use crate::alias::Alias;
use crate::claim::Claim;
use crate::config::{BrokerConfig, BrokerError, Limits};
use crate::counters::BrokerCounters;
use crate::gauges::Survey;
use crate::lifecycle::{Endings, Leave};
use crate::link::{Link, LinkList, LinkState, Work, flag};
use crate::memory::NAME_UNIT_BYTES;
use crate::output::OUTPUT_CHUNK_BYTES;
use crate::pending::Pending;
use crate::retained::RetainedJob;
use crate::session::Session;
use crate::shards::Receiving;
use crate::shards::staging::Staging;
use crate::store::bytes::ByteStore;
use crate::store::directory::ClientDirectory;
use crate::store::hash::Secret;
use crate::store::message::MessageStore;
use crate::store::queue::DeliveryPool;
use crate::store::retained::RetainedStore;
use crate::take_over::Move;
use crate::timers::TimerRequest;
use crate::topic::index::SubscriptionIndex;
use crate::topic::interest::Interest;
use crate::topic::matcher::Matcher;

/// One shard's broker. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Broker {
    pub(crate) config: BrokerConfig,
    pub(crate) secret: Secret,
    /// Latest time the broker was told.
    pub(crate) now_ns: u64,

    pub(crate) links: Slab<Link>,
    pub(crate) works: Slab<Work>,
    pub(crate) output: ChunkPool,
    pub(crate) aliases: Slab<Alias>,
    pub(crate) pending: Slab<Pending>,
    pub(crate) ready: LinkList,
    pub(crate) resumed: LinkList,
    pub(crate) parked: LinkList,
    /// Links not yet gone from the transport's view.
    pub(crate) open_links: u32,
    pub(crate) parked_links: u32,
    pub(crate) timer_requests: VecDeque<TimerRequest>,
    /// Where the search for lost timer requests goes on; `None` when none was lost.
    pub(crate) timer_sweep: Option<u32>,
    /// Where the paced shutdown goes on; `None` before it.
    pub(crate) shutdown_cursor: Option<u32>,

    pub(crate) sessions: Slab<Session>,
    pub(crate) connected: u32,
    /// Client ids of sessions, texts of topic aliases, filters of retained jobs.
    pub(crate) names: ByteStore,
    pub(crate) index: SubscriptionIndex,
    pub(crate) matcher: Matcher,
    pub(crate) messages: MessageStore,
    pub(crate) deliveries: DeliveryPool,
    pub(crate) ending: Endings,
    /// Client ids made up so far.
    pub(crate) ids_assigned: u64,

    pub(crate) directory: ClientDirectory,
    /// Counts the sessions made.
    pub(crate) epoch: u32,
    pub(crate) retained: RetainedStore,
    pub(crate) retained_jobs: Slab<RetainedJob>,
    /// Where the round of retained jobs goes on.
    pub(crate) retained_cursor: u32,

    /// Sessions on their way to their client id.
    pub(crate) claims: Slab<Claim>,
    pub(crate) claims_stalled: bool,

    pub(crate) interest: Interest,
    /// Shards that could not be told of a filter and must take us to want everything.
    pub(crate) untold: u64,
    pub(crate) staging: Vec<Staging>,
    pub(crate) staging_arena: Arena,
    pub(crate) receiving: Vec<Receiving>,
    pub(crate) moves: Slab<Move>,
    pub(crate) move_cursor: u32,

    pub(crate) scratch: Scratch,
    pub(crate) counters: BrokerCounters,
    pub(crate) survey: Survey,
}

/// Buffers that live for one call, allocated once. A function takes what it needs out and puts it
/// back; two that nest use different ones.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A topic, or a client id.
    pub(crate) topic: Vec<u8>,
    /// Properties to store or to forward.
    pub(crate) properties: Vec<u8>,
    /// A filter.
    pub(crate) filter: Vec<u8>,
    /// A part of a payload.
    pub(crate) payload: Vec<u8>,
    /// A message from this shard to itself.
    pub(crate) message: Vec<u8>,
    /// Reason codes of a SUBACK.
    pub(crate) reasons: Vec<u8>,
    /// A record of a session image.
    pub(crate) image: Vec<u8>,
}

impl Broker {
    /// Makes the broker of a shard. All memory it will ever use is taken here.
    ///
    /// # Errors
    /// Limits that contradict each other, or memory that cannot be had.
    pub fn new(config: BrokerConfig) -> Result<Broker, BrokerError> {
        config.check()?;
        let BrokerConfig { limits, placement, shards, .. } = &config;
        let (limits, placement) = (*limits, *placement);
        let secret = Secret::new(config.secret);
        let staging_bytes = Arena::piece_bytes(limits.staging_bytes as usize);
        let mut staging_arena = Arena::create("staging", usize::from(*shards) * staging_bytes)?;
        Ok(Broker {
            secret,
            now_ns: 0,
            links: Slab::create("links", limits.links, placement)?,
            works: Slab::create("works", limits.active_links, placement)?,
            output: ChunkPool::create(
                "output",
                OUTPUT_CHUNK_BYTES,
                limits.output_chunks,
                placement,
            )?,
            aliases: Slab::create("aliases", limits.active_links, placement)?,
            pending: Slab::create("pending", limits.pending, placement)?,
            ready: LinkList::of_ready(),
            resumed: LinkList::of_waiting(),
            parked: LinkList::of_waiting(),
            open_links: 0,
            parked_links: 0,
            timer_requests: VecDeque::with_capacity(TIMER_REQUESTS_MAX),
            timer_sweep: None,
            shutdown_cursor: None,
            sessions: Slab::create("sessions", limits.sessions, placement)?,
            connected: 0,
            names: ByteStore::create("names", NAME_UNIT_BYTES, limits.name_units(), placement)?,
            index: SubscriptionIndex::create(&limits.index(), secret, placement)?,
            matcher: Matcher::new(),
            messages: MessageStore::create(&limits.message_store(), placement)?,
            deliveries: DeliveryPool::create(limits.deliveries, placement)?,
            ending: Endings::default(),
            ids_assigned: 0,
            directory: ClientDirectory::create(&limits.directory(), secret, placement)?,
            epoch: 0,
            retained: RetainedStore::create(&limits.retained_store(), secret, placement)?,
            retained_jobs: Slab::create("retained-jobs", limits.retained_jobs, placement)?,
            retained_cursor: 0,
            claims: Slab::create("claims", limits.pending, placement)?,
            claims_stalled: false,
            untold: 0,
            interest: Interest::create(&limits.interest(*shards), secret, placement)?,
            staging: (0..*shards).map(|_| new_staging(&limits, &mut staging_arena)).collect(),
            staging_arena,
            receiving: (0..*shards).map(|_| Receiving::None).collect(),
            moves: Slab::create("moves", limits.moves, placement)?,
            move_cursor: 0,
            scratch: Scratch::new(&limits),
            counters: BrokerCounters::default(),
            survey: Survey::default(),
            config,
        })
    }

    /// A transport connection has come. Returns its link, or `None` when there is room for no more
    /// (counted), whereupon the caller aborts the connection.
    pub fn accept(&mut self, now_ns: u64, transport: u32) -> Option<u32> {
        self.now_ns = now_ns;
        let link = match self.shutdown_cursor {
            None => self.links.insert(Link::new(transport, millis(now_ns))),
            Some(_) => None,
        };
        let Some(link) = link else {
            self.counters.links_refused += 1;
            return None;
        };
        self.counters.links_accepted += 1;
        self.open_links += 1;
        let timeout_ms = self.config.timers.connect_timeout_ms;
        self.request_link_timer(link, now_ns + u64::from(timeout_ms) * NANOS_PER_MILLI);
        Some(link)
    }

    /// The transport connection is gone without our asking. The link id is dead afterwards.
    pub fn transport_closed(&mut self, now_ns: u64, link: u32) {
        self.now_ns = now_ns;
        self.leave_session(now_ns, link, Leave::Lost);
        self.free_link(link);
        self.run_own_messages(now_ns);
    }

    /// The transport's own number for a link.
    pub fn transport_of(&self, link: u32) -> u32 {
        self.links[link].transport
    }

    /// A link that has bytes to send or is to be closed: call [`Broker::fill`] on it.
    pub fn next_ready(&mut self) -> Option<u32> {
        while let Some(link) = self.ready.pop(&mut self.links) {
            let record = &mut self.links[link];
            record.clear(flag::LISTED);
            if record.state() != LinkState::Dead {
                return Some(link);
            }
            self.reap(link);
        }
        None
    }

    /// The transport has room again for a link whose [`Broker::fill`] had more to send.
    pub fn mark_ready(&mut self, link: u32) {
        self.links[link].clear(flag::BLOCKED);
        self.wake(link);
    }

    /// Whether a link's bytes are held back until [`Broker::next_resumed`] names it. If not, what
    /// [`Broker::feed`] left is the beginning of a packet.
    pub fn is_held(&self, link: u32) -> bool {
        let record = &self.links[link];
        record.state() == LinkState::Claiming || record.has(flag::PARKED | flag::CORKED)
    }

    /// A link that was parked and whose held bytes may be offered again.
    pub fn next_resumed(&mut self) -> Option<u32> {
        while let Some(link) = self.resumed.pop(&mut self.links) {
            let record = &mut self.links[link];
            record.clear(flag::WAITING);
            if record.state() == LinkState::Dead {
                self.reap(link);
            } else if record.has(flag::PARKED) {
                // Bytes that came first have led to its being parked again.
                self.park(link);
            } else {
                return Some(link);
            }
        }
        None
    }

    /// Puts a link into the list of links to fill, unless it waits for the transport.
    pub(crate) fn wake(&mut self, link: u32) {
        let record = &mut self.links[link];
        if record.has(flag::LISTED)
            || (record.has(flag::BLOCKED) && !record.has(flag::ABORT | flag::QUOTA))
        {
            return;
        }
        record.set(flag::LISTED);
        self.ready.push(&mut self.links, link);
    }

    /// Stops taking a link's input until something it needs has room again.
    pub(crate) fn park(&mut self, link: u32) {
        let record = &mut self.links[link];
        record.set(flag::PARKED);
        if !record.has(flag::WAITING) {
            record.set(flag::WAITING);
            self.counters.parks += 1;
            self.parked_links += 1;
            self.parked.push(&mut self.links, link);
        }
    }

    /// Has a link's held bytes offered again.
    pub(crate) fn resume(&mut self, link: u32) {
        let record = &mut self.links[link];
        if !record.has(flag::WAITING) {
            record.set(flag::WAITING);
            self.resumed.push(&mut self.links, link);
        }
    }

    /// Tries parked links again: those parked now, at most `links_max` of them.
    pub(crate) fn retry_parked(&mut self, now_ns: u64, links_max: u32) {
        for _ in 0..self.parked_links.min(links_max) {
            let Some(link) = self.parked.pop(&mut self.links) else { return };
            self.parked_links -= 1;
            let record = &mut self.links[link];
            record.clear(flag::WAITING | flag::PARKED);
            if record.state() == LinkState::Dead {
                self.reap(link);
                continue;
            }
            // A message that is complete but could not be routed has no bytes left to offer.
            self.finish_incoming(now_ns, link);
            if !self.links[link].has(flag::PARKED) {
                self.resume(link);
                self.wake(link);
            }
        }
    }

    /// The link's work, taken from the pool when it has none; `None` when the pool is empty.
    pub(crate) fn work(&mut self, link: u32) -> Option<u32> {
        let work = self.links[link].work;
        if work != NIL {
            return Some(work);
        }
        let work = self.works.insert(Work::IDLE)?;
        self.links[link].work = work;
        Some(work)
    }

    /// Gives the link's work back when nothing is in progress.
    pub(crate) fn rest(&mut self, link: u32) {
        let work = self.links[link].work;
        if work != NIL && self.works[work].is_idle() {
            self.works.remove(work);
            self.links[link].work = NIL;
        }
    }

    /// Frees what a link holds; the record itself follows when no list holds it.
    pub(crate) fn free_link(&mut self, link: u32) {
        let work = self.links[link].work;
        if work != NIL {
            self.drop_incoming(work);
            self.drop_sending(work);
            self.drop_acks(work);
            let mut work = self.works.remove(work);
            work.output.clear(&mut self.output);
        }
        let record = &mut self.links[link];
        record.work = NIL;
        record.state = LinkState::Dead as u8;
        self.open_links -= 1;
        self.counters.links_closed += 1;
        self.reap(link);
    }

    /// Removes the record of a dead link that no list holds any more.
    fn reap(&mut self, link: u32) {
        if !self.links[link].has(flag::LISTED | flag::WAITING) {
            self.links.remove(link);
        }
    }

    /// The home shard of a client id or topic with this hash.
    pub(crate) fn shard_of(&self, hash: u64) -> u16 {
        (hash % u64::from(self.config.shards)) as u16
    }
}

impl Scratch {
    fn new(limits: &Limits) -> Scratch {
        let header = limits.header_bytes_max as usize;
        let buffer = |len: usize| vec![0; len];
        Scratch {
            topic: buffer(header.max(crate::topic::name::TOPIC_BYTES_MAX)),
            properties: buffer(header),
            filter: buffer(header.max(crate::topic::name::TOPIC_BYTES_MAX)),
            payload: buffer(crate::shards::wire::PART_BYTES_MAX),
            message: buffer(limits.shard_message_bytes_max()),
            reasons: buffer(header),
            image: buffer(limits.shard_message_bytes_max()),
        }
    }
}

pub(crate) const NANOS_PER_MILLI: u64 = 1_000_000;
pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Timer requests kept; when more come in one turn, a sweep finds the rest.
pub(crate) const TIMER_REQUESTS_MAX: usize = 4_096;

/// Milliseconds of a time, wrapping after 49 days.
pub(crate) fn millis(now_ns: u64) -> u32 {
    (now_ns / NANOS_PER_MILLI) as u32
}

fn new_staging(limits: &Limits, arena: &mut Arena) -> Staging {
    let buffer = arena.alloc_bytes(limits.staging_bytes as usize);
    Staging::new(buffer.expect("the arena is the sum of its pieces"), limits.answer_reserve())
}
