//! The thread of one client: its socket, and what it waits for.
//!
//! Each client has a thread of its own, because a command may call listeners of the program, and a
//! listener that hangs must not block the other clients. A client costs at most one line,
//! [`Output::HIGH_WATER`] bytes and what its watches hold: while it does not read, nothing is read
//! from it either.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, net::TcpStream};

use super::{
    output::Output,
    session::{Flow, Session},
    telnet::{Input, Telnet},
    token::LONGEST_WAIT,
};

/// How long a client may take to say the token.
const LOGIN_TIME: Duration = Duration::from_secs(30);

/// How long a client that sent a wrong token waits for the answer, so that trying many takes long.
const BARRED_TIME: Duration = Duration::from_secs(1);

/// A client that was idle for so long gives up its place where there is no other for a new client.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(10);

/// How long what is left is tried to be sent when a connection ends.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// For how long events are gathered before they are shown: no person reads faster, and a wake-up
/// and a packet for each event would take the processor from the program's own work.
const GATHER: Duration = Duration::from_millis(2);

const STREAM: mio::Token = mio::Token(0);
const BELL: mio::Token = mio::Token(1);

/// Wakes the thread of a client, for something to say or to end.
pub(super) struct Bell {
    waker: mio::Waker,
    rung: AtomicBool,
    closing: AtomicBool,
    /// Another client gets the place.
    displaced: AtomicBool,
    /// It carries something out, which may take as long as the program's listeners do.
    busy: AtomicBool,
    watching: AtomicBool,
    /// It has not sent the right token yet.
    locked: AtomicBool,
    /// The owner of its address.
    whose: IpAddr,
    /// When the client last sent something, in milliseconds since `created`.
    heard: AtomicU64,
    created: Instant,
}

impl Bell {
    /// Ends the connection soon.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.ring();
    }

    /// Ends the connection soon, for another client.
    pub(super) fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
        self.close();
    }

    /// The owner of the client's address, where it has not sent the right token.
    pub(super) fn locked(&self) -> Option<IpAddr> {
        self.locked.load(Ordering::Relaxed).then_some(self.whose)
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.displaced.load(Ordering::Acquire)
    }

    /// For how long the client has been idle, and whether it is shown something. `None`: a command
    /// of it is under way.
    pub(super) fn idle(&self) -> Option<(bool, Duration)> {
        if self.busy.load(Ordering::Acquire) {
            return None;
        }
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        let idle = self.created.elapsed().saturating_sub(heard);
        Some((self.watching.load(Ordering::Relaxed), idle))
    }

    fn hear(&self) {
        let now = self.created.elapsed().as_millis();
        self.heard
            .store(now.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails where the poll was dropped, and the thread with it.
            let _ = self.waker.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

pub(super) struct Client {
    poll: mio::Poll,
    stream: TcpStream,
    bell: Arc<Bell>,
    session: Session,
    telnet: Telnet,
    out: Output,
    /// What was read and not looked at yet is `input[range]`.
    input: Box<[u8; 4096]>,
    unread: std::ops::Range<usize>,
    /// The socket may have more to read.
    readable: bool,
    /// The client closed its side.
    ended: bool,
    /// When a client without the right token is disconnected.
    login_ends: Instant,
}

impl Client {
    pub(super) fn new(mut stream: TcpStream, session: Session) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let interests = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, STREAM, interests)?;
        let bell = Arc::new(Bell {
            waker: mio::Waker::new(poll.registry(), BELL)?,
            rung: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            watching: AtomicBool::new(false),
            locked: AtomicBool::new(session.is_locked()),
            whose: session.whose(),
            heard: AtomicU64::new(0),
            created: Instant::now(),
        });
        Ok(Self {
            poll,
            stream,
            bell,
            session,
            telnet: Telnet::default(),
            out: Output::default(),
            input: Box::new([0; 4096]),
            unread: 0..0,
            readable: true,
            ended: false,
            login_ends: Instant::now() + LOGIN_TIME,
        })
    }

    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Serves the client until it leaves, or the bus is dropped.
    pub(super) fn run(mut self) {
        self.session.greet(&mut self.out);
        // Where the connection is broken the message cannot reach the client.
        let last = self.serve().unwrap_or(Flow::Close);
        if self.session.is_forked() {
            // The connection is the parent's.
            return;
        }
        if let Flow::Barred | Flow::Crowded = last {
            self.pause(BARRED_TIME);
        }
        match last {
            Flow::Barred => self.out.line("wrong token"),
            Flow::Crowded => self.out.line(format_args!(
                "the token was not checked: too many come from your address; try again in {} s",
                LONGEST_WAIT.as_secs()
            )),
            Flow::Go | Flow::Weigh(_) | Flow::Close => {}
        }
        if self.bell.is_displaced() && self.session.is_locked() {
            // There may be many of these: none stays to see whether the client reads it.
            self.out.line("closed: other clients wait for a place");
            let _ = self.send();
            return;
        }
        if self.bell.is_displaced() {
            self.out.line(format_args!(
                "closed: no command came for {} s, and other clients wait for a place",
                IDLE_TIME.as_secs()
            ));
        } else if self.is_closing() {
            self.out.line("the bus has gone");
        }
        let _ = self.farewell();
    }

    fn serve(&mut self) -> io::Result<Flow> {
        let waker = Waker::from(self.bell());
        let mut cx = Context::from_waker(&waker);
        let mut events = Events::with_capacity(4);
        loop {
            // A swap, so that all writes before the last notification are visible from here on:
            // that notification may have been merged with an earlier one.
            self.bell.rung.swap(false, Ordering::AcqRel);
            let flow = self.advance(&mut cx)?;
            if flow != Flow::Go {
                return Ok(flow);
            }
            let patience = if self.session.is_locked() {
                let left = self.login_time();
                if left.is_zero() {
                    return Ok(Flow::Close);
                }
                Some(left)
            } else {
                None
            };
            self.wait(&mut events, patience)?;
            if events.iter().any(|event| event.token() == BELL) {
                thread::sleep(GATHER);
            }
        }
    }

    /// Does what can be done without waiting. The socket or the waker reports when there is more.
    fn advance(&mut self, cx: &mut Context<'_>) -> io::Result<Flow> {
        loop {
            let idle = loop {
                if self.out.is_high() {
                    break false;
                }
                match self.step(cx)? {
                    Some(Flow::Go) => {}
                    Some(last) => return Ok(last),
                    None => break true,
                }
            };
            if idle {
                self.session.prompt(&mut self.out);
            }
            let sent = self.send()?;
            if idle || !sent {
                return Ok(Flow::Go);
            }
        }
    }

    /// Handles one input of the client, or one output for it. `None`: there is neither.
    fn step(&mut self, cx: &mut Context<'_>) -> io::Result<Option<Flow>> {
        // Looked at each time: a client that never stops sending is never waited for.
        let is_late = self.session.is_locked() && self.login_time().is_zero();
        if is_late || self.is_closing() {
            return Ok(Some(Flow::Close));
        }
        if !self.session.is_busy() {
            let mut unread = &self.input[self.unread.clone()];
            let input = self.telnet.read(&mut unread);
            self.unread.start = self.unread.end - unread.len();
            if let Some(input) = input {
                return Ok(Some(self.take(input)));
            }
            if self.readable && !self.ended {
                self.ended = !self.receive()?;
                return Ok(Some(Flow::Go));
            }
            if self.ended {
                // A last line without a line break is answered as well.
                let last = self.telnet.finish();
                return Ok(Some(last.map_or(Flow::Close, |input| self.take(input))));
            }
        }
        Ok(match self.session.poll(cx, &mut self.out) {
            Poll::Ready(flow) => Some(flow),
            Poll::Pending => None,
        })
    }

    /// Carries out a command of the client.
    fn take(&mut self, input: Input) -> Flow {
        self.bell.hear();
        self.bell.busy.store(true, Ordering::Release);
        let mut flow = self.session.handle(input, &mut self.out);
        if self.session.is_forked() {
            return Flow::Close;
        }
        if let Flow::Weigh(delay) = flow {
            self.pause(delay);
            // One that has to go learns nothing before its time.
            flow = match self.is_closing() {
                true => Flow::Close,
                false => self.session.weigh(&mut self.out),
            };
            let is_locked = self.session.is_locked();
            self.bell.locked.store(is_locked, Ordering::Relaxed);
        }
        self.bell
            .watching
            .store(self.session.is_watching(), Ordering::Relaxed);
        self.bell.hear();
        self.bell.busy.store(false, Ordering::Release);
        if flow == Flow::Go {
            self.session.prompt(&mut self.out);
        }
        flow
    }

    /// Reads once from the socket; false at the end of the client's input.
    fn receive(&mut self) -> io::Result<bool> {
        match self.stream.read(&mut self.input[..]) {
            Ok(0) => return Ok(false),
            Ok(length) => self.unread = 0..length,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => self.readable = false,
                ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
        Ok(true)
    }

    /// Sends what waits; false where some of it has to wait on.
    fn send(&mut self) -> io::Result<bool> {
        while !self.out.waiting().is_empty() {
            match self.stream.write(self.out.waiting()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => self.out.advance(sent),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(false),
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }

    /// Sends what is left, and waits until the client has taken it: a socket that is closed while
    /// something waits to be read from it takes back what was sent last.
    fn farewell(&mut self) -> io::Result<()> {
        let end = Instant::now() + FAREWELL_TIME;
        let mut events = Events::with_capacity(4);
        let mut is_sent = self.send()?;
        if is_sent {
            self.stream.shutdown(Shutdown::Write)?;
        }
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.readable = true;
            while self.readable && Instant::now() < end {
                if !self.receive()? {
                    return Ok(());
                }
            }
            self.wait(&mut events, Some(left))?;
            if !is_sent {
                is_sent = self.send()?;
                if is_sent {
                    self.stream.shutdown(Shutdown::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Lets time pass, unless the bus goes.
    fn pause(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut events = Events::with_capacity(4);
        while let Some(left) = end.checked_duration_since(Instant::now())
            && !self.is_closing()
        {
            if self.wait(&mut events, Some(left)).is_err() {
                return;
            }
        }
    }

    /// Waits until the socket or the waker reports something.
    fn wait(&mut self, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut events = events.iter();
        self.readable |= events.any(|event| event.token() == STREAM && event.is_readable());
        Ok(())
    }

    /// How long the client may still take to say the token.
    fn login_time(&self) -> Duration {
        self.login_ends.saturating_duration_since(Instant::now())
    }

    fn is_closing(&self) -> bool {
        self.bell.closing.load(Ordering::Acquire)
    }
}

/// Sends the reason, and ends.
pub(super) fn turn_away(mut stream: TcpStream, why: &str) {
    let _ = stream.write(format!("{why}\r\n").as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::net;

    use super::{
        super::{token::Token, warnings::Warnings},
        *,
    };
    use crate::Bus;

    #[test]
    fn who_floods_has_no_longer_to_log_in() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut flood = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, from) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let bus = Bus::builder().environment(false).build().unwrap();
        let token = Some(Arc::new(Token::new(b"alpha bravo")));
        let warnings = Arc::new(Warnings::new(bus.downgrade()));
        let session = Session::new(bus.downgrade(), token, Arc::default(), from, warnings);
        let mut client = Client::new(TcpStream::from_std(stream), session).unwrap();
        client.login_ends = Instant::now() + Duration::from_millis(100);
        let served = thread::spawn(|| client.run());

        let end = Instant::now() + Duration::from_secs(15);
        while flood.write_all(&[b'a'; 65_536]).is_ok() {
            assert!(Instant::now() < end, "it is still served");
        }
        served.join().unwrap();
    }
}
