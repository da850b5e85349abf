//! Questions to a shard that turns: connections and the trace.

mod common;

use capsule::twin::TwinConfig;
use common::{ECHO, MS, World};
use corelink::{Filter, Question, Subject};
use dataplane::desk::{Clerk, FINISHED, Found, desk};

fn asked(world: &mut World, clerk: &mut Clerk, question: &Question) -> (Vec<String>, u64) {
    assert!(clerk.ask(question), "there is room for a question");
    let mut lines = Vec::new();
    loop {
        match clerk.find() {
            Found::Line(line) => lines.push(line),
            Found::End(next) => return (lines, next),
            Found::Nothing => world.pass(MS),
        }
    }
}

fn world_with_desk() -> (World, Clerk) {
    let mut world = World::new(1, TwinConfig::default());
    let (desk, clerk) = desk();
    world.shards[0].sit_at(desk);
    (world, clerk)
}

fn connections(filter: Filter) -> Question {
    Question { shard: 0, from: 0, lines_max: 1_000, subject: Subject::Connections(filter) }
}

#[test]
fn every_connection_is_shown_with_its_variables() {
    let (mut world, mut clerk) = world_with_desk();
    for _ in 0..40 {
        world.connect(ECHO);
    }
    let (lines, next) = asked(&mut world, &mut clerk, &connections(Filter::default()));
    assert_eq!((lines.len(), next), (40, FINISHED));
    assert!(lines.iter().all(|line| line.contains(" state=ESTABLISHED SND.UNA=")), "{lines:?}");
    let port = lines[3].split(' ').nth(2).and_then(|remote| remote.rsplit_once(':')).expect("port");
    let filter = Filter { port: port.1.parse().ok(), ..Filter::default() };
    let (one, _) = asked(&mut world, &mut clerk, &connections(filter));
    assert_eq!(one.len(), 1, "{one:?}");
    let closed = Filter { state: Some(6), ..Filter::default() };
    assert_eq!(asked(&mut world, &mut clerk, &connections(closed)).0.len(), 0);
}

#[test]
fn an_answer_goes_on_where_the_last_one_stopped() {
    let (mut world, mut clerk) = world_with_desk();
    for _ in 0..10 {
        world.connect(ECHO);
    }
    let first = Question { lines_max: 7, ..connections(Filter::default()) };
    let (lines, next) = asked(&mut world, &mut clerk, &first);
    assert_eq!(lines.len(), 7);
    let (rest, _) = asked(&mut world, &mut clerk, &Question { from: next, ..first });
    assert_eq!(rest.len(), 3);
}

#[test]
fn the_trace_tells_a_connection_s_life_and_what_a_clerk_gave_up_is_passed_over() {
    let (mut world, mut clerk) = world_with_desk();
    let conn = world.connect(ECHO);
    let trace =
        Question { shard: 0, from: 0, lines_max: 100, subject: Subject::Trace(Filter::default()) };
    assert!(clerk.ask(&trace), "nobody will read this answer");
    world.pass(5 * MS);
    world.peer.conn(conn).close_after_sending = true;
    world.pass(50 * MS);
    let (lines, next) = asked(&mut world, &mut clerk, &trace);
    assert!(lines[0].contains("CLOSED -> SYN-RECEIVED"), "{lines:?}");
    assert!(lines[1].contains("SYN-RECEIVED -> ESTABLISHED"), "{lines:?}");
    assert!(lines[2].contains("ESTABLISHED -> CLOSE-WAIT"), "{lines:?}");
    assert_eq!(next, lines.len() as u64, "{lines:?}");
}
