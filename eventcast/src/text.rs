//! Texts that come from elsewhere, as a line that no terminal and no log reads as anything but
//! text.
//!
//! Ids, host names, event keys, field names and values come from the network, and whoever sends
//! them chooses their characters. Everything that eventcast displays or logs of them passes here.

use std::fmt::{self, Write};

/// A text of the network, fit to be printed: on one line, and with nothing in it that a terminal
/// would obey.
///
/// Control characters (line breaks and escapes among them), characters that turn the direction of
/// text, and format characters that cannot be seen come out as `\u{…}`; everything else as it is.
/// What eventcast itself displays ([`Notice`](crate::Notice), [`Origin`](crate::Origin),
/// [`Peer`](crate::Peer), errors) is spelled like this already; this is for what a program prints
/// of an event, or of [`Origin::hostname`](crate::Origin::hostname).
///
/// ```
/// use eventcast::printable;
///
/// let name = "Ada\nERROR disk on fire\u{1b}[2J"; // as it came
/// assert_eq!(printable(name).to_string(), r"Ada\u{a}ERROR disk on fire\u{1b}[2J");
/// ```
pub fn printable(text: &str) -> Printable<'_> {
    Printable(text)
}

/// What [`printable`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OneLine(f).write_str(self.0)
    }
}

/// Passes on what is written to it, spelled as [`printable`] does.
pub(crate) struct OneLine<W>(pub(crate) W);

impl<W: Write> Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", c.escape_unicode())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// What a text begins with, up to `most` bytes, and whether there was more.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", &text[..end])
}

/// Whether a terminal or a log might do something else with a character than show it.
///
/// Control characters (C0, DEL and C1, with which escape sequences begin), line and paragraph
/// separators, and the format characters that cannot be seen: those that turn the direction of text
/// (Unicode Standard Annex 9), that join or part letters, that annotate, and tags. Two names that
/// differ in one of these alone would look alike.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Texts that try something, for the tests of everything that displays one.
#[cfg(test)]
pub(crate) const HOSTILE: &[&str] = &[
    "a\nERROR eventcast: the disk is on fire",
    "a\r\nb",
    "a\rb",
    "\u{1b}[2J\u{1b}[1;31mred",
    "\u{1b}]0;a title\u{7}",
    "\u{1b}]52;c;cm0gLXJm\u{1b}\\",
    "\u{9b}31m and \u{9d}0;t\u{9c} and \u{85}",
    "user\u{202e}gnp.exe",
    "\u{2066}a\u{2069} \u{200e}\u{200f}\u{61c}",
    "a\u{2028}b\u{2029}c",
    "zero\u{200b}width\u{feff}\u{ad}\u{2060}",
    "tag\u{e0041}\u{e007f} \u{fff9}\u{1d173}",
    "\0\u{8}\u{c}\u{7f}",
];

/// Fails where a text has in it what a terminal would obey, or more than one line.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_is_printable(text: &str) {
    let bad = text.chars().find(|&c| is_unsafe(c));
    assert!(bad.is_none(), "{bad:?} stands in {text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for (text, most, cut) in [
            ("", 0, ""),
            ("abc", 3, "abc"),
            ("abc", 2, "ab…"),
            ("aäb", 2, "a…"),
            ("aäb", 3, "aä…"),
            ("ä", 0, "…"),
        ] {
            assert_eq!(shortened(text, most), cut);
        }
    }

    #[test]
    fn hostile_texts_come_out_on_one_line_and_harmless() {
        for text in HOSTILE {
            assert!(text.chars().any(is_unsafe), "{text:?} tries nothing");
            let shown = printable(text).to_string();
            assert_is_printable(&shown);
            assert!(shown.contains("\\u{"), "{shown}");
            // Rust's own way of debugging texts is as safe.
            assert_is_printable(&format!("{text:?}"));
        }
        assert_eq!(
            printable("a\nb \u{1b}[2J \u{9b}1m \u{202e}x").to_string(),
            "a\\u{a}b \\u{1b}[2J \\u{9b}1m \\u{202e}x"
        );
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "",
            "robot-3",
            "größe 🤖 日本語 ܫܠܡܐ",
            "a\\u{a}b \"'`",
            "e\u{301}",
        ] {
            assert_eq!(printable(text).to_string(), text);
        }
    }
}
