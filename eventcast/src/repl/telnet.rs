//! From bytes to lines: what a client types, with telnet's own bytes taken out of it.
//!
//! Responsible for the framing of RFC 854 (commands after the byte 255, options refused as its page
//! 2 has it, CR LF and CR NUL), for the bound of a line, and for the few keys that a terminal may
//! send as they are. Clients that are no telnet, such as `nc`, send none of it and are read just
//! the same.
//!
//! Contract: pure. No input panics, and none takes more memory than [`MAX_LINE`].

/// The longest line, in bytes: room for an event with a long list, and nothing that would be typed
/// by hand.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// RFC 854, "TELNET COMMAND STRUCTURE".
mod command {
    pub(super) const SUBNEGOTIATION_END: u8 = 240;
    pub(super) const BREAK: u8 = 243;
    pub(super) const INTERRUPT: u8 = 244;
    pub(super) const ERASE_CHARACTER: u8 = 247;
    pub(super) const ERASE_LINE: u8 = 248;
    pub(super) const SUBNEGOTIATION: u8 = 250;
    pub(super) const WILL: u8 = 251;
    pub(super) const WONT: u8 = 252;
    pub(super) const DO: u8 = 253;
    pub(super) const DONT: u8 = 254;
    pub(super) const ESCAPE: u8 = 255;
}

/// RFC 860: a client that has sent an interrupt throws away what it gets until this is answered.
const TIMING_MARK: u8 = 6;

/// What a terminal in raw mode sends for Ctrl-C, Ctrl-D, and the two keys that erase.
mod key {
    pub(super) const INTERRUPT: u8 = 0x03;
    pub(super) const END: u8 = 0x04;
    pub(super) const BACKSPACE: u8 = 0x08;
    pub(super) const DELETE: u8 = 0x7f;
}

/// What an editor may put before a text, and a terminal around what is pasted (xterm's bracketed
/// paste).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const PASTE: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

/// How much of the end of a line that is too long is kept, to see whether it is one of HTTP.
const KEPT_END: usize = 16;

/// One input of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line, without its end.
    Line(String),
    /// A last line, without a line break.
    Cut(String),
    /// A line of more than [`MAX_LINE`] bytes. It was thrown away.
    TooLong,
    /// A line that is not UTF-8. It was thrown away.
    NotText,
    /// What was typed so far does not count.
    Interrupt,
    /// The client has done.
    End,
    /// The very first byte is one that nobody types, or a line belongs to a request of HTTP: the
    /// client speaks another protocol. Later lines may come from a web page and not from a person.
    Foreign(&'static str),
    /// A telnet option was requested or offered; these bytes refuse it.
    Answer([u8; 3]),
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Data,
    /// After a CR, which may have an LF or a NUL behind it.
    Return,
    /// After the byte 255.
    Command,
    /// After a command that has an option behind it.
    Option(u8),
    Subnegotiation,
    /// After the byte 255 within a subnegotiation.
    SubnegotiationCommand,
}

/// The reader of one connection.
#[derive(Debug, Default)]
pub(super) struct Telnet {
    line: Vec<u8>,
    /// The line has grown too long: the rest of it is thrown away as it comes.
    overlong: bool,
    /// The end of an overlong line.
    end: Vec<u8>,
    state: State,
    /// The first byte has come.
    begun: bool,
}

impl Telnet {
    /// Reads on, and leaves in `bytes` what comes behind what it gives back. `None`: all was read,
    /// and nothing is complete.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Option<Input> {
        loop {
            if matches!(self.state, State::Data) {
                self.begun |= bytes.first().is_some_and(|&byte| is_plain(byte));
                let plain = bytes.iter().take_while(|&&byte| is_plain(byte)).count();
                let (plain, rest) = bytes.split_at(plain);
                self.push(plain);
                *bytes = rest;
            }
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if !std::mem::replace(&mut self.begun, true) && is_foreign(byte) {
                return Some(Input::Foreign("no text, but TLS or the like"));
            }
            let input = self.take(byte);
            if input.is_some() {
                return input;
            }
        }
    }

    /// The unfinished line, when the client closes its side.
    pub(super) fn finish(&mut self) -> Option<Input> {
        let begun = self.overlong || !self.line.is_empty();
        begun.then(|| match self.end_line() {
            Input::Line(line) => Input::Cut(line),
            other => other,
        })
    }

    fn take(&mut self, byte: u8) -> Option<Input> {
        match std::mem::take(&mut self.state) {
            State::Return if matches!(byte, b'\n' | 0) => None,
            State::Data | State::Return => self.take_data(byte),
            State::Command => self.take_command(byte),
            State::Option(asked) => refusal(asked, byte).map(Input::Answer),
            State::Subnegotiation => {
                self.state = match byte {
                    command::ESCAPE => State::SubnegotiationCommand,
                    _ => State::Subnegotiation,
                };
                None
            }
            State::SubnegotiationCommand => {
                if byte != command::SUBNEGOTIATION_END {
                    self.state = State::Subnegotiation;
                }
                None
            }
        }
    }

    fn take_data(&mut self, byte: u8) -> Option<Input> {
        match byte {
            command::ESCAPE => self.state = State::Command,
            b'\n' => return Some(self.end_line()),
            b'\r' => {
                self.state = State::Return;
                return Some(self.end_line());
            }
            key::INTERRUPT => return Some(self.interrupt()),
            key::END if self.line.is_empty() && !self.overlong => return Some(Input::End),
            key::BACKSPACE | key::DELETE => self.erase_character(),
            // RFC 854, page 11: it does nothing.
            0 => {}
            b'~' => {
                self.push(&[byte]);
                for mark in PASTE {
                    if !self.overlong && self.line.ends_with(mark) {
                        self.line.truncate(self.line.len() - mark.len());
                    }
                }
            }
            _ => self.push(&[byte]),
        }
        None
    }

    fn take_command(&mut self, byte: u8) -> Option<Input> {
        match byte {
            command::ESCAPE => self.push(&[byte]),
            command::WILL | command::WONT | command::DO | command::DONT => {
                self.state = State::Option(byte);
            }
            command::SUBNEGOTIATION => self.state = State::Subnegotiation,
            command::INTERRUPT | command::BREAK => return Some(self.interrupt()),
            command::ERASE_CHARACTER => self.erase_character(),
            command::ERASE_LINE => self.clear(),
            _ => {}
        }
        None
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.overlong |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.overlong {
            let last = bytes.len().saturating_sub(KEPT_END);
            self.end.extend_from_slice(&bytes[last..]);
            let surplus = self.end.len().saturating_sub(KEPT_END);
            self.end.drain(..surplus);
        }
    }

    fn end_line(&mut self) -> Input {
        let overlong = std::mem::take(&mut self.overlong);
        let mut line = std::mem::take(&mut self.line);
        if line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let end = std::mem::take(&mut self.end);
        if is_http(&line) || overlong && is_http(&end) {
            return Input::Foreign("HTTP");
        }
        if overlong {
            return Input::TooLong;
        }
        String::from_utf8(line).map_or(Input::NotText, Input::Line)
    }

    fn interrupt(&mut self) -> Input {
        self.clear();
        Input::Interrupt
    }

    fn erase_character(&mut self) {
        let is_continuation = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
        while self.line.pop().is_some_and(is_continuation) {}
    }

    fn clear(&mut self) {
        self.line = Vec::new();
        self.end = Vec::new();
        self.overlong = false;
    }
}

/// Whether a byte means nothing but itself.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != key::DELETE && byte != command::ESCAPE && byte != b'~'
}

/// Whether a line belongs to a request that a browser sends. A web page can make a browser connect
/// to this machine, with a method, a path and lines of its own choosing; by a host name that
/// resolves to this machine's address it may even send arbitrary bodies. But it cannot leave out
/// the end of the first line (RFC 9112, section 3), nor the host. A person who means that text
/// writes it in quotes.
fn is_http(line: &[u8]) -> bool {
    let is_version = |word: &[u8]| {
        word.strip_prefix(b"HTTP/").is_some_and(|version| {
            !version.is_empty() && version.iter().all(|c| c.is_ascii_digit() || *c == b'.')
        })
    };
    let is_host = |start: &[u8]| start.eq_ignore_ascii_case(b"host:");
    let last = line
        .trim_ascii_end()
        .rsplit(|c| *c == b' ' || *c == b'\t')
        .next();
    last.is_some_and(is_version) || line.get(..5).is_some_and(is_host)
}

/// Whether no client of a person begins with this byte. A page on the web can make a browser
/// connect to this machine and bring along bytes that it has chosen, in a request of TLS (which
/// begins with 22: RFC 8446, section 5.1) for a session that its own server gave out, or of STUN
/// (with 0, 1 or 2: RFC 8489, section 5, and RFC 4571, section 2).
fn is_foreign(byte: u8) -> bool {
    const ESCAPE: u8 = 0x1b;
    byte < b' '
        && !b"\t\r\n".contains(&byte)
        && ![key::INTERRUPT, key::END, key::BACKSPACE, ESCAPE].contains(&byte)
}

/// The answer to a client that requests or offers an option: no, except for a timing mark. The end
/// of an option needs no answer, and answering it could go on for ever (RFC 854, page 3).
fn refusal(asked: u8, option: u8) -> Option<[u8; 3]> {
    let answer = match asked {
        command::DO if option == TIMING_MARK => command::WILL,
        command::DO => command::WONT,
        command::WILL => command::DONT,
        _ => return None,
    };
    Some([command::ESCAPE, answer, option])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(mut bytes: &[u8]) -> Vec<Input> {
        let mut telnet = Telnet::default();
        std::iter::from_fn(|| telnet.read(&mut bytes)).collect()
    }

    /// Read in pieces of one byte.
    fn read_slowly(bytes: &[u8]) -> Vec<Input> {
        let mut telnet = Telnet::default();
        let pieces = bytes.chunks(1);
        pieces
            .filter_map(|mut piece| telnet.read(&mut piece))
            .collect()
    }

    fn line(text: &str) -> Input {
        Input::Line(text.to_owned())
    }

    #[test]
    fn every_end_of_a_line_is_one() {
        for bytes in [
            &b"help\r\nhelp\r\n"[..],
            b"help\nhelp\n",
            b"help\r\0help\r\0",
            b"help\rhelp\r",
        ] {
            assert_eq!(read_all(bytes), [line("help"), line("help")], "{bytes:?}");
            assert_eq!(read_slowly(bytes), read_all(bytes), "{bytes:?}");
        }
        assert_eq!(
            read_all(b"\n\r\n\r\r\n"),
            [line(""), line(""), line(""), line("")]
        );
        // What is cut off is no line.
        assert_eq!(read_all(b"help"), []);
    }

    #[test]
    fn negotiations_are_taken_out_and_refused() {
        let bytes = b"\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0help\r\n";
        let expected = [
            Input::Answer([255, 252, 1]),
            Input::Answer([255, 254, 31]),
            line("help"),
        ];
        assert_eq!(read_all(bytes), expected);
        assert_eq!(read_slowly(bytes), expected);
        // No answer to an answer, and a 255 within a subnegotiation does not end it.
        assert_eq!(read_all(b"he\xff\xfc\x01l\xff\xfe\x01p\n"), [line("help")]);
        assert_eq!(
            read_all(b"\xff\xfa\x1f\xff\xff\xf0\xff\xf0help\n"),
            [line("help")]
        );
    }

    #[test]
    fn an_interrupt_clears_the_line_and_its_mark_is_answered() {
        assert_eq!(
            read_all(b"emit x\xff\xf4\xff\xfd\x06help\r\n"),
            [Input::Interrupt, Input::Answer([255, 251, 6]), line("help")]
        );
        assert_eq!(
            read_all(b"emit\x03help\n"),
            [Input::Interrupt, line("help")]
        );
    }

    #[test]
    fn keys_that_erase() {
        assert_eq!(
            read_all("hellö\x7fp\x08\x08\x08lp\n".as_bytes()),
            [line("help")]
        );
        assert_eq!(read_all(b"x\xff\xf7help\n"), [line("help")]);
        assert_eq!(read_all(b"all of it\xff\xf8help\n"), [line("help")]);
        assert_eq!(read_all(b"\x7f\x7fa\n"), [line("a")]);
        assert_eq!(read_all(b"x\x04\n\x04"), [line("x\u{4}"), Input::End]);
    }

    #[test]
    fn what_begins_as_nobody_types_is_foreign() {
        for byte in [0, 1, 2, 22] {
            let foreign = Input::Foreign("no text, but TLS or the like");
            let all = read_all(&[byte, b'a', b'\n']);
            assert_eq!(all, [foreign.clone(), line("a")]);
            assert_eq!(read_slowly(&[byte]), std::slice::from_ref(&foreign));
            assert_ne!(read_all(&[b'a', byte, b'\n'])[0], foreign);
        }
        for byte in (b' '..=255).chain(*b"\t\r\n\x03\x04\x08\x1b") {
            assert!(
                read_all(&[byte])
                    .iter()
                    .all(|input| !matches!(input, Input::Foreign(_))),
                "{byte}"
            );
        }
    }

    #[test]
    fn a_line_of_http_is_foreign_whatever_its_method() {
        let foreign = Input::Foreign("HTTP");
        let long = format!("emit /{} HTTP/1.1\r\n", "x".repeat(2 * MAX_LINE));
        for request in [
            "GET / HTTP/1.1\r\n",
            "emit /x HTTP/1.1\r\n",
            "stop HTTP/1.0\n",
            "emit x HTTP/2 \n",
            "emit\t/x\tHTTP/1.1\n",
            "PRI * HTTP/2.0\r\n",
            "Host: 127.0.0.1\r\n",
            "hOST:a\n",
            "\u{feff}emit /x HTTP/1.1\n",
            "\u{1b}[200~emit /x HTTP/1.1\u{1b}[201~\n",
            &long,
        ] {
            assert_eq!(
                read_all(request.as_bytes()),
                std::slice::from_ref(&foreign),
                "{request:.40}"
            );
            assert_eq!(
                read_slowly(request.as_bytes()),
                std::slice::from_ref(&foreign),
                "{request:.40}"
            );
        }
        assert_eq!(
            read_all(b"emit /\xff\xff HTTP/1.1\n"),
            std::slice::from_ref(&foreign)
        );
        let mut telnet = Telnet::default();
        assert_eq!(telnet.read(&mut &b"emit /x HTTP/1.1"[..]), None);
        assert_eq!(telnet.finish(), Some(foreign));
        for said in [
            "emit x \"HTTP/1.1\"",
            "emit x HTTP/",
            "emit x HTTP/x",
            "emit HTTP/1.1 x",
            "hosts",
        ] {
            assert_eq!(read_all(format!("{said}\n").as_bytes()), [line(said)]);
        }
    }

    #[test]
    fn marks_of_editors_and_terminals_are_taken_out() {
        for bytes in [
            &b"\xef\xbb\xbfhelp\n"[..],
            b"\x1b[200~help\x1b[201~\n",
            b"he\x1b[200~lp\n",
            b"\xef\xbb\xbf\x1b[200~help\n\x1b[201~help\n",
            b"help\x1b[201~x\x7f\n",
        ] {
            for inputs in [read_all(bytes), read_slowly(bytes)] {
                assert!(!inputs.is_empty());
                assert!(
                    inputs.iter().all(|input| *input == line("help")),
                    "{inputs:?}"
                );
            }
        }
        assert_eq!(read_all(b"emit ~ a~b\n"), [line("emit ~ a~b")]);
    }

    #[test]
    fn a_line_without_an_end_is_given_when_all_is_said() {
        let mut telnet = Telnet::default();
        assert_eq!(telnet.read(&mut &b"help\ninfo"[..]), Some(line("help")));
        assert_eq!(telnet.read(&mut &b"info"[..]), None);
        assert_eq!(telnet.finish(), Some(Input::Cut("info".to_owned())));
        assert_eq!(telnet.finish(), None);
        assert_eq!(telnet.read(&mut &b"info\r"[..]), Some(line("info")));
        assert_eq!(telnet.finish(), None);
        let much = vec![b'a'; MAX_LINE + 1];
        assert_eq!(telnet.read(&mut &much[..]), None);
        assert_eq!(telnet.finish(), Some(Input::TooLong));
    }

    #[test]
    fn what_is_not_utf8_is_no_line() {
        assert_eq!(
            read_all(b"emit x \"\xff\xff\"\nhelp\n"),
            [Input::NotText, line("help")]
        );
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut telnet = Telnet::default();
        let much = vec![b'a'; 1 << 20];
        for _ in 0..8 {
            assert_eq!(telnet.read(&mut &much[..]), None);
            assert!(telnet.line.capacity() <= 2 * MAX_LINE);
        }
        let mut rest = &b"\nhelp\n"[..];
        assert_eq!(telnet.read(&mut rest), Some(Input::TooLong));
        assert_eq!(telnet.read(&mut rest), Some(line("help")));

        let mut longest = vec![b'a'; MAX_LINE];
        longest.push(b'\n');
        assert_eq!(read_all(&longest).len(), 1);
        assert!(matches!(&read_all(&longest)[0], Input::Line(line) if line.len() == MAX_LINE));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(255), 240..=255u8, Just(b'\r'), Just(b'\n'), Just(b'~'), Just(0x1b)],
            0..64,
        )) {
            prop_assert_eq!(read_all(&bytes), read_slowly(&bytes));
        }
    }
}
