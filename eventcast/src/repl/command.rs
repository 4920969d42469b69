//! The commands: how each is written, what it does, and the parser of a line.
//!
//! The list is fixed. Nothing that is typed is ever run as code or given to a shell.
//!
//! Contract: pure. Every line is a command, empty, or a mistake whose text says what to write
//! instead.

use std::fmt::Write as _;

use bson::Bson;

use super::{output::columns, value};
#[cfg(feature = "log")]
use crate::log::{Component, Level};
use crate::{Pattern, names::nearest};

/// A command of a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// All commands, or one of them in full.
    Help(Option<&'static Entry>),
    Info,
    /// The options whose names contain this.
    Config(String),
    Peers,
    /// The listeners of the keys that match.
    Listeners(Pattern),
    /// The statistics whose names contain this; without it those that are not 0.
    Stats(Option<String>),
    Emit {
        key: String,
        args: Vec<Bson>,
    },
    Watch(Pattern),
    /// One pattern, or all.
    Unwatch(Option<Pattern>),
    Notices(bool),
    #[cfg(feature = "log")]
    Log(Option<(Option<Component>, Level)>),
    Start,
    Stop,
    Exit,
}

impl Command {
    /// Whether it does more than show something to the client.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Emit { .. } | Self::Start | Self::Stop => true,
            #[cfg(feature = "log")]
            Self::Log(wanted) => wanted.is_some(),
            _ => false,
        }
    }
}

/// A command, as it is written and described.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What follows the name.
    form: &'static str,
    /// One line about it.
    summary: &'static str,
    /// What else there is to say.
    more: &'static str,
    /// From what follows the name, and the whole line.
    read: fn(&[value::Token<'_>], &str) -> Result<Command, String>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

static COMMANDS: &[Entry] = &[
    Entry {
        name: "help",
        form: "[COMMAND]",
        summary: "the commands, or one of them in full",
        more: "",
        read: |words, _| {
            let [name] = at_most(words)?;
            name.map(find).transpose().map(Command::Help)
        },
    },
    Entry {
        name: "info",
        form: "",
        summary: "this bus: its id, its group, whether it runs and whether it is sealed",
        more: "",
        read: |words, _| none(words, Command::Info),
    },
    Entry {
        name: "config",
        form: "[PART]",
        summary: "the options, each with its value and where it was set",
        more: "With PART those whose names contain it. A value with nothing behind it was not set: it is the default, \
               or follows from another option. A passphrase and a token are never shown.",
        read: |words, _| {
            let [part] = at_most(words)?;
            Ok(Command::Config(part.unwrap_or_default().to_owned()))
        },
    },
    Entry {
        name: "peers",
        form: "",
        summary: "the other buses on the group",
        more: "Peers of another make say no hello, and are not among them.",
        read: |words, _| none(words, Command::Peers),
    },
    Entry {
        name: "listeners",
        form: "[PATTERN]",
        summary: "the listeners of this program, each with its key or pattern and where it was registered",
        more: "With a PATTERN those whose event, or whose own pattern, matches it.",
        read: |words, line| {
            let [pattern] = at_most(words)?;
            pattern
                .map_or(Ok(Pattern::every()), |token| read_pattern(token, line))
                .map(Command::Listeners)
        },
    },
    Entry {
        name: "stats",
        form: "[PART]",
        summary: "the statistics that are not 0",
        more: "With PART all whose names contain it, those that are 0 too.",
        read: |words, _| {
            let [part] = at_most(words)?;
            Ok(Command::Stats(part.map(str::to_owned)))
        },
    },
    Entry {
        name: "emit",
        form: "KEY [VALUE ...]",
        summary: "sends an event, and calls the listeners of this program",
        more: "A VALUE is JSON5: 5, 1.5, true, null, \"a text\", [1, 2], {celsius: 21.5}. A bare word is a text. What JSON \
               lacks is Extended JSON: {$date: \"2024-01-02T03:04:05Z\"}. A typed event with named fields takes one VALUE \
               in braces; a KEY with blanks in it stands in quotes.\n\
               emit greeting hello 5\n\
               emit UserJoined {user: 7, name: \"Ada\"}\n\
               emit \"Pair<u8, String>\" [1, \"a\"]",
        read: |words, line| match words {
            [] => Err("which event? `emit KEY [VALUE ...]`".to_owned()),
            [key, values @ ..] => {
                let args: Result<_, _> = values
                    .iter()
                    .map(|token| value::value(token, line))
                    .collect();
                Ok(Command::Emit {
                    key: value::text(key, line)?,
                    args: args?,
                })
            }
        },
    },
    Entry {
        name: "watch",
        form: "[PATTERN]",
        summary: "shows events as they come, from here and from the network",
        more: "Without a PATTERN all of them. In one, `*` stands for any run of characters but `.`, `**` for any run, `?` \
               for one character, and `\\` takes the next as it is. A client that reads too slowly sees how many events \
               it missed.",
        read: |words, line| {
            let [pattern] = at_most(words)?;
            pattern
                .map_or(Ok(Pattern::every()), |token| read_pattern(token, line))
                .map(Command::Watch)
        },
    },
    Entry {
        name: "unwatch",
        form: "[PATTERN]",
        summary: "ends a `watch`, or all of them",
        more: "",
        read: |words, line| {
            let [pattern] = at_most(words)?;
            pattern
                .map(|token| read_pattern(token, line))
                .transpose()
                .map(Command::Unwatch)
        },
    },
    Entry {
        name: "notices",
        form: "on|off",
        summary: "shows the notices of the bus as they come, or no longer",
        more: "",
        read: |words, _| match words {
            ["on"] => Ok(Command::Notices(true)),
            ["off"] => Ok(Command::Notices(false)),
            _ => Err("`notices on` or `notices off`".to_owned()),
        },
    },
    #[cfg(feature = "log")]
    Entry {
        name: "log",
        form: "[[COMPONENT] LEVEL]",
        summary: "how much this program logs, and sets it",
        more: "COMPONENT is `eventcast` or `eventcast::repl`, without it both; LEVEL is off, error, warn, info, debug or \
               trace. It holds for all buses of the program, until it ends.",
        read: |words, _| {
            let level = |text: &str| text.parse::<Level>().map_err(|error| error.to_string());
            Ok(Command::Log(match *words {
                [] => None,
                [one] => Some((None, level(one)?)),
                [component, one] => {
                    let component: Component = component
                        .parse()
                        .map_err(|error: crate::log::LogError| error.to_string())?;
                    Some((Some(component), level(one)?))
                }
                _ => return Err(too_many(2)),
            }))
        },
    },
    Entry {
        name: "start",
        form: "",
        summary: "starts the bus where it is stopped",
        more: "",
        read: |words, _| none(words, Command::Start),
    },
    Entry {
        name: "stop",
        form: "",
        summary: "stops the bus; the program and this console go on",
        more: "",
        read: |words, _| none(words, Command::Stop),
    },
    Entry {
        name: "exit",
        form: "",
        summary: "ends this connection",
        more: "",
        read: |words, _| none(words, Command::Exit),
    },
];

/// Reads a line. `None`: there is nothing in it.
pub(super) fn parse(line: &str) -> Result<Option<Command>, String> {
    let tokens = value::tokens(line)?;
    let Some((name, rest)) = tokens.split_first() else {
        return Ok(None);
    };
    let entry = find(name)?;
    match (entry.read)(rest, line) {
        Ok(command) => Ok(Some(command)),
        Err(mistake) => Err(format!("{}: {mistake}", entry.name)),
    }
}

/// All commands, one in a line.
pub(super) fn overview() -> String {
    let rows: Vec<_> = COMMANDS
        .iter()
        .map(|entry| [entry.usage(), entry.summary.to_owned()])
        .collect();
    columns(&rows)
}

impl Entry {
    /// How it is written.
    fn usage(&self) -> String {
        format!("{} {}", self.name, self.form).trim_end().to_owned()
    }

    /// All that there is to say about it.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{}: {}", self.usage(), self.summary);
        if !self.more.is_empty() {
            // Writing to memory does not fail.
            let _ = write!(text, "\n{}", self.more);
        }
        text
    }
}

fn find(name: &str) -> Result<&'static Entry, String> {
    // Half of the world types this.
    let name = if name == "quit" { "exit" } else { name };
    let known = COMMANDS.iter().find(|entry| entry.name == name);
    known.ok_or_else(|| {
        let names = COMMANDS.iter().map(|entry| entry.name);
        let advice = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`help` lists the commands".to_owned(),
        };
        let name: String = name.chars().take(40).collect();
        format!("unknown command `{name}`: {advice}")
    })
}

fn read_pattern(token: &str, line: &str) -> Result<Pattern, String> {
    let text = value::text(token, line)?;
    text.parse()
        .map_err(|error: crate::InvalidPattern| error.to_string())
}

fn none(words: &[&str], command: Command) -> Result<Command, String> {
    match words {
        [] => Ok(command),
        _ => Err("it takes no arguments".to_owned()),
    }
}

fn at_most<'a, const N: usize>(words: &[&'a str]) -> Result<[Option<&'a str>; N], String> {
    if words.len() > N {
        return Err(too_many(N));
    }
    Ok(std::array::from_fn(|i| words.get(i).copied()))
}

fn too_many(most: usize) -> String {
    let arguments = if most == 1 { "argument" } else { "arguments" };
    format!("it takes at most {most} {arguments}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn lines_are_commands() {
        for (line, expected) in [
            ("info", Command::Info),
            ("  peers\t", Command::Peers),
            ("config", Command::Config(String::new())),
            ("config port", Command::Config("port".to_owned())),
            ("stats", Command::Stats(None)),
            ("stats lost", Command::Stats(Some("lost".to_owned()))),
            ("watch", Command::Watch(pattern("**"))),
            ("watch 'order.*'", Command::Watch(pattern("order.*"))),
            ("unwatch", Command::Unwatch(None)),
            ("unwatch a", Command::Unwatch(Some(pattern("a")))),
            ("listeners a*", Command::Listeners(pattern("a*"))),
            ("notices on", Command::Notices(true)),
            ("start", Command::Start),
            ("stop", Command::Stop),
            ("exit", Command::Exit),
            ("quit", Command::Exit),
            (
                "emit tick",
                Command::Emit {
                    key: "tick".to_owned(),
                    args: Vec::new(),
                },
            ),
            (
                "emit \"a b\", hello, 5",
                Command::Emit {
                    key: "a b".to_owned(),
                    args: vec![Bson::String("hello".to_owned()), Bson::Int32(5)],
                },
            ),
        ] {
            assert_eq!(parse(line), Ok(Some(expected)), "{line}");
        }
        assert_eq!(parse("  "), Ok(None));
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (line, expected) in [
            ("emti x", "unknown command `emti`: did you mean `emit`?"),
            (
                "frobnicate",
                "unknown command `frobnicate`: `help` lists the commands",
            ),
            (
                "help emti",
                "help: unknown command `emti`: did you mean `emit`?",
            ),
            ("emit", "emit: which event? `emit KEY [VALUE ...]`"),
            ("info now", "info: it takes no arguments"),
            ("stats a b", "stats: it takes at most 1 argument"),
            ("notices", "notices: `notices on` or `notices off`"),
            (
                "watch \"\"",
                "watch: a pattern must have at least one character; `**` matches every key",
            ),
            ("emit x \"", "the quote is not closed in `\"` (column 8)"),
            (
                "emit ü [1, {a: [2}]",
                "the `}` in column 18 does not close the `[` in column 16",
            ),
            (
                "emit x {a: [1, 2]",
                "a bracket is not closed in `{a: [1, 2]`: the `{` in column 8",
            ),
            (
                "emit x {a: [1",
                "a bracket is not closed in `{a: [1`: the `[` in column 12",
            ),
            ("emit x [1]2", "a blank is missing behind `[1]` (column 11)"),
        ] {
            assert_eq!(parse(line), Err(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn every_command_is_described() {
        let overview = overview();
        let page = include_str!("mod.rs");
        for entry in COMMANDS {
            assert!(overview.contains(entry.name));
            let row = format!("`{} ", entry.name);
            assert!(
                page.contains(&row) || page.contains(&row.replace(' ', "`")),
                "{row}"
            );
            assert_eq!(
                parse(&format!("help {}", entry.name)),
                Ok(Some(Command::Help(Some(entry))))
            );
            assert!(entry.describe().starts_with(entry.name));
        }
    }

    /// The examples of the help are what they say.
    #[test]
    fn the_examples_of_emit_are_read() {
        let emit = find("emit").unwrap().describe();
        let examples: Vec<_> = emit
            .lines()
            .filter(|line| line.starts_with("emit "))
            .skip(1)
            .collect();
        assert_eq!(examples.len(), 3);
        for example in examples {
            assert!(
                matches!(parse(example), Ok(Some(Command::Emit { .. }))),
                "{example}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(help|emit|watch|stats|unwatch)? ?.{0,40}") {
            let _ = parse(&line);
        }
    }
}
