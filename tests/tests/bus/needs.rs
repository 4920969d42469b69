//! What a bus does not need to start: what is missing is told, and tried again.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use eventcast::{Args, Builder, Bus, Notice, Received};
use eventcast_tests::{
    group::Group,
    process::run,
    runner::{Case, Need},
    wait::{Seen, block_on, eventually},
};

use crate::{
    common::{self, count, fence_between},
    machines::{builder, cable, give, ip, joined, play, role, started},
};

const GROUP: &str = "239.192.80.1";

/// Makes a process that of a user without any right, whom nobody else is.
const USER: &str = "setpriv --reuid=54321 --clear-groups --inh-caps=-all --bounding-set=-all";

/// How long a process that a case runs may take.
const PATIENCE: Duration = Duration::from_secs(45);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        case(
            "needs::variables_of_kubernetes_do_no_harm",
            variables_of_kubernetes,
        ),
        case("needs::no_netlink_sockets", no_netlink_sockets).needs(Need::Python),
        case(
            "needs::no_thread_to_watch_with_for_a_while",
            no_thread_to_watch_with,
        ),
        case("needs::an_ipv6_address_is_waited_for", an_ipv6_address),
        case(
            "needs::an_ipv6_address_that_another_machine_has",
            a_duplicate_address,
        ),
        case(
            "needs::a_start_that_waits_can_be_stopped",
            a_start_that_waits_can_be_stopped,
        ),
    ]
}

/// What a bus tells from its start on.
fn told(bus: &Bus) -> Seen<String> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| list.push(notice.to_string()));
    seen
}

fn start(builder: Builder) -> (Bus, Seen<String>) {
    let bus = builder.build().expect("good options");
    let told = told(&bus);
    block_on(bus.start()).expect("it starts");
    (bus, told)
}

#[track_caller]
fn says(told: &Seen<String>, words: &[&str]) {
    eventually(&format!("something with {words:?}"), || {
        told.all()
            .iter()
            .any(|text| words.iter().all(|word| text.contains(word)))
    });
}

/// Runs this case again, as `words` say, within a command.
#[track_caller]
fn again(case: &str, around: &[&str], words: &str, variables: &[(&str, &str)]) {
    let mut command = play(case, around, words);
    command.envs(variables.iter().copied());
    if let Err(error) = run(&mut command, PATIENCE) {
        panic!("{error}");
    }
}

fn variables_of_kubernetes() {
    let remedy = "`enableServiceLinks: false`";
    match role().as_deref() {
        None => {
            let case = "needs::variables_of_kubernetes_do_no_harm";
            let variables = [
                ("EVENTCAST_SERVICE_HOST", "10.0.0.1"),
                ("EVENTCAST_PORT", "tcp://10.0.0.1:9000"),
                ("EVENTCAST_PORT_9000_TCP_ADDR", "10.0.0.1"),
            ];
            again(case, &[], "inside", &variables);
        }
        Some(_) => {
            let builder = || {
                let builder = Bus::builder().multicast_interface("127.0.0.1");
                builder.multicast_membership(GROUP)
            };
            let (bus, told) = start(builder().port(9_000));
            says(&told, &["EVENTCAST_PORT", "tcp://10.0.0.1:9000", remedy]);
            says(
                &told,
                &[
                    "EVENTCAST_SERVICE_HOST",
                    "EVENTCAST_PORT_9000_TCP_ADDR",
                    remedy,
                ],
            );
            let (other, _) = start(builder().port(9_000));
            fence_between(&bus, &other);
            // They are told at the first start alone.
            block_on(bus.stop()).expect("it stops");
            told.take();
            block_on(bus.start()).expect("it starts");
            fence_between(&bus, &other);
            assert!(told.all().iter().all(|text| !text.contains(remedy)));
            // Nobody knows the port now.
            let error = builder().build().expect_err("no port").to_string();
            for part in ["EVENTCAST_PORT", "Kubernetes", remedy] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}

fn no_netlink_sockets() {
    let case = "needs::no_netlink_sockets";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peer/forbid.py");
    let Some(words) = role() else {
        cable("a0", "a1");
        give("a0", "10.77.0.1/24");
        give("a1", "10.78.0.1/24");
        ip("link set a1 down");
        ip("link set a1 up");
        ip("route add default dev a0");
        again(case, &["python3", script], "inside", &[]);
        return;
    };
    assert_eq!(words, "inside");
    let group = "239.192.80.1".parse().expect("a group");
    for (choice, on) in [
        ("127.0.0.1", "lo"),
        ("lo", "lo"),
        ("10.77.0.1", "a0"),
        ("a0", "a0"),
        ("default", "a0"),
        ("all", "a0"),
    ] {
        let (bus, told) = start(builder(GROUP, choice));
        says(
            &told,
            &[
                "list the interfaces",
                "AF_NETLINK",
                "RestrictAddressFamilies",
            ],
        );
        // The one before may still be stopping.
        eventually(&format!("{choice} is {on}"), || joined(group) == [on]);
        let (other, _) = start(builder(GROUP, choice));
        fence_between(&bus, &other);
        fence_between(&other, &bus);
        // It is tried again each second, and told once.
        thread::sleep(Duration::from_millis(1_200));
        fence_between(&bus, &other);
        let all = told.all();
        let warnings = all.iter().filter(|text| text.contains("AF_NETLINK"));
        assert_eq!(warnings.count(), 1, "{choice}: {all:?}");
    }
    for (choice, parts) in [
        ("10.99.0.1", ["10.99.0.1", "cannot be listed"]),
        ("nosuch", ["nosuch", "multicast_interface"]),
    ] {
        let bus = builder(GROUP, choice).build().expect("good options");
        let text = block_on(bus.start())
            .expect_err("it is not there")
            .to_string();
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    // The option `address` is for the system to judge.
    start(builder(GROUP, "a0").address("10.77.0.1"));
    let bus = builder(GROUP, "lo").address("10.99.0.1");
    block_on(bus.build().expect("good options").start()).expect_err("not one of this machine");
}

/// Another user, so that no other process counts against the limit that the case sets for itself.
fn no_thread_to_watch_with() {
    let case = "needs::no_thread_to_watch_with_for_a_while";
    if role().is_none() {
        let user: Vec<_> = USER.split(' ').collect();
        let mut another = Command::new(user[0]);
        another.args(&user[1..]).arg("true");
        // Who cannot become another is not root, and bound by the limit as it is.
        let around = if run(&mut another, PATIENCE).is_ok() {
            &user[..]
        } else {
            &[]
        };
        return again(case, around, "inside", &[]);
    }
    let limit = |threads: u64| {
        let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("Linux has it");
        setrlimit(Resource::RLIMIT_NPROC, threads.min(most), most).expect("one's own limit");
    };
    let group = Group::unused();
    let bus = common::builder(group).build().expect("good options");
    let told = told(&bus);
    let (hold, calls) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    for name in ["first", "second"] {
        let (hold, calls) = (Arc::clone(&hold), Arc::clone(&calls));
        bus.on_named(name, move |_: &Received<Args>| {
            calls.fetch_add(1, Ordering::SeqCst);
            while hold.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
    let quick = count(&bus, "quick");
    block_on(bus.start()).expect("it starts");
    let other = common::bus(group);

    // The watching thread takes over reading, and there is none to take its place.
    limit(1);
    other.emit_named("first", ()).expect("it runs");
    says(
        &told,
        &["no thread watches for slow listeners", "ulimit -u"],
    );
    other.emit_named("quick", ()).expect("it runs");
    quick.wait_for(1);
    hold.store(false, Ordering::SeqCst);
    let readers = || {
        let threads = eventcast_tests::process::thread_names();
        threads
            .iter()
            .filter(|name| *name == "eventcast-read")
            .count()
    };
    // Two of the other bus, and the one that leads here.
    eventually("the first call is over", || readers() == 3);
    limit(4_096);

    // It is tried again before a later call, so that one is watched over as well.
    eventually("a thread watches again", || {
        other.emit_named("quick", ()).expect("it runs");
        thread::sleep(Duration::from_millis(20));
        readers() == 4
    });
    hold.store(true, Ordering::SeqCst);
    other.emit_named("second", ()).expect("it runs");
    eventually("the second is called", || calls.load(Ordering::SeqCst) == 2);
    let before = quick.get();
    other.emit_named("quick", ()).expect("it runs");
    quick.wait_for(before + 1);
    hold.store(false, Ordering::SeqCst);
}

fn no_ipv4() {
    ip("addr del 127.0.0.1/8 dev lo");
}

/// One that the link is still asked about, as after every boot.
fn an_ipv6_address() {
    no_ipv4();
    for (number, choice) in ["a0", "fd00:77::1", "default", "all"]
        .into_iter()
        .enumerate()
    {
        // One interface with an address that waits, and no other.
        ip("link add a0 type veth peer name a1");
        for card in ["a0", "a1"] {
            ip(&format!("link set {card} addrgenmode none"));
            ip(&format!("link set {card} up"));
        }
        ip("addr add fd00:77::1/64 dev a0");
        let state = fs::read_to_string("/proc/net/if_inet6").expect("Linux shows them");
        let bus = builder("ff15::80", choice).build().expect("good options");
        let told = told(&bus);
        block_on(bus.start()).expect("it waits");
        // A machine that is very busy may have been too late to see it.
        if number == 0 {
            assert!(
                state
                    .lines()
                    .any(|line| line.contains(" 40 ") || line.contains(" c0 ")),
                "{state}"
            );
            says(&told, &["waits", "fd00:77::1", "a0", "tentative"]);
        }
        let own = bus.unicast_address().expect("it runs");
        assert_eq!(own.ip().to_string(), "fd00:77::1", "{choice}");
        let other = started(builder("ff15::80", choice));
        fence_between(&other, &bus);
        block_on(bus.stop()).expect("it stops");
        ip("link del a0");
    }
}

/// The link says that another machine has it: no waiting helps.
fn a_duplicate_address() {
    no_ipv4();
    ip("link add a0 type veth peer name a1");
    for card in ["a0", "a1"] {
        ip(&format!("link set {card} addrgenmode none"));
        ip(&format!("link set {card} up"));
    }
    give("a1", "fd00:77::1/64");
    ip("addr add fd00:77::1/64 dev a0");
    let bus = builder("ff15::80", "a0").build().expect("good options");
    let text = block_on(bus.start()).expect_err("a1 has it").to_string();
    for part in ["fd00:77::1", "a0", "another machine", "dadfailed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

fn a_start_that_waits_can_be_stopped() {
    no_ipv4();
    ip("link add a0 type veth peer name a1");
    ip("link set a0 addrgenmode none");
    ip("link set a0 up");
    // The other end is down, so the link cannot be asked, and the address stays tentative.
    ip("addr add fd00:77::1/64 dev a0");
    let bus = builder("ff15::80", "a0").build().expect("good options");
    let start = bus.start();
    block_on(bus.stop()).expect("there is nothing to stop");
    let error = block_on(start).expect_err("it was stopped").to_string();
    assert!(error.contains("stopped"), "{error}");
    ip("link set a1 addrgenmode none");
    ip("link set a1 up");
    block_on(bus.start()).expect("now it is ready soon");
}
