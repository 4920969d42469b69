//! A client of a bus's console: types lines, and reads what comes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use socket2::{Domain, Socket, Type};

use crate::wait::PATIENCE;

/// What stands where a line may be typed.
pub const PROMPT: &str = "> ";

/// A connection to a console.
#[derive(Debug)]
pub struct Console {
    /// The socket, for what is no line.
    pub stream: TcpStream,
    /// What came; up to `taken` it was asked for already.
    came: Vec<u8>,
    taken: usize,
}

impl Console {
    /// Connects, and reads nothing yet.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        Self::of(stream.expect("the console listens"))
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self {
            stream,
            came: Vec::new(),
            taken: 0,
        }
    }

    /// Connects from this address, and reads nothing yet.
    #[track_caller]
    pub fn connect_from(from: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there is a socket");
        let from = SocketAddr::from((from, 0));
        socket.bind(&from.into()).expect("it is this machine's");
        let connected = socket.connect_timeout(&address.into(), PATIENCE);
        connected.expect("the console listens");
        Self::of(socket.into())
    }

    /// Connects, and reads up to the first prompt.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        let mut console = Self::connect(address);
        console.until(PROMPT);
        console
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the console reads");
    }

    /// Types a line, and gives the answer up to the next prompt.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        let answer = self.until(PROMPT);
        answer
            .strip_suffix(PROMPT)
            .expect("read up to it")
            .to_owned()
    }

    /// Reads until this has come, and gives all up to and with it.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let mut looked_at = 0;
        loop {
            let rest = &self.came[self.taken + looked_at..];
            let found = rest
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(at) = found {
                return self.take(self.taken + looked_at + at + text.len());
            }
            looked_at = (looked_at + rest.len() + 1).saturating_sub(text.len());
            assert!(self.read(), "{text:?} did not come, but {:?}", self.shown());
        }
    }

    /// Gives what came up to `end` and was not given before.
    fn take(&mut self, end: usize) -> String {
        let bytes = self.came[self.taken..end].to_vec();
        self.taken = end;
        if self.taken == self.came.len() {
            self.came.clear();
            self.taken = 0;
        }
        String::from_utf8(bytes).expect("a console speaks UTF-8")
    }

    /// Reads until the console ends the connection, and gives all that came.
    #[track_caller]
    pub fn to_end(&mut self) -> String {
        while self.read() {}
        self.take(self.came.len())
    }

    /// False at the end of the connection.
    #[track_caller]
    fn read(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        if self.taken > buffer.len() {
            self.came.drain(..self.taken);
            self.taken = 0;
        }
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.came.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing more came ({error}) after {:?}", self.shown()),
        }
    }

    /// The end of what came.
    fn shown(&self) -> String {
        const SHOWN: usize = 1_000;
        let from = self.came.len().saturating_sub(SHOWN).max(self.taken);
        String::from_utf8_lossy(&self.came[from..]).into_owned()
    }
}
