//! The dataplane's side of the link.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::catalogue::{self, CatalogueError};
use super::layout::{self, PageLayout, ShardLayout, identity, slot};
use super::memory::{self, WritableMemory, Writers};
use super::{Command, STOP_DEADLINE_MS_MAX, State};
use crate::seqlock;
use crate::sync::fence;
use crate::word::{WORD_BYTES, Word};

/// What a dataplane says about itself when it starts.
#[derive(Clone, Debug, Default)]
pub struct LinkSpec {
    /// Hash of the profile it runs.
    pub profile_hash: [u8; 32],
    /// Shards it has, at most 1024.
    pub shards: u16,
    /// What the counters are: one line each, see [`Slot`](super::Slot). At most 1 MiB.
    pub catalogue: String,
    /// Counters of each shard, at most 65,536.
    pub counters_per_shard: u32,
    /// Version of the program, for people. At most 256 bytes.
    pub build: String,
    /// When it started, in milliseconds since 1970.
    pub started_at_unix_ms: u64,
}

/// The page of this process, and the slot for the control plane's commands.
///
/// Not for shards: each of those has its [`ShardPage`]. Methods may be called from any thread.
#[derive(Debug)]
pub struct LinkServer {
    page: Arc<WritableMemory>,
    fd: OwnedFd,
    attached: Mutex<Attached>,
    /// Somebody is writing last words.
    is_speaking: AtomicBool,
}

/// The command slot of the control plane that attached last.
#[derive(Debug)]
struct Attached {
    generation: u64,
    slot: Option<WritableMemory>,
    /// Ticket of the command taken last.
    taken: u64,
}

/// One shard's part of the page.
#[derive(Debug)]
pub struct ShardPage {
    page: Arc<WritableMemory>,
    place: ShardLayout,
    counters: usize,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A size or a text is beyond its limit.
    #[error("link: {0}")]
    Limit(&'static str),
    /// The catalogue does not describe the counters.
    #[error("link: {0}")]
    Catalogue(#[from] CatalogueError),
    /// The kernel refused the memory.
    #[error("link: cannot make shared memory: {0}")]
    Memory(#[from] io::Error),
}

impl LinkServer {
    /// Makes the page, in state [`State::Starting`] with all counters 0, and a part for each shard.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn create(spec: &LinkSpec) -> Result<(Self, Vec<ShardPage>), LinkError> {
        let layout = PageLayout::new(
            spec.shards.into(),
            spec.counters_per_shard.into(),
            spec.catalogue.len() as u64,
        )
        .ok_or(LinkError::Limit("too many shards or counters, or too long a catalogue"))?;
        if spec.build.len() > layout::BUILD_BYTES_MAX {
            return Err(LinkError::Limit("the build text is too long"));
        }
        catalogue::parse(&spec.catalogue, layout.counters_per_shard)?;

        let (fd, page) = memory::make("trunkline-page", layout.words(), Writers::Maker)?;
        write_identity(page.words(), spec, &layout);
        store_text(&page.words()[layout::CATALOGUE..], spec.catalogue.as_bytes());
        let page = Arc::new(page);
        let shards = (0..layout.shards)
            .filter_map(|shard| layout.shard(shard))
            .map(|place| ShardPage {
                page: Arc::clone(&page),
                place,
                counters: layout.counters_per_shard,
            })
            .collect();
        let attached = Mutex::new(Attached { generation: 0, slot: None, taken: 0 });
        Ok((Self { page, fd, attached, is_speaking: AtomicBool::new(false) }, shards))
    }

    /// The page's memory file.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How many control planes have attached so far.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.attached().generation
    }

    /// Says what the process is doing.
    pub fn set_state(&self, state: State) {
        self.page.words()[identity::STATE].store(state.code());
    }

    /// Leaves a text of at most 4 KiB, of which the last one stays readable as long as somebody
    /// is attached, after this process as well.
    ///
    /// Allocates nothing, takes no lock and waits for nobody, so that it can be called when things
    /// are going wrong; when two threads call at once, one text is dropped.
    pub fn last_words(&self, text: &str) {
        if self.is_speaking.swap(true, Ordering::Acquire) {
            return;
        }
        let len = text.floor_char_boundary(layout::LAST_WORDS_BYTES_MAX);
        let (head, body) = self.page.words()[layout::LAST_WORDS..].split_at(1);
        // A reader that comes in between sees nothing, rather than two texts in one.
        head[0].store(0);
        fence(Ordering::Release);
        store_text(body, &text.as_bytes()[..len]);
        fence(Ordering::Release);
        head[0].store(len as u64);
        self.is_speaking.store(false, Ordering::Release);
    }

    /// The next command of the control plane that attached last, if there is one.
    #[must_use]
    pub fn take_command(&self) -> Option<Command> {
        let mut attached = self.attached();
        let words = attached.slot.as_ref()?.words();
        let ticket = words[slot::TICKET].load();
        if ticket == attached.taken {
            return None;
        }
        // Pairs with the release in the client: who sees its ticket sees its command.
        fence(Ordering::Acquire);
        // From here on only these copies are used: the other side may write at any time.
        let (opcode, argument) = (words[slot::OPCODE].load(), words[slot::ARGUMENT].load());
        if words[slot::CHECK].load() != layout::command_check(ticket, opcode, argument) {
            // Half of one command and half of the next: the next ticket is on its way.
            return None;
        }
        attached.taken = ticket;
        match opcode {
            layout::OPCODE_STOP => {
                let deadline_ms = u32::try_from(argument).unwrap_or(u32::MAX);
                Some(Command::Stop { deadline_ms: deadline_ms.min(STOP_DEADLINE_MS_MAX) })
            }
            _ => None,
        }
    }

    /// Starts the next generation: its slot replaces that of the control plane before.
    pub(super) fn admit(&self) -> io::Result<(u64, OwnedFd)> {
        let (fd, memory) = memory::make("trunkline-slot", slot::WORDS, Writers::Anybody)?;
        let mut attached = self.attached();
        let generation = attached.generation + 1;
        *attached = Attached { generation, slot: Some(memory), taken: 0 };
        self.page.words()[identity::GENERATION].store(generation);
        Ok((generation, fd))
    }

    fn attached(&self) -> MutexGuard<'_, Attached> {
        // Nothing between lock and unlock leaves it half changed.
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShardPage {
    /// Publishes all counters of this shard, in the order of the catalogue.
    ///
    /// # Panics
    /// When there are not exactly [`LinkSpec::counters_per_shard`] of them.
    pub fn publish(&mut self, values: &[u64]) {
        let words = self.page.words();
        let block = &words[self.place.counters..][..self.counters];
        seqlock::publish(&words[self.place.sequence], block, values);
    }

    /// Says that the shard's loop is alive.
    pub fn heartbeat(&mut self, now_ns: u64) {
        self.page.words()[self.place.heartbeat].store(now_ns);
    }
}

fn write_identity(words: &[Word], spec: &LinkSpec, layout: &PageLayout) {
    for (at, value) in [
        (identity::MAGIC, layout::PAGE_MAGIC),
        (identity::VERSION, layout::VERSION),
        (identity::PAGE_WORDS, layout.words() as u64),
        (identity::SHARDS, layout.shards as u64),
        (identity::COUNTERS_PER_SHARD, layout.counters_per_shard as u64),
        (identity::CATALOGUE_BYTES, layout.catalogue_bytes as u64),
        (identity::BUILD_BYTES, spec.build.len() as u64),
        (identity::STARTED_AT_UNIX_MS, spec.started_at_unix_ms),
        (identity::STATE, State::Starting.code()),
    ] {
        words[at].store(value);
    }
    store_text(&words[identity::PROFILE_HASH..], &spec.profile_hash);
    store_text(&words[identity::BUILD..], spec.build.as_bytes());
}

/// Packs bytes into words, which must be enough.
fn store_text(words: &[Word], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(WORD_BYTES)) {
        let mut padded = [0; WORD_BYTES];
        padded[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_le_bytes(padded));
    }
}
