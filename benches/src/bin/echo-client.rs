//! The client of the echo benchmarks: N connections, one message in flight on each, every byte that
//! comes back compared with what went out.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use benches::cores::{CoreTimes, pin};
use benches::message::fill;
use clap::Parser;
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;

/// A server that answers nothing for so long has lost a message.
const SILENCE_MS_MAX: u16 = 5_000;

/// Longest round trip that the histogram tells apart from longer ones.
const LATENCY_NS_MAX: u64 = 10_000_000_000;

/// Measures echo round trips and prints one JSON line.
#[derive(Parser, Debug)]
struct Arguments {
    /// The echo server.
    #[arg(long)]
    address: SocketAddr,
    /// Connections, each with one message in flight.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    message_bytes: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long to run before measuring.
    #[arg(long, default_value_t = 2)]
    warm_up_seconds: u64,
    /// The core of this client.
    #[arg(long)]
    core: usize,
    /// The core of the server, whose busy time is measured over the same interval.
    #[arg(long)]
    server_core: usize,
}

/// One connection and the one message that is on its way.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    number: u32,
    sequence: u64,
    sent_at: Instant,
    /// Bytes of the message that came back so far.
    received: usize,
}

struct Client {
    connections: Vec<Connection>,
    epoll: Epoll,
    message: Vec<u8>,
    buffer: Vec<u8>,
    latency_ns: Histogram<u64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin(arguments.core)?;
    let mut client = Client::connect(&arguments)?;
    client.run(Duration::from_secs(arguments.warm_up_seconds))?;

    client.latency_ns.reset();
    let cores = [arguments.server_core, arguments.core];
    let before = cores.map(CoreTimes::read);
    let begun = Instant::now();
    client.run(Duration::from_secs(arguments.seconds))?;
    let elapsed = begun.elapsed().as_secs_f64();
    let after = cores.map(CoreTimes::read);

    let mut shares = Vec::new();
    for (before, after) in before.into_iter().zip(after) {
        let shares_of_core = after?.since(&before?);
        shares.push(json!({
            "busy": round(shares_of_core.busy),
            "user": round(shares_of_core.user),
            "system": round(shares_of_core.system),
            "interrupts": round(shares_of_core.interrupts),
        }));
    }
    println!("{}", client.report(&arguments, elapsed, &shares));
    Ok(())
}

impl Client {
    fn connect(arguments: &Arguments) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..arguments.connections {
            let stream = TcpStream::connect(arguments.address)
                .with_context(|| format!("connection {number} to {}", arguments.address))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(number)))?;
            connections.push(Connection {
                stream,
                number,
                sequence: 0,
                sent_at: Instant::now(),
                received: 0,
            });
        }
        let mut client = Self {
            connections,
            epoll,
            message: vec![0; arguments.message_bytes],
            buffer: vec![0; arguments.message_bytes + 1],
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
        };
        for connection in &mut client.connections {
            connection.send(&mut client.message)?;
        }
        Ok(client)
    }

    /// Exchanges messages until `time` has passed.
    fn run(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        while Instant::now() < end {
            let count = match self.epoll.wait(&mut events, EpollTimeout::from(SILENCE_MS_MAX)) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            ensure!(count > 0, "no answer for {SILENCE_MS_MAX} ms: a message is lost");
            for event in &events[..count] {
                let connection = &mut self.connections[usize::try_from(event.data())?];
                if connection.receive(&mut self.message, &mut self.buffer)? {
                    let latency = connection.sent_at.elapsed().as_nanos();
                    self.latency_ns.saturating_record(u64::try_from(latency)?);
                    connection.sequence += 1;
                    connection.send(&mut self.message)?;
                }
            }
        }
        Ok(())
    }

    fn report(&self, arguments: &Arguments, elapsed: f64, shares: &[Value]) -> Value {
        let requests = self.latency_ns.len();
        let quantile_us = |q| round(self.latency_ns.value_at_quantile(q) as f64 / 1000.0);
        json!({
            "connections": arguments.connections,
            "message_bytes": arguments.message_bytes,
            "seconds": round(elapsed),
            "requests": requests,
            "requests_per_second": (requests as f64 / elapsed).round(),
            "latency_us": {
                "p50": quantile_us(0.5),
                "p90": quantile_us(0.9),
                "p99": quantile_us(0.99),
                "p99.9": quantile_us(0.999),
                "max": round(self.latency_ns.max() as f64 / 1000.0),
            },
            "server_core": shares[0],
            "client_core": shares[1],
        })
    }
}

impl Connection {
    fn send(&mut self, message: &mut [u8]) -> Result<()> {
        fill(message, self.number, self.sequence);
        self.received = 0;
        self.sent_at = Instant::now();
        let taken = self.stream.write(message).context("send")?;
        // One message of this size always fits into an empty socket buffer.
        ensure!(taken == message.len(), "the kernel took {taken} bytes of a message");
        Ok(())
    }

    /// Takes what has come and compares it. True when the message is complete.
    fn receive(&mut self, message: &mut [u8], buffer: &mut [u8]) -> Result<bool> {
        let count = match self.stream.read(buffer) {
            Ok(0) => bail!("the server closed connection {}", self.number),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("receive"),
        };
        fill(message, self.number, self.sequence);
        let expected = message.get(self.received..self.received + count);
        ensure!(
            expected == Some(&buffer[..count]),
            "connection {}: message {} came back changed",
            self.number,
            self.sequence
        );
        self.received += count;
        Ok(self.received == message.len())
    }
}

/// Three digits after the point, enough for a share and for microseconds.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
