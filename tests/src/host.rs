//! Other machines, made of threads: each is in a network namespace of its own, and what is opened
//! on it belongs there.
//!
//! Linux keeps the network namespace of each thread apart, and a new thread is where its parent is.
//! So a bus that is started within [`Host::run`] has its sockets and its threads on that host,
//! while the test sees all hosts at once. Only for tests that run in a namespace of their own
//! ([`Case::in_own_network`](crate::runner::Case::in_own_network)).

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::gettid,
};

use crate::process::ip;

type Job = Box<dyn FnOnce() + Send>;

/// A machine on which nothing but the loopback interface is up.
pub struct Host {
    jobs: mpsc::Sender<Job>,
    thread_id: i32,
}

impl Host {
    /// Makes one.
    #[expect(clippy::new_without_default, reason = "it makes a thread")]
    pub fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (told, id) = mpsc::channel();
        thread::Builder::new()
            .name("host".to_owned())
            .spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).expect("a namespace within that of the case");
                ip("link set lo up");
                told.send(gettid().as_raw()).expect("it is waited for");
                for job in queue {
                    job();
                }
            })
            .expect("a thread");
        let thread_id = id.recv().expect("the host is up");
        Self { jobs, thread_id }
    }

    /// Runs `work` on that machine, and waits for it. A panic there is one here.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let (sender, outcome) = mpsc::channel();
        let job = move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(work));
            sender.send(outcome).expect("it is waited for");
        };
        self.jobs.send(Box::new(job)).expect("the host runs");
        match outcome.recv().expect("the host answers") {
            Ok(result) => result,
            Err(panic) => panic::resume_unwind(panic),
        }
    }

    /// Takes a card of this machine away and plugs it into that one.
    pub fn plug_in(&self, card: &str) {
        ip(&format!("link set {card} netns {}", self.thread_id));
    }
}
