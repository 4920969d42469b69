//! Patterns over the keys of events, matched by a bit-parallel automaton.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::event::MAX_KEY_LEN;

/// A pattern over the keys of events.
///
/// | in the pattern | matches |
/// | --- | --- |
/// | `*` | any run of characters but `.`, also none |
/// | `**` | any run of characters, also none |
/// | `?` | one character |
/// | `\` | takes the next character literally |
/// | anything else | itself; case counts |
///
/// A pattern matches a key as a whole: `order.*` matches `order.placed`, and neither
/// `order.item.added` nor `reorder.placed`.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    masks: Masks,
}

/// The tokens of a pattern as an automaton, whose states are sets of bits: bit `n` is the position
/// before token `n`. Each mask holds the positions whose token accepts a character; the last
/// position, behind all tokens, is in no mask.
#[derive(Clone)]
struct Masks {
    /// The number of tokens.
    tokens: usize,
    /// The positions of each literal character, in the order of the characters.
    chars: Box<[(char, Set)]>,
    /// The positions of `?`.
    any: Set,
    /// The positions of `*` and of `**`. No two runs are adjacent.
    runs: Set,
    long_runs: Set,
    /// The last token is `**`: once it is reached, the rest of the key need not be read.
    open: bool,
}

/// A set of positions, 64 to a word.
type Set = Box<[u64]>;

/// Words in a set of positions of the longest pattern.
const MOST_WORDS: usize = (MAX_KEY_LEN + 1).div_ceil(64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    AnyChar,
    /// A run without `.`.
    Run,
    /// A run of anything.
    LongRun,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// It has no characters: it would match nothing.
    #[error("a pattern must have at least one character; `**` matches every key")]
    Empty,
    /// It is longer than any key that it could match.
    #[error("a pattern may have at most {MAX_KEY_LEN} bytes, this one has {len}")]
    #[non_exhaustive]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It ends with a `\` that has nothing to take literally.
    #[error("a pattern cannot end with a single `\\`; write `\\\\` for the character itself")]
    OpenEscape,
}

impl Pattern {
    /// Whether the pattern matches all of `key`.
    ///
    /// The key is read once, from its beginning, and no further than something can still match:
    /// each character costs one look at a table and a few operations for each 64 tokens of the
    /// pattern. Nothing is allocated.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let orders: eventcast::Pattern = "order.*".parse()?;
    /// assert!(orders.matches("order.placed"));
    /// assert!(!orders.matches("order.item.added"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn matches(&self, key: &str) -> bool {
        let masks = &self.masks;
        // All positions that the characters read so far can lead to.
        let mut positions = [0; MOST_WORDS];
        let positions = &mut positions[..masks.any.len()];
        positions[0] = 1;
        masks.pass_runs(positions);
        for c in key.chars() {
            if masks.open && has(positions, masks.tokens - 1) {
                return true;
            }
            if !masks.step(positions, c) {
                return false;
            }
            masks.pass_runs(positions);
        }
        has(positions, masks.tokens)
    }

    /// The pattern as it was written.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let orders: eventcast::Pattern = "order.*".parse()?;
    /// assert_eq!(orders.as_str(), "order.*");
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern that matches every key: `**`.
    ///
    /// ```
    /// assert!(eventcast::Pattern::every().matches("order.item.added"));
    /// ```
    pub fn every() -> Self {
        Self {
            text: "**".into(),
            masks: Masks::of(&[Token::LongRun]),
        }
    }
}

fn has(set: &[u64], position: usize) -> bool {
    set[position / 64] >> (position % 64) & 1 == 1
}

fn add(set: &mut [u64], position: usize) {
    set[position / 64] |= 1 << (position % 64);
}

impl Masks {
    fn of(tokens: &[Token]) -> Self {
        let none = || vec![0; (tokens.len() + 1).div_ceil(64)].into_boxed_slice();
        let mut chars = BTreeMap::new();
        let [mut any, mut runs, mut long_runs] = [none(), none(), none()];
        for (position, token) in tokens.iter().enumerate() {
            match token {
                Token::Char(c) => add(chars.entry(*c).or_insert_with(none), position),
                Token::AnyChar => add(&mut any, position),
                Token::Run => add(&mut runs, position),
                Token::LongRun => add(&mut long_runs, position),
            }
        }
        Self {
            tokens: tokens.len(),
            chars: chars.into_iter().collect(),
            any,
            runs,
            long_runs,
            open: tokens.last() == Some(&Token::LongRun),
        }
    }

    /// Reads one character. False: no position is left, so the key cannot match.
    fn step(&self, positions: &mut [u64], c: char) -> bool {
        let found = self.chars.binary_search_by_key(&c, |(c, _)| *c);
        let chars = found.ok().map(|at| &self.chars[at].1);
        let (mut carried, mut left) = (0, 0);
        for (i, word) in positions.iter_mut().enumerate() {
            let leads_on = self.any[i] | chars.map_or(0, |chars| chars[i]);
            let stays = self.long_runs[i] | if c == '.' { 0 } else { self.runs[i] };
            let moved = *word & leads_on;
            *word = *word & stays | moved << 1 | carried;
            carried = moved >> 63;
            left |= *word;
        }
        left != 0
    }

    /// A run may be empty: a position before one implies the position behind it.
    fn pass_runs(&self, positions: &mut [u64]) {
        let mut carried = 0;
        for (i, word) in positions.iter_mut().enumerate() {
            let passed = *word & (self.runs[i] | self.long_runs[i]);
            *word |= passed << 1 | carried;
            carried = passed >> 63;
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > MAX_KEY_LEN {
            return Err(InvalidPattern::TooLong { len: text.len() });
        }
        let mut tokens: Vec<Token> = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let token = match c {
                '*' if chars.next_if_eq(&'*').is_some() => Token::LongRun,
                '*' => Token::Run,
                '?' => Token::AnyChar,
                '\\' => Token::Char(chars.next().ok_or(InvalidPattern::OpenEscape)?),
                c => Token::Char(c),
            };
            match (tokens.last_mut(), token) {
                // Adjacent runs merge into one, a long one if one of them is long.
                (Some(Token::LongRun), Token::Run | Token::LongRun) => {}
                (Some(last @ Token::Run), Token::Run | Token::LongRun) => *last = token,
                _ => tokens.push(token),
            }
        }
        Ok(Self {
            text: text.into(),
            masks: Masks::of(&tokens),
        })
    }
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// Two patterns are equal if their texts are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(key)
    }

    #[test]
    fn a_star_stops_at_a_dot_and_a_double_star_does_not() {
        for (pattern, key, expected) in [
            ("order.*", "order.placed", true),
            ("order.*", "order.", true),
            ("order.*", "order", false),
            ("order.*", "order.item.added", false),
            ("order.*", "reorder.placed", false),
            ("order.**", "order.item.added", true),
            ("**", "", true),
            ("**", "any.thing at all", true),
            ("*", "one", true),
            ("*", "one.two", false),
            ("*.*", "one.two", true),
            ("*.*", "one.two.three", false),
            ("**.added", "order.item.added", true),
            ("**.added", "added", false),
            ("*b*b*", "abcb", true),
            ("*b*b*", "abc", false),
            ("***", "one.two", true),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} and {key}");
        }
    }

    #[test]
    fn a_question_mark_matches_a_character_and_case_counts() {
        assert!(matches("gr?n", "grün"));
        assert!(!matches("gr?n", "grn"));
        assert!(matches("a?b", "a.b"));
        assert!(!matches("Tick", "tick"));
    }

    #[test]
    fn a_backslash_takes_the_next_character_literally() {
        assert!(matches(r"a\*b", "a*b"));
        assert!(!matches(r"a\*b", "axb"));
        assert!(matches(r"a\\b", r"a\b"));
        assert!(matches(r"\a", "a"));
        assert!(matches(r"\?\.", "?."));
    }

    #[test]
    fn an_invalid_pattern_returns_the_reason() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error(""), InvalidPattern::Empty);
        assert_eq!(error("a\\"), InvalidPattern::OpenEscape);
        assert_eq!(
            error(&"x".repeat(1_025)),
            InvalidPattern::TooLong { len: 1_025 }
        );
    }

    #[test]
    fn matching_time_is_not_exponential() {
        let pattern = "**a".repeat(300);
        assert!(!matches(&pattern, &"a".repeat(299)));
        assert!(matches(&pattern, &"a".repeat(1_024)));
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(1_023))));
    }

    /// Counts the steps until the verdict.
    #[test]
    fn matching_stops_reading_when_the_verdict_is_certain() {
        let read = |pattern: &str, key: &str| {
            let masks = pattern.parse::<Pattern>().unwrap().masks;
            let mut positions = vec![0; masks.any.len()];
            positions[0] = 1;
            masks.pass_runs(&mut positions);
            let mut steps = 0;
            for c in key.chars() {
                if masks.open && has(&positions, masks.tokens - 1) || !masks.step(&mut positions, c)
                {
                    break;
                }
                masks.pass_runs(&mut positions);
                steps += 1;
            }
            steps
        };
        let key = "x".repeat(1_000);
        assert_eq!(read("order.*", &key), 0);
        assert_eq!(read("x?y**", &key), 2);
        assert_eq!(read("**", &key), 0);
        assert_eq!(read("xx**", &key), 2);
        assert_eq!(read("*.x", &format!("x..{key}")), 2);
    }

    /// A direct implementation of the table in the documentation.
    fn reference(pattern: &[Token], key: &[char]) -> bool {
        let Some((token, rest)) = pattern.split_first() else {
            return key.is_empty();
        };
        let one = |taken: &dyn Fn(char) -> bool| {
            key.split_first()
                .filter(|(c, _)| taken(**c))
                .map(|(_, behind)| behind)
        };
        let run = |taken: &dyn Fn(char) -> bool| {
            reference(rest, key) || one(taken).is_some_and(|behind| reference(pattern, behind))
        };
        match token {
            Token::Char(this) => one(&|c| c == *this).is_some_and(|behind| reference(rest, behind)),
            Token::AnyChar => one(&|_| true).is_some_and(|behind| reference(rest, behind)),
            Token::Run => run(&|c| c != '.'),
            Token::LongRun => run(&|_| true),
        }
    }

    fn token() -> impl Strategy<Value = Token> {
        prop_oneof![
            4 => prop_oneof![Just('a'), Just('b'), Just('.'), Just('ü')].prop_map(Token::Char),
            1 => Just(Token::AnyChar),
            2 => Just(Token::Run),
            1 => Just(Token::LongRun),
        ]
    }

    fn written(tokens: &[Token]) -> String {
        let mut text = String::new();
        for token in tokens {
            match token {
                Token::Char(c) => text.extend(['\\', *c]),
                Token::AnyChar => text.push('?'),
                Token::Run => text.push('*'),
                Token::LongRun => text.push_str("**"),
            }
        }
        text
    }

    proptest! {
        #[test]
        fn the_automaton_agrees_with_the_reference(
            tokens in prop::collection::vec(token(), 1..9),
            key in "[ab.ü]{0,9}",
        ) {
            let key_chars: Vec<char> = key.chars().collect();
            // Two adjacent stars would be written as `**`, which is another token.
            let mut apart = tokens.clone();
            apart.dedup_by(|a, b| *a == Token::Run && *b == Token::Run);
            let pattern: Pattern = written(&apart).parse().unwrap();
            prop_assert_eq!(pattern.matches(&key), reference(&apart, &key_chars), "{} and {}", pattern, key);
        }

        #[test]
        fn patterns_longer_than_a_word_match(
            before in "a{50,80}",
            tokens in prop::collection::vec(token(), 1..6),
            behind in "b{50,80}",
            middle in "[ab.]{0,6}",
        ) {
            let text = format!("{before}{}{behind}", written(&tokens));
            let key = format!("{before}{middle}{behind}");
            // The reference takes the tokens in the order in which the parser merges runs.
            let chars: Vec<char> = middle.chars().collect();
            let mut tokens = tokens;
            tokens.dedup_by(|a, b| *a == Token::Run && *b == Token::Run);
            if reference(&tokens, &chars) {
                prop_assert!(matches(&text, &key), "{} and {}", text, key);
            }
        }
    }

    proptest! {
        #[test]
        fn an_escaped_key_matches_itself_alone(key in ".{1,20}", other in ".{1,20}") {
            let escaped: String = key.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(matches(&escaped, &key));
            prop_assert_eq!(matches(&escaped, &other), key == other);
        }

        #[test]
        fn no_pattern_and_key_panic(pattern in "[a.*?\\\\ü]{0,12}", key in "[a.ü]{0,12}") {
            if let Ok(pattern) = pattern.parse::<Pattern>() {
                pattern.matches(&key);
            }
        }
    }
}
