//! `eventcast::log`: what is printed, and how much of it, at run time.
//!
//! A process has one subscriber, so each case has a process; those that judge what is printed run
//! another case of this file, and read its output.

use std::thread;

use eventcast::log::{self, Component, Level, LogError};
use eventcast_tests::{
    group::Group,
    runner::{Case, run_alone},
};
use tracing::subscriber::NoSubscriber;

use crate::common::bus;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("log::prints_what_is_asked_for", prints_what_is_asked_for),
        Case::new("log::variable", variable),
        Case::new("log::wrong_variable", wrong_variable),
        Case::new(SPEAKS, speaks).in_own_process(),
        Case::new(TELLS_LEVELS, tells_levels).in_own_process(),
        Case::new("log::not_installed", not_installed).in_own_process(),
        Case::new("log::taken", taken).in_own_process(),
        Case::new("log::installed_once", installed_once).in_own_process(),
    ]
}

const SPEAKS: &str = "log::speaks";
const TELLS_LEVELS: &str = "log::tells_levels";
const VARIABLE: &str = "EVENTCAST_LOG";

/// Logs on every level, for both components and for others, under one level after the other.
fn speaks() {
    log::install().expect("nobody else did");
    say("by default");
    set(Component::Bus, Level::Debug);
    say("bus at debug");
    set(Component::Repl, Level::Off);
    say("repl off");
    set(Component::Bus, Level::Error);
    set(Component::Repl, Level::Info);
    thread::spawn(|| say("bus at error, repl at info"))
        .join()
        .expect("another thread");
    set(Component::Bus, Level::Info);
    set(Component::Repl, Level::Off);
    eprintln!("# a bus");
    let bus = bus(Group::unused());
    tracing::info!(target: "eventcast", "\u{1b}[31mred");
    drop(bus);
}

fn set(component: Component, level: Level) {
    log::set_level(component, level).expect("it is installed");
    assert_eq!(log::level(component), Ok(level));
}

fn say(title: &str) {
    eprintln!("# {title}");
    tracing::error!(target: "eventcast", "bus error");
    tracing::warn!(target: "eventcast", number = 7, "bus warn");
    tracing::info!(target: "eventcast", "bus info");
    tracing::debug!(target: "eventcast", "bus debug");
    tracing::trace!(target: "eventcast", "bus trace");
    tracing::error!(target: "eventcast::repl", "repl error");
    tracing::warn!(target: "eventcast::repl", "repl warn");
    tracing::info!(target: "eventcast::repl", "repl info");
    tracing::debug!(target: "eventcast::repl", "repl debug");
    tracing::error!(target: "eventcast_other", "other error");
    tracing::error!(target: "mine", "other error");
}

fn prints_what_is_asked_for() {
    let output = run_alone(SPEAKS, &[(VARIABLE, "")]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let printed = String::from_utf8(output.stderr).expect("text");
    let mut parts = printed.split("# ").skip(1).map(|part| {
        let (title, lines) = part.split_once('\n').expect("a line");
        (title, lines.lines().collect::<Vec<_>>())
    });
    for (expected, messages) in [
        (
            "by default",
            &["bus error", "bus warn", "repl error", "repl warn"][..],
        ),
        (
            "bus at debug",
            &[
                "bus error",
                "bus warn",
                "bus info",
                "bus debug",
                "repl error",
                "repl warn",
            ],
        ),
        (
            "repl off",
            &["bus error", "bus warn", "bus info", "bus debug"],
        ),
        (
            "bus at error, repl at info",
            &["bus error", "repl error", "repl warn", "repl info"],
        ),
    ] {
        let (title, lines) = parts.next().expect("another part");
        assert_eq!(title, expected);
        assert_eq!(lines.len(), messages.len(), "{title}: {lines:#?}");
        for (line, message) in lines.iter().zip(messages) {
            let (component, level) = message.split_once(' ').expect("two words");
            let target = match component {
                "bus" => "eventcast: ",
                _ => "eventcast::repl: ",
            };
            assert!(line.contains(message), "{line}");
            assert!(line.contains(target), "{line}");
            assert!(line.contains(&level.to_uppercase()), "{line}");
            // A field of its own.
            assert_eq!(line.contains("number=7"), *message == "bus warn", "{line}");
        }
    }
    let (title, lines) = parts.next().expect("the bus");
    assert_eq!(title, "a bus");
    let started = "started on group";
    assert!(
        lines.iter().any(|line| line.contains(started)),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("red")), "{lines:#?}");
    // What came from the network must not steer a terminal.
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}

/// Prints what the levels are from the beginning, or why there are none.
fn tells_levels() {
    match log::install() {
        Ok(()) => {
            let levels = Component::ALL.map(|component| {
                let level = log::level(component).expect("it is installed");
                format!("{component}={level}")
            });
            println!("{}", levels.join(" "));
        }
        Err(error) => {
            println!("{error}");
            assert_eq!(log::level(Component::Bus), Err(LogError::NotInstalled));
            tracing::subscriber::set_global_default(NoSubscriber::new())
                .expect("nothing was installed");
        }
    }
}

#[track_caller]
fn told_with(value: &str) -> String {
    let output =
        run_alone(TELLS_LEVELS, &[(VARIABLE, value)]).unwrap_or_else(|error| panic!("{error}"));
    let told = String::from_utf8(output.stdout).expect("text");
    told.trim_end().to_owned()
}

fn variable() {
    assert_eq!(told_with(""), "eventcast=warn eventcast::repl=warn");
    assert_eq!(told_with("debug"), "eventcast=debug eventcast::repl=debug");
    assert_eq!(
        told_with("off,eventcast::repl=trace"),
        "eventcast=off eventcast::repl=trace"
    );
}

fn wrong_variable() {
    let form = "but must be a level, or components with theirs, such as \"warn,eventcast=debug\"";
    assert_eq!(
        told_with("debgu"),
        format!(
            "the variable EVENTCAST_LOG is \"debgu\", {form}: unknown level `debgu`: did you mean `debug`?"
        )
    );
    assert_eq!(
        told_with("repl=info"),
        format!(
            "the variable EVENTCAST_LOG is \"repl=info\", {form}: unknown component `repl`: did you mean \
             `eventcast::repl`?"
        )
    );
}

fn not_installed() {
    for component in Component::ALL {
        assert_eq!(log::level(component), Err(LogError::NotInstalled));
        let set = log::set_level(component, Level::Debug);
        assert_eq!(set, Err(LogError::NotInstalled));
    }
    let text = LogError::NotInstalled.to_string();
    assert!(
        text.contains("call `eventcast::log::install()` first"),
        "{text}"
    );
}

fn taken() {
    tracing::subscriber::set_global_default(NoSubscriber::new()).expect("the first one");
    for _ in 0..2 {
        assert_eq!(log::install(), Err(LogError::Taken));
        assert_eq!(log::level(Component::Bus), Err(LogError::NotInstalled));
    }
    // In a program that returns the bus's errors.
    let error = eventcast::Error::from(LogError::Taken).to_string();
    assert!(
        error.starts_with("this program has installed a `tracing` subscriber of its own"),
        "{error}"
    );
    assert!(
        error.ends_with("set the levels of the targets `eventcast` and `eventcast::repl` there"),
        "{error}"
    );
}

fn installed_once() {
    // All at once: one installs, the others find it installed.
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(log::install)).collect();
    for thread in threads {
        assert_eq!(thread.join().expect("no panic"), Ok(()));
    }
    set(Component::Bus, Level::Trace);
    assert_eq!(log::install(), Ok(()));
    assert_eq!(log::level(Component::Bus), Ok(Level::Trace), "it stays");
}
