//! The console: what a person can see and do there.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use bson::{Bson, doc};
use eventcast::{Args, Builder, Bus, NetEvent, Notice, Received};
use eventcast_tests::{
    console::Console,
    group::Group,
    process,
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{builder, bus, collect, count, fence_between, started};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body);
    vec![
        case("console::shows_the_bus", shows_the_bus),
        case("console::emits", emits),
        case("console::watches", watches),
        case("console::an_event_that_two_patterns_match", two_patterns),
        case("console::tells_notices", tells_notices),
        case("console::starts_and_stops", starts_and_stops),
        case("console::refused_start", refused_start),
        case(
            "console::opening_and_clients_are_notices",
            opening_and_clients_are_notices,
        ),
        case(
            "console::goes_with_the_last_handle",
            goes_with_the_last_handle,
        )
        .in_own_process(),
        case("console::port_in_use", port_in_use),
        // A process that another case starts would hold the port until it has become another
        // program.
        case("console::port_is_free_again", port_is_free_again).in_own_process(),
        case("console::sets_log_levels", sets_log_levels).in_own_process(),
        case("console::leaves_on_request", leaves_on_request),
        case(
            "console::reports_values_that_do_not_decode",
            reports_values_that_do_not_decode,
        ),
        case("console::marks_and_a_last_line", marks_and_a_last_line),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "console/reading")]
struct Reading {
    celsius: f64,
    place: String,
}

pub(crate) fn with_console(group: Group) -> Builder {
    builder(group).repl(true)
}

pub(crate) fn address(bus: &Bus) -> SocketAddr {
    bus.repl_address().expect("a console was asked for")
}

/// The cells of the row that begins with this.
#[track_caller]
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let row = table.lines().find_map(|line| {
        let mut cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        (cells.next() == Some(name)).then(|| cells.collect())
    });
    row.unwrap_or_else(|| panic!("no row {name:?} in {table}"))
}

fn shows_the_bus() {
    let group = Group::unused();
    let bus = started(with_console(group).id("showing").multicast_ttl(3));
    let other = started(builder(group).id("looked at"));
    bus.on::<Reading>(|_| {});
    bus.on_pattern("console/*", |_| {});
    let mut console = Console::open(address(&bus));

    let info = console.ask("info");
    assert_eq!(row(&info, "bus"), ["showing"]);
    assert_eq!(row(&info, "group"), [group.to_address().to_string()]);
    let unicast = bus.unicast_address().unwrap();
    assert_eq!(
        row(&info, "state"),
        [format!("running, reached at {unicast}")]
    );
    assert_eq!(
        row(&info, "secrecy"),
        ["none: everything goes in the clear"]
    );
    assert_eq!(row(&info, "console"), [address(&bus).to_string()]);

    let config = console.ask("config");
    assert_eq!(row(&config, "multicast_ttl"), ["3", "(builder)"]);
    assert_eq!(row(&config, "message_ttl"), ["3s"]);
    assert_eq!(row(&config, "repl"), ["true", "(builder)"]);
    let part = console.ask("config multicast_t");
    assert_eq!(part.lines().count(), 1, "{part}");
    assert_eq!(console.ask("config nothing"), "there is no such option\r\n");

    eventually("they know each other", || bus.peers().len() == 1);
    for _ in 0..3 {
        other.emit_named("console/shown", ()).unwrap();
    }
    fence_between(&other, &bus);
    let peers = console.ask("peers");
    let cells = row(&peers, "looked at");
    assert_eq!(cells[1], other.unicast_address().unwrap().to_string());
    assert!(cells[2].starts_with("eventcast"), "{peers}");
    assert_eq!(cells[4..], ["4", "0", "0", "-"], "{peers}");

    let listeners = console.ask("listeners");
    let here = |cells: Vec<&str>| {
        assert_eq!(cells[0], "inline");
        assert!(cells[1].contains("console.rs:"), "{cells:?}");
    };
    here(row(&listeners, "console/reading"));
    here(row(&listeners, "console/*"));
    assert_eq!(console.ask("listeners *.x"), "nobody listens\r\n");

    let stats = console.ask("stats");
    assert_eq!(row(&stats, "events_received"), ["4"]);
    assert!(!stats.contains("events_lost"), "{stats}");
    let all = console.ask("stats lost");
    assert_eq!(row(&all, "events_lost"), ["0"]);
    assert_eq!(
        row(&console.ask("stats malformed"), "dropped: malformed"),
        ["0"]
    );

    let help = console.ask("help");
    for command in ["info", "config [PART]", "emit KEY [VALUE ...]", "exit"] {
        row(&help, command);
    }
    assert!(console.ask("help emit").contains("JSON5"));
    assert_eq!(
        console.ask("emti x"),
        "unknown command `emti`: did you mean `emit`?\r\n"
    );
    assert_eq!(console.ask(""), "");
}

/// By name and as a type, to listeners here and on another bus, with the types that code would have
/// given.
fn emits() {
    let group = Group::unused();
    let (bus, other) = (started(with_console(group)), bus(group));
    let [here, there] = [&bus, &other].map(|bus| collect(bus, "console/values"));
    let readings = Seen::new();
    let list = readings.clone();
    other.on::<Reading>(move |reading: &Received<Reading>| {
        list.push((reading.celsius, reading.place.clone()));
    });
    let mut console = Console::open(address(&bus));
    assert_eq!(
        console.ask("emit console/values hello, 5 -3000000000 1.5 [true, null] {at: {$date: '2024-01-02T03:04:05Z'}}"),
        "sent as event 1; 1 listener in this program\r\n"
    );
    let expected: Args = vec![
        Bson::String("hello".to_owned()),
        Bson::Int32(5),
        Bson::Int64(-3_000_000_000),
        Bson::Double(1.5),
        Bson::Array(vec![Bson::Boolean(true), Bson::Null]),
        Bson::Document(doc! { "at": bson::DateTime::from_millis(1_704_164_645_000) }),
    ]
    .into();
    assert_eq!(there.wait_for(1), here.all());
    assert_eq!(here.all(), [expected]);

    console.ask("emit console/reading {celsius: 21, place: \"the cellar\"}");
    assert_eq!(readings.wait_for(1), [(21.0, "the cellar".to_owned())]);

    for (line, expected) in [
        ("emit __ec_hello", "are the protocol's own"),
        ("emit \"\"", "at least one character"),
        ("emit x {a: 1", "a bracket is not closed"),
        (
            "emit x {a: [1}",
            "the `}` in column 14 does not close the `[` in column 12",
        ),
        (
            "emit x [{a: 1]",
            "the `]` in column 14 does not close the `{` in column 9",
        ),
        ("emit x 2024-01-02", "a text is written in quotes"),
    ] {
        let answer = console.ask(line);
        assert!(answer.contains(expected), "{line}: {answer}");
    }
    assert_eq!(bus.stats().events_emitted, 2);

    // Who watches is no listener of the program.
    console.ask("watch");
    console.ask("watch console/values");
    let answer = console.ask("emit console/values");
    assert_eq!(answer, "sent as event 3; 1 listener in this program\r\n");
}

/// What a console emits and a listener's type cannot hold is not "0 listeners" and nothing else.
fn reports_values_that_do_not_decode() {
    let bus = started(with_console(Group::unused()));
    for _ in 0..2 {
        bus.on::<Reading>(|_| {});
    }
    let by_name = collect(&bus, "console/reading");
    let mut console = Console::open(address(&bus));
    for event in 1..3 {
        let answer = console.ask("emit console/reading {celsius: \"warm\", place: \"x\"}");
        let begin = format!(
            "sent as event {event}; 1 listener in this program, 2 more could not decode it: field \"celsius\": \
             expected f64, found string \"warm\" (listens at "
        );
        assert!(answer.starts_with(&begin), "{answer}");
        assert!(
            answer.contains("console.rs:") && answer.ends_with(", and others)\r\n"),
            "{answer}"
        );
    }
    by_name.wait_for(2);
    let answer = console.ask("emit console/reading {celsius: 1, place: \"x\"}");
    assert_eq!(answer, "sent as event 3; 3 listeners in this program\r\n");
}

/// What an editor puts before a text and a terminal around what is pasted is no part of it; and
/// what is said last is answered, with a line break or without.
fn marks_and_a_last_line() {
    let bus = started(with_console(Group::unused()));
    let emitted = collect(&bus, "console/last");
    let expected = Console::open(address(&bus)).ask("help");
    for line in [
        "\u{feff}help",
        "\u{1b}[200~help\u{1b}[201~",
        "\u{feff}\u{1b}[200~help",
    ] {
        assert_eq!(Console::open(address(&bus)).ask(line), expected, "{line:?}");
    }
    for (said, answer) in [
        ("help", expected.as_str()),
        // What would change something may have been meant to go on.
        (
            "emit console/last 5",
            "nothing was executed: the line was cut off",
        ),
        ("stop", "nothing was executed: the line was cut off"),
        ("nothing", "unknown command `nothing`"),
    ] {
        let mut console = Console::open(address(&bus));
        console.send(said.as_bytes());
        console.stream.shutdown(Shutdown::Write).unwrap();
        let said_last = console.to_end();
        assert!(said_last.starts_with(answer), "{said}: {said_last}");
    }
    assert!(bus.is_running());
    assert_eq!(emitted.len(), 0);
}

fn watches() {
    let group = Group::unused();
    let bus = started(with_console(group));
    let other = started(builder(group).id("watched"));
    let mut console = Console::open(address(&bus));
    assert_eq!(console.ask("watch console.seen*"), "");
    assert_eq!(
        console.ask("watch console.seen*"),
        "that is watched already\r\n"
    );
    other.emit_named("console.unseen", 1).unwrap();
    other
        .emit_named("console.seen", ("a \"b\"", 2, [1.5]))
        .unwrap();
    let line = console.until("\r\n");
    let line = line.trim();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(time.len(), "12:34:56.789".len(), "{line}");
    let host = other.hostname();
    assert_eq!(
        rest,
        format!("console.seen \"a \\\"b\\\"\" 2 [1.5] (from {host}, watched, event 2)")
    );
    bus.emit_named("console.seen2", ()).unwrap();
    let line = console.until("\r\n");
    assert!(
        line.ends_with(" console.seen2 (from here, event 1)\r\n"),
        "{line}"
    );
    console.until("> ");

    // It is the one listener that its pattern has, and named as what it is.
    let listeners = console.ask("listeners");
    assert_eq!(
        row(&listeners, "console.seen*"),
        ["stream", "a console's `watch`"]
    );
    assert_eq!(console.ask("unwatch other"), "there is no such watch\r\n");
    assert_eq!(console.ask("unwatch console.seen*"), "");
    other.emit_named("console.seen", 3).unwrap();
    fence_between(&other, &bus);
    assert_eq!(console.ask("unwatch"), "there is no such watch\r\n");

    for number in 0..16 {
        assert_eq!(console.ask(&format!("watch console.many{number}")), "");
    }
    assert!(console.ask("watch console.one_more").contains("at most 16"));
    assert_eq!(console.ask("unwatch"), "");
    assert_eq!(console.ask("listeners"), "nobody listens\r\n");
}

fn two_patterns() {
    let bus = started(with_console(Group::unused()));
    let mut console = Console::open(address(&bus));
    console.ask("watch console.*");
    console.ask("watch *.twice");
    bus.emit_named("console.twice", ()).unwrap();
    bus.emit_named("other.twice", ()).unwrap();
    let seen = console.until("other.twice");
    assert_eq!(seen.matches("console.twice").count(), 1, "{seen}");
}

fn tells_notices() {
    let group = Group::unused();
    let bus = started(with_console(group));
    let mut console = Console::open(address(&bus));
    assert_eq!(console.ask("notices on"), "");
    let other = started(builder(group).id("noticed"));
    console.until("notice: peer noticed (");
    console.until("joined\r\n");
    block_on(other.stop()).unwrap();
    console.until("left: it said goodbye\r\n");
    console.until("> ");
    assert_eq!(console.ask("notices off"), "");
    let third = started(builder(group).id("unnoticed"));
    eventually("it is noticed", || bus.peers().len() == 1);
    assert_eq!(console.ask("config nothing"), "there is no such option\r\n");
    drop(third);
}

/// The console outlives a stop, so that the bus can be started again from there.
fn starts_and_stops() {
    let group = Group::unused();
    let bus = started(with_console(group));
    let at = address(&bus);
    let mut console = Console::open(at);
    assert_eq!(
        console.ask("stop"),
        "the bus is stopped; `start` starts it again\r\n"
    );
    assert!(!bus.is_running());
    assert_eq!(row(&console.ask("info"), "state"), ["stopped"]);
    let refused = console.ask("emit console/stopped");
    assert!(refused.contains("is not running"), "{refused}");
    assert_eq!(bus.repl_address(), Some(at));
    // What is typed meanwhile waits until the start is over.
    console.send(b"start\r\nemit console/started\r\n");
    console.until("the bus runs\r\n> sent as event 1; 0 listeners in this program\r\n> ");
    assert!(bus.is_running());
    assert_eq!(console.ask("start"), "the bus runs\r\n");
    let mut second = Console::open(at);
    assert_eq!(row(&second.ask("info"), "console"), [at.to_string()]);
}

fn refused_start() {
    let group = Group::unused();
    let bus = with_console(group)
        .multicast_interface("192.0.2.77")
        .build()
        .unwrap();
    let opened = Seen::new();
    let list = opened.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::ConsoleOpened { address, .. } = notice {
            list.push(*address);
        }
    });
    let error = block_on(bus.start()).unwrap_err().to_string();
    // The bus does not run, but the console is there to see why.
    assert_eq!(opened.wait_for(1), [address(&bus)]);
    let mut console = Console::open(address(&bus));
    assert_eq!(console.ask("start"), format!("{error}\r\n"));
    assert_eq!(row(&console.ask("info"), "state"), ["stopped"]);
}

fn opening_and_clients_are_notices() {
    let bus = with_console(Group::unused()).build().unwrap();
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| match notice {
        Notice::ConsoleOpened { address, .. } => list.push(("open", *address)),
        Notice::ConsoleConnected { from, .. } => list.push(("+", *from)),
        Notice::ConsoleDisconnected { from, .. } => list.push(("-", *from)),
        _ => {}
    });
    block_on(bus.start()).unwrap();
    let console = Console::open(address(&bus));
    let from = console.stream.local_addr().unwrap();
    assert_eq!(seen.wait_for(2), [("open", address(&bus)), ("+", from)]);
    drop(console);
    assert_eq!(seen.wait_for(3)[2], ("-", from));
}

fn goes_with_the_last_handle() {
    let bus = started(with_console(Group::unused()));
    let at = address(&bus);
    let mut console = Console::open(at);
    console.ask("watch");
    let second = bus.clone();
    drop(bus);
    assert!(console.ask("info").contains("running"));
    drop(second);
    let last = console.to_end();
    assert!(last.ends_with("the bus has gone\r\n"), "{last}");
    eventually("nobody listens there", || TcpStream::connect(at).is_err());
    eventually("no thread is left", || {
        !process::thread_names()
            .iter()
            .any(|name| name.starts_with("eventcast"))
    });
}

fn port_in_use() {
    // Another test may get the port as soon as it is free.
    assert!((0..20).any(|_| starts_on_a_port_that_was_in_use()));
}

/// False where somebody else had the port before the bus could have it.
fn starts_on_a_port_that_was_in_use() -> bool {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let bus = builder(Group::unused()).repl_port(port).build().unwrap();
    let error = block_on(bus.start()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("the console cannot listen at 127.0.0.1:{port}: ")),
        "{error}"
    );
    assert!(
        error.ends_with("choose another `repl_port`, or 0 for any that is free"),
        "{error}"
    );
    assert!(!bus.is_running());
    assert_eq!(bus.repl_address(), None);
    drop(holder);
    if TcpListener::bind(("127.0.0.1", port)).is_err() || block_on(bus.start()).is_err() {
        return false;
    }
    assert_eq!(address(&bus).port(), port);
    Console::open(address(&bus));
    true
}

/// The next bus may have the port as soon as the last handle of this one has gone.
fn port_is_free_again() {
    let mut port = 0;
    for _ in 0..50 {
        let bus = started(builder(Group::unused()).repl_port(port));
        port = address(&bus).port();
        // A connection that is there does not hold it.
        Console::open(address(&bus));
    }
}

fn sets_log_levels() {
    let bus = started(with_console(Group::unused()));
    let mut console = Console::open(address(&bus));
    let before = console.ask("log");
    assert!(before.contains("`eventcast::log::install()`"), "{before}");
    eventcast::log::install().unwrap();
    assert_eq!(row(&console.ask("log"), "eventcast"), ["warn"]);
    console.ask("log eventcast::repl debug");
    assert_eq!(row(&console.ask("log"), "eventcast::repl"), ["debug"]);
    assert_eq!(row(&console.ask("log"), "eventcast"), ["warn"]);
    let both = console.ask("log off");
    assert_eq!(both, "eventcast        off\r\neventcast::repl  off\r\n");
    assert!(console.ask("log eventcast lots").contains("unknown level"));
}

fn leaves_on_request() {
    let bus = started(with_console(Group::unused()));
    for last in ["exit\r\n", "quit\n", "\u{4}"] {
        let mut console = Console::open(address(&bus));
        console.send(last.as_bytes());
        assert_eq!(console.to_end(), "", "{last:?}");
    }
    // What was asked before the end is answered before the end.
    let mut console = Console::open(address(&bus));
    console.send(b"stats nothing\nexit\nstats nothing\n");
    assert_eq!(console.to_end(), "there is no such statistic\r\n> ");
    let received = count(&bus, "console/left");
    let mut console = Console::open(address(&bus));
    console.send(b"emit console/left\nemit console/left");
    console.stream.shutdown(Shutdown::Write).unwrap();
    console.to_end();
    // A line that was cut off is not a command.
    assert_eq!(received.get(), 1);
}
