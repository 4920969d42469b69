//! What goes to a client: lines and prompts, with nothing in them that a terminal would obey.

use std::fmt::{self, Write as _};

use crate::text::printable;

/// Bytes that wait to be sent. Callers stop adding at [`HIGH_WATER`](Self::HIGH_WATER).
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// The last output was a prompt.
    prompted: bool,
}

impl Output {
    /// When so many bytes wait, no more are added: a client that does not read is not read from
    /// either.
    pub(super) const HIGH_WATER: usize = 64 * 1024;

    /// Adds one line, whatever its text is: a line break in a host name makes no second one.
    pub(super) fn line(&mut self, text: impl fmt::Display) {
        if std::mem::take(&mut self.prompted) {
            // Output that was not requested replaces the prompt, which follows again.
            self.bytes.push(b'\r');
        }
        self.bytes
            .extend_from_slice(printable(&text.to_string()).to_string().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds as many lines as `text` has. Its line breaks are the console's own.
    pub(super) fn lines(&mut self, text: &str) {
        for line in text.split('\n') {
            self.line(line);
        }
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
        } else if self.sent >= Self::HIGH_WATER {
            // A client that is always a little behind never has taken all of it.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// Formats rows as columns: each as wide as its widest entry, two blanks between them. The last
/// column is not padded. Each row is one line, whatever its texts are.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    /// What is longer moves what follows in its own row alone.
    const WIDEST: usize = 64;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row.each_ref().map(|entry| printable(entry).to_string()))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, entry) in widths.iter_mut().zip(row) {
            *width = entry.chars().count().clamp(*width, WIDEST);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (entry, width) in row.iter().zip(widths) {
            // Writing to memory does not fail.
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
        out.line("a\nb \u{1b}[2J \u{7} \u{9b}1m \u{202e}x\u{61c}\rä");
        out.lines(&columns(&[["a\nb", "c"].map(str::to_owned)]));
        out.lines("a\n\u{7}b");
        let text = String::from_utf8(out.waiting().to_vec()).unwrap();
        let expected = "a\\u{a}b \\u{1b}[2J \\u{7} \\u{9b}1m \\u{202e}x\\u{61c}\\u{d}ä\r\n\
                        a\\u{a}b  c\r\n\
                        a\r\n\\u{7}b\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_client_that_is_always_behind_costs_no_more() {
        let mut out = Output::default();
        for _ in 0..100 {
            while !out.is_high() {
                out.line("x".repeat(1_000));
            }
            out.advance(10_000);
            assert!(out.bytes.len() < 3 * Output::HIGH_WATER);
        }
        out.line("last");
        assert!(out.waiting().ends_with(b"x\r\nlast\r\n"));
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
        let long = "x".repeat(70_000);
        let rows = [["a", "b"], [&long, "c"]].map(|row| row.map(str::to_owned));
        let expected = format!("a{}  b\n{long}  c", " ".repeat(63));
        assert!(columns(&rows) == expected, "the wide row widens the other");
    }
}
