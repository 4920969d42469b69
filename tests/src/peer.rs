//! A bus in another language, on another BSON library: `tests/peer/peer.mjs` on Node.js.
//!
//! Its one package, npm's `bson`, is installed under the build folder by the first test that needs
//! it, in the version and with the checksum that the lock file beside it names.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use bson::Bson;
use serde_json::{Value, json};

use crate::{group::Group, process, wait::PATIENCE};

/// How long the package registry may take.
const INSTALL_PATIENCE: Duration = Duration::from_secs(300);

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peer/peer.mjs");
const PACKAGE: &str = include_str!("../peer/package.json");
const LOCK: &str = include_str!("../peer/package-lock.json");

/// A running peer. It ends when this is dropped.
pub struct Peer {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    /// What was heard while the answer to a command was waited for.
    heard: Vec<Heard>,
}

/// What a peer does so that nobody else reads what it sends, or writes what it hears.
#[derive(Clone, Copy, Debug)]
pub enum Guard<'a> {
    /// Nothing.
    Clear,
    /// Sealed datagrams, with this passphrase.
    Passphrase(&'a str),
    /// Sealed datagrams, with the first of these passphrases, and whatever is sealed with any of
    /// them.
    Passphrases {
        /// The passphrases.
        all: &'a [&'a str],
        /// The salt for all of them.
        salt: &'a [u8],
    },
    /// Sealed datagrams, with this ready key.
    ReadyKey(&'a [u8]),
    /// The classic cipher, with this passphrase.
    Classic(&'a str),
}

/// What is special about an event that a sealed peer sends; nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// The one peer that it is for, by its id, and the port on this machine to which it goes.
    pub to: Option<(String, u16)>,
    /// The counter that it gets instead of the next one.
    pub counter: Option<u64>,
    /// How many milliseconds later than now it claims to be sent.
    pub shift: i64,
}

/// An event that the peer heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The event's name.
    pub name: String,
    /// Its arguments, with their BSON types.
    pub arguments: Vec<Bson>,
    /// The metadata of the message, as canonical extended JSON.
    pub meta: Value,
}

impl Peer {
    /// Starts a peer that has joined the group and cuts what is longer than `max_payload_size`.
    ///
    /// `build_folder` is `env!("CARGO_TARGET_TMPDIR")`, which only a test file knows.
    pub fn start(build_folder: &str, group: Group, max_payload_size: usize) -> Self {
        Self::guarded(build_folder, group, max_payload_size, Guard::Clear)
    }

    /// The same with a passphrase or a key.
    pub fn guarded(
        build_folder: &str,
        group: Group,
        max_payload_size: usize,
        guard: Guard<'_>,
    ) -> Self {
        let packages = install(Path::new(build_folder)).unwrap_or_else(|error| panic!("{error}"));
        let mut process = Command::new("node")
            .arg(PROGRAM)
            .arg(group.address.to_string())
            .arg(group.port.to_string())
            .arg(max_payload_size.to_string())
            .arg(guard.to_json().to_string())
            .current_dir(packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let commands = process.stdin.take().expect("a pipe was asked for");
        let output = process.stdout.take().expect("a pipe was asked for");
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).expect("the peer prints JSON");
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut peer = Self {
            process,
            commands,
            answers,
            heard: Vec::new(),
        };
        peer.answer("ready");
        peer
    }

    /// Sends an event, and gives the number of its datagrams once all have gone out.
    pub fn emit(&mut self, name: &str, arguments: &[Bson]) -> u64 {
        self.emit_as(name, arguments, &How::default())
    }

    /// The same in a way that only a sealed peer has.
    pub fn emit_as(&mut self, name: &str, arguments: &[Bson], how: &How) -> u64 {
        let arguments: Vec<_> = arguments
            .iter()
            .cloned()
            .map(Bson::into_canonical_extjson)
            .collect();
        let command = json!({ "emit": name, "args": arguments, "how": how.to_json() });
        number(&self.ask(&command, "sent"))
    }

    /// Sends the same bytes again that it sent last, to the same address.
    pub fn send_again(&mut self) {
        self.ask(&json!({ "again": true }), "sent");
    }

    /// How many datagrams it has refused until now, by cause.
    pub fn refused(&mut self) -> BTreeMap<String, u64> {
        let refused = self.ask(&json!({ "refused": true }), "refused");
        let refused = refused.as_object().expect("numbers by cause");
        refused
            .iter()
            .map(|(cause, count)| (cause.clone(), number(count)))
            .collect()
    }

    /// From now on it seals, and takes what is sealed, so. It has been sealing from its start.
    pub fn change_keys(&mut self, guard: Guard<'_>) {
        self.ask(&json!({ "keys": guard.to_json() }), "keys");
    }

    /// From now on it passes over chunks of these indexes when they first come, and leaves those
    /// out when it first sends a message.
    pub fn lose(&mut self, coming: &[u32], going: &[u32]) {
        self.ask(&json!({ "lose": { "in": coming, "out": going } }), "lose");
    }

    /// The next event that it heard, which must come.
    #[track_caller]
    pub fn next_event(&mut self) -> Heard {
        if self.heard.is_empty() {
            let answer = self.receive();
            self.heard.push(heard(&answer));
        }
        self.heard.remove(0)
    }

    #[track_caller]
    fn ask(&mut self, command: &Value, key: &str) -> Value {
        writeln!(self.commands, "{command}").expect("the peer takes commands");
        self.answer(key)
    }

    #[track_caller]
    fn answer(&mut self, key: &str) -> Value {
        loop {
            let answer = self.receive();
            if let Some(value) = answer.get(key) {
                return value.clone();
            }
            self.heard.push(heard(&answer));
        }
    }

    #[track_caller]
    fn receive(&self) -> Value {
        self.answers
            .recv_timeout(PATIENCE)
            .expect("the peer had to say something")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Guard<'_> {
    /// As the peer's command line has it.
    fn to_json(self) -> Value {
        match self {
            Self::Clear => json!({}),
            Self::Passphrase(text) => json!({ "passphrase": text }),
            Self::Passphrases { all, salt } => {
                let mut keys = all.iter().map(|text| json!({ "passphrase": text }));
                let mut guard = keys.next().expect("one to seal with");
                guard["receive"] = keys.collect();
                guard["salt"] = hex(salt).into();
                guard
            }
            Self::ReadyKey(bytes) => json!({ "readyKey": hex(bytes) }),
            Self::Classic(text) => json!({ "classic": text }),
        }
    }
}

impl How {
    fn to_json(&self) -> Value {
        let mut how = json!({ "shift": self.shift });
        if let Some((id, port)) = &self.to {
            how["to"] = json!({ "id": id, "port": port });
        }
        if let Some(counter) = self.counter {
            how["counter"] = json!(counter);
        }
        how
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("there is always room in a string");
        text
    })
}

/// A count in canonical extended JSON.
#[track_caller]
fn number(value: &Value) -> u64 {
    let number = value["$numberInt"].as_str().expect("a small number");
    number.parse().expect("not below 0")
}

fn heard(answer: &Value) -> Heard {
    let name = answer["event"].as_str().expect("nothing else is printed");
    let arguments = answer["args"].as_array().expect("a list of arguments");
    Heard {
        name: name.to_owned(),
        arguments: arguments
            .iter()
            .map(|one| Bson::try_from(one.clone()).expect("canonical extended JSON"))
            .collect(),
        meta: answer["meta"].clone(),
    }
}

/// The folder in which the peer finds its package. Installed once, whoever asks.
fn install(build_folder: &Path) -> Result<PathBuf, String> {
    static INSTALLED: OnceLock<Mutex<Option<PathBuf>>> = OnceLock::new();
    let mut installed = INSTALLED
        .get_or_init(Mutex::default)
        .lock()
        .map_err(|_| "the peer's package could not be installed".to_owned())?;
    if let Some(folder) = &*installed {
        return Ok(folder.clone());
    }
    // Another version is another folder.
    let mut hasher = DefaultHasher::new();
    (PACKAGE, LOCK).hash(&mut hasher);
    let folder = build_folder.join(format!("peer-{:016x}", hasher.finish()));
    if !folder.is_dir() {
        install_into(&folder)?;
    }
    *installed = Some(folder.clone());
    Ok(folder)
}

/// Installs aside and moves it there when it is whole: another process may do the same.
fn install_into(folder: &Path) -> Result<(), String> {
    let aside = folder.with_extension(std::process::id().to_string());
    let io = |error: std::io::Error| format!("cannot write to {}: {error}", aside.display());
    fs::create_dir_all(&aside).map_err(io)?;
    fs::write(aside.join("package.json"), PACKAGE).map_err(io)?;
    fs::write(aside.join("package-lock.json"), LOCK).map_err(io)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&aside);
    process::run(&mut npm, INSTALL_PATIENCE).map_err(|error| {
        format!("npm could not install the peer's package, which takes a network once: {error}")
    })?;
    if fs::rename(&aside, folder).is_err() && !folder.is_dir() {
        return Err(format!("cannot move to {}", folder.display()));
    }
    // Left over when another process was quicker.
    let _ = fs::remove_dir_all(&aside);
    Ok(())
}
