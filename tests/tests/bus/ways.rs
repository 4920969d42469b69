//! The ways in which something comes to a listener: what is promised of listeners is promised of
//! each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use eventcast::{Args, Bus, ListenerId, Notice, Received};
use eventcast_tests::{
    group::Group,
    wait::{Seen, block_on, eventually},
};

use crate::common;

/// How events come to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From another bus, on the thread that reads the network.
    Remote,
    /// From another bus, to a listener that was found to be slow.
    Moved,
    /// From the same bus, on the thread that emits.
    Local,
    /// From another bus, to an async listener.
    Async,
    /// A notice.
    Notice,
}

impl Way {
    pub(crate) const ALL: [Self; 5] = [
        Self::Remote,
        Self::Moved,
        Self::Local,
        Self::Async,
        Self::Notice,
    ];
}

/// Two buses, and a runtime that belongs to the second.
pub(crate) struct Stage {
    pub(crate) way: Way,
    pub(crate) a: Bus,
    pub(crate) b: Bus,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) notices: Seen<Notice>,
}

impl Stage {
    pub(crate) fn new(way: Way) -> Self {
        println!("{way:?}");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("a runtime without any driver but a clock");
        let group = Group::unused();
        let a = common::bus(group);
        let b = common::started(common::builder(group).runtime(runtime.handle().clone()));
        let notices = Seen::new();
        let list = notices.clone();
        b.on_notice(move |notice: &Notice| list.push(notice.clone()));
        if way == Way::Notice {
            block_on(b.stop()).expect("it stops");
            eventually("it was told", || !stops(&notices).is_empty());
        }
        Self {
            way,
            a,
            b,
            runtime,
            notices,
        }
    }

    /// Calls `listener` with the number of each event; those of notices count from 1.
    pub(crate) fn listen(&self, listener: impl Fn(i32) + Send + Sync + 'static) -> ListenerId {
        match self.way {
            Way::Remote | Way::Local => self
                .b
                .on_named("x", move |e: &Received<Args>| listener(number(e))),
            Way::Moved => {
                let id = self
                    .b
                    .on_named("x", move |e: &Received<Args>| match number(e) {
                        0 => thread::sleep(Duration::from_millis(50)),
                        other => listener(other),
                    });
                self.a.emit_named("x", 0).expect("the bus runs");
                eventually("it was moved", || self.is_moved(id));
                id
            }
            Way::Async => {
                let listener = Arc::new(listener);
                self.b.on_async_named("x", move |e: Received<Args>| {
                    let listener = Arc::clone(&listener);
                    async move { listener(number(&e)) }
                })
            }
            Way::Notice => {
                let count = AtomicI32::new(0);
                self.b.on_notice(move |notice: &Notice| {
                    if matches!(notice, Notice::Stopped) {
                        listener(count.fetch_add(1, Ordering::SeqCst) + 1);
                    }
                })
            }
        }
    }

    /// Has the listener called with this number.
    pub(crate) fn emit(&self, number: i32) {
        match self.way {
            Way::Remote | Way::Moved | Way::Async => {
                self.a.emit_named("x", number).expect("the bus runs");
            }
            Way::Local => {
                self.b.emit_named("x", number).expect("the bus runs");
            }
            Way::Notice => {
                block_on(self.b.start()).expect("it starts");
                block_on(self.b.stop()).expect("it stops");
            }
        }
    }

    /// Whether this listener has been moved to a queue.
    pub(crate) fn is_moved(&self, id: ListenerId) -> bool {
        self.notices.all().iter().any(
            |notice| matches!(notice, Notice::ListenerSlow { listener, .. } if *listener == id),
        )
    }

    /// The messages of the panics that were reported.
    pub(crate) fn panics(&self) -> Vec<String> {
        let notices = self.notices.all();
        let text = |notice: &Notice| match notice {
            Notice::ListenerPanicked { message, .. } => Some(message.clone()),
            _ => None,
        };
        notices.iter().filter_map(text).collect()
    }
}

fn number(args: &Args) -> i32 {
    args.decode().expect("one small number")
}

fn stops(notices: &Seen<Notice>) -> Vec<Notice> {
    let mut all = notices.all();
    all.retain(|notice| matches!(notice, Notice::Stopped));
    all
}
