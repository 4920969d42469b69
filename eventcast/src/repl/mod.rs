//! The console of a bus: a place where a person looks at it, watches events, and emits some. With
//! the feature `repl`. The console is turned on by the option `repl` or `repl_port` of the
//! [`Builder`](crate::Builder).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eventcast::Result<()> {
//! use eventcast::Bus;
//!
//! let bus = Bus::builder()
//!     .multicast_interface("127.0.0.1") // on a network, leave this line out
//!     .repl(true)
//!     .start()
//!     .await?;
//! let address = bus.repl_address().expect("it was asked for");
//! println!("telnet {} {}", address.ip(), address.port());
//! # Ok(())
//! # }
//! ```
//!
//! It opens at the first start of the bus, stays open while the bus is stopped, so that the bus can
//! be started again from there, and closes when the last handle of the bus is dropped.
//! `EVENTCAST_REPL=true`, or `EVENTCAST_REPL_PORT=4000`, in the environment of a program turns it
//! on without a change of the code.
//!
//! # Talking to it
//!
//! `telnet 127.0.0.1 4000` or `nc 127.0.0.1 4000`: a line is a command, and what comes back is for
//! a person to read, not for a program; it may change with any version. A last line without a line
//! break is answered, but a command that changes something is not executed: the line may be
//! incomplete. `help` lists the commands:
//!
//! | command | what it does |
//! | --- | --- |
//! | `help [COMMAND]` | the commands, or one of them in full |
//! | `info` | this bus: its id, its group, whether it runs and whether it is sealed |
//! | `config [PART]` | the options, each with its value and where it was set |
//! | `peers` | the other buses on the group |
//! | `listeners [PATTERN]` | the listeners of this program, each with its key or pattern and where it was registered |
//! | `stats [PART]` | the statistics that are not 0 |
//! | `emit KEY [VALUE ...]` | sends an event, and calls the listeners of this program |
//! | `watch [PATTERN]`, `unwatch [PATTERN]` | shows events as they come, from here and from the network |
//! | `notices on`, `notices off` | shows the notices of the bus as they come |
//! | `log [[COMPONENT] LEVEL]` | how much this program logs, and sets it (with the feature `log`) |
//! | `start`, `stop` | starts and stops the bus; the program and the console go on |
//! | `exit` | ends this connection |
//!
//! A value is JSON5 without comments, and a bare word is a text: `emit greeting hello 5`. What BSON
//! has and JSON has not is written and shown as MongoDB's Extended JSON, relaxed: `{$date:
//! "2024-01-02T03:04:05Z"}`.
//!
//! # Who may use it
//!
//! A client can see and send all that the program can. So a console has to be turned on; it listens
//! on 127.0.0.1 unless `repl_host` says otherwise; and where other machines can reach it, a
//! `repl_token` has to be given, which a client sends first. Neither the token nor anything else
//! that is typed is encrypted: across a network, reach the console through `ssh -L`. On this
//! machine every user can connect, unless there is a token.
//!
//! The commands are these and no others; nothing that is typed is run as code or given to a shell.
//! No passphrase and no token is ever shown. What came from the network is shown so that no
//! terminal obeys it: control characters are spelled. A web page cannot use a browser to send
//! commands: a line that ends with a version of HTTP, as the first line of every request does,
//! closes the connection before the line is read as a command, and so does a first byte that
//! nobody types, such as that of TLS. (To send such a text on purpose, write it in quotes.)
//!
//! A wrong token costs time: the third one from an address within a minute is checked after half a
//! second, each further one after twice as long, up to 8 s. The tokens of an address are checked
//! one after the other, over however many connections they come; one that would wait for more than
//! 24 s is refused. Clients from other addresses are served meanwhile.
//!
//! # Bounds
//!
//! A line has at most 65,536 bytes. 32 clients are served at once, those without the right token
//! for at most 30 s, and each watches at most 16 patterns. Where all places are taken, a client
//! that was idle for 10 s is disconnected for a new one, preferably one that watches nothing; where
//! there is none, the new one is refused. Clients without the right token are disconnected before
//! all others, the oldest of the address that has most of them: at once for a client from another
//! address, once they are idle for one of the same address. A client that does not read costs what
//! its watches hold (1,024 events each, and no more bytes than `listener_queue` allows), and sees
//! how many events it missed; the bus does not wait for it. Each client has a thread of its own.

mod client;
mod command;
mod output;
mod server;
mod session;
mod show;
mod telnet;
mod token;
mod value;
mod warnings;

use std::{
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::{server::Server, token::Token};
use crate::{
    Notice, WeakBus,
    bus::{Extension, Options},
    net::open_files_advice,
};

/// The console could not listen, so the bus did not start. Another `repl_port`, or 0 for any that
/// is free, is what helps mostly.
#[derive(Clone)]
pub struct ReplError {
    address: SocketAddr,
    source: Arc<io::Error>,
}

impl ReplError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        Self {
            address,
            source: Arc::new(source),
        }
    }

    /// Where it was to listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for ReplError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, source) = (self.address, &self.source);
        write!(f, "the console cannot listen at {address}: {source}")?;
        match source.kind() {
            ErrorKind::AddrInUse => {
                f.write_str("; choose another `repl_port`, or 0 for any that is free")
            }
            ErrorKind::AddrNotAvailable => {
                f.write_str("; `repl_host` must be an address of this machine")
            }
            ErrorKind::PermissionDenied => f.write_str(
                "; a `repl_port` below 1024 is for privileged programs: choose a higher one",
            ),
            // A socket that is to listen does not say so, but a thread that is to be started does.
            ErrorKind::WouldBlock => f.write_str(
                "; the system gave it no thread: raise the limit of this user's threads (`ulimit -u`), or that of the \
                 service or container (`TasksMax=`, `pids.max`)",
            ),
            _ => match open_files_advice(source) {
                Some(advice) => write!(f, "; {advice}"),
                None => Ok(()),
            },
        }
    }
}

// As that of the error that it becomes a part of.
impl fmt::Debug for ReplError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ReplError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// For the fuzzer: reads bytes as those of a client, and panics where it makes a difference in
/// which pieces they come, where what is shown of a value is not that value, or where a terminal
/// would obey it.
#[cfg(feature = "proto")]
#[doc(hidden)]
pub fn check_input(bytes: &[u8]) {
    use self::{
        command::Command,
        output::Output,
        telnet::{Input, Telnet},
    };
    use crate::text::is_unsafe;

    let read = |size: usize| {
        let mut telnet = Telnet::default();
        let mut inputs = Vec::new();
        for mut piece in bytes.chunks(size) {
            inputs.extend(std::iter::from_fn(|| telnet.read(&mut piece)));
        }
        inputs
    };
    let inputs = read(bytes.len().max(1));
    assert_eq!(inputs, read(1));
    let mut out = Output::default();
    for input in inputs {
        let Input::Line(line) = input else {
            continue;
        };
        match command::parse(&line) {
            Ok(Some(Command::Emit { args, .. })) => {
                let shown = show::shown(&args, usize::MAX);
                let again = value::values(&shown);
                // By their text: one that is not a number is not equal to itself.
                assert_eq!(
                    format!("{again:?}"),
                    format!("{:?}", Ok::<_, String>(args)),
                    "{shown}"
                );
                out.line(shown);
            }
            Ok(command) => out.line(format_args!("{command:?}")),
            Err(mistake) => out.line(mistake),
        }
    }
    let said = String::from_utf8_lossy(out.waiting());
    assert!(
        !said.chars().any(|c| is_unsafe(c) && !"\r\n".contains(c)),
        "{said:?}"
    );
}

/// The console of one bus, whether it has one or not.
#[derive(Default)]
pub(crate) struct Repl {
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// The bus has not been started.
    #[default]
    NotYet,
    Open(Server),
    /// The last handle of the bus was dropped.
    Over,
}

impl Extension for Repl {
    fn address(&self) -> Option<SocketAddr> {
        match &*self.lock() {
            State::Open(server) => Some(server.address),
            State::NotYet | State::Over => None,
        }
    }

    /// Opens it only where the options ask for it.
    fn open(&self, options: &Options, bus: WeakBus) -> crate::Result<Vec<Notice>> {
        let mut state = self.lock();
        if !options.repl || !matches!(*state, State::NotYet) {
            return Ok(Vec::new());
        }
        let (host, port) = (options.repl_host, options.repl_port);
        let token = options.repl_token.as_ref();
        let hashed = token.map(|token| Token::new(token.bytes()));
        let server = Server::open(host, port, hashed, bus)?;
        let address = server.address;
        *state = State::Open(server);
        let warn = |text| Notice::Warning { text };
        let open = (!host.is_loopback()).then(|| {
            warn(format!(
                "the console at {address} can be reached from other machines: a client with the token can do with \
                 this bus all that the program can, and what is typed goes over the network in the clear"
            ))
        });
        let short = token.filter(|token| token.is_short()).map(|_| {
            warn("`repl_token` is short enough to be guessed; use four words or more".to_owned())
        });
        let stray = token.filter(|token| token.has_stray_blanks()).map(|_| {
            warn(
                "`repl_token` begins or ends with a blank, which has to be typed as well: remove it, unless it is meant"
                    .to_owned(),
            )
        });
        let opened = Notice::ConsoleOpened { address };
        let warnings = open.into_iter().chain(short).chain(stray);
        Ok([opened].into_iter().chain(warnings).collect())
    }

    /// Ends it, with all its clients, and for good. Waits for nothing.
    fn close(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Over);
        drop(before);
    }
}

impl Repl {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn what_the_system_lacks_is_said_with_what_to_do() {
        for (errno, advice) in [
            (Errno::EMFILE, "ulimit -n"),
            (Errno::EAGAIN, "ulimit -u"),
            (Errno::EADDRINUSE, "repl_port"),
            (Errno::EADDRNOTAVAIL, "repl_host"),
            (Errno::EACCES, "repl_port"),
        ] {
            let source = io::Error::from_raw_os_error(errno as i32);
            let error = ReplError::new(([127, 0, 0, 1], 4000).into(), source).to_string();
            assert!(error.contains(advice), "{error}");
        }
    }
}
