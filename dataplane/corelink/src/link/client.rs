//! The control plane's side of the link.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::catalogue::{self, CatalogueError, Slot};
use super::layout::{self, PageLayout, identity, slot};
use super::memory::{self, ReadOnlyMemory, WritableMemory};
use super::socket::{self, Offer, Role};
use super::{STOP_DEADLINE_MS_MAX, State};
use crate::seqlock::{self, Torn};
use crate::sync::{Ordering, fence};
use crate::word::{View, WORD_BYTES, words_for};

/// A dataplane process, as its control plane sees it.
///
/// What cannot change is copied and checked when attaching; what can is read from the page at each
/// call. The page stays readable when the process has died. Methods may be called from any thread.
#[derive(Debug)]
pub struct LinkClient {
    page: ReadOnlyMemory,
    /// Where commands go; an observer has none.
    slot: Option<WritableMemory>,
    /// Ticket of the command sent last.
    sent: Mutex<u64>,
    layout: PageLayout,
    pid: u32,
    generation: u64,
    profile_hash: [u8; 32],
    started_at_unix_ms: u64,
    build: String,
    catalogue: Vec<Slot>,
}

/// Why a dataplane could not be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nobody listens there, or we may not connect.
    #[error("cannot connect to the dataplane: {0}")]
    Connect(io::Error),
    /// The greeting did not come, or not as it should.
    #[error("the dataplane did not say hello: {0}")]
    Hello(io::Error),
    /// The other side speaks another version of this link.
    #[error("the dataplane speaks link version {found}, this program {}", layout::VERSION)]
    Version {
        /// Its version.
        found: u64,
    },
    /// The memory files cannot be mapped.
    #[error("cannot map the dataplane's memory: {0}")]
    Memory(io::Error),
    /// The page contradicts itself.
    #[error("the dataplane's page is not usable: {0}")]
    Page(&'static str),
    /// The page's catalogue is broken.
    #[error("the dataplane's page is not usable: {0}")]
    Catalogue(#[from] CatalogueError),
}

/// The dataplane does not take commands from this side: it only observes, or another control plane
/// has attached since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dataplane takes no commands from here: another control plane has attached since")]
pub struct NotInControl;

impl LinkClient {
    /// Attaches to the dataplane that listens on `socket`, as its control plane: whoever was before
    /// can give no more commands. Takes at most a few seconds.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(socket: &Path) -> Result<Self, AttachError> {
        Self::connect(socket, Role::Control)
    }

    /// Attaches to the dataplane that listens on `socket` to look at it only.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn observe(socket: &Path) -> Result<Self, AttachError> {
        Self::connect(socket, Role::Observer)
    }

    fn connect(socket: &Path, role: Role) -> Result<Self, AttachError> {
        let stream = UnixStream::connect(socket).map_err(AttachError::Connect)?;
        stream.set_read_timeout(Some(HELLO_TIMEOUT)).map_err(AttachError::Connect)?;
        socket::request(&stream, role).map_err(AttachError::Hello)?;
        Self::from_offer(socket::receive(&stream, role)?)
    }

    pub(super) fn from_offer(offer: Offer) -> Result<Self, AttachError> {
        let Offer { pid, generation, page, slot } = offer;
        let page = memory::open_read_only(page, layout::CATALOGUE).map_err(AttachError::Memory)?;
        let slot = slot
            .map(|slot| memory::open_writable(slot, slot::WORDS))
            .transpose()
            .map_err(AttachError::Memory)?;

        let view = page.view();
        if view.load(identity::MAGIC) != layout::PAGE_MAGIC {
            return Err(AttachError::Page("it has another magic number"));
        }
        if view.load(identity::VERSION) != layout::VERSION {
            return Err(AttachError::Version { found: view.load(identity::VERSION) });
        }
        let layout = PageLayout::new(
            view.load(identity::SHARDS),
            view.load(identity::COUNTERS_PER_SHARD),
            view.load(identity::CATALOGUE_BYTES),
        )
        .ok_or(AttachError::Page("its sizes are beyond the limits"))?;
        if view.load(identity::PAGE_WORDS) != layout.words() as u64
            || view.part(0, layout.words()).is_none()
        {
            return Err(AttachError::Page("it is not as long as its sizes need"));
        }
        let build_bytes = bounded(view.load(identity::BUILD_BYTES), layout::BUILD_BYTES_MAX)
            .ok_or(AttachError::Page("its build text is too long"))?;
        let catalogue = load_text(view, layout::CATALOGUE, layout.catalogue_bytes);
        let catalogue = String::from_utf8(catalogue)
            .map_err(|_| AttachError::Page("its catalogue is not UTF-8"))?;
        let catalogue = catalogue::parse(&catalogue, layout.counters_per_shard)?;

        let mut profile_hash = [0; 32];
        profile_hash.copy_from_slice(&load_text(view, identity::PROFILE_HASH, 32));
        let started_at_unix_ms = view.load(identity::STARTED_AT_UNIX_MS);
        let build = lossy(load_text(view, identity::BUILD, build_bytes));
        let sent = Mutex::new(0);
        Ok(Self {
            page,
            slot,
            sent,
            layout,
            pid,
            generation,
            profile_hash,
            started_at_unix_ms,
            build,
            catalogue,
        })
    }

    /// Process id of the dataplane, from the kernel.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Hash of the profile the dataplane runs.
    #[must_use]
    pub fn profile_hash(&self) -> [u8; 32] {
        self.profile_hash
    }

    /// How many control planes had attached when this side did, itself included if it is one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether commands of this side are heard: it attached as control plane, and nobody has since.
    #[must_use]
    pub fn is_in_control(&self) -> bool {
        self.slot.is_some() && self.page.view().load(identity::GENERATION) == self.generation
    }

    /// What the dataplane is doing. A word that no dataplane writes counts as
    /// [`State::Starting`].
    #[must_use]
    pub fn state(&self) -> State {
        State::from_code(self.page.view().load(identity::STATE))
    }

    /// Shards the dataplane has.
    #[must_use]
    pub fn shards(&self) -> u16 {
        // The layout's limit is far below.
        self.layout.shards as u16
    }

    /// What the counters of a shard are, in order.
    #[must_use]
    pub fn catalogue(&self) -> &[Slot] {
        &self.catalogue
    }

    /// Version of the dataplane's program.
    #[must_use]
    pub fn build(&self) -> &str {
        &self.build
    }

    /// When the dataplane started, in milliseconds since 1970.
    #[must_use]
    pub fn started_at(&self) -> u64 {
        self.started_at_unix_ms
    }

    /// Reads all counters of one shard, as published together, in the order of the catalogue.
    ///
    /// # Errors
    /// [`Torn`] when the shard kept publishing, died while doing so, or does not exist; `into` is
    /// then empty.
    pub fn read(&self, shard: u16, into: &mut Vec<u64>) -> Result<(), Torn> {
        into.clear();
        let view = self.page.view();
        let place = self.layout.shard(shard.into()).ok_or(Torn)?;
        let sequence = view.part(place.sequence, 1).ok_or(Torn)?;
        let block = view.part(place.counters, self.layout.counters_per_shard).ok_or(Torn)?;
        seqlock::read(sequence, block, READ_ATTEMPTS, into)
    }

    /// When the shard's loop last said that it is alive, in nanoseconds on the dataplane's clock;
    /// 0 before it first did, and for a shard that does not exist.
    #[must_use]
    pub fn heartbeat(&self, shard: u16) -> u64 {
        let place = self.layout.shard(shard.into());
        place.map_or(0, |place| self.page.view().load(place.heartbeat))
    }

    /// What the dataplane left to be read, if anything.
    #[must_use]
    pub fn last_words(&self) -> String {
        let view = self.page.view();
        let bytes = view.load(layout::LAST_WORDS);
        // Pairs with the release in the server: who sees the length sees the text.
        fence(Ordering::Acquire);
        let bytes = bounded(bytes, layout::LAST_WORDS_BYTES_MAX).unwrap_or(0);
        lossy(load_text(view, layout::LAST_WORDS + 1, bytes))
    }

    /// Asks the dataplane to close all connections and exit within `deadline_ms`, which is cut to
    /// [`STOP_DEADLINE_MS_MAX`].
    ///
    /// # Errors
    /// [`NotInControl`] when the dataplane would not hear it.
    pub fn stop(&self, deadline_ms: u32) -> Result<(), NotInControl> {
        self.send(layout::OPCODE_STOP, deadline_ms.min(STOP_DEADLINE_MS_MAX).into())
    }

    fn send(&self, opcode: u64, argument: u64) -> Result<(), NotInControl> {
        let slot = self.slot.as_ref().filter(|_| self.is_in_control()).ok_or(NotInControl)?;
        let words = slot.words();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent += 1;
        words[slot::OPCODE].store(opcode);
        words[slot::ARGUMENT].store(argument);
        words[slot::CHECK].store(layout::command_check(*sent, opcode, argument));
        // Whoever sees the ticket sees the command.
        fence(Ordering::Release);
        words[slot::TICKET].store(*sent);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn slot_words(&self) -> &[crate::word::Word] {
        self.slot.as_ref().map_or(&[], WritableMemory::words)
    }
}

/// Text packed into words.
fn load_text(view: View<'_>, start: usize, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.next_multiple_of(WORD_BYTES));
    for at in start..start + words_for(bytes) {
        text.extend(view.load(at).to_le_bytes());
    }
    text.truncate(bytes);
    text
}

fn lossy(text: Vec<u8>) -> String {
    String::from_utf8_lossy(&text).into_owned()
}

fn bounded(value: u64, max: usize) -> Option<usize> {
    usize::try_from(value).ok().filter(|&value| value <= max)
}

/// Attempts to read a shard's counters; publishing takes a microsecond of every millisecond.
const READ_ATTEMPTS: u32 = 64;
/// How long a dataplane may take to greet; its main thread does little else.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
