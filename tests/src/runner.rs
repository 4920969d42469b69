//! Runs tests that say what they need from the machine.
//!
//! A test file with `harness = false` collects its [`Case`]s and hands them to [`run`]. What a
//! case needs and the machine lacks makes it a skipped one, by name, with what to install; with
//! `EVENTCAST_TEST_ALL=1` in the environment it is a failure instead. Nothing else skips. The
//! usual arguments of `cargo test -- …` work, and the last line printed is
//! `N passed, N failed, N skipped`.
//!
//! Every case runs on a thread of its own, and against a deadline: one that hangs fails.

use std::{
    any::Any,
    env,
    panic::{self, AssertUnwindSafe},
    process::{Command, ExitCode, Output, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::process;

/// How long a case may take, unless it says otherwise. Far above what any needs: the deadline
/// tells a hang from a slow machine, nothing more.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Most cases wait for sockets and timers, so more run at once than there are cores.
const PARALLEL_CASES: usize = 4;

/// Makes what a machine lacks a failure.
const TEST_ALL: &str = "EVENTCAST_TEST_ALL";

/// Set for a process that runs the inner part of one case.
const INNER: &str = "EVENTCAST_TEST_INNER";

/// Something that a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Node.js and its package manager.
    Node,
    /// Python 3.
    Python,
    /// Network namespaces: root, or user namespaces for everybody; and the tool `ip`.
    Namespaces,
    /// The packet analyser without its window.
    Tshark,
    /// The terminal multiplexer.
    Tmux,
}

impl Need {
    /// `None` when the machine has it, else what to install.
    pub fn lacking(self) -> Option<&'static str> {
        let (there, remedy) = match self {
            Self::Node => (
                answers("node", "--version") && answers("npm", "--version"),
                "needs node and npm: apt-get install nodejs npm",
            ),
            Self::Python => (
                answers("python3", "--version"),
                "needs python3: apt-get install python3",
            ),
            Self::Namespaces => (
                answers("ip", "-V") && process::unshare_arguments().is_some(),
                "needs network namespaces: apt-get install iproute2 util-linux, and run as root \
                 or allow user namespaces",
            ),
            Self::Tshark => (
                answers("tshark", "--version"),
                "needs tshark: apt-get install tshark",
            ),
            Self::Tmux => (answers("tmux", "-V"), "needs tmux: apt-get install tmux"),
        };
        (!there).then_some(remedy)
    }
}

/// One test.
pub struct Case {
    name: String,
    needs: Vec<Need>,
    place: Place,
    deadline: Duration,
    body: Box<dyn FnOnce() + Send>,
}

/// Where the body of a case runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    OwnProcess,
    OwnNetwork,
}

impl Case {
    /// A test that fails by panicking.
    pub fn new(name: impl Into<String>, body: impl FnOnce() + Send + 'static) -> Self {
        Self {
            name: name.into(),
            needs: Vec::new(),
            place: Place::Here,
            deadline: DEADLINE,
            body: Box::new(body),
        }
    }

    /// Skips the case on a machine without this.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Runs the body in a process of its own: for what is measured by process.
    #[must_use]
    pub fn in_own_process(mut self) -> Self {
        self.place = Place::OwnProcess;
        self
    }

    /// Runs the body in a process and a network namespace of its own, where only the loopback
    /// interface is up.
    #[must_use]
    pub fn in_own_network(mut self) -> Self {
        self.place = Place::OwnNetwork;
        self.needs(Need::Namespaces)
    }

    /// Another deadline than [`DEADLINE`].
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn into_trial(self, skipped: &Arc<Mutex<Vec<String>>>) -> Trial {
        let skipped = Arc::clone(skipped);
        let name = self.name.clone();
        Trial::ignorable_test(name, move || {
            for need in &self.needs {
                if let Some(remedy) = need.lacking() {
                    if env::var_os(TEST_ALL).is_some_and(|value| value == "1") {
                        return Err(format!("{remedy} ({TEST_ALL}=1 forbids skipping)").into());
                    }
                    let mut skipped = skipped.lock().expect("nothing panics with this lock");
                    skipped.push(format!("{}: {remedy}", self.name));
                    return Ok(Completion::ignored_with(remedy));
                }
            }
            self.run()?;
            Ok(Completion::Completed)
        })
    }

    fn run(self) -> Result<(), String> {
        match self.place {
            Place::Here => bounded(&self.name, self.deadline, self.body),
            Place::OwnProcess => {
                process::rerun(&[], &[(INNER, &self.name)], self.deadline).map(drop)
            }
            Place::OwnNetwork => {
                let unshare = process::unshare_arguments().expect("looked for among the needs");
                let mut around = vec!["unshare"];
                around.extend(unshare);
                around.extend(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
                process::rerun(&around, &[(INNER, &self.name)], self.deadline).map(drop)
            }
        }
    }
}

/// Runs the cases as the command line says. For `main` of a test file with `harness = false`.
pub fn run(cases: Vec<Case>) -> ExitCode {
    if let Ok(inner) = env::var(INNER) {
        return run_inner(cases, &inner);
    }
    let mut arguments = Arguments::from_args();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    arguments
        .test_threads
        .get_or_insert(cores.max(PARALLEL_CASES));

    let skipped = Arc::new(Mutex::new(Vec::new()));
    let trials = cases
        .into_iter()
        .map(|case| case.into_trial(&skipped))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        let skipped = skipped.lock().expect("nothing panics with this lock");
        for one in skipped.iter() {
            println!("skipped {one}");
        }
        println!(
            "{} passed, {} failed, {} skipped",
            conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored
        );
    }
    conclusion.exit_code()
}

/// Runs the body of the case `name` of this binary in a process of its own, with these variables
/// set, and gives what it printed: for a case that judges another.
///
/// # Errors
/// As [`process::run`].
pub fn run_alone(name: &str, variables: &[(&str, &str)]) -> Result<Output, String> {
    let mut variables = variables.to_vec();
    variables.push((INNER, name));
    process::rerun(&[], &variables, DEADLINE / 2)
}

/// What runs the body of the case `name` of this binary in a process of its own, for a case that
/// talks with another.
///
/// # Panics
/// Nobody knows where the binary is.
pub fn alone(name: &str) -> Command {
    let mut command = process::own_command(&[]).unwrap_or_else(|error| panic!("{error}"));
    command.env(INNER, name);
    command
}

/// The inner part of a case that asked for a process of its own.
fn run_inner(cases: Vec<Case>, name: &str) -> ExitCode {
    let Some(case) = cases.into_iter().find(|case| case.name == name) else {
        eprintln!("there is no case {name:?}");
        return ExitCode::FAILURE;
    };
    match bounded(&case.name, case.deadline, case.body) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `body` on a thread named `name`, for at most `deadline`.
///
/// A body that is still running then is left to itself until the process ends.
fn bounded(name: &str, deadline: Duration, body: Box<dyn FnOnce() + Send>) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(body));
            // Nobody listens any more when the deadline is over.
            let _ = sender.send(outcome);
        })
        .map_err(|error| format!("no thread for the case: {error}"))?;
    match receiver.recv_timeout(deadline) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => Err(panic_text(panic.as_ref())),
        Err(_) => Err(format!("still running after {deadline:?}")),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        "panicked".to_owned()
    }
}

/// Whether a program runs at all. Asked once for each program.
fn answers(program: &'static str, version: &str) -> bool {
    static ASKED: OnceLock<Mutex<Vec<(&'static str, bool)>>> = OnceLock::new();
    let mut asked = ASKED
        .get_or_init(Mutex::default)
        .lock()
        .expect("nothing panics with this lock");
    if let Some((_, there)) = asked.iter().find(|(name, _)| *name == program) {
        return *there;
    }
    let there = Command::new(program)
        .arg(version)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    asked.push((program, there));
    there
}
