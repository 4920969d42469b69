//! What goes to a client: lines and prompts, with nothing in them that a terminal would obey.

use std::fmt::{self, Write as _};

/// Bytes that wait to be sent. Whoever adds to them stops at [`HIGH_WATER`](Self::HIGH_WATER).
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// A prompt is the last that was said.
    prompted: bool,
}

impl Output {
    /// When so many bytes wait, no more are added: a client that does not read is not read from either.
    pub(super) const HIGH_WATER: usize = 64 * 1024;

    /// Adds one line, or as many as `text` has.
    pub(super) fn line(&mut self, text: impl fmt::Display) {
        if std::mem::take(&mut self.prompted) {
            // What comes by itself takes the place of the prompt, which follows anew.
            self.bytes.push(b'\r');
        }
        // Writing to memory does not fail.
        let _ = write!(Lines(&mut self.bytes), "{text}");
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds a line that is empty.
    pub(super) fn gap(&mut self) {
        self.line("");
    }

    /// Adds a prompt, unless one is there: what is answered in its own line.
    pub(super) fn ask(&mut self, prompt: &str) {
        if !self.prompted {
            self.bytes.extend_from_slice(prompt.as_bytes());
            self.prompted = true;
        }
    }

    /// The person has answered the prompt: their line break has ended its line.
    pub(super) fn answered(&mut self) {
        self.prompted = false;
    }

    /// Adds bytes of telnet's own.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no more is to be added before some of it has been sent.
    pub(super) fn is_high(&self) -> bool {
        self.waiting().len() >= Self::HIGH_WATER
    }

    /// What is to be sent.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So much of it has been sent.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            self.bytes.shrink_to(Self::HIGH_WATER);
        }
    }
}

/// Turns line breaks into those of telnet, and what a terminal would obey into something to read.
struct Lines<'a>(&'a mut Vec<u8>);

impl fmt::Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((plain, c, behind)) = split_at_first(rest, is_unsafe) {
            self.0.extend_from_slice(plain.as_bytes());
            match c {
                '\n' => self.0.extend_from_slice(b"\r\n"),
                _ => self.0.extend(c.escape_unicode().map(|c| c as u8)),
            }
            rest = behind;
        }
        self.0.extend_from_slice(rest.as_bytes());
        Ok(())
    }
}

/// Whether a terminal might do something else with a character than show it: control characters, and those that turn
/// the direction of what follows. Event names, arguments and host names come from the network.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What stands before the first character of a kind, that character, and what stands behind it.
pub(super) fn split_at_first(
    text: &str,
    is_meant: impl Fn(char) -> bool,
) -> Option<(&str, char, &str)> {
    let (at, c) = text.char_indices().find(|&(_, c)| is_meant(c))?;
    Some((&text[..at], c, &text[at + c.len_utf8()..]))
}

/// Rows as columns: each as wide as its widest entry, two blanks between them. The last is as long as it is.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, entry) in widths.iter_mut().zip(row) {
            *width = entry.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (entry, width) in row.iter().zip(widths) {
            let _ = write!(line, "{entry:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_obey() {
        let mut out = Output::default();
        out.line("a\nb \u{1b}[2J \u{7} \u{9b}1m \u{202e}x\rä");
        let text = String::from_utf8(out.waiting().to_vec()).unwrap();
        let expected = "a\r\nb \\u{1b}[2J \\u{7} \\u{9b}1m \\u{202e}x\\u{d}ä\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_prompt_gives_way_to_what_comes_by_itself() {
        let mut out = Output::default();
        out.ask("> ");
        out.ask("> ");
        out.answered();
        out.line("answer");
        out.ask("> ");
        out.line("event");
        out.line("event");
        out.ask("> ");
        let text = String::from_utf8(out.waiting().to_vec()).unwrap();
        assert_eq!(text, "> answer\r\n> \revent\r\nevent\r\n> ");
    }

    #[test]
    fn what_was_sent_is_gone() {
        let mut out = Output::default();
        out.line("x".repeat(Output::HIGH_WATER));
        assert!(out.is_high());
        out.advance(10);
        assert_eq!(out.waiting().len(), Output::HIGH_WATER + 2 - 10);
        out.advance(Output::HIGH_WATER + 2 - 10);
        assert!(out.waiting().is_empty() && !out.is_high());
        out.line("next");
        assert_eq!(out.waiting(), b"next\r\n");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["a", "bb", ""], ["äää", "b", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a    bb\näää  b   c");
        assert_eq!(columns::<2>(&[]), "");
    }
}
