//! A dataplane process is killed in the middle of its work; what it showed stays readable.
#![forbid(unsafe_code)]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use corelink::{LinkClient, LinkServer, LinkSpec, State, hello, listen};

const SOCKET: &str = "CORELINK_TEST_SOCKET";
const NAME: &str = "page_outlives_a_dataplane_that_is_killed";

/// The other process, which ends with the test whatever happens.
struct Dataplane(Child);

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.0.kill().expect("a child can be killed until it is waited for");
        self.0.wait().expect("a killed child ends");
    }
}

/// The child's part: serve one control plane, then publish for ever.
fn be_a_dataplane(socket: &Path) -> ! {
    let spec = LinkSpec {
        shards: 1,
        catalogue: "a\tcounter\t\t\nb\tcounter\t\t\n".to_owned(),
        counters_per_shard: 2,
        ..LinkSpec::default()
    };
    let (server, mut shards) = LinkServer::create(&spec).unwrap();
    let listener = listen(socket).unwrap();
    println!("listening");
    std::io::stdout().flush().unwrap();
    let (stream, _) = listener.accept().unwrap();
    hello(&stream, &server).unwrap();
    server.last_words("still here");
    server.set_state(State::Running);
    for round in 1.. {
        shards[0].publish(&[round, round * 3]);
        shards[0].heartbeat(round);
    }
    unreachable!("u64 rounds do not end");
}

#[test]
fn page_outlives_a_dataplane_that_is_killed() {
    if let Some(socket) = env::var_os(SOCKET) {
        be_a_dataplane(&PathBuf::from(socket));
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dataplane.sock");
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(SOCKET, &socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut dataplane = Dataplane(child);
    let output = BufReader::new(dataplane.0.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().ends_with("listening")));

    let client = LinkClient::attach(&socket).unwrap();
    assert_eq!(client.pid(), dataplane.0.id());
    let mut values = Vec::new();
    // Values published together are read together, while they change all the time.
    let mut rounds = 0;
    while rounds < 200 {
        if client.read(0, &mut values).is_ok() {
            assert_eq!(values[1], values[0] * 3);
            rounds += u64::from(values[0] > 0);
        }
    }
    drop(dataplane);

    // It may have died while publishing; then reading says so, again and again.
    let before = client.read(0, &mut values).map(|()| values.clone());
    let after = client.read(0, &mut values).map(|()| values.clone());
    assert_eq!(before, after);
    assert!(client.heartbeat(0) > 0);
    assert_eq!((client.state(), client.last_words().as_str()), (State::Running, "still here"));
}
