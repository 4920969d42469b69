//! Defaults, ranges on the builder, the precedence of layers, and rules between two options.

mod repl;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::bus::config::{GroupAddress, ListenerQueue, builder::Builder};

const NO_VARIABLES: [(&str, &str); 0] = [];

fn options(builder: Builder) -> Result<Options, String> {
    with_variables(builder, &[])
}

fn with_variables(builder: Builder, variables: &[(&str, &str)]) -> Result<Options, String> {
    let (options, warnings) = with_warnings(builder, variables)?;
    assert_eq!(warnings, [""; 0]);
    Ok(options)
}

/// The options, and the warnings except the one that no port was given.
fn with_warnings(
    builder: Builder,
    variables: &[(&str, &str)],
) -> Result<(Options, Vec<String>), String> {
    let (options, mut warnings) = with_all_warnings(builder, variables)?;
    warnings.retain(|warning| !warning.starts_with("no `port` was given"));
    Ok((options, warnings))
}

fn with_all_warnings(
    builder: Builder,
    variables: &[(&str, &str)],
) -> Result<(Options, Vec<String>), String> {
    let layers = builder.layers(variables.iter().copied());
    let resolved = builder.options(&layers, || 0);
    resolved.map_err(|error: ConfigError| error.to_string())
}

fn group(address: &str, zone: Option<&str>) -> GroupAddress {
    GroupAddress {
        address: address.parse().unwrap(),
        zone: zone.map(str::to_owned),
    }
}

#[test]
fn defaults() {
    let options = options(Builder::new()).unwrap();
    let expected = Options {
        id: None,
        address: None,
        port: 49_152,
        multicast_membership: group("224.0.0.1", None),
        multicast_interface: "default".to_owned(),
        multicast_loopback: true,
        multicast_ttl: 1,
        unicast_port: 0,
        receive_buffer: None,
        send_buffer: None,
        max_payload_size: 1024,
        max_message_size: 33_554_432,
        max_held_bytes: 100_663_296,
        history_bytes: 67_108_864,
        message_ttl: Duration::from_secs(3),
        message_retransmit_attempts: 3,
        heartbeat: Duration::from_secs(1),
        peer_timeout: Duration::from_secs(5),
        best_effort: false,
        send_queue: 4_194_304,
        listener_budget: Duration::from_millis(1),
        listener_queue: ListenerQueue {
            events: 16_384,
            bytes: 16_777_216,
        },
        max_listeners: 10,
        passphrase: None,
        passphrase_file: None,
        key_salt: None,
        clock_tolerance: Duration::from_secs(30),
        classic_cipher: false,
        old_peers: false,
        last_resort: true,
        repl: false,
        repl_port: 0,
        repl_host: Ipv4Addr::LOCALHOST.into(),
        repl_token: None,
    };
    assert_eq!(options, expected);
}

#[test]
fn options_in_force_configure_an_equal_bus() {
    for builder in [
        Builder::new().port(9000),
        Builder::new().multicast_membership("ff02::1234%lo"),
        Builder::new().address("127.0.0.1").unicast_port(9001),
        Builder::new().passphrase("alpha").key_salt("salt"),
        Builder::new().repl_token("alpha"),
    ] {
        let in_force = options(builder).unwrap();
        let again = Builder::new().config(in_force.in_force());
        assert_eq!(options(again).unwrap(), in_force);
    }
}

#[test]
fn every_setter() {
    let builder = Builder::new()
        .id("me")
        .address("127.0.0.1")
        .port(9000)
        .multicast_membership("239.192.0.1")
        .multicast_interface(String::from("lo"))
        .multicast_loopback(false)
        .multicast_ttl(255)
        .unicast_port(9001)
        .receive_buffer(1)
        .send_buffer(2)
        .max_payload_size(60_000)
        .max_message_size(1000)
        .max_held_bytes(2000)
        .history_bytes(1000)
        .message_ttl(Duration::from_secs(1))
        .message_retransmit_attempts(100)
        .heartbeat(Duration::from_millis(10))
        .peer_timeout(Duration::from_millis(20))
        .best_effort(true)
        .send_queue(65_536)
        .listener_budget(Duration::from_millis(2))
        .listener_queue(ListenerQueue {
            events: 3,
            bytes: 4,
        })
        .max_listeners(0)
        .passphrase("alpha")
        .key_salt(*b"salt")
        .clock_tolerance(Duration::from_secs(1))
        .old_peers(true)
        .last_resort(false)
        .repl(false)
        .repl_port(4000)
        .repl_host("::1")
        .repl_token("alpha");
    let expected = Options {
        id: Some("me".to_owned()),
        address: Some(Ipv4Addr::LOCALHOST.into()),
        port: 9000,
        multicast_membership: group("239.192.0.1", None),
        multicast_interface: "lo".to_owned(),
        multicast_loopback: false,
        multicast_ttl: 255,
        unicast_port: 9001,
        receive_buffer: Some(1),
        send_buffer: Some(2),
        max_payload_size: 60_000,
        max_message_size: 1000,
        max_held_bytes: 2000,
        history_bytes: 1000,
        message_ttl: Duration::from_secs(1),
        message_retransmit_attempts: 100,
        heartbeat: Duration::from_millis(10),
        peer_timeout: Duration::from_millis(20),
        best_effort: true,
        send_queue: 65_536,
        listener_budget: Duration::from_millis(2),
        listener_queue: ListenerQueue {
            events: 3,
            bytes: 4,
        },
        max_listeners: 0,
        passphrase: Some("alpha".into()),
        passphrase_file: None,
        key_salt: Some(b"salt".to_vec()),
        clock_tolerance: Duration::from_secs(1),
        classic_cipher: false,
        old_peers: true,
        last_resort: false,
        repl: false,
        repl_port: 4000,
        repl_host: Ipv6Addr::LOCALHOST.into(),
        repl_token: Some("alpha".into()),
    };
    assert_eq!(options(builder), Ok(expected));
}

#[test]
fn builder_beats_environment_beats_file() {
    let file: Config =
        serde_json::from_str(r#"{"port": 1, "multicastTtl": 1, "max_listeners": 1, "id": "file"}"#)
            .unwrap();
    let variables = [
        ("EVENTCAST_PORT", "2"),
        ("EVENTCAST_MULTICAST_TTL", "2"),
        ("EVENTCAST_SEND_QUEUE", "70000"),
    ];
    let builder = Builder::new().port(3).config(file);
    let merged = with_variables(builder.clone(), &variables).unwrap();
    assert_eq!(merged.port, 3);
    assert_eq!(merged.multicast_ttl, 2);
    assert_eq!(merged.send_queue, 70_000);
    assert_eq!(merged.max_listeners, 1);
    assert_eq!(merged.id.as_deref(), Some("file"));

    let alone = with_variables(builder.environment(false), &variables).unwrap();
    assert_eq!(alone.multicast_ttl, 1);
    assert_eq!(alone.send_queue, 4_194_304);
    // Not read at all.
    let quiet = Builder::new().environment(false);
    let wrong = [("EVENTCAST_PORT", "none"), ("EVENTCAST_PROT", "1")];
    assert_eq!(quiet.layers(wrong).environment, Variables::default());
}

#[test]
fn unknown_variables_are_warnings() {
    let (_, warnings) = with_warnings(Builder::new(), &[("EVENTCAST_PROT", "1")]).unwrap();
    let text =
        "the variable EVENTCAST_PROT is not known, and does nothing: did you mean EVENTCAST_PORT?";
    assert_eq!(warnings, [text]);
}

#[test]
fn wrong_values_on_the_builder_are_errors() {
    let b = Builder::new;
    let wrong: [(Builder, &str); 18] = [
        (
            b().id(""),
            "`id` (set on the builder) is \"\", but must be 1 to 64 bytes of text without control characters, and not sixteen zeros",
        ),
        (
            b().id("0".repeat(16)),
            "`id` (set on the builder) is \"0000000000000000\", but must be 1 to 64 bytes of text without control characters, and not sixteen zeros",
        ),
        (
            b().address("host"),
            "`address` (set on the builder) is \"host\", but must be an address of this machine, such as 0.0.0.0 or ::",
        ),
        (
            b().multicast_membership("10.0.0.1"),
            "`multicast_membership` (set on the builder) is \"10.0.0.1\", but must be a multicast address (224.0.0.0 to 239.255.255.255, or one of IPv6 that begins with ff, such as ff02::1234%eth0)",
        ),
        (
            b().multicast_interface(" "),
            "`multicast_interface` (set on the builder) is \" \", but must be \"default\", \"all\", an address of this machine, or the name of an interface",
        ),
        (
            b().multicast_membership("ff05::1").address("10.0.0.1"),
            "`address` (set on the builder) is \"10.0.0.1\", but must be of the family of `multicast_membership`, which is ff05::1",
        ),
        (
            b().multicast_membership("ff02::1%eth0")
                .multicast_interface("all"),
            "`multicast_interface` (set on the builder) is \"all\", but must be left out, or `eth0`, which `multicast_membership` names",
        ),
        (
            b().receive_buffer(0),
            "`receive_buffer` (set on the builder) is 0, but must be 1 to 1,073,741,823 bytes",
        ),
        (
            b().send_buffer(1 << 30),
            "`send_buffer` (set on the builder) is 1073741824, but must be 1 to 1,073,741,823 bytes",
        ),
        (
            b().max_payload_size(63),
            "`max_payload_size` (set on the builder) is 63, but must be 64 to 60,000 bytes",
        ),
        (
            b().max_payload_size(60_001),
            "`max_payload_size` (set on the builder) is 60001, but must be 64 to 60,000 bytes",
        ),
        (
            b().max_message_size(255),
            "`max_message_size` (set on the builder) is 255, but must be 256 to 2,147,483,647 bytes",
        ),
        (
            b().max_held_bytes(0),
            "`max_held_bytes` (set on the builder) is 0, but must be at least 512 bytes, and twice `max_message_size`",
        ),
        (
            b().message_ttl(Duration::ZERO),
            "`message_ttl` (set on the builder) is 0s, but must be 1 ms to 10 min",
        ),
        (
            b().message_ttl(Duration::from_secs(601)),
            "`message_ttl` (set on the builder) is 10m 1s, but must be 1 ms to 10 min",
        ),
        (
            b().send_queue(65_535),
            "`send_queue` (set on the builder) is 65535, but must be at least 65,536 bytes",
        ),
        (
            b().listener_budget(Duration::from_micros(9)),
            "`listener_budget` (set on the builder) is 9us, but must be 10 us to 60 s",
        ),
        (
            b().listener_queue(ListenerQueue {
                events: 0,
                bytes: 1,
            }),
            "`listener_queue` (set on the builder) is 0 events and 1 bytes, but must be at least 1 event and 1 byte",
        ),
    ];
    for (builder, error) in wrong {
        assert_eq!(options(builder), Err(format!("option {error}")));
    }
}

#[test]
fn a_wrong_value_that_a_higher_layer_overrides_is_a_warning() {
    let file = Config {
        max_payload_size: Some(5),
        ..Config::default()
    };
    let wrong =
        "option `max_payload_size` (from the configuration) is 5, but must be 64 to 60,000 bytes";
    let builder = || Builder::new().config(file.clone());
    for (builder, variables, place) in [
        (builder().max_payload_size(100), &[][..], "builder"),
        (
            builder(),
            &[("EVENTCAST_MAX_PAYLOAD_SIZE", "100")],
            "environment",
        ),
    ] {
        let (options, warnings) = with_warnings(builder, variables).unwrap();
        assert_eq!(options.max_payload_size, 100);
        let because = format!("it has no effect, because the {place} gives another value");
        assert_eq!(warnings, [format!("{wrong}; {because}")]);
    }
    assert_eq!(options(builder()), Err(wrong.to_owned()));

    let wrong = "option `port` (from the variable EVENTCAST_PORT) is \"x\", but must be 0 to 65,535 (0: a random one)";
    let variables = [("EVENTCAST_PORT", "x")];
    let (options, warnings) = with_warnings(Builder::new().port(5), &variables).unwrap();
    assert_eq!((options.port, warnings.len()), (5, 1));
    assert!(warnings[0].starts_with(wrong), "{warnings:?}");
    // It overrides the file, so it is an error.
    let file: Config = serde_json::from_str(r#"{"port": 6}"#).unwrap();
    let error = with_variables(Builder::new().config(file), &variables);
    assert_eq!(error, Err(wrong.to_owned()));
    // Of two wrong values, the one in the higher layer is the error.
    let error = with_variables(
        Builder::new().max_payload_size(1),
        &[("EVENTCAST_MAX_PAYLOAD_SIZE", "x")],
    );
    assert!(error.unwrap_err().contains("(set on the builder) is 1"));
}

/// The variables that Kubernetes sets for a service `eventcast` on port 9000.
const SERVICE_LINKS: [(&str, &str); 7] = [
    ("EVENTCAST_SERVICE_HOST", "10.0.0.1"),
    ("EVENTCAST_SERVICE_PORT", "9000"),
    ("EVENTCAST_PORT", "tcp://10.0.0.1:9000"),
    ("EVENTCAST_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
    ("EVENTCAST_PORT_9000_TCP_PROTO", "tcp"),
    ("EVENTCAST_PORT_9000_TCP_PORT", "9000"),
    ("EVENTCAST_PORT_9000_TCP_ADDR", "10.0.0.1"),
];

#[test]
fn service_links_of_kubernetes_are_a_warning_unless_one_is_the_only_port() {
    let remedy = "`enableServiceLinks: false`";
    let (options, warnings) = with_warnings(Builder::new().port(9000), &SERVICE_LINKS).unwrap();
    assert_eq!(options.port, 9000);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(
        warnings[0],
        format!(
            "the variables EVENTCAST_PORT_9000_TCP, EVENTCAST_PORT_9000_TCP_ADDR, EVENTCAST_PORT_9000_TCP_PORT, \
             EVENTCAST_PORT_9000_TCP_PROTO, EVENTCAST_SERVICE_HOST, EVENTCAST_SERVICE_PORT do nothing; this looks like \
             a variable that Kubernetes makes for a service called `eventcast`: set {remedy} in the pod's spec, or \
             give the service another name"
        )
    );
    for part in [
        "EVENTCAST_PORT",
        "tcp://10.0.0.1:9000",
        "Kubernetes",
        remedy,
        "the builder gives",
    ] {
        assert!(warnings[1].contains(part), "{part}: {warnings:?}");
    }
    // An error, since with a random port instead no two buses would meet.
    let error = with_warnings(Builder::new(), &SERVICE_LINKS).unwrap_err();
    for part in ["option `port`", "EVENTCAST_PORT", "Kubernetes", remedy] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // The variables of a service `eventcast-repl` do not request a console.
    let links = [
        ("EVENTCAST_REPL_PORT", "tcp://10.0.0.2:23"),
        ("EVENTCAST_REPL_SERVICE_PORT_TELNET", "23"),
    ];
    let (options, warnings) = with_warnings(Builder::new(), &links).unwrap();
    assert_eq!((options.repl, warnings.len()), (false, 2), "{warnings:?}");
    assert!(
        warnings.iter().all(|text| text.contains(remedy)),
        "{warnings:?}"
    );
}

#[test]
fn an_option_that_another_option_overrides_is_a_warning() {
    let path = std::env::temp_dir().join(format!("eventcast-overriding-{}", std::process::id()));
    std::fs::write(&path, "from the file\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, owner).unwrap();
    }
    let b = Builder::new;
    for (builder, variables, because) in [
        (
            b().passphrase_file(&path),
            [("EVENTCAST_PASSPHRASE", "")],
            "the builder gives `passphrase_file`",
        ),
        (
            b().passphrase("alpha bravo"),
            [("EVENTCAST_PASSPHRASE_FILE", "")],
            "the builder gives `passphrase`",
        ),
        (
            b().repl(false),
            [("EVENTCAST_REPL_PORT", "x")],
            "there is no console",
        ),
        (b(), [("EVENTCAST_REPL_HOST", "x")], "there is no console"),
        (b(), [("EVENTCAST_REPL_TOKEN", "")], "there is no console"),
        (
            b(),
            [("EVENTCAST_CLOCK_TOLERANCE", "x")],
            "nothing is sealed",
        ),
        (
            b().clock_tolerance(Duration::ZERO),
            [("EVENTCAST_PORT", "5")],
            "nothing is sealed",
        ),
        (
            b().multicast_membership("ff02::1234%eth0"),
            [("EVENTCAST_MULTICAST_INTERFACE", " ")],
            "the builder gives `multicast_membership`",
        ),
        (
            b().multicast_membership("ff02::1234%eth0"),
            [("EVENTCAST_MULTICAST_INTERFACE", "eth1")],
            "the builder gives a group with its interface",
        ),
    ] {
        let (_, warnings) = with_warnings(builder, &variables).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(because), "{warnings:?}");
    }
    std::fs::remove_file(&path).unwrap();
    // With the layers exchanged, each of them is an error.
    for (builder, variables) in [
        (b().repl_port(0), ("EVENTCAST_REPL_HOST", "x")),
        (b(), ("EVENTCAST_REPL_PORT", "x")),
        (
            b().multicast_interface("eth1"),
            ("EVENTCAST_MULTICAST_MEMBERSHIP", "ff02::1234%eth0"),
        ),
        (
            b().multicast_membership("ff02::1234"),
            ("EVENTCAST_MULTICAST_INTERFACE", " "),
        ),
        (
            b().passphrase("alpha bravo"),
            ("EVENTCAST_CLOCK_TOLERANCE", "x"),
        ),
        (
            b().clock_tolerance(Duration::ZERO),
            ("EVENTCAST_PASSPHRASE", "alpha bravo"),
        ),
    ] {
        with_warnings(builder, &[variables]).unwrap_err();
    }
}

#[test]
fn a_wrong_value_without_effect_in_a_file_is_a_warning() {
    let b = Builder::new;
    let file = |builder: Builder, text| builder.config(serde_json::from_str(text).unwrap());
    for (builder, because) in [
        (file(b(), r#"{"keySalt": 5}"#), "nothing is sealed"),
        (
            file(b(), r#"{"clock_tolerance": "soon"}"#),
            "nothing is sealed",
        ),
        (file(b(), r#"{"replHost": 5}"#), "there is no console"),
        (
            file(b().repl(false), r#"{"replPort": 70000}"#),
            "there is no console",
        ),
        (
            file(b().passphrase("alpha bravo"), r#"{"passphraseFile": 5}"#),
            "the builder gives `passphrase`",
        ),
        (
            file(
                b().multicast_membership("ff02::1234%eth0"),
                r#"{"multicastInterface": 5}"#,
            ),
            "the builder gives `multicast_membership`",
        ),
    ] {
        let (_, warnings) = with_warnings(builder, &[]).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(because), "{warnings:?}");
    }
    for builder in [
        file(b().passphrase("alpha bravo"), r#"{"keySalt": 5}"#),
        file(b(), r#"{"keySalt": 5, "passphrase": "alpha bravo"}"#),
        // The bus has to be sealed, but its secret is wrong.
        file(b(), r#"{"keySalt": 5, "passphrase": 5}"#),
        file(b(), r#"{"replPort": 70000}"#),
        file(b(), r#"{"replHost": 5, "repl": true}"#),
        file(b(), r#"{"repl": "true"}"#),
    ] {
        with_warnings(builder, &[]).unwrap_err();
    }
}

#[test]
fn held_bytes_have_room_for_two_messages() {
    let b = Builder::new;
    options(b().max_message_size(50_331_648)).unwrap();
    options(b().max_held_bytes(67_108_864)).unwrap();
    options(
        b().max_message_size(2_147_483_647)
            .history_bytes(2_147_483_647)
            .max_held_bytes(4_294_967_294),
    )
    .unwrap();
    assert_eq!(
        options(b().max_message_size(50_331_649)),
        Err("option `max_message_size` (set on the builder) is 50331649, but must be at most 50331648 bytes, half of `max_held_bytes`, which is 100663296 by default: give both".to_owned())
    );
    assert_eq!(
        options(b().max_held_bytes(67_108_863)),
        Err("option `max_held_bytes` (set on the builder) is 67108863, but must be at least 67108864 bytes, twice `max_message_size`, which is 33554432".to_owned())
    );
    assert_eq!(
        with_variables(b().max_message_size(1000), &[("EVENTCAST_MAX_HELD_BYTES", "1999")]),
        Err("option `max_held_bytes` (from the variable EVENTCAST_MAX_HELD_BYTES) is 1999, but must be at least 2000 bytes, twice `max_message_size`, which is 1000".to_owned())
    );
}

#[test]
fn the_history_has_room_for_a_message() {
    let b = Builder::new;
    options(b().history_bytes(33_554_432)).unwrap();
    assert_eq!(
        options(b().history_bytes(33_554_431)),
        Err("option `history_bytes` (set on the builder) is 33554431, but must be at least 33554432 bytes, which is `max_message_size`".to_owned())
    );
    assert_eq!(
        options(b().max_message_size(67_108_865).max_held_bytes(1 << 30)),
        Err("option `max_message_size` (set on the builder) is 67108865, but must be at most 67108864 bytes, which is `history_bytes` by default: give both".to_owned())
    );
}

#[test]
fn the_peer_timeout_is_longer_than_the_heartbeat() {
    let b = || Builder::new().heartbeat(Duration::from_secs(5));
    options(b().peer_timeout(Duration::from_millis(5_001))).unwrap();
    assert_eq!(
        options(b()),
        Err("option `heartbeat` (set on the builder) is 5s, but must be less than `peer_timeout`, which is 5s by default: give both".to_owned())
    );
    assert_eq!(
        options(b().peer_timeout(Duration::from_secs(5))),
        Err("option `peer_timeout` (set on the builder) is 5s, but must be more than `heartbeat`, which is 5s".to_owned())
    );
}

#[test]
fn the_two_ports_differ() {
    assert_eq!(
        options(Builder::new().port(9000).unicast_port(9000)),
        Err("option `unicast_port` (set on the builder) is 9000, but must be another port than the group's `port`".to_owned())
    );
    options(Builder::new().port(0).unicast_port(0)).unwrap();
}

#[test]
fn a_random_port_without_a_request_is_a_warning() {
    let (options, warnings) = with_all_warnings(Builder::new(), &[]).unwrap();
    assert_eq!(options.port, 49_152);
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(warning.starts_with("no `port` was given, so this bus is on port 49152"));
    // An explicit port 0 causes no warning.
    let file: Config = serde_json::from_str(r#"{"port": 0}"#).unwrap();
    for (builder, variables) in [
        (Builder::new().port(0), &[][..]),
        (Builder::new(), &[("EVENTCAST_PORT", "0")]),
        (Builder::new().config(file), &[]),
    ] {
        let (options, warnings) = with_all_warnings(builder, variables).unwrap();
        assert_eq!(options.port, 49_152);
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn random_ports() {
    assert_eq!(random_port(0, 0), 49_152);
    assert_eq!(random_port(16_383, 0), 65_535);
    assert_eq!(random_port(16_384, 0), 49_152);
    assert!(random_port(u64::MAX, 0) >= 49_152);
    assert_eq!(random_port(0, 49_152), 49_153);
    assert_eq!(random_port(16_383, 65_535), 49_152);
    let drawn = |builder: Builder, random: fn() -> u64| {
        let layers = builder.layers(NO_VARIABLES);
        builder.options(&layers, random).unwrap().0.port
    };
    assert_eq!(drawn(Builder::new().port(0), || 5), 49_157);
    assert_eq!(
        drawn(Builder::new().port(9000), || panic!("not needed")),
        9000
    );
}

#[test]
fn an_ipv6_group_and_its_interface() {
    let b = || Builder::new().multicast_membership("ff02::1234%eth0");
    let eth0 = group("ff02::1234", Some("eth0"));
    assert_eq!(options(b()).unwrap().multicast_membership, eth0);
    // The same interface twice is no conflict, and the unspecified address selects none.
    options(b().multicast_interface("eth0").address("::")).unwrap();
    let one = options(b().address("fd00::1")).unwrap();
    assert_eq!(one.address, Some("fd00::1".parse().unwrap()));
}

#[test]
fn ids() {
    let random = options(Builder::new()).unwrap();
    assert_eq!(random.id_for_start(|| 0xAB), "00000000000000ab");
    assert_eq!(random.id_for_start(|| 0), "0000000000000001");
    assert_eq!(random.id_for_start(|| u64::MAX), "ffffffffffffffff");
    let given = options(Builder::new().id("me")).unwrap();
    assert_eq!(given.id_for_start(|| panic!("not needed")), "me");
}

prop_compose! {
    fn texts()(
        id in proptest::option::of(prop_oneof![any::<String>(), "[a-z]{1,70}"]),
        address in proptest::option::of(prop_oneof![any::<String>(), "[0-2]{1,3}(\\.[0-9]{1,2}){3}"]),
        group in proptest::option::of(prop_oneof![any::<String>(), "2[2-4][0-9](\\.[0-9]{1,2}){3}"]),
        interface in proptest::option::of(any::<String>()),
    ) -> Config {
        Config {
            id,
            address,
            multicast_membership: group,
            multicast_interface: interface,
            ..Config::default()
        }
    }
}

/// Near the limits as often as elsewhere.
fn size() -> impl Strategy<Value = Option<usize>> {
    proptest::option::of(prop_oneof![
        any::<usize>(),
        0..100_000_usize,
        Just(usize::MAX),
        Just(i32::MAX as usize),
    ])
}

fn time() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of(prop_oneof![
        any::<Duration>(),
        (0..1_000_000_u64).prop_map(Duration::from_micros),
    ])
}

prop_compose! {
    fn config()(
        texts in texts(),
        (port, unicast_port) in any::<(Option<u16>, Option<u16>)>(),
        (loopback, ttl, listeners) in any::<(Option<bool>, Option<u8>, Option<usize>)>(),
        sizes in proptest::array::uniform6(size()),
        (message_ttl, budget) in (time(), time()),
        queue in proptest::option::of(any::<(usize, usize)>()),
    ) -> Config {
        let mut config = texts;
        config.port = port;
        config.unicast_port = unicast_port;
        config.multicast_loopback = loopback;
        config.multicast_ttl = ttl;
        config.max_listeners = listeners;
        let [receive, send, payload, message, held, send_queue] = sizes;
        config.receive_buffer = receive;
        config.send_buffer = send;
        config.max_payload_size = payload;
        config.max_message_size = message;
        config.max_held_bytes = held;
        config.send_queue = send_queue;
        config.message_ttl = message_ttl;
        config.listener_budget = budget;
        config.listener_queue = queue.map(|(events, bytes)| ListenerQueue { events, bytes });
        config
    }
}

proptest! {
    #[test]
    fn resolving_never_panics(
        builder in config(), environment in config(), file in config(), random in any::<u64>(),
    ) {
        let environment = Variables { config: environment, ..Variables::default() };
        let layers = Layers { builder, environment, file };
        match layers.resolve(|| random) {
            Ok((options, _)) => {
                prop_assert!(options.port != 0 && options.port != options.unicast_port);
                prop_assert!(options.max_held_bytes / 2 >= options.max_message_size);
            }
            Err(error) => prop_assert!(error.to_string().starts_with("option `")),
        }
    }

    /// A single option often passes all checks; all options at once rarely do.
    #[test]
    fn one_option_never_panics(config in config(), which in 0..4_usize, random in any::<u64>()) {
        let mut one = Config::default();
        match which {
            0 => one.max_message_size = config.max_message_size,
            1 => one.max_held_bytes = config.max_held_bytes,
            2 => (one.port, one.unicast_port) = (config.port, config.unicast_port),
            _ => one.message_ttl = config.message_ttl,
        }
        let layers = Layers { file: one, ..Layers::default() };
        let _ = layers.resolve(|| random).map_err(|error| error.to_string());
    }
}

#[test]
fn of_passphrase_and_file_the_higher_layer_takes_effect() {
    let path = std::env::temp_dir().join(format!("eventcast-options-{}", std::process::id()));
    std::fs::write(&path, "from the file\n").unwrap();
    let text = path.to_str().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let all = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, all).unwrap();
        let refused = options(Builder::new().passphrase_file(&path)).unwrap_err();
        let start = format!("option `passphrase_file` (set on the builder) is {text:?}, but must");
        assert!(refused.starts_with(&start), "{refused}");
        assert!(refused.ends_with("`chmod 600` it"), "{refused}");
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, owner).unwrap();
    }
    let passphrase = |builder, variables: &[(&str, &str)]| {
        let options = with_variables(builder, variables)?;
        Ok::<_, String>(
            options
                .passphrase
                .unwrap()
                .as_passphrase()
                .unwrap()
                .to_owned(),
        )
    };
    let file = ("EVENTCAST_PASSPHRASE_FILE", text);
    let variable = ("EVENTCAST_PASSPHRASE", "from the variable");
    let by_builder = Builder::new().passphrase("from the builder");
    for (builder, variables, expected) in [
        (
            Builder::new().passphrase_file(&path),
            &[][..],
            "from the file",
        ),
        (Builder::new(), &[file], "from the file"),
        (by_builder.clone(), &[file], "from the builder"),
        (
            Builder::new().passphrase_file(&path),
            &[variable],
            "from the file",
        ),
    ] {
        assert_eq!(passphrase(builder, variables).unwrap(), expected);
    }
    // The options in force can configure another bus.
    for builder in [Builder::new(), by_builder] {
        let options = with_variables(builder, &[file]).unwrap();
        let again = Builder::new().config(options.in_force());
        let again = self::options(again).unwrap();
        assert_eq!(again.passphrase, options.passphrase);
    }
    let both = passphrase(Builder::new(), &[file, variable]).unwrap_err();
    assert!(both.ends_with("keep one of them"), "{both}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn errors_about_unusable_secrets() {
    for (builder, start) in [
        (
            Builder::new().passphrase(""),
            "option `passphrase` (set on the builder) is empty",
        ),
        (
            Builder::new().passphrase(Secret::ready_key([7; 31])),
            "option `passphrase` (set on the builder) is a value that is not shown",
        ),
        (
            Builder::new().passphrase("alpha").receive_with(""),
            "option `receive_with` (set on the builder) is given, but must be a passphrase",
        ),
        (
            Builder::new().receive_with("alpha"),
            "option `receive_with` (set on the builder) is given, but must be left out",
        ),
        (
            Builder::new()
                .passphrase("alpha")
                .passphrase_file("/nowhere/at/all"),
            "option `passphrase_file` (set on the builder) is \"/nowhere/at/all\", but must be left out",
        ),
        (
            Builder::new().passphrase_file("/nowhere/at/all"),
            "option `passphrase_file` (set on the builder) is \"/nowhere/at/all\", but must be a file that this program can read",
        ),
        (
            Builder::new().classic_cipher(true),
            "option `classic_cipher` (set on the builder) is true, but must be false",
        ),
    ] {
        let error = options(builder).unwrap_err();
        assert!(error.starts_with(start), "{error}");
        assert!(!error.contains("alpha"), "{error}");
    }
}

#[cfg(feature = "classic")]
#[test]
fn the_classic_cipher_takes_a_passphrase() {
    let builder = Builder::new().classic_cipher(true);
    assert!(
        options(builder.clone().passphrase("alpha"))
            .unwrap()
            .classic_cipher
    );
    let ready = options(builder.passphrase(Secret::ready_key([7; 32])));
    assert!(
        ready
            .unwrap_err()
            .contains("where there is no `passphrase`")
    );
}
