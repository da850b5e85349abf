//! Packet scripts: a file each behaviour, readable with the RFC at hand and without this code.
//!
//! A script is `tests/scripts/<topic>/<behaviour>.tcp`. It plays the peer against one stack, with
//! a clock turned by hand, and says everything that must come back: **a packet of ours or an event
//! that no line expects fails the script**, and so does memory that is not free again at the end.
//! The peer's frames are made, and ours are read, with smoltcp's wire formats and checksums.
//!
//! ```text
//! # RFC 5961 §3.2: a reset elsewhere in the window is questioned, not believed.
//! given ESTABLISHED
//! peer RST seq 2
//! us   ACK seq 1 ack 1
//! metric tcp_challenge_ack 1
//! state ESTABLISHED
//! ```
//!
//! Run one with `SCRIPT=closing/fin_waits cargo test -p tcpstack --test scripts`: a part of its
//! path is enough. A failure shows the line, what was expected, what came, and all that happened.
//!
//! # Lines
//!
//! The first line is a comment: the RFC section, and the behaviour it proves. `#` begins a comment
//! anywhere. Every other line is `[+time] <who> <what>`.
//!
//! | line | meaning |
//! |---|---|
//! | `peer PACKET` | the peer sends it |
//! | `us PACKET` | we have sent it, and it is the next one; fields not named are not compared |
//! | `and …` | another `peer` or `app` line in the same turn: one burst, one output |
//! | `app CALL` | the application calls |
//! | `event EVENT` | the application was told, and it is the next event |
//! | `given STATE [win N] [<options of the peer's SYN>]` | the exchange that leads there from LISTEN |
//! | `state STATE` | the connection is in this state (`LISTEN`, `CLOSED`: there is none) |
//! | `metric NAME N` | this counter or gauge has this value |
//! | `nothing` | nothing was sent and no event came (so it is before every `peer` and `app`) |
//! | `skip N`, `skip all` | so many packets of ours do not matter |
//! | `config KEY=VALUE …` | see `setup.rs`: `listen=80+81`, `mtu=`, `mss=`, `ip=6`, `irs=`, `receive-buffer=`, `user-timeout=10s`, … |
//! | `flow N peer=ADDRESS:PORT us=ADDRESS:PORT mac=MAC` | the ends of connection N, if not the usual ones |
//!
//! `peer2`, `us2`, `app2`, `event2`, `state2` are about a second connection: peer port 4001. The
//! usual ends are 10.0.0.2:4000 (`peer`) and 10.0.0.1:80 (`us`), with `ip=6` fd00::2 and fd00::1.
//!
//! **Time.** Without `+` a line is at the time of the line before. `+40ms` (us, ms, s, min): so much
//! later, exactly. `+1s~10ms`: give or take; `+0ms..5ms`: in this span. For `us` and `event` time
//! stops when it comes. A line with a time before `peer`, `app`, `nothing`, `state` or `metric`
//! also says that nothing was sent and nobody was told meanwhile.
//!
//! **After `given`** the peer's next sequence number is 1, and 2 in CLOSE-WAIT, CLOSING, LAST-ACK
//! and TIME-WAIT (its FIN was 1); ours is 1, and 2 in FIN-WAIT-1, FIN-WAIT-2, CLOSING, LAST-ACK
//! and TIME-WAIT (our FIN was 1; acknowledged only in FIN-WAIT-2 and TIME-WAIT). In SYN-SENT our SYN is
//! out, in SYN-RECEIVED our SYN-ACK. The peer's SYN has `<mss 1000>` unless said otherwise; with
//! `<…, ts 100 0>` all its segments until then have `ts 100 0`.
//!
//! # Packets
//!
//! **TCP**: `FLAGS seq N ack N len N win N <options>`.
//! - FLAGS: `SYN`, `SYN,ACK`, `FIN,ACK`, `RST`, `ACK`, `ACK,URG`, `ACK,ECE`, … or `none`. They are
//!   compared exactly, PSH only when it is named.
//! - Numbers are relative: 0 is the SYN of whoever counts. Negative ones are before it, `!N` is the
//!   number on the wire, `*` any. The peer's space crosses 2³² after 1,500 octets (`config irs=N`).
//! - `len N` is N octets by their place in the stream, and ours must be what the application wrote
//!   there; `data "abc"` or `data hex 616263` says them. Without either there are none.
//! - `win` is the field of the header, not scaled; the peer's is 65535 unless said. `urg N` is the
//!   urgent pointer.
//! - `<mss 1460, ws 7, sack-ok, ts 100 0, sack 101..201 301..401, nop, eol, hex fd04f989>`: the
//!   peer's in this order. Ours are compared as a set without padding, `..` allows others, `<>` is
//!   none. `ts VALUE ECHO`: the peer's own values are as written, ours count from our first one.
//! - `data-offset N` is a wrong header length, in words. `iss-later`: the SYN's number is after all
//!   that was sent on this flow.
//!
//! **Around it**: `from HOST`, `to HOST`, `mac-from MAC`, `mac-to MAC`, `vlan N`, `ttl N`, `df 0|1`,
//! `id N`, `ecn not-ect|ect0|ect1|ce`, `ip-options HEX`, `extension NUMBER HEX` (what follows its
//! next-header octet), `bad-checksum`, `bad-ip-checksum`, `cut N` (octets missing at the end),
//! `fragment 0..24 fragment 24..` (parts of the IP payload, in this order, instead of the whole).
//! HOST is `peer`, `us`, `nobody` (0.0.0.0, ::) or an address; MAC is `peer`, `us`, `broadcast` or
//! an address.
//!
//! **Others**: `arp who-has HOST tell HOST`, `arp HOST is-at MAC`; `ns HOST [is-at MAC]`,
//! `na HOST [is-at MAC] [router] [solicited] [override]`; `icmp echo-request id N seq N len N`,
//! `icmp echo-reply …`, `icmp ERROR [mtu N|pointer N] [about seq N [port N] [size N] [sent-to HOST]]`
//! about a segment of ours (in a packet of 1,500 octets), with ERROR as in `ICMP_ERRORS` (`frag-needed`, `packet-too-big`,
//! `port-unreachable`, …; ICMPv6 with `ip=6`), `icmp type N code N hex HEX`; `ip PROTOCOL HEX`;
//! `frame HEX` from the Ethernet header on.
//!
//! # The application
//!
//! Calls: `connect [fails full|no-port|unreachable]`, `send N|"text" [takes N]`, `close`, `abort`,
//! `hold` (leave what comes in the stack), `resume`, `read N`, `want-writable`, `announce`,
//! `address add 10.0.0.7/24`, `address remove 10.0.0.7`, both perhaps with `fails WHY`.
//!
//! Events: `accepted`, `connected`, `received N|"text"|nothing` (all octets since the last such
//! line; each is checked against its place in the stream), `writable`, `peer-closed`,
//! `closed finished|reset|timed-out|refused|aborted`; and two that need not be expected: `readable`
//! and `neighbor HOST is-at MAC`.

mod app;
mod build;
mod compare;
mod flow;
mod given;
mod parse;
mod parse_packet;
mod read;
mod run;
mod script;
mod setup;
mod wire;
mod words;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// One test for each folder of scripts.
macro_rules! topics {
    ($($topic:ident)+) => {
        const TOPICS: &[&str] = &[$(stringify!($topic)),+];
        $(
            #[test]
            fn $topic() {
                run_all(stringify!($topic));
            }
        )+
    };
}

topics! {
    acknowledgements
    addresses
    arp
    attacks
    challenge
    closing
    cookies
    ecn
    fragments
    handshake
    icmp
    icmpv6
    ipv6
    keep_alive
    link
    loss
    mtu
    ndp
    options
    recovery
    retransmission
    sequence
    tcp_over_ipv6
    time_wait
    unreachable
    vlan
    windows
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// Runs the scripts of a topic, those whose path contains `$SCRIPT` if that is set, and reports
/// every one that fails.
fn run_all(topic: &str) {
    let wanted = env::var("SCRIPT").unwrap_or_default();
    let mut failures = Vec::new();
    for path in files(&folder().join(topic)) {
        let name = format!("{topic}/{}", path.file_name().unwrap_or_default().display());
        if !name.contains(&wanted) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a script is text");
        match run::run(&text) {
            Ok(()) if wanted.is_empty() => {}
            Ok(()) => println!("script {name} ... ok"),
            Err(failure) => {
                let run::Failure { line, fault, trace } = failure;
                let quoted = text.lines().nth(line - 1).unwrap_or_default();
                failures.push(format!(
                    "tests/scripts/{name}:{line}: {fault}\n    {quoted}\nwhat happened:\n{trace}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} scripts failed\n\n{}", failures.len(), failures.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of scripts");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn every_folder_of_scripts_is_run() {
    let entries = fs::read_dir(folder()).expect("the folder of scripts");
    let folders = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    for folder in folders {
        let topic = folder.file_name().unwrap_or_default().display().to_string();
        assert!(TOPICS.contains(&topic.as_str()), "`{topic}` is missing in topics!");
        for file in files(&folder) {
            assert_eq!(file.extension().and_then(|end| end.to_str()), Some("tcp"), "{file:?}");
        }
    }
}

#[test]
fn every_folder_named_in_the_table_of_rfcs_is_there() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let text = text.expect("the crate's documentation");
    let names = text.split("`scripts/").skip(1).filter_map(|rest| rest.split('`').next());
    let missing: Vec<&str> =
        names.filter(|name| !name.is_empty() && !TOPICS.contains(name)).collect();
    assert!(missing.is_empty(), "no scripts for {missing:?}");
}
