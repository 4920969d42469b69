//! One client of the console: its input, its watches, and its answers.
//!
//! Responsible for the login, for carrying out commands on the bus, and for turning events and
//! notices into lines. Not responsible for sockets nor for waiting: [`client`](super::client)
//! drives it, and stops adding when the [`Output`] is high.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use bson::Bson;
use futures_core::Stream;

use super::{
    command::{self, Command},
    output::{Output, columns},
    show,
    telnet::{Input, MAX_LINE},
    token::{self, Guesses, Token},
    warnings::Warnings,
};
#[cfg(feature = "log")]
use crate::log::{self, Component, Level, LogError};
use crate::{
    Args, Bus, ConsoleRefusedCause, ListenerInfo, ListenerScope, Notice, NoticeStream, Pattern,
    Received, Subscription, Transition, WeakBus,
    bus::{Misfit, misfits_of},
};

/// How much of an event's arguments is shown, in bytes.
const MAX_SHOWN: usize = 4_096;

/// How many patterns one client watches.
const MAX_WATCHES: usize = 16;

/// The prompt, and the one for the token where there is a token.
const PROMPT: &str = "> ";
const TOKEN: &str = "token: ";

/// Whether the connection is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    /// A token was sent: it is checked after a pause.
    Weigh(Duration),
    /// The token was wrong: it ends after a pause, with these words.
    Barred,
    /// Too many tokens from its address wait to be looked at: it ends after a pause, and with other
    /// words.
    Crowded,
    Close,
}

pub(super) struct Session {
    bus: WeakBus,
    /// What the client still has to say before anything else.
    token: Option<Arc<Token>>,
    /// The token that was sent.
    said: String,
    guesses: Arc<Guesses>,
    from: SocketAddr,
    watches: Vec<Watch>,
    /// Which watch is served next, if it has an event.
    next_watch: usize,
    notices: Option<NoticeStream>,
    /// A `start` or a `stop` under way, and the answer when it is done.
    doing: Option<(Transition, &'static str)>,
    warnings: Arc<Warnings>,
    /// The notice about this client was given.
    announced: bool,
}

struct Watch {
    pattern: Pattern,
    events: Subscription<Args>,
    missed_told: u64,
}

impl Session {
    pub(super) fn new(
        bus: WeakBus,
        token: Option<Arc<Token>>,
        guesses: Arc<Guesses>,
        from: SocketAddr,
        warnings: Arc<Warnings>,
    ) -> Self {
        Self {
            bus,
            token,
            said: String::new(),
            guesses,
            from,
            watches: Vec::new(),
            next_watch: 0,
            notices: None,
            doing: None,
            warnings,
            announced: false,
        }
    }

    /// Sends the greeting, once the client is allowed to see it, and notifies the bus of the
    /// client: notices about clients without the token could come at any rate.
    pub(super) fn greet(&mut self, out: &mut Output) {
        if self.is_locked() {
            return;
        }
        self.announced = true;
        self.bus.tell(Notice::ConsoleConnected {
            from: self.from,
            count: 1,
        });
        if let Some(bus) = self.bus.upgrade() {
            let (id, port) = (bus.id(), bus.port());
            out.line(format_args!(
                "eventcast, bus {id} on port {port}; `help` lists the commands"
            ));
        }
    }

    /// The owner of its address.
    pub(super) fn whose(&self) -> IpAddr {
        token::whose(self.from.ip())
    }

    /// Whether a listener that this client has called has forked, and this is the child.
    pub(super) fn is_forked(&self) -> bool {
        self.bus.is_forked()
    }

    /// Whether it waits for the token.
    pub(super) fn is_locked(&self) -> bool {
        self.token.is_some()
    }

    /// Whether it is shown something as it happens.
    pub(super) fn is_watching(&self) -> bool {
        !self.watches.is_empty() || self.notices.is_some()
    }

    /// Whether something is under way that has to end before the next line is looked at.
    pub(super) fn is_busy(&self) -> bool {
        self.doing.is_some()
    }

    /// Handles input of the client.
    pub(super) fn handle(&mut self, input: Input, out: &mut Output) -> Flow {
        match input {
            Input::Answer(bytes) => {
                out.raw(&bytes);
                return Flow::Go;
            }
            Input::End => return Flow::Close,
            Input::Foreign(language) => return self.show_out(language),
            Input::Line(line) => return self.read(line, false, out),
            Input::Cut(line) => return self.read(line, true, out),
            Input::Interrupt => {
                out.answered();
                out.gap();
            }
            Input::TooLong | Input::NotText if self.is_locked() => {
                out.answered();
                // As one that is a text.
                self.guesses.turn(self.from.ip(), Instant::now());
                return self.bar();
            }
            Input::TooLong => {
                out.answered();
                out.line(format_args!("line too long (limit {MAX_LINE} bytes)"));
            }
            Input::NotText => {
                out.answered();
                out.line("that was not UTF-8, and nothing was executed");
            }
        }
        Flow::Go
    }

    /// Takes in a line. One that was cut off may lack the rest of what it was to be: it changes
    /// nothing.
    fn read(&mut self, line: String, is_cut: bool, out: &mut Output) -> Flow {
        out.answered();
        if self.is_locked() {
            self.said = line;
            return match self.guesses.turn(self.from.ip(), Instant::now()) {
                Some(delay) => Flow::Weigh(delay),
                None => {
                    let text =
                        format_args!("too many tokens come from the address of {}", self.from);
                    self.warnings
                        .warn(ConsoleRefusedCause::Token, Some(self.from), text);
                    Flow::Crowded
                }
            };
        }
        match command::parse(&line) {
            Ok(None) => Flow::Go,
            Ok(Some(command)) if is_cut && command.changes() => {
                out.line("nothing was executed: the line was cut off, a line break ends it");
                Flow::Go
            }
            Ok(Some(command)) => self.obey(command, out),
            Err(mistake) => {
                out.line(mistake);
                Flow::Go
            }
        }
    }

    /// Ends a connection that no person has made.
    fn show_out(&self, language: &str) -> Flow {
        let text = format_args!(
            "{} speaks {language}: a browser was led to the console, and nothing that it sent was executed",
            self.from
        );
        self.warnings
            .warn(ConsoleRefusedCause::Protocol, Some(self.from), text);
        Flow::Close
    }

    /// Checks the token that was sent.
    pub(super) fn weigh(&mut self, out: &mut Output) -> Flow {
        let said = std::mem::take(&mut self.said);
        match self.token.take_if(|token| token.is(&said)) {
            Some(_) => {
                self.guesses.right(self.from.ip());
                self.greet(out);
                Flow::Go
            }
            None => self.bar(),
        }
    }

    fn bar(&self) -> Flow {
        let text = format_args!("{} does not know the token", self.from);
        self.warnings
            .warn(ConsoleRefusedCause::Token, Some(self.from), text);
        Flow::Barred
    }

    /// Writes one thing that has happened, if there is one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<Flow> {
        if let Some((transition, done)) = &mut self.doing {
            let result = std::task::ready!(Pin::new(transition).poll(cx));
            match result {
                Ok(()) => out.line(*done),
                Err(error) => out.line(error),
            }
            self.doing = None;
            self.prompt(out);
            return Poll::Ready(Flow::Go);
        }
        if let Poll::Ready(notice) = self.poll_notice(cx) {
            out.line(format_args!("notice: {notice}"));
            return Poll::Ready(Flow::Go);
        }
        self.poll_watches(cx, out).map(|()| Flow::Go)
    }

    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Notice> {
        let Some(notices) = &mut self.notices else {
            return Poll::Pending;
        };
        match std::task::ready!(Pin::new(notices).poll_next(cx)) {
            Some(notice) => Poll::Ready(notice),
            // The bus was dropped, and the connection ends with it.
            None => {
                self.notices = None;
                Poll::Pending
            }
        }
    }

    /// Writes the next output of the watches: one event, or that some were missed.
    fn poll_watches(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<()> {
        let count = self.watches.len();
        for turn in 0..count {
            // Begins behind the watch served last, so that a busy one leaves room for the others.
            let at = (self.next_watch + turn) % count;
            while let Poll::Ready(Some(event)) =
                Pin::new(&mut self.watches[at].events).poll_next(cx)
            {
                let watch = &mut self.watches[at];
                let missed = watch.events.missed();
                let newly = missed - std::mem::replace(&mut watch.missed_told, missed);
                if newly > 0 {
                    out.line(format_args!(
                        "({newly} events missed: they came faster than they were read)"
                    ));
                }
                // An event that two patterns match is shown once.
                let mut before = self.watches[..at].iter();
                if before.any(|other| other.pattern.matches(event.key())) {
                    continue;
                }
                out.line(shown(&event));
                self.next_watch = at + 1;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Writes the prompt, where a line may be typed.
    pub(super) fn prompt(&self, out: &mut Output) {
        if self.is_locked() {
            out.ask(TOKEN);
        } else if !self.is_busy() {
            out.ask(PROMPT);
        }
    }

    fn obey(&mut self, command: Command, out: &mut Output) -> Flow {
        let Some(bus) = self.bus.upgrade() else {
            return Flow::Close;
        };
        match command {
            Command::Help(None) => out.lines(&command::overview()),
            Command::Help(Some(entry)) => out.lines(&entry.describe()),
            Command::Info => out.lines(&info(&bus)),
            Command::Config(part) => out.lines(&config(&bus, &part)),
            Command::Peers => out.lines(&peers(&bus)),
            Command::Listeners(pattern) => out.lines(&listeners(&bus, &pattern)),
            Command::Stats(part) => out.lines(&stats(&bus, part.as_deref())),
            Command::Emit { key, args } => self.emit(&bus, &key, args, out),
            Command::Watch(pattern) => self.watch(&bus, pattern, out),
            Command::Unwatch(pattern) => {
                let before = self.watches.len();
                self.watches
                    .retain(|watch| pattern.as_ref().is_some_and(|gone| *gone != watch.pattern));
                if self.watches.len() == before {
                    out.line("there is no such watch");
                }
            }
            Command::Notices(on) => self.notices = on.then(|| bus.notices()),
            #[cfg(feature = "log")]
            Command::Log(wanted) => out.lines(&log(wanted)),
            Command::Start => {
                tracing::info!(target: "eventcast::repl", "{} starts the bus", self.from);
                self.doing = Some((bus.start(), "the bus runs"));
            }
            Command::Stop => {
                tracing::info!(target: "eventcast::repl", "{} stops the bus", self.from);
                self.doing = Some((bus.stop(), "the bus is stopped; `start` starts it again"));
            }
            Command::Exit => return Flow::Close,
        }
        Flow::Go
    }

    fn emit(&self, bus: &Bus, key: &str, args: Vec<Bson>, out: &mut Output) {
        // Arguments may hold what no log shall show.
        tracing::info!(target: "eventcast::repl", "{} emits {key:?}", self.from);
        let (emitted, misfits) = misfits_of(|| bus.emit_named(key, args));
        match emitted {
            Ok(emitted) => {
                let number = emitted.number.map(|number| format!(" as event {number}"));
                let number = number.unwrap_or_default();
                // What consoles watch is none of the program's own.
                let is_watched = |listener: &ListenerInfo| {
                    let ListenerScope::Pattern(pattern) = &listener.scope else {
                        return false;
                    };
                    is_watch(listener) && pattern.matches(key)
                };
                let registered = bus.listeners();
                let watches = registered.iter().filter(|one| is_watched(one)).count();
                let listeners = match emitted.listeners.saturating_sub(watches) {
                    1 => "1 listener".to_owned(),
                    count => format!("{count} listeners"),
                };
                let undecodable = undecodable(&misfits);
                out.line(format_args!(
                    "sent{number}; {listeners} in this program{undecodable}"
                ));
            }
            Err(error) => out.line(error),
        }
    }

    fn watch(&mut self, bus: &Bus, pattern: Pattern, out: &mut Output) {
        if self.watches.iter().any(|watch| watch.pattern == pattern) {
            out.line("that is watched already");
        } else if self.watches.len() == MAX_WATCHES {
            out.line(format_args!(
                "at most {MAX_WATCHES} patterns are watched at once: `unwatch` one"
            ));
        } else {
            let events = bus.subscribe_pattern(pattern.as_str());
            self.watches.push(Watch {
                pattern,
                events,
                missed_told: 0,
            });
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.announced {
            self.bus.tell(Notice::ConsoleDisconnected {
                from: self.from,
                count: 1,
            });
        }
    }
}

fn shown(event: &Received<Args>) -> String {
    let origin = event.origin();
    let time = origin.time().map(|time| {
        let text = humantime::format_rfc3339_millis(time).to_string();
        // `2024-01-02T03:04:05.006Z` without the date: a person who watches knows the day.
        text.get(11..23).map(str::to_owned).unwrap_or(text)
    });
    let time = time.as_deref().unwrap_or("--:--:--.---");
    let key = event.key();
    let args = show::shown(event, MAX_SHOWN);
    let gap = if args.is_empty() { "" } else { " " };
    let number = origin
        .number()
        .map(|number| format!(", event {number}"))
        .unwrap_or_default();
    if origin.is_local() {
        format!("{time} {key}{gap}{args} (from here{number})")
    } else {
        let (host, id) = (origin.hostname(), origin.id());
        format!("{time} {key}{gap}{args} (from {host}, {id}{number})")
    }
}

fn info(bus: &Bus) -> String {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let running = bus
        .unicast_address()
        .map(|address| format!("running, reached at {address}"));
    let mut rows = vec![
        row("bus", bus.id()),
        row("host", bus.hostname().to_owned()),
        row("group", bus.group().to_string()),
        row("state", running.unwrap_or_else(|| "stopped".to_owned())),
        row("secrecy", bus.secrecy().to_owned()),
        row("peers", bus.peers().len().to_string()),
        row(
            "version",
            concat!("eventcast ", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        row(
            "time",
            humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        ),
    ];
    if let Some(address) = bus.repl_address() {
        rows.push(row("console", address.to_string()));
    }
    columns(&rows)
}

fn config(bus: &Bus, part: &str) -> String {
    let rows: Vec<_> = bus
        .settings()
        .iter()
        .filter(|setting| setting.name.contains(part))
        .map(|setting| {
            let given = setting
                .given
                .map(|place| format!("({place})"))
                .unwrap_or_default();
            [setting.name.to_owned(), setting.value.clone(), given]
        })
        .collect();
    or_nothing(columns(&rows), "there is no such option")
}

fn peers(bus: &Bus) -> String {
    let heading = [
        "id",
        "host",
        "address",
        "version",
        "heard",
        "received",
        "repaired",
        "lost",
        "round trip",
    ];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(bus.peers().into_iter().map(|status| {
        let (peer, stats) = (status.peer, status.stats);
        let ago = |time: Duration| format!("{:.1} s ago", time.as_secs_f64());
        let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        [
            peer.id.clone(),
            peer.hostname.clone(),
            peer.address.to_string(),
            status.version,
            ago(status.heard_ago),
            stats.received.to_string(),
            stats.repaired.to_string(),
            stats.lost.to_string(),
            stats.round_trip.map_or_else(|| "-".to_owned(), millis),
        ]
    }));
    match rows.len() {
        1 => "no other bus is there".to_owned(),
        _ => columns(&rows),
    }
}

fn listeners(bus: &Bus, pattern: &Pattern) -> String {
    let rows: Vec<_> = bus
        .listeners()
        .into_iter()
        .filter(|listener| pattern.matches(listener.scope.as_str()))
        .map(|listener| {
            let place = if is_watch(&listener) {
                "a console's `watch`".to_owned()
            } else {
                listener.registered_at.to_string()
            };
            [
                listener.scope.as_str().to_owned(),
                listener.mode.to_string(),
                place,
            ]
        })
        .collect();
    or_nothing(columns(&rows), "nobody listens")
}

/// The listeners that could not decode an event, and why the first of them could not.
fn undecodable(misfits: &[Misfit]) -> String {
    let Some(Misfit { location, error }) = misfits.first() else {
        return String::new();
    };
    let count = misfits.len();
    let others = if misfits.len() > 1 {
        ", and others"
    } else {
        ""
    };
    format!(", {count} more could not decode it: {error} (listens at {location}{others})")
}

/// Whether it is the `watch` of a client, this one or another.
fn is_watch(listener: &ListenerInfo) -> bool {
    listener.registered_at.file() == file!()
}

fn stats(bus: &Bus, part: Option<&str>) -> String {
    let stats = bus.stats();
    let rows: Vec<_> = stats
        .named()
        .filter(|(name, value)| part.map_or(*value > 0, |part| name.contains(part)))
        .map(|(name, value)| [name, value.to_string()])
        .collect();
    or_nothing(columns(&rows), "there is no such statistic")
}

#[cfg(feature = "log")]
fn log(wanted: Option<(Option<Component>, Level)>) -> String {
    let act = || {
        if let Some((component, level)) = wanted {
            for one in Component::ALL {
                if component.is_none_or(|component| component == one) {
                    log::set_level(one, level)?;
                }
            }
        }
        let rows: Result<Vec<_>, LogError> = Component::ALL
            .iter()
            .map(|&component| Ok([component.to_string(), log::level(component)?.to_string()]))
            .collect();
        Ok(columns(&rows?))
    };
    act().unwrap_or_else(|error: LogError| error.to_string())
}

fn or_nothing(text: String, nothing: &str) -> String {
    if text.is_empty() {
        nothing.to_owned()
    } else {
        text
    }
}
