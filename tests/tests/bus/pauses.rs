//! A process that is stopped for a while, as a debugger, a laptop's lid or a busy machine does it.

use std::{
    env,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use eventcast::{Args, Notice, Received};
use eventcast_tests::{
    group::Group,
    runner::{self, Case},
    wait::Seen,
};

use crate::common::{bus, count};

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(STOPPED, stopped)]
}

const STOPPED: &str = "pauses::a_paused_receiver_reports_no_peer_as_left";

/// Set for the process that is stopped: the group's port and its address.
const GROUP: &str = "EVENTCAST_TEST_GROUP";

/// Longer than `peer_timeout` (5 s) and `message_ttl` (3 s), and not longer than a sender keeps
/// what it has sent (9 s).
const STOPPED_FOR: Duration = Duration::from_secs(8);

const SENDERS: usize = 3;

/// Each sender emits one event of 200 letters in this time: 150 a second of all together, 1,200
/// while the receiver is stopped. Its socket has room for some 500 of them, the rest has to be
/// asked for: well within what a sender keeps (64 MiB) and answers (4 MiB a second).
const BETWEEN: Duration = Duration::from_millis(20);

/// How long they go on after it.
const AFTERWARDS: Duration = Duration::from_secs(3);

fn stopped() {
    match env::var(GROUP) {
        Ok(group) => receive(&group),
        Err(_) => send(),
    }
}

fn send() {
    let group = Group::unused();
    let mut receiver = Receiver::start(group);
    assert_eq!(receiver.says(), "started");
    let senders: Vec<_> = (0..SENDERS).map(|_| bus(group)).collect();
    let text = "x".repeat(200);
    let mut number = 0;
    let mut emit_for = |time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for sender in &senders {
                sender
                    .emit_named("e", (number, text.as_str()))
                    .expect("there is room");
            }
            number += 1;
            thread::sleep(BETWEEN);
        }
    };
    emit_for(Duration::from_secs(1));
    assert_eq!(receiver.says(), "heard all senders");
    receiver.signal("STOP");
    emit_for(STOPPED_FOR);
    receiver.signal("CONT");
    emit_for(AFTERWARDS);
    for sender in &senders {
        sender.emit_named("end", ()).expect("there is room");
    }
    assert_eq!(
        receiver.says(),
        format!("{} events", number as usize * SENDERS)
    );
    // Nobody left, nothing was lost, nothing expired.
    assert_eq!(receiver.says(), "told: []");
    assert!(receiver.process.wait().expect("it ends").success());
}

/// What the stopped process does.
fn receive(group: &str) {
    let (port, address) = group.split_once(' ').expect("two words");
    let group = Group {
        address: address.parse().expect("an address"),
        port: port.parse().expect("a port"),
    };
    let bus = bus(group);
    let told = Seen::new();
    let list = told.clone();
    bus.on_notice(move |notice| match notice {
        Notice::PeerLeft { .. } | Notice::Lost { .. } | Notice::Expired { .. } => {
            list.push(notice.to_string());
        }
        _ => {}
    });
    let events = count(&bus, "e");
    let (end, ended) = mpsc::channel();
    bus.on_named("end", move |_: &Received<Args>| {
        let _ = end.send(());
    });
    println!("started");
    while bus.peers().len() < SENDERS || events.get() < SENDERS {
        thread::sleep(Duration::from_millis(5));
    }
    println!("heard all senders");
    for _ in 0..SENDERS {
        // As long as the case may take.
        ended.recv_timeout(runner::DEADLINE).expect("all end");
    }
    println!("{} events", events.get());
    println!("told: {:?}", told.all());
}

struct Receiver {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Receiver {
    fn start(group: Group) -> Self {
        let mut process = runner::alone(STOPPED)
            .env(GROUP, format!("{} {}", group.port, group.address))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this very program");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    fn says(&mut self) -> String {
        let line = self.lines.next();
        line.expect("it goes on").expect("it prints text")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.process.id())])
            .status();
        assert!(status.expect("every system has a shell").success());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
