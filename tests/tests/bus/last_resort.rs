//! What goes to standard error where nothing else takes warnings: each in a process of its own,
//! whose standard error is read back.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{ChildStderr, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bson::{bson, doc};
use eventcast::{Builder, Bus, Config, DropCause, NetEvent, Notice, Secret, log};
use eventcast_tests::{
    craft::Message,
    group::{Group, INTERFACE},
    runner::{Case, run_alone},
    tap::Tap,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};
use tracing::subscriber::NoSubscriber;

use crate::{
    common::{builder, bus, started},
    machines::{ROLE, play, role},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(NOBODY_HEARD, a_bus_alone_says_so_once),
        Case::new(
            "last_resort::a_bus_that_hears_another_does_not_warn",
            a_bus_that_hears_another_does_not_warn,
        ),
        Case::new(
            "last_resort::a_bus_that_refuses_datagrams_counts_them",
            a_bus_that_refuses_datagrams_counts_them,
        ),
        Case::new(WARNS, warns).in_own_process(),
        Case::new("last_resort::lines_of_warnings", lines_of_warnings),
        Case::new(
            "last_resort::silent_where_warnings_are_taken",
            silent_where_warnings_are_taken,
        ),
        Case::new("last_resort::is_turned_off", is_turned_off),
        Case::new("last_resort::a_log_is_not_doubled", a_log_is_not_doubled),
        Case::new(
            "last_resort::a_random_port_is_a_warning",
            a_random_port_is_a_warning,
        ),
        #[cfg(target_os = "linux")]
        Case::new(
            "last_resort::standard_error_is_not_read",
            standard_error_is_not_read,
        ),
    ]
}

const WARNS: &str = "last_resort::warns";
const NOBODY_HEARD: &str = "last_resort::a_bus_alone_says_so_once";
const VARIABLE: &str = "EVENTCAST_LAST_RESORT";

/// How long a process may take to say what it has to say. Only against hanging.
const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "a key that is thirty-two bytes long, and more";
const HOSTILE: &str = "a\nERROR eventcast: the disk is on fire\u{1b}[2J\u{202e}\u{9b}1m";

#[derive(NetEvent, Serialize, Deserialize, Debug)]
struct OneNumber {
    number: u8,
}

/// A bus that leaves it at the default.
fn with_defaults(group: Group) -> Builder {
    Bus::builder()
        .port(group.port)
        .multicast_membership(group.address.to_string())
        .multicast_interface(INTERFACE.to_string())
}

/// A bus that has something to warn about: sealed datagrams, and an event that does not fit, with
/// texts that others chose.
fn warns() {
    let group = Group::unused();
    let role = role().unwrap_or_default();
    let mut builder = with_defaults(group);
    let mut scoped = None;
    match &role[..] {
        "option" => builder = builder.last_resort(false),
        "file" => {
            let file = r#"{"last_resort": false}"#;
            let config: Config = serde_json::from_str(file).expect("an option");
            builder = builder.config(config);
        }
        "log" => log::install().expect("nobody else did"),
        "subscriber" => {
            tracing::subscriber::set_global_default(NoSubscriber::new()).expect("nobody else did");
        }
        "scoped" => scoped = Some(tracing::subscriber::set_default(NoSubscriber::new())),
        "random port" => builder = builder.port(0),
        "no port" => {
            builder = Bus::builder().multicast_interface(INTERFACE.to_string());
        }
        "full pipe" => {
            // As much as a pipe takes.
            let filled = std::io::stderr().write_all(&[b'x'; 65_536]);
            filled.expect("nobody reads, and there is room");
        }
        _ => {}
    }
    let bus = builder.build().expect("good options");
    let mut stream = None;
    match &role[..] {
        "listener" => drop(bus.on_notice(|_| ())),
        "stream" => stream = Some(bus.notices()),
        _ => {}
    }
    block_on(bus.start()).expect("the loopback interface is there");
    if !role.ends_with("port") {
        bus.on::<OneNumber>(|_| ());
        let tap = Tap::join(group);
        let name = "OneNumber";
        for _ in 0..100 {
            tap.send(&Message::event(group, name, vec![bson!({ "number": HOSTILE })]).bytes());
        }
        eventually("it does not fit", || bus.stats().decode_failures >= 1);
        let sealed = started(self::builder(group).passphrase(Secret::ready_key(KEY)));
        eventually("sealed datagrams came", || {
            bus.stats()
                .dropped
                .get(&DropCause::Sealed)
                .is_some_and(|count| *count > 0)
        });
        block_on(sealed.stop()).expect("it stops");
    }
    block_on(bus.stop()).expect("it stops");
    drop((bus, stream, scoped));
}

/// What is on standard error of a process with this role and these variables.
#[track_caller]
fn printed(role: &str, variables: &[(&str, &str)]) -> String {
    let mut variables = variables.to_vec();
    variables.push((ROLE, role));
    let output = run_alone(WARNS, &variables).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    String::from_utf8(output.stderr).expect("text")
}

fn is_harmless(line: &str) -> bool {
    !line.chars().any(|c| c.is_control() || c == '\u{202e}')
}

fn lines_of_warnings() {
    let printed = printed("", &[]);
    let lines: Vec<_> = printed.lines().collect();
    let warnings = lines
        .iter()
        .filter(|line| line.starts_with("eventcast warning: "));
    // One for each thing, and once how to take them over.
    assert!(warnings.count() + 1 == lines.len(), "{printed}");
    assert!(
        lines[1].starts_with("eventcast: this went to standard error")
            && lines[1].contains("`eventcast::log::install()`")
            && lines[1].contains("`bus.on_notice`")
            && lines[1].contains("EVENTCAST_LAST_RESORT=false"),
        "{printed}"
    );
    assert!(lines.iter().all(|line| is_harmless(line)), "{printed:?}");
    let having = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert!(having("event `OneNumber` from") >= 1, "{printed}");
    // A hundred came: the first, and the sum of the others at the stop.
    assert!(having("event `OneNumber` from") <= 10, "{printed}");
    assert!(having("the sender has a passphrase, and this bus has none") >= 1);
    assert_eq!(having("started on group"), 0, "{printed}");
    assert_eq!(having(KEY), 0, "{printed}");
}

fn silent_where_warnings_are_taken() {
    for role in ["listener", "stream", "subscriber", "scoped"] {
        assert_eq!(printed(role, &[]), "", "{role}");
    }
}

fn is_turned_off() {
    assert_eq!(printed("option", &[]), "");
    assert_eq!(printed("file", &[]), "");
    for no in ["false", "0", "off"] {
        assert_eq!(printed("", &[(VARIABLE, no)]), "");
    }
    // As with every option.
    assert_eq!(printed("option", &[(VARIABLE, "true")]), "");
    assert_ne!(printed("file", &[(VARIABLE, "true")]), "");
}

fn a_log_is_not_doubled() {
    let printed = printed("log", &[("EVENTCAST_LOG", "warn")]);
    assert!(printed.contains("WARN eventcast: "), "{printed}");
    assert!(!printed.contains("eventcast warning: "), "{printed}");
    assert!(!printed.contains("standard error"), "{printed}");
}

fn a_random_port_is_a_warning() {
    let warned = printed("no port", &[]);
    assert!(
        warned.starts_with("eventcast warning: no `port` was given, so this bus is on port "),
        "{warned}"
    );
    assert_eq!(warned.lines().count(), 2, "{warned}");
    assert_eq!(printed("random port", &[]), "");
}

/// A pipe that is full, and one whose other end is closed: the bus goes on, and stops.
#[cfg(target_os = "linux")]
fn standard_error_is_not_read() {
    for role in ["full pipe", "closed pipe"] {
        let mut child = play(WARNS, &[], role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test binary is there");
        let pipe = child.stderr.take().filter(|_| role == "full pipe");
        let mut status = None;
        eventually("the process ends", || {
            status = child.try_wait().expect("it is our child");
            status.is_some()
        });
        drop(pipe);
        assert!(status.is_some_and(|status| status.success()), "{role}");
    }
}

/// Each line of a process, as it comes.
fn lines_of(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn a_bus_alone_says_so_once() {
    if role().is_some() {
        let group = Group::unused();
        println!("{}:{}", group.address, group.port);
        let bus = started(with_defaults(group));
        // Until the judge has seen enough.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        block_on(bus.stop()).expect("it stops");
        return;
    }
    let mut command: Command = play(NOBODY_HEARD, &[], "alone");
    command.env_remove("EVENTCAST_LOG");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary is there");
    let lines = lines_of(child.stderr.take().expect("piped"));
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut group = String::new();
    output.read_line(&mut group).expect("it says its group");
    let line = lines.recv_timeout(PATIENCE).expect("a line");
    let start = format!(
        "eventcast warning: no other bus was heard in the first 10 s, on group {} by lo (127.0.0.1); ",
        group.trim()
    );
    assert!(line.starts_with(&start), "{line}");
    for part in [
        "`port`",
        "`multicast_membership`",
        "`multicast_interface`",
        "firewall",
        "Wi-Fi",
    ] {
        assert!(line.contains(part), "{line}");
    }
    // It says no more, but how to take that over.
    drop(child.stdin.take());
    eventually("it ends", || {
        child.try_wait().expect("it is our child").is_some()
    });
    let rest: Vec<_> = lines.iter().collect();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(rest[0].starts_with("eventcast: "), "{rest:?}");
}

/// What is told of nobody being heard.
fn alone(bus: &Bus) -> Seen<u64> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice| {
        if let Notice::NobodyHeard { refused, .. } = notice {
            list.push(*refused);
        }
    });
    seen
}

fn a_bus_that_hears_another_does_not_warn() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let told = [alone(&a), alone(&b)];
    eventually("they hear each other", || {
        !a.peers().is_empty() && !b.peers().is_empty()
    });
    // A peer of another make is heard by its events alone.
    let other = Group::unused();
    let tap = Tap::join(other);
    let c = bus(other);
    let told_c = alone(&c);
    let passed = c.wait_for_named("fence");
    tap.send(&Message::event(other, "fence", vec![bson!(doc! {})]).bytes());
    block_on(passed).expect("the bus is still there");
    // One that starts after them and hears nobody: when it says so, their time is over.
    let last = bus(Group::unused());
    let told_last = alone(&last);
    eventually("the last one says so", || told_last.all() == [0]);
    for told in [&told[0], &told[1], &told_c] {
        assert!(told.all().is_empty());
    }
}

fn a_bus_that_refuses_datagrams_counts_them() {
    let group = Group::unused();
    let bus = started(builder(group));
    let told = alone(&bus);
    let sealed = started(builder(group).passphrase(Secret::ready_key(KEY)));
    eventually("it says so", || !told.all().is_empty());
    assert!(told.all()[0] > 0);
    drop(sealed);
}
