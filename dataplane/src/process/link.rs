//! The process's end of the link to the control plane: page, socket, commands, last words.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use capsule::Eal;
use corelink::{Command, LinkServer, LinkSpec, State};
use hwconfig::Profile;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::inquiry::Inquiries;
use super::log;
use super::run_dir::RunDir;
use crate::desk::desk;
use crate::publish::{PortBoard, Publisher, catalogue};
use crate::shard::Shard;

/// Pause after a failed accept, which only happens when the process is out of files or memory.
const ACCEPT_RETRY: std::time::Duration = std::time::Duration::from_millis(200);

/// The page that control planes see, and the thread that greets them.
#[derive(Debug)]
pub(super) struct Link {
    server: Arc<LinkServer>,
}

impl Link {
    /// Makes the page, gives each shard its part, and listens. A panic leaves its text there.
    pub(super) fn open(
        profile: &Profile,
        eal: &Eal,
        run_dir: &RunDir,
        shards: &mut [Shard],
        board: &Arc<PortBoard>,
    ) -> Result<Link> {
        let names = shards.first().map(Shard::regions).unwrap_or_default();
        let (catalogue, slots) =
            catalogue(&profile.port.device, &names, profile.impairment.enabled);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (server, pages) = LinkServer::create(&LinkSpec {
            profile_hash: profile.hash(),
            shards: profile.shard_count(),
            catalogue,
            counters_per_shard: slots,
            build: format!("trunkline {}, {}", env!("CARGO_PKG_VERSION"), eal.version()),
            started_at_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        })?;
        for (index, (shard, page)) in shards.iter_mut().zip(pages).enumerate() {
            let board = (index == 0).then(|| Arc::clone(board));
            let regions = shard.regions();
            shard.publish_to(Publisher::new(page, slots, board, &regions));
        }
        let inquiries = Inquiries::open(shards.iter_mut().map(|shard| {
            let (desk, clerk) = desk();
            shard.sit_at(desk);
            clerk
        }))?;
        let server = Arc::new(server);
        leave_last_words(Arc::clone(&server));
        let listener = run_dir.listen()?;
        let greeter = Arc::clone(&server);
        // It ends with the process: it holds nothing that must be given back in an order.
        thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || greet_all(&listener, &greeter, &inquiries))
            .context("starting the link's thread")?;
        Ok(Link { server })
    }

    /// The shards turn.
    pub(super) fn running(&self) {
        self.server.set_state(State::Running);
    }

    /// The shards have been asked to stop.
    pub(super) fn draining(&self) {
        self.server.set_state(State::Draining);
    }

    /// The shards have stopped.
    pub(super) fn stopped(&self) {
        self.server.set_state(State::Stopped);
    }

    /// What the control plane wants, at most one wish a call.
    pub(super) fn command(&self) -> Option<Command> {
        self.server.take_command()
    }
}

/// A panic on any thread of ours ends the process, for half of an appliance is none. Its text goes to
/// the log and to the page, where the control plane finds it afterwards.
fn leave_last_words(server: Arc<LinkServer>) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        server.last_words(&info.to_string());
        print(info);
        std::process::abort();
    }));
}

fn greet_all(listener: &UnixListener, server: &LinkServer, inquiries: &Inquiries) {
    let mut generation = server.generation();
    for stream in listener.incoming() {
        let greeted = match stream {
            Ok(stream) => greet(stream, server, inquiries),
            Err(error) => {
                thread::sleep(ACCEPT_RETRY);
                Err(error.into())
            }
        };
        if let Err(error) = greeted {
            log::line(format_args!("somebody could not attach: {error:#}"));
        }
        // Observers come and go with every `trunkline status`; a new generation is a new control plane.
        if server.generation() != generation {
            generation = server.generation();
            log::line(format_args!("control plane {generation} attached"));
        }
    }
}

/// Hands the link over to a process of the same user, or of root; a question of theirs is passed on.
fn greet(stream: UnixStream, server: &LinkServer, inquiries: &Inquiries) -> Result<()> {
    let peer = getsockopt(&stream, PeerCredentials).context("asking who it is")?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        anyhow::bail!("process {} of user {} is not allowed to", peer.pid(), peer.uid());
    }
    match corelink::hello(&stream, server)? {
        Some(question) => inquiries.pass_on(stream, question),
        None => Ok(()),
    }
}
