//! Both sides of the link together, and each against a hostile other.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use proptest::prelude::*;

use super::client::AttachError;
use super::layout::{self, identity, slot};
use super::memory::{self, Writers};
use super::socket::Offer;
use super::*;
use crate::Torn;

const CATALOGUE: &str = "frames_total\tcounter\tqueue=0\tFrames.\nconnections\tgauge\t\tOpen.\n";

fn spec() -> LinkSpec {
    LinkSpec {
        profile_hash: std::array::from_fn(|at| at as u8),
        shards: 2,
        catalogue: CATALOGUE.to_owned(),
        counters_per_shard: 2,
        build: "0.1.0 (test)".to_owned(),
        started_at_unix_ms: 1_700_000_000_123,
    }
}

/// A dataplane that listens in a folder of its own, until dropped.
struct Dataplane {
    server: LinkServer,
    shards: Vec<ShardPage>,
    listener: UnixListener,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Dataplane {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run").join("dataplane.sock");
        let listener = listen(&socket).unwrap();
        let (server, shards) = LinkServer::create(&spec()).unwrap();
        Self { server, shards, listener, socket, _folder: folder }
    }

    /// Serves one connection while `connect` makes it.
    fn serving<T>(&self, connect: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = self.listener.accept().unwrap();
                let _ = hello(&stream, &self.server);
            });
            connect()
        })
    }

    fn attach(&self) -> LinkClient {
        self.serving(|| LinkClient::attach(&self.socket)).unwrap()
    }

    fn observe(&self) -> LinkClient {
        self.serving(|| LinkClient::observe(&self.socket)).unwrap()
    }
}

#[test]
fn client_sees_what_the_dataplane_says() {
    let mut dataplane = Dataplane::start();
    let client = dataplane.attach();
    assert_eq!(client.pid(), std::process::id());
    assert_eq!(client.profile_hash(), spec().profile_hash);
    assert_eq!((client.shards(), client.started_at()), (2, 1_700_000_000_123));
    assert_eq!(client.build(), "0.1.0 (test)");
    assert_eq!(client.catalogue().len(), 2);
    assert_eq!(client.catalogue()[0].name, "frames_total");

    assert_eq!((client.state(), client.heartbeat(1)), (State::Starting, 0));
    let mut values = Vec::new();
    client.read(1, &mut values).unwrap();
    assert_eq!(values, [0, 0]);

    dataplane.shards[1].publish(&[17, 4]);
    dataplane.shards[1].heartbeat(99);
    dataplane.server.set_state(State::Running);
    client.read(1, &mut values).unwrap();
    assert_eq!((values.as_slice(), client.heartbeat(1)), (&[17, 4][..], 99));
    client.read(0, &mut values).unwrap();
    assert_eq!((values.as_slice(), client.heartbeat(0)), (&[0, 0][..], 0));
    assert_eq!(client.state(), State::Running);
    assert_eq!((client.read(2, &mut values), client.heartbeat(u16::MAX)), (Err(Torn), 0));
    for state in [State::Draining, State::Stopped, State::Starting] {
        dataplane.server.set_state(state);
        assert_eq!(client.state(), state);
    }
}

#[test]
fn last_words_are_the_last_ones_cut_to_their_limit() {
    let dataplane = Dataplane::start();
    let client = dataplane.observe();
    assert_eq!(client.last_words(), "");
    dataplane.server.last_words("port 0 has no link, giving up");
    assert_eq!(client.last_words(), "port 0 has no link, giving up");
    dataplane.server.last_words("bye");
    assert_eq!(client.last_words(), "bye");
    // 4096 bytes end in the middle of a two-byte character.
    dataplane.server.last_words(&format!("x{}", "é".repeat(4000)));
    assert_eq!(client.last_words(), format!("x{}", "é".repeat(2047)));
}

#[test]
fn stop_is_heard_once_with_its_deadline() {
    let dataplane = Dataplane::start();
    assert_eq!(dataplane.server.take_command(), None);
    let client = dataplane.attach();
    assert_eq!(dataplane.server.take_command(), None);
    client.stop(2500).unwrap();
    assert_eq!(dataplane.server.take_command(), Some(Command::Stop { deadline_ms: 2500 }));
    assert_eq!(dataplane.server.take_command(), None);
    client.stop(u32::MAX).unwrap();
    let longest = Command::Stop { deadline_ms: STOP_DEADLINE_MS_MAX };
    assert_eq!(dataplane.server.take_command(), Some(longest));
}

#[test]
fn newer_control_plane_fences_off_the_older_one() {
    let dataplane = Dataplane::start();
    let older = dataplane.attach();
    assert!(older.is_in_control());
    let newer = dataplane.attach();
    assert_eq!((older.generation(), newer.generation()), (1, 2));
    assert!(newer.is_in_control() && !older.is_in_control());
    assert_eq!(older.stop(1), Err(NotInControl));
    // Even one that does not care writes to a slot that nobody reads.
    let words = older.slot_words();
    words[slot::OPCODE].store(layout::OPCODE_STOP);
    words[slot::CHECK].store(layout::command_check(1, layout::OPCODE_STOP, 0));
    words[slot::TICKET].store(1);
    assert_eq!(dataplane.server.take_command(), None);
    newer.stop(3).unwrap();
    assert_eq!(dataplane.server.take_command(), Some(Command::Stop { deadline_ms: 3 }));
}

#[test]
fn observer_sees_everything_and_fences_off_nobody() {
    let mut dataplane = Dataplane::start();
    let control = dataplane.attach();
    let observer = dataplane.observe();
    dataplane.shards[0].publish(&[5, 6]);
    let mut values = Vec::new();
    observer.read(0, &mut values).unwrap();
    assert_eq!(values, [5, 6]);
    assert_eq!(observer.stop(1), Err(NotInControl));
    assert!(control.is_in_control() && !observer.is_in_control());
    assert_eq!(dataplane.server.generation(), 1);
}

#[test]
fn page_stays_readable_when_the_dataplane_is_gone() {
    let mut dataplane = Dataplane::start();
    let client = dataplane.attach();
    dataplane.shards[0].publish(&[8, 9]);
    dataplane.server.last_words("gone");
    drop(dataplane);
    let mut values = Vec::new();
    client.read(0, &mut values).unwrap();
    assert_eq!((values.as_slice(), client.last_words().as_str()), (&[8, 9][..], "gone"));
    client.stop(1).unwrap();
}

#[test]
fn attaching_where_nobody_serves_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dataplane.sock");
    let missing = LinkClient::attach(&socket).unwrap_err();
    assert!(matches!(missing, AttachError::Connect(_)), "{missing}");

    let dataplane = Dataplane::start();
    let hung_up = thread::scope(|scope| {
        scope.spawn(|| drop(dataplane.listener.accept().unwrap()));
        LinkClient::attach(&dataplane.socket).unwrap_err()
    });
    assert!(matches!(hung_up, AttachError::Hello(_)), "{hung_up}");
}

#[test]
fn who_asks_for_something_else_or_for_nothing_gets_nothing() {
    let (server, _shards) = LinkServer::create(&spec()).unwrap();
    for request in [&b"x"[..], b""] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(request).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(hello(&ours, &server).is_err(), "{request:?}");
    }
    assert_eq!(server.generation(), 0);
}

#[test]
fn folder_is_closed_to_others_and_a_dead_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a").join("b").join("dataplane.sock");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let first = listen(&socket).unwrap();
    assert_eq!(mode(socket.parent().unwrap()), 0o750);
    assert_eq!(mode(&socket), 0o660);
    assert_eq!(listen(&socket).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(first);
    listen(&socket).unwrap();

    let file = folder.path().join("a").join("file");
    fs::write(&file, "no socket").unwrap();
    assert_eq!(listen(&file).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(fs::read(&file).unwrap(), b"no socket");
}

#[test]
fn impossible_spec_is_refused() {
    let refused = |change: fn(&mut LinkSpec)| {
        let mut spec = spec();
        change(&mut spec);
        LinkServer::create(&spec).unwrap_err().to_string()
    };
    assert!(refused(|spec| spec.counters_per_shard = 3).contains("2 lines for 3 counters"));
    assert!(refused(|spec| spec.catalogue = "x\ny\n".to_owned()).contains("line 1"));
    assert!(refused(|spec| spec.build = "x".repeat(257)).contains("build"));
    assert!(refused(|spec| spec.shards = u16::MAX).contains("too many"));
    assert!(refused(|spec| spec.counters_per_shard = u32::MAX).contains("too many"));
}

#[test]
#[should_panic(expected = "published whole")]
fn shard_publishes_all_its_counters() {
    let (_server, mut shards) = LinkServer::create(&spec()).unwrap();
    shards[0].publish(&[1]);
}

#[test]
fn greeting_that_is_not_ours_is_refused_and_its_files_are_closed() {
    let greet = |words: [u64; 3], files: usize| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = listen(&socket).unwrap();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        // One end of this pair goes over, many times if need be; the other end sees it closed.
        let (sent, mut kept) = UnixStream::pair().unwrap();
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                let fds = vec![sent.as_raw_fd(); files];
                let rights = [ControlMessage::ScmRights(&fds)];
                let rights = if files == 0 { &[][..] } else { &rights[..] };
                let bytes = [io::IoSlice::new(&bytes)];
                let flags = MsgFlags::MSG_NOSIGNAL;
                sendmsg::<()>(stream.as_raw_fd(), &bytes, rights, flags, None).unwrap();
            });
            LinkClient::attach(&socket).unwrap_err()
        });
        drop(sent);
        kept.set_nonblocking(true).unwrap();
        assert_eq!(kept.read(&mut [0]).unwrap(), 0, "a received file is still open");
        error
    };
    let magic = u64::from_le_bytes(*b"TRNKHELO");
    assert!(greet([1, 1, 1], 2).to_string().contains("no dataplane"));
    assert!(matches!(greet([magic, 99, 1], 2), AttachError::Version { found: 99 }));
    for files in [0, 1, 3, 253] {
        let error = greet([magic, layout::VERSION, 1], files).to_string();
        assert!(error.contains("memory files"), "{files} files: {error}");
    }
    let error = greet([magic, layout::VERSION, 1], 2);
    assert!(matches!(error, AttachError::Memory(_)), "sockets are no memory: {error}");
}

/// A page like a dataplane's, with some words changed by a dataplane gone mad.
fn mad_page(changes: &[(usize, u64)]) -> OwnedFd {
    let (server, mut shards) = LinkServer::create(&spec()).unwrap();
    shards[0].publish(&[1, 2]);
    server.last_words("some words");
    let sane = memory::open_read_only(server.fd().try_clone_to_owned().unwrap(), 1).unwrap();
    let (fd, memory) = memory::make("mad", sane.view().iter().count(), Writers::Anybody).unwrap();
    for (word, value) in memory.words().iter().zip(sane.view().iter()) {
        word.store(value);
    }
    for &(at, value) in changes {
        memory.words()[at % memory.words().len()].store(value);
    }
    fd
}

fn offer(page: OwnedFd) -> Offer {
    let (slot, _) = memory::make("slot", slot::WORDS, Writers::Anybody).unwrap();
    Offer { pid: 1, generation: 1, page, slot: Some(slot) }
}

#[test]
fn page_that_contradicts_itself_is_refused() {
    assert!(LinkClient::from_offer(offer(mad_page(&[]))).is_ok());
    for (at, value, word) in [
        (identity::MAGIC, 1, "magic"),
        (identity::VERSION, 9, "version 9"),
        (identity::PAGE_WORDS, 1, "long"),
        (identity::SHARDS, 1000, "long"),
        (identity::SHARDS, u64::MAX, "limits"),
        (identity::COUNTERS_PER_SHARD, 1 << 40, "limits"),
        (identity::CATALOGUE_BYTES, u64::MAX, "limits"),
        (identity::COUNTERS_PER_SHARD, 3, "lines"),
        (identity::BUILD_BYTES, 257, "build"),
        (layout::CATALOGUE, u64::MAX, "UTF-8"),
        (layout::CATALOGUE, 0, "catalogue line 1"),
    ] {
        let error = LinkClient::from_offer(offer(mad_page(&[(at, value)]))).unwrap_err();
        assert!(error.to_string().contains(word), "word {at} = {value}: {error}");
    }
}

fn hostile_words(words: usize) -> impl Strategy<Value = Vec<(usize, u64)>> {
    let value = prop_oneof![any::<u64>(), 0u64..5000, Just(u64::MAX)];
    prop::collection::vec((0..words, value), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn client_survives_any_page(
        before in hostile_words(800), after in prop::collection::vec((16usize..800, any::<u64>()), 0..12)
    ) {
        let page = mad_page(&before);
        let memory = memory::open_writable(page.try_clone().unwrap(), 1).unwrap();
        if let Ok(client) = LinkClient::from_offer(offer(page)) {
            // And it goes on going mad while we look.
            for (at, value) in after {
                memory.words()[at % memory.words().len()].store(value);
            }
            let mut values = Vec::new();
            for shard in [0, 1, 2, u16::MAX] {
                let _ = client.read(shard, &mut values);
                prop_assert!(values.len() <= 2);
                let _ = client.heartbeat(shard);
            }
            prop_assert!(client.last_words().len() <= 3 * 4096);
            let _ = client.state();
            let _ = client.stop(1);
        }
    }

    #[test]
    fn dataplane_survives_any_slot(
        rounds in prop::collection::vec((any::<bool>(), hostile_words(slot::WORDS)), 1..8)
    ) {
        let (server, _shards) = LinkServer::create(&spec()).unwrap();
        let (_, fd) = server.admit().unwrap();
        let hostile = memory::open_writable(fd, slot::WORDS).unwrap();
        let words = hostile.words();
        for (is_checked, changes) in rounds {
            for (at, value) in changes {
                // Mostly the four words that matter.
                words[if at % 3 == 0 { at } else { at % 4 }].store(value);
            }
            let [ticket, opcode, argument] =
                [slot::TICKET, slot::OPCODE, slot::ARGUMENT].map(|at| words[at].load());
            if is_checked {
                words[slot::CHECK].store(layout::command_check(ticket, opcode, argument));
            }
            match server.take_command() {
                Some(Command::Stop { deadline_ms }) => {
                    prop_assert!(deadline_ms <= STOP_DEADLINE_MS_MAX);
                    prop_assert_eq!(opcode, layout::OPCODE_STOP);
                    prop_assert_eq!(server.take_command(), None, "taken twice");
                }
                None => {}
            }
        }
    }
}
