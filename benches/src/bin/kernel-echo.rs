//! The peer: an echo server as one would write it on Linux, one thread and level-triggered epoll.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use benches::cores::pin;
use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;

/// Bytes read at once, and so the most that can wait for a slow reader of one connection.
const READ_BYTES_MAX: usize = 65_536;

/// The event data of the listening socket; connections use their index.
const LISTENER: u64 = u64::MAX;

/// Echoes everything on every connection, on one core.
#[derive(Parser, Debug)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The core that does all the work.
    #[arg(long)]
    core: usize,
}

/// One client. While `unsent` holds something nothing is read, so it never holds more than one read.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin(arguments.core)?;
    let listener = TcpListener::bind(arguments.listen).context("listen")?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut server = Server {
        epoll,
        listener,
        connections: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; READ_BYTES_MAX],
    };
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let count = match server.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                server.accept_all()?;
            } else {
                server.serve(usize::try_from(event.data())?)?;
            }
        }
    }
}

impl Server {
    fn accept_all(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            self.connections[index] = Some(Connection { stream, unsent: Vec::new() });
        }
    }

    fn serve(&mut self, index: usize) -> Result<()> {
        let Some(connection) = &mut self.connections[index] else { return Ok(()) };
        let was_waiting = !connection.unsent.is_empty();
        match connection.echo(&mut self.buffer) {
            Ok(true) => {
                let is_waiting = !connection.unsent.is_empty();
                if is_waiting != was_waiting {
                    let interest =
                        if is_waiting { EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
                    let mut event = EpollEvent::new(interest, index as u64);
                    self.epoll.modify(&connection.stream, &mut event)?;
                }
            }
            // Closing the descriptor takes it out of epoll.
            Ok(false) | Err(_) => {
                self.connections[index] = None;
                self.free.push(index);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Moves what can be moved without waiting. False when the peer has closed.
    fn echo(&mut self, buffer: &mut [u8]) -> std::io::Result<bool> {
        if !self.unsent.is_empty() {
            let taken = write_some(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..taken);
            return Ok(true);
        }
        let received = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(received) => &buffer[..received],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let taken = write_some(&mut self.stream, received)?;
        self.unsent.extend_from_slice(&received[taken..]);
        Ok(true)
    }
}

/// How much of `bytes` the kernel took; 0 when its buffer is full.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
