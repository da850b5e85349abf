//! What must hold, a function each.

use crate::Case;
use crate::appliance::{Appliance, is_alive, send, stat_field};
use crate::stand_in::{DIE, LINGER, REFUSE, STALL};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Case] = cases![
    interrupt_stops_both_processes,
    dataplane_has_a_session_of_its_own,
    kill_9_leaves_the_dataplane_and_its_counters_go_on,
    terminate_detaches_and_stop_ends_what_was_left,
    stop_ends_the_run_that_watches_too,
    status_takes_control_from_nobody,
    run_waits_for_the_end_of_a_dataplane_that_stops,
    dataplane_that_does_not_answer_is_named_as_such,
    dataplane_that_ended_is_started_again,
    dataplane_that_cannot_start_is_reported_once_with_its_log,
    stalled_heartbeat_is_reported_and_left_alone,
    stalled_dataplane_is_killed_only_on_request,
    dataplane_of_another_profile_is_refused,
    second_run_of_an_instance_is_refused,
    taken_metrics_address_is_named,
    missing_dataplane_program_is_named,
    left_over_socket_is_no_obstacle,
    bad_profile_has_an_exit_code_of_its_own,
];

fn interrupt_stops_both_processes() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    let dataplane = appliance.dataplane().expect("it serves");
    assert!(appliance.get("/healthz").starts_with("200"));
    assert!(appliance.get("/nothing").starts_with("404"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), Some(0), "{}", running.said());
    assert!(!is_alive(dataplane));
    let said = running.said();
    assert!(said.contains("dataplane: stand-in: hello"), "{said}");
    assert!(said.contains("s: 10.77.0.1 and fd54:4c::1, ports 1883 (mqtt), 7 (echo)"), "{said}");
    assert!(said.contains("stopped after"), "{said}");
}

fn dataplane_has_a_session_of_its_own() {
    let appliance = Appliance::new();
    let _running = appliance.run(&[]);
    let dataplane = appliance.dataplane().expect("it serves");
    assert_eq!(stat_field(dataplane, 6), Some(dataplane.to_string()), "the session is another's");
    assert_eq!(stat_field(dataplane, 7), Some("0".to_owned()), "it has a terminal");
    for (number, what) in [(0, "null"), (1, "dataplane.log"), (2, "dataplane.log")] {
        let file = std::fs::read_link(format!("/proc/{dataplane}/fd/{number}")).expect("open");
        assert!(file.ends_with(what), "descriptor {number} is {}", file.display());
    }
}

fn kill_9_leaves_the_dataplane_and_its_counters_go_on() {
    let appliance = Appliance::new();
    let running = appliance.run(&[]);
    let dataplane = appliance.dataplane();
    let turns = "trunkline_turns_total{shard=\"1\"}";
    let before = appliance.metric(turns).expect("a counter");
    running.signal(Signal::SIGKILL);
    drop(running);
    assert!(is_alive(dataplane.expect("it serves")));
    let mut running = appliance.run(&[]);
    assert_eq!(appliance.dataplane(), dataplane, "another one serves");
    assert!(appliance.metric(turns).expect("a counter") >= before);
    assert_eq!(appliance.metric("trunkline_dataplane_generation"), Some(2.0));
    assert_eq!(appliance.metric("trunkline_dataplane_restarts"), Some(0.0));
    assert!(running.said().contains("attached to the dataplane that runs"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), Some(0));
}

fn terminate_detaches_and_stop_ends_what_was_left() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    let dataplane = appliance.dataplane().expect("it serves");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(), Some(0));
    assert!(running.said().contains("goes on serving"), "{}", running.said());
    assert!(is_alive(dataplane));
    let status = appliance.ask("status", &["--counters"]);
    assert_eq!(status.code, Some(0), "{}", status.stdout);
    assert!(status.stdout.contains("is serving") && status.stdout.contains("every heartbeat"));
    assert!(status.stdout.contains("trunkline_turns_total"), "{}", status.stdout);
    let stop = appliance.ask("stop", &[]);
    assert_eq!(stop.code, Some(0), "{}", stop.stderr);
    assert!(!is_alive(dataplane));
    assert_eq!(appliance.ask("stop", &[]).code, Some(0), "there is nothing left to stop");
    let status = appliance.ask("status", &[]);
    assert_eq!(status.code, Some(1));
    assert!(status.stdout.contains("no dataplane runs"), "{}", status.stdout);
}

fn stop_ends_the_run_that_watches_too() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    let stop = appliance.ask("stop", &[]);
    assert_eq!(stop.code, Some(0), "{}", stop.stderr);
    assert_eq!(running.wait(), Some(0));
    assert!(running.said().contains("stopped by somebody else"), "{}", running.said());
}

fn status_takes_control_from_nobody() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    for _ in 0..3 {
        assert_eq!(appliance.ask("status", &[]).code, Some(0));
    }
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), Some(0));
    assert!(!running.said().contains("taken over again"), "{}", running.said());
}

fn run_waits_for_the_end_of_a_dataplane_that_stops() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    let first = appliance.dataplane();
    running.signal(Signal::SIGTERM);
    running.wait();
    appliance.tell(LINGER, true);
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| appliance.ask("stop", &[]));
        appliance
            .wait_until("stopping", || appliance.ask("status", &[]).stdout.contains("is stopping"));
        let running = appliance.start(&[]);
        appliance.wait_until("waiting", || running.said().contains("waiting for its end"));
        appliance.tell(LINGER, false);
        appliance.wait_until("ready", || appliance.get("/readyz").starts_with("200"));
        assert_ne!(appliance.dataplane(), first);
        assert_eq!(stop.join().expect("it was run").code, Some(0));
    });
}

fn dataplane_that_does_not_answer_is_named_as_such() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    let dataplane = appliance.dataplane().expect("it serves");
    running.signal(Signal::SIGTERM);
    running.wait();
    send(dataplane, Signal::SIGSTOP);
    let status = appliance.ask("status", &[]);
    let refused = appliance.refused(&[]);
    send(dataplane, Signal::SIGCONT);
    assert_eq!(status.code, Some(1));
    for output in [status, refused] {
        assert!(output.stderr.contains("does not answer: it is stopped or hangs"));
    }
}

fn dataplane_that_ended_is_started_again() {
    let appliance = Appliance::new();
    let running = appliance.run(&[]);
    let first = appliance.dataplane().expect("it serves");
    appliance.tell(DIE, true);
    appliance.wait_until("dead", || !is_alive(first));
    appliance.tell(DIE, false);
    appliance.wait_until("another one serves", || {
        appliance.dataplane().is_some_and(|second| second != first)
            && appliance.get("/readyz").starts_with("200")
    });
    assert!(appliance.metric("trunkline_dataplane_restarts").is_some_and(|count| count >= 1.0));
    let said = running.said();
    assert!(said.contains("exit status: 5"), "{said}");
    assert!(said.contains("its last words: stand-in: told to die"), "{said}");
    assert!(said.contains("starting it again"), "{said}");
}

fn dataplane_that_cannot_start_is_reported_once_with_its_log() {
    let appliance = Appliance::new();
    appliance.tell(REFUSE, true);
    let output = appliance.refused(&[]);
    assert!(output.stderr.contains("exit status: 3"), "{}", output.stderr);
    assert!(output.stderr.contains("stand-in: no such port"), "{}", output.stderr);
    assert!(
        output.stderr.contains("trunkline: the dataplane could not start"),
        "{}",
        output.stderr
    );
}

/// The embedded profile, quick to call a shard stalled.
fn impatient() -> String {
    let profile = include_str!("../../../hwconfig/profiles/dev-tap.toml");
    profile.replace("[control]\n", "[control]\nstall_ms = 100\n")
}

fn stalled_heartbeat_is_reported_and_left_alone() {
    let appliance = Appliance::new();
    let profile = appliance.write("impatient.toml", &impatient());
    let running = appliance.run(&["--profile", profile.to_str().expect("UTF-8")]);
    let dataplane = appliance.dataplane();
    appliance.tell(STALL, true);
    appliance.wait_until("unready", || appliance.get("/readyz").starts_with("503"));
    assert!(appliance.get("/readyz").contains("has stalled: no heartbeat for"));
    assert_eq!(appliance.metric("trunkline_dataplane_ready"), Some(0.0));
    assert_eq!(appliance.metric("trunkline_dataplane_up"), Some(1.0));
    let age = "trunkline_dataplane_heartbeat_age_seconds{shard=\"0\"}";
    assert!(appliance.metric(age).is_some_and(|seconds| seconds >= 0.1));
    assert_eq!(appliance.ask("status", &[]).code, Some(1));
    appliance.tell(STALL, false);
    appliance.wait_until("ready again", || appliance.get("/readyz").starts_with("200"));
    assert_eq!(appliance.dataplane(), dataplane, "it was not to be killed");
    let said = running.said();
    assert!(said.contains("has stalled") && said.contains("heartbeat is back"), "{said}");
}

fn stalled_dataplane_is_killed_only_on_request() {
    let appliance = Appliance::new();
    let profile = appliance.write("impatient.toml", &impatient());
    let profile = profile.to_str().expect("UTF-8");
    let running = appliance.run(&["--profile", profile, "--kill-stalled-after", "1"]);
    let first = appliance.dataplane().expect("it serves");
    appliance.tell(STALL, true);
    appliance.wait_until("killed", || !is_alive(first));
    appliance.tell(STALL, false);
    appliance.wait_until("another one serves", || {
        appliance.dataplane().is_some_and(|second| second != first)
    });
    let said = running.said();
    assert!(said.contains("killing the dataplane: no heartbeat"), "{said}");
    assert!(said.contains("signal: 9"), "{said}");
}

fn dataplane_of_another_profile_is_refused() {
    let appliance = Appliance::new();
    let mut running = appliance.run(&[]);
    let dataplane = appliance.dataplane().expect("it serves");
    running.signal(Signal::SIGTERM);
    running.wait();
    let other = include_str!("../../../hwconfig/profiles/dev-tap.toml").replace("1883", "1884");
    let other = appliance.write("other.toml", &other);
    let output = appliance.refused(&["--profile", other.to_str().expect("UTF-8")]);
    let expected = format!(
        "trunkline: the dataplane that runs (pid {dataplane}) has another profile: `trunkline \
         stop --instance dev` ends it"
    );
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
    assert!(is_alive(dataplane));
    // What only the control plane reads may change.
    let same = appliance.write("same.toml", &impatient());
    let _running = appliance.run(&["--profile", same.to_str().expect("UTF-8")]);
    assert_eq!(appliance.dataplane(), Some(dataplane));
}

fn second_run_of_an_instance_is_refused() {
    let appliance = Appliance::new();
    let running = appliance.run(&[]);
    let output = appliance.refused(&[]);
    assert!(output.stderr.contains("another `trunkline run` (pid "), "{}", output.stderr);
    assert!(appliance.get("/readyz").starts_with("200"), "{}", running.said());
}

fn taken_metrics_address_is_named() {
    let appliance = Appliance::new();
    let _other = TcpListener::bind(appliance.metrics).expect("it was free");
    let output = appliance.refused(&[]);
    let expected = format!(
        "trunkline: cannot serve /metrics on {}: another program listens there; choose another \
         address with --metrics or control.metrics_listen\n",
        appliance.metrics
    );
    assert_eq!(output.stderr, expected);
}

fn missing_dataplane_program_is_named() {
    let appliance = Appliance::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.env("TRUNKLINE_DATAPLANE", "/nonexistent/dataplane");
    let output = command.arg("run").arg("--run-dir").arg(appliance.run_dir()).output();
    let stderr = output.expect("trunkline can be started").stderr;
    assert_eq!(
        String::from_utf8_lossy(&stderr),
        "trunkline: TRUNKLINE_DATAPLANE: there is no program /nonexistent/dataplane\n"
    );
}

fn left_over_socket_is_no_obstacle() {
    let appliance = Appliance::new();
    drop(UnixListener::bind(appliance.run_dir().join("dataplane.sock")).expect("a socket"));
    let mut running = appliance.run(&[]);
    let dataplane = appliance.dataplane().expect("it serves");
    send(dataplane, Signal::SIGKILL);
    appliance.wait_until("another one serves", || {
        appliance.dataplane().is_some_and(|second| second != dataplane)
            && appliance.get("/readyz").starts_with("200")
    });
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), Some(0), "{}", running.said());
}

fn bad_profile_has_an_exit_code_of_its_own() {
    let appliance = Appliance::new();
    let profile = appliance.write("bad.toml", "schema = 1\nname = \"bad\"\nport = 5\n");
    let profile = profile.to_str().expect("UTF-8");
    let output = appliance.ask("run", &["--profile", profile]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("bad.toml:3:8: port = 5: must be a table"), "{}", output.stderr);
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let output = check.args(["check", profile]).output().expect("trunkline can be started");
    assert_eq!(output.status.code(), Some(2));
}
