//! Retained messages: kept on the home shard of their topic, fetched for new subscriptions.
//!
//! A fetch is a job of the subscriber's shard. It asks one shard after the other, a few messages at
//! a time and only while the session's queue has room, so that `#` on a million retained messages
//! floods nobody. The shards asked keep no state but the pin of the cursor that goes back and forth.

use superpage::{Handle, NIL, record};

use crate::broker::Broker;
use crate::deliver::Copy;
use crate::session::SessionState;
use crate::shards::wire::{FIXED_BYTES_MAX, Grant, SessionRef, ShardMessage};
use crate::store::bytes::BlobId;
use crate::store::message::MessageId;
use crate::store::queue::DELIVERY_RETAIN;
use crate::store::retained::RetainedCursor;
use crate::topic::name::{TopicFilter, TopicName};

record! {
    /// The retained messages for one subscription, being fetched.
    pub(crate) struct RetainedJob {
        session: u32,
        epoch: u32,
        filter: BlobId,
        identifier: u32,
        /// Where the shard asked goes on.
        cursor: RetainedCursor,
        /// The shard asked now, and the one to end with.
        shard: u16,
        last_shard: u16,
        qos: u8,
        /// One of the `STATE_*`.
        state: u8,
        /// 1 when `cursor` is one of this shard's.
        begun: u8,
        reserved: u8,
    }
}

/// To be asked.
const STATE_IDLE: u8 = 0;
/// Asked and not answered.
const STATE_ASKED: u8 = 1;

/// Messages asked for at a time.
const BATCH: u16 = 64;
/// Levels of topics looked at for one batch.
const LOOKUPS_MAX: usize = 256;
/// Jobs worked on in one tick.
const JOBS_MAX: u32 = 64;

/// What a new subscription wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) session: u32,
    pub(crate) filter: TopicFilter<'a>,
    pub(crate) grant: Grant,
}

impl Broker {
    /// Keeps a message as the retained one of its topic; an empty payload clears it (MQTT 5
    /// §3.3.1.3). This shard is the topic's home.
    pub(crate) fn keep_retained(&mut self, name: TopicName<'_>, message: MessageId) {
        let replaced = if self.messages.get(message).payload_bytes == 0 {
            self.retained.clear(name)
        } else {
            match self.retained.set(name, message) {
                Ok(replaced) => {
                    self.messages.retain(message);
                    replaced
                }
                Err(_) => {
                    self.counters.drop_retained_full += 1;
                    None
                }
            }
        };
        if let Some(replaced) = replaced {
            self.messages.release(replaced);
        }
    }

    /// Begins to fetch the retained messages of a new subscription. Room was made sure of.
    pub(crate) fn fetch_retained(&mut self, now_ns: u64, fetch: &Fetch<'_>) {
        let text = fetch.filter.as_bytes();
        let Some(filter) = self.names.put(text) else {
            self.counters.drop_pool_empty += 1;
            return;
        };
        let (shard, last_shard) = if fetch.filter.is_exact() {
            let home = self.shard_of(self.secret.hash(text));
            (home, home)
        } else {
            (0, self.config.shards - 1)
        };
        let job = self.retained_jobs.insert(RetainedJob {
            session: fetch.session,
            epoch: self.sessions[fetch.session].epoch,
            filter,
            identifier: fetch.grant.identifier,
            cursor: RetainedCursor::DONE,
            shard,
            last_shard,
            qos: fetch.grant.qos,
            state: STATE_IDLE,
            begun: 0,
            reserved: 0,
        });
        match job {
            Some(job) => self.step_job(now_ns, job),
            None => self.names.release(filter),
        }
    }

    /// Goes on with fetches that wait, some each tick.
    pub(crate) fn continue_jobs(&mut self, now_ns: u64) {
        for _ in 0..self.retained_jobs.len().min(JOBS_MAX) {
            let next = self.retained_jobs.next_live(self.retained_cursor);
            let Some(job) = next.or_else(|| self.retained_jobs.next_live(0)) else { return };
            self.retained_cursor = job + 1;
            if self.retained_jobs[job].state == STATE_IDLE {
                self.step_job(now_ns, job);
            }
        }
    }

    /// One step: a batch of this shard's own, or a question to another one.
    fn step_job(&mut self, now_ns: u64, job: u32) {
        let RetainedJob { session, epoch, shard, .. } = self.retained_jobs[job];
        let to = SessionRef { session, epoch };
        let alive = self
            .session_of(to)
            .is_some_and(|session| self.sessions[session].state() == SessionState::Online);
        if !alive {
            self.end_job(job);
            return;
        }
        // Half the queue is left to what is published now. A client that is slow is looked at again
        // in the next tick.
        let share = self.config.limits.session_queue_messages.div_ceil(2);
        let room = share.saturating_sub(self.sessions[session].queued());
        let batch = room.min(u32::from(BATCH)) as u16;
        if batch == 0 {
            return;
        }
        if shard == self.config.shard {
            self.step_job_here(now_ns, job, to, batch);
        } else {
            self.ask_for_retained(job, to, batch);
        }
    }

    fn step_job_here(&mut self, now_ns: u64, job: u32, to: SessionRef, batch: u16) {
        let record = self.retained_jobs[job];
        let grant = Grant { qos: record.qos, identifier: record.identifier };
        let mut found = [NIL; BATCH as usize];
        let found = &mut found[..usize::from(batch)];
        let mut text = std::mem::take(&mut self.scratch.filter);
        let len = self.names.read(record.filter, 0, &mut text);
        let cursor = (record.begun != 0).then_some(record.cursor);
        let (cursor, count) = self.search_retained(now_ns, &text[..len], cursor, found);
        self.scratch.filter = text;
        for message in &found[..count] {
            self.deliver(to.session, *message, Copy { grant, flags: DELIVERY_RETAIN });
        }
        self.advance_job(now_ns, job, cursor);
    }

    /// Finds retained messages from a cursor, or the beginning, on.
    fn search_retained(
        &mut self,
        now_ns: u64,
        filter: &[u8],
        cursor: Option<RetainedCursor>,
        found: &mut [MessageId],
    ) -> (RetainedCursor, usize) {
        let Ok(filter) = TopicFilter::parse(filter) else { return (RetainedCursor::DONE, 0) };
        let mut cursor = cursor.unwrap_or_else(|| self.retained.begin());
        let count = self.retained.next(&filter, &mut cursor, LOOKUPS_MAX, found);
        let mut kept = 0;
        for index in 0..count {
            let expires_at_ns = self.messages.get(found[index]).expires_at_ns;
            if expires_at_ns == 0 || expires_at_ns > now_ns {
                found[kept] = found[index];
                kept += 1;
            } else {
                self.forget_expired(found[index]);
            }
        }
        (cursor, kept)
    }

    fn forget_expired(&mut self, message: MessageId) {
        self.counters.drop_expired += 1;
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let len = self.messages.read_topic(message, &mut topic);
        if let Ok(name) = TopicName::parse(&topic[..len])
            && let Some(message) = self.retained.clear(name)
        {
            self.messages.release(message);
        }
        self.scratch.topic = topic;
    }

    fn ask_for_retained(&mut self, job: u32, to: SessionRef, batch: u16) {
        let record = self.retained_jobs[job];
        let mut text = std::mem::take(&mut self.scratch.filter);
        let len = self.names.read(record.filter, 0, &mut text);
        let question = ShardMessage::RetainedQuery {
            token: self.retained_jobs.handle(job),
            to,
            budget: batch,
            grant: Grant { qos: record.qos, identifier: record.identifier },
            cursor: (record.begun != 0).then_some(record.cursor),
            filter: &text[..len],
        };
        if self.send(record.shard, &question) {
            self.retained_jobs[job].state = STATE_ASKED;
        }
        self.scratch.filter = text;
    }

    /// Another shard has sent a batch.
    pub(crate) fn on_retained_done(
        &mut self,
        now_ns: u64,
        from: u16,
        token: Handle,
        cursor: RetainedCursor,
    ) {
        match self.retained_jobs.resolve(token) {
            Some(job) => {
                self.retained_jobs[job].state = STATE_IDLE;
                self.advance_job(now_ns, job, cursor);
            }
            None if !cursor.is_done() => {
                self.send(from, &ShardMessage::RetainedEnd { cursor });
            }
            None => {}
        }
    }

    /// Goes on behind `cursor`: with the same shard, the next one, or not at all.
    fn advance_job(&mut self, now_ns: u64, job: u32, cursor: RetainedCursor) {
        let record = &mut self.retained_jobs[job];
        record.cursor = cursor;
        record.begun = u8::from(!cursor.is_done());
        if !cursor.is_done() {
            return;
        }
        if record.shard == record.last_shard {
            self.end_job(job);
        } else {
            record.shard += 1;
            self.step_job(now_ns, job);
        }
    }

    fn end_job(&mut self, job: u32) {
        let record = self.retained_jobs.remove(job);
        self.names.release(record.filter);
        if record.begun != 0 {
            if record.shard == self.config.shard {
                self.retained.end(record.cursor);
            } else {
                self.send(record.shard, &ShardMessage::RetainedEnd { cursor: record.cursor });
            }
        }
    }

    /// Another shard asks for a batch. As many are sent as there is room for.
    pub(crate) fn on_retained_query(&mut self, now_ns: u64, from: u16, query: &Query<'_>) {
        let mut cursor = query.cursor;
        for _ in 0..query.budget.min(BATCH) {
            let mut found = [NIL];
            // Without room the question is answered with nothing but where to go on.
            let limit = usize::from(self.has_room_for(from, self.message_bytes_max()));
            let (next, count) =
                self.search_retained(now_ns, query.filter, cursor, &mut found[..limit]);
            cursor = Some(next);
            for message in &found[..count] {
                let sent =
                    self.send_delivery(from, query.to, query.grant, DELIVERY_RETAIN, *message);
                debug_assert!(sent, "room was checked");
            }
            if limit == 0 || next.is_done() {
                break;
            }
        }
        let cursor = cursor.unwrap_or(RetainedCursor::DONE);
        self.send(from, &ShardMessage::RetainedDone { token: query.token, cursor });
    }

    /// Another shard does not want the rest.
    pub(crate) fn on_retained_end(&mut self, cursor: RetainedCursor) {
        self.retained.end(cursor);
    }

    /// Bytes that the largest possible message takes on the way to another shard.
    fn message_bytes_max(&self) -> usize {
        let limits = &self.config.limits;
        limits.packet_bytes_max as usize
            + (2 + limits.packet_bytes_max as usize / crate::shards::wire::PART_BYTES_MAX)
                * FIXED_BYTES_MAX
    }
}

/// A question for retained messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) token: Handle,
    pub(crate) to: SessionRef,
    pub(crate) budget: u16,
    pub(crate) grant: Grant,
    pub(crate) cursor: Option<RetainedCursor>,
    pub(crate) filter: &'a [u8],
}
