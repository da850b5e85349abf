//! The thread that answers questions about connections and the trace.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use corelink::{Question, inquiry};

use super::log;
use crate::desk::{Clerk, Found};

/// Questions that may wait; whoever asks then is refused.
const WAITING_MAX: usize = 8;
/// Pause between two looks at a desk: a shard answers once a millisecond.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// A shard that puts nothing on its desk in this time does not turn.
const SHARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Where questions are passed on to.
#[derive(Debug)]
pub(super) struct Inquiries {
    waiting: SyncSender<(UnixStream, Question)>,
}

impl Inquiries {
    /// Starts the thread, with a clerk for each shard.
    pub(super) fn open(clerks: impl Iterator<Item = Clerk>) -> Result<Inquiries> {
        let (waiting, questions) = sync_channel(WAITING_MAX);
        let clerks: Vec<Clerk> = clerks.collect();
        // It ends with the process: it holds nothing that must be given back in an order.
        thread::Builder::new()
            .name("inquiry".to_owned())
            .spawn(move || answer_all(&questions, clerks))
            .context("starting the thread for inquiries")?;
        Ok(Inquiries { waiting })
    }

    /// Has a question answered on the stream it came by.
    pub(super) fn pass_on(&self, stream: UnixStream, question: Question) -> Result<()> {
        match self.waiting.try_send((stream, question)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => bail!("{WAITING_MAX} questions are waiting already"),
            Err(TrySendError::Disconnected(_)) => bail!("the thread for inquiries has ended"),
        }
    }
}

fn answer_all(questions: &Receiver<(UnixStream, Question)>, mut clerks: Vec<Clerk>) {
    while let Ok((stream, question)) = questions.recv() {
        let answered = match clerks.get_mut(usize::from(question.shard)) {
            Some(clerk) => answer(&stream, clerk, &question),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no such shard")),
        };
        if let Err(error) = answered {
            log::line(format_args!("a question to shard {} failed: {error}", question.shard));
        }
    }
}

fn answer(stream: &UnixStream, clerk: &mut Clerk, question: &Question) -> io::Result<()> {
    let silent = || io::Error::new(io::ErrorKind::TimedOut, "the shard does not answer");
    if !clerk.ask(question) {
        return Err(silent());
    }
    let mut heard = Instant::now();
    loop {
        match clerk.find() {
            Found::Line(line) => inquiry::answer_line(stream, &line)?,
            Found::End(next) => return inquiry::answer_end(stream, next),
            Found::Nothing if heard.elapsed() >= SHARD_TIMEOUT => return Err(silent()),
            Found::Nothing => {
                thread::sleep(LOOK_EVERY);
                continue;
            }
        }
        heard = Instant::now();
    }
}
