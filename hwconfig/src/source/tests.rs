use super::*;
use crate::keys::Rule;
use proptest::prelude::*;

const BAREMETAL: &str = include_str!("../../profiles/baremetal-10g.toml");

/// The smallest profile there is, to be broken in one place by each test.
const SMALL: &str = r#"schema = 1
name = "small"
[port]
device = "net_tap0"
addresses = ["10.77.0.1/24"]
eal_args = ["--vdev=net_tap0"]
[shards]
cores = [0]
[mqtt]
allow_anonymous = true
[[listeners]]
port = 1883
kind = "mqtt"
"#;

fn read(text: &str) -> Result<Profile, ConfigError> {
    parse("small.toml", text, &Overrides::default())
}

/// All problems of `SMALL` with `from` replaced by `to`, a line each.
fn refusal(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "the profile has no `{from}` to replace");
    read(&SMALL.replacen(from, to, 1)).expect_err("the profile must be refused").to_string()
}

#[track_caller]
fn assert_refused(from: &str, to: &str, message: &str) {
    assert_eq!(refusal(from, to), message);
}

#[test]
fn shipped_profiles_load() {
    let dev = embedded(&Overrides::default()).expect("dev-tap.toml is valid");
    assert_eq!(dev.name, "dev-tap");
    assert_eq!(dev.port.netns.as_deref(), Some("trunkline-dev"));
    assert_eq!(dev.listeners.len(), 4);
    let metal = parse("baremetal-10g.toml", BAREMETAL, &Overrides::default())
        .expect("baremetal-10g.toml is valid");
    assert_eq!(metal.shard_count(), 4);
    let impaired = include_str!("../../profiles/impaired-tap.toml");
    let impaired = parse("impaired-tap.toml", impaired, &Overrides::default())
        .expect("impaired-tap.toml is valid");
    assert!(impaired.impairment.enabled);
    assert!(BAREMETAL.lines().next().is_some_and(|line| line.contains("UNTESTED")));
}

#[test]
fn absent_keys_take_their_defaults() {
    let profile = read(SMALL).expect("the small profile is valid");
    assert_eq!(profile.port.mtu, 1500);
    assert_eq!(profile.instance, "dev");
    assert_eq!(profile.control.metrics_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(profile.port.gateway, None);
}

#[test]
fn instance_is_substituted_in_every_text_and_can_be_overridden() {
    let overrides = Overrides { instance: Some("two".into()), ..Overrides::default() };
    let profile = embedded(&overrides).expect("the embedded profile takes any instance");
    assert_eq!(profile.instance, "two");
    assert_eq!(profile.port.netns.as_deref(), Some("trunkline-two"));
    assert!(profile.port.eal_args[0].starts_with("--vdev=net_tap0,iface=tl-two,"));
    assert_eq!(profile.run_dir().path(), Path::new("/run/trunkline/two"));
}

#[test]
fn impossible_instance_override_names_the_option() {
    let overrides = Overrides { instance: Some("Über".into()), ..Overrides::default() };
    let error = embedded(&overrides).expect_err("upper case is not allowed");
    assert_eq!(
        error.to_string(),
        "--instance Über: 1 to 12 lower case letters, digits or dashes, not beginning with a dash"
    );
}

#[test]
fn missing_file_is_named() {
    let error = load(Path::new("/nonexistent/p.toml"), &Overrides::default())
        .expect_err("there is no such file");
    let expected = "/nonexistent/p.toml: cannot read the profile: No such file or directory";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn syntax_errors_show_place_and_line() {
    let message = refusal("cores = [0]", "cores = [0");
    assert!(message.starts_with("small.toml:"), "{message}");
    let message = refusal("name = \"small\"", "name = \"small\"\nname = \"again\"");
    assert_eq!(message, "small.toml:3:1: `name = \"again\"`: duplicate key");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    assert_refused(
        "[port]\n",
        "[port]\nmtuu = 1500\n",
        "small.toml:4:1: port.mtuu: unknown key; did you mean `mtu`?",
    );
    assert_refused(
        "[shards]",
        "[shard]\n[shards]",
        "small.toml:7:2: shard: unknown key; did you mean `shards`?",
    );
    assert_refused(
        "kind = \"mqtt\"",
        "kind = \"mqtt\"\nzebra = 1",
        "small.toml:14:1: listeners[0].zebra: unknown key; known here: port, kind",
    );
}

#[test]
fn values_beyond_their_range_are_refused_with_the_limit() {
    assert_refused(
        "[port]\n",
        "[port]\nmtu = 20_000\n",
        "small.toml:4:7: port.mtu = 20_000: must be 576 to 9000 (bytes)",
    );
    assert_refused(
        "[port]\n",
        "[port]\nrx_slots = 100\n",
        "small.toml:4:12: port.rx_slots = 100: must be 64 to 8192, a multiple of 32 (frames)",
    );
    assert_refused(
        "port = 1883",
        "port = 99999999999999999999",
        "small.toml:12:8: listeners[0].port = 99999999999999999999: must be 1 to 65535 (port)",
    );
}

#[test]
fn values_of_another_type_are_refused_with_what_is_expected() {
    assert_refused(
        "allow_anonymous = true",
        "allow_anonymous = \"yes\"",
        "small.toml:10:19: mqtt.allow_anonymous = \"yes\": must be true or false",
    );
    assert_refused(
        "kind = \"mqtt\"",
        "kind = \"http\"",
        "small.toml:13:8: listeners[0].kind = \"http\": must be one of \"mqtt\", \"echo\", \
         \"discard\", \"echo-once\", \"chargen\"",
    );
    assert_refused(
        "\"10.77.0.1/24\"",
        "\"10.77.0.0/24\"",
        "small.toml:5:13: port.addresses = [\"10.77.0.0/24\"]: must be 1 to 32 values, each a \
         unicast address with its prefix length, such as 10.77.0.1/24 or fd54:4c::1/64",
    );
    assert_refused(
        "device = \"net_tap0\"",
        "device = \"eth0\"",
        "small.toml:4:10: port.device = \"eth0\": must be a PCI address such as 0000:03:00.0 or a \
         virtual device such as net_tap0",
    );
    assert_refused(
        "[port]\n",
        "[port]\nmac = \"01:00:00:00:00:01\"\n",
        "small.toml:4:7: port.mac = \"01:00:00:00:00:01\": must be a unicast Ethernet address of \
         six hexadecimal bytes, such as 02:54:4c:00:00:01",
    );
}

#[test]
fn missing_keys_are_asked_for_at_their_section() {
    assert_refused(
        "cores = [0]\n",
        "",
        "small.toml:7:1: shards.cores: missing; must be 1 to 64 values, each 0 to 1023",
    );
}

#[test]
fn addresses_of_both_families_are_taken() {
    let text = SMALL.replacen(
        "[\"10.77.0.1/24\"]",
        "[\"10.77.0.1/24\", \"fd54:4c::1/64\"]\ngateway_ipv6 = \"fe80::fe\"",
        1,
    );
    let port = read(&text).expect("a valid profile").port;
    let addresses: Vec<String> = port.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.77.0.1/24", "fd54:4c::1/64"]);
    assert_eq!(port.gateway_ipv6.map(|ip| ip.to_string()).as_deref(), Some("fe80::fe"));
}

#[test]
fn addresses_that_are_no_host_are_refused() {
    let taken = |text: &str| text.parse::<crate::values::Cidr>().is_ok();
    for text in [
        "10.77.0.1/24",
        "10.0.0.0/31",
        "10.0.0.9/32",
        "fd00::1/64",
        "fd00::/127",
        "2001:db8::5/128",
    ] {
        assert!(taken(text), "{text}");
    }
    for text in [
        "10.77.0.0/24",
        "10.77.0.255/24",
        "10.77.0.1/33",
        "10.77.0.1/0",
        "10.77.0.1",
        "224.0.0.1/24",
        "127.0.0.1/8",
        "fd00::/64",
        "fd00::1/129",
        "fd00::1/0",
        "ff02::1/64",
        "::1/128",
        "::/64",
        "fe80::1/64",
        "::ffff:10.0.0.1/128",
    ] {
        assert!(!taken(text), "{text}");
    }
}

#[test]
fn another_schema_is_refused() {
    assert_refused("schema = 1", "schema = 2", "small.toml:1:10: schema = 2: must be 1 (version)");
}

#[test]
fn sections_of_the_wrong_shape_are_refused() {
    assert_refused(
        "[[listeners]]",
        "[listeners]",
        "small.toml:11:1: listeners = [listeners]: write each as a table: [[listeners]]",
    );
    let message = refusal("name = \"small\"\n", "name = \"small\"\nstop = 5\n");
    assert_eq!(message, "small.toml:3:8: stop = 5: must be a table: write [stop]");
}

#[test]
fn anonymous_clients_need_an_explicit_word() {
    let message = refusal("allow_anonymous = true", "");
    assert!(
        message.starts_with(
            "small.toml:9:1: mqtt.allow_anonymous = (default) false: there is no authentication yet"
        ),
        "{message}"
    );
}

#[test]
fn rules_between_keys_are_refused_where_the_key_stands() {
    assert_refused(
        "cores = [0]",
        "cores = [0, 0]",
        "small.toml:8:9: shards.cores = [0, 0]: a core stands twice; each shard needs one of its own",
    );
    assert_refused(
        "[port]\n",
        "[port]\ngateway = \"192.168.1.1\"\n",
        "small.toml:4:11: port.gateway = \"192.168.1.1\": must be on the network of one of \
         port.addresses",
    );
    assert_refused(
        "[port]\n",
        "[port]\ngateway_ipv6 = \"fe80::1\"\n",
        "small.toml:4:16: port.gateway_ipv6 = \"fe80::1\": must be on the network of one of \
         port.addresses",
    );
    assert_refused(
        "[\"10.77.0.1/24\"]",
        "[\"fd54:4c::1/64\"]\nmtu = 1279",
        "small.toml:6:7: port.mtu = 1279: must be at least 1280 with IPv6 addresses",
    );
    assert_refused(
        "eal_args = [\"--vdev=net_tap0\"]",
        "eal_args = [\"--vdev=net_tap0\", \"-m=64\"]",
        "small.toml:6:12: port.eal_args = [\"--vdev=net_tap0\", \"-m=64\"]: -m is set by the \
         dataplane; leave it out",
    );
    assert_refused(
        "eal_args = [\"--vdev=net_tap0\"]\n",
        "",
        "small.toml:4:10: port.device = \"net_tap0\": port.eal_args must create it: \
         \"--vdev=net_tap0,…\"",
    );
    assert_refused(
        "[shards]\n",
        "[memory]\nmbufs = 1024\n[shards]\n",
        "small.toml:8:9: memory.mbufs = 1024: at least 2176: 1 shard(s) × (port.rx_slots + \
         port.tx_slots + 4 × shards.batch_frames)",
    );
    assert_refused(
        "[shards]\n",
        "[memory]\nsessions = 0\n[shards]\n",
        "small.toml:8:12: memory.sessions = 0: must not be 0 with an mqtt listener",
    );
    assert_refused(
        "[shards]\n",
        "[tcp]\ndelayed_ack_ms = 200\n[shards]\n",
        "small.toml:7:1: tcp.rto_min_ms = (default) 200: must be above tcp.delayed_ack_ms = 200: \
         else every delayed acknowledgement looks lost",
    );
    assert_refused(
        "kind = \"mqtt\"\n",
        "kind = \"mqtt\"\n[[listeners]]\nport = 1883\nkind = \"echo\"\n",
        "small.toml:15:8: listeners[1].port = 1883: another listener has this port",
    );
}

#[test]
fn every_problem_is_listed_in_order_of_the_file() {
    let text = SMALL.replace("cores = [0]", "cores = []").replace("1883", "0");
    let message = read(&text).expect_err("two problems").to_string();
    let places: Vec<_> = message.lines().map(|line| &line[..15]).collect();
    assert_eq!(places, ["small.toml:8:9:", "small.toml:12:8"], "{message}");
}

#[test]
fn hash_ignores_only_what_the_control_plane_alone_reads() {
    let hash = |text: &str| read(text).expect("valid").hash();
    let base = hash(SMALL);
    assert_eq!(base, hash(&format!("{SMALL}[control]\nstall_ms = 100\n[backend]\n")));
    assert_eq!(base, hash(&SMALL.replace("[port]", "# a comment\n[port]\nmtu = 1500")));
    assert_ne!(base, hash(&SMALL.replace("1883", "1884")));
    assert_ne!(base, hash(&SMALL.replace("[port]", "[port]\nmtu = 1400")));
}

#[test]
fn every_number_a_rule_accepts_fits_the_type_of_its_key() {
    let full =
        SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)));
    let mut checked = 0;
    for (section, key) in full.filter(|(section, _)| section.count_max == 1) {
        let (Rule::Range(low, high) | Rule::Multiple(low, high, _)) = key.rule else { continue };
        for value in [low, high] {
            let profile = read(SMALL).expect("valid");
            let mut table = Table::try_from(profile).expect("a profile is plain TOML");
            let at = match section.path {
                "" => &mut table,
                path => table[path].as_table_mut().expect("a section is a table"),
            };
            at.insert(key.name.to_owned(), Value::Integer(value));
            let read = Profile::deserialize(table);
            assert!(read.is_ok(), "{}.{} = {value}: {read:?}", section.path, key.name);
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} limits were tried");
}

#[test]
fn every_default_obeys_its_own_rule() {
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        if let Some(value) = key.preset.value() {
            assert!(key.rule.accepts(&value), "{}: {:?}", key.name, key.preset);
        }
    }
}

/// Values that a mistaken or malicious hand may write.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        Just("true".to_owned()),
        Just("1.5".to_owned()),
        Just("[]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("[[1], [\"x\"]]".to_owned()),
        Just("1979-05-27".to_owned()),
        "[ -~]{0,40}".prop_map(|text| format!("{text:?}")),
        any::<String>().prop_map(|text| format!("{text:?}")),
    ]
}

proptest! {
    #[test]
    fn any_bytes_changed_in_a_profile_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..8),
        which in any::<bool>(),
    ) {
        let mut text: Vec<char> = if which { EMBEDDED } else { BAREMETAL }.chars().collect();
        for (at, to) in edits {
            let at = at.index(text.len());
            text[at] = to;
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = read(&text) {
            prop_assert!(error.to_string().starts_with("small.toml:"));
        }
    }

    #[test]
    fn any_value_for_any_key_is_accepted_or_refused_with_its_place(
        section in 1..SECTIONS.len(),
        key in any::<prop::sample::Index>(),
        value in any_value(),
    ) {
        let section = &SECTIONS[section];
        let key = section.keys[key.index(section.keys.len())].name;
        let header = if section.count_max == 1 { "" } else { "[" };
        let tail = if section.count_max == 1 { "" } else { "]" };
        let text = format!(
            "schema = 1\nname = \"x\"\n{header}[{}]{tail}\n{key} = {value}\n", section.path);
        // Always refused: at least the port's addresses are missing, and every problem has a line.
        let error = read(&text).expect_err("incomplete").to_string();
        prop_assert!(error.lines().all(|line| line.starts_with("small.toml:")), "{error}");
    }

    #[test]
    fn any_text_is_accepted_or_refused(text in any::<String>()) {
        prop_assert!(read(&text).is_err());
    }
}

#[test]
fn impairment_says_that_it_is_on_and_wants_leave_for_a_physical_port() {
    let on = SMALL.to_owned() + "[impairment]\nenabled = true\nloss_ppm = 15_000\ndelay_us = 500\n";
    let warnings = read(&on).expect("a virtual port may be impaired").warnings();
    assert!(warnings[0].contains("1.5 % loss"), "{warnings:?}");
    assert!(warnings[0].contains("0.5 ms delay"), "{warnings:?}");
    let off = read(SMALL).expect("the small profile is valid");
    assert_eq!((off.impairment.enabled, off.warnings()), (false, Vec::new()));

    let metal = BAREMETAL.to_owned() + "\n[impairment]\nenabled = true\n";
    let refusal = read(&metal).expect_err("clients would be hurt").to_string();
    assert!(refusal.contains("impairment.enabled = true"), "{refusal}");
    assert!(refusal.contains("on_physical_port = true"), "{refusal}");
    read(&(metal + "on_physical_port = true\n")).expect("knowingly");
}
