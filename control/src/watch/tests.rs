use super::*;
use corelink::{LinkServer, LinkSpec, ShardPage};
use std::os::unix::net::UnixListener;

fn attached(watch: &Watch, now: Instant) -> (LinkServer, Vec<ShardPage>) {
    let spec = LinkSpec { shards: 2, ..LinkSpec::default() };
    let (server, pages) = LinkServer::create(&spec).expect("memory files can be made");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let link = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (stream, _) = listener.accept().expect("a client comes");
            corelink::hello(&stream, &server).expect("the greeting is taken");
        });
        LinkClient::attach(&socket).expect("the dataplane greets")
    });
    let process = ProcessId::own().expect("/proc is mounted");
    watch.attach(Arc::new(link), process, now);
    (server, pages)
}

const STALL: Duration = Duration::from_secs(2);

#[test]
fn readiness_follows_the_state_of_the_dataplane() {
    let (watch, now) = (Watch::new(STALL), Instant::now());
    let why = |watch: &Watch| watch.readiness(now).expect_err("not ready");
    assert_eq!(why(&watch), "the dataplane is not running");
    let (server, _pages) = attached(&watch, now);
    assert_eq!(why(&watch), "the dataplane is starting");
    server.set_state(State::Running);
    assert_eq!(watch.readiness(now), Ok(()));
    server.set_state(State::Draining);
    assert_eq!(why(&watch), "the dataplane is stopping");
    server.set_state(State::Stopped);
    assert_eq!(why(&watch), "the dataplane has stopped");
    watch.detach();
    assert_eq!(why(&watch), "the dataplane is not running");
}

#[test]
fn one_shard_without_heartbeat_makes_the_appliance_unready_until_it_beats_again() {
    let (watch, start) = (Watch::new(STALL), Instant::now());
    let (server, mut pages) = attached(&watch, start);
    server.set_state(State::Running);
    let second = |n| start + Duration::from_secs(n);
    pages[0].heartbeat(1);
    pages[1].heartbeat(1);
    assert_eq!(watch.look(second(1)), Duration::ZERO);
    pages[0].heartbeat(2);
    assert_eq!(watch.look(second(3)), Duration::from_secs(2));
    assert_eq!(
        watch.readiness(second(3)),
        Err("shard 1 has stalled: no heartbeat for 2.0 s".to_owned())
    );
    pages[1].heartbeat(2);
    assert_eq!(watch.look(second(4)), Duration::from_secs(1), "now the other one is older");
    assert_eq!(watch.readiness(second(4)), Ok(()));
}
