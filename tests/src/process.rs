//! Processes with a deadline, and the numbers of the own one.

use std::{
    env, fs,
    io::Read,
    process::{Child, Command, Output, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// What must be left of a case's deadline for its process to end by itself first, so that the
/// better message wins.
const GRACE: Duration = Duration::from_secs(5);

/// How long the tool `ip` may take.
const IP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a command to its end, for at most `deadline`; then it is killed.
///
/// # Errors
/// It could not be started, did not end in time, or ended with another status than 0. The text
/// holds what it printed.
pub fn run(command: &mut Command, deadline: Duration) -> Result<Output, String> {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {what}: {error}"))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, deadline);
    // What it left running may hold the pipes open: then what came until now has to do.
    let stdout = stdout.recv_timeout(GRACE).unwrap_or_default();
    let stderr = stderr.recv_timeout(GRACE).unwrap_or_default();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    match status {
        Some(status) if status.success() => Ok(Output {
            status,
            stdout,
            stderr,
        }),
        Some(status) => Err(format!("{what} ended with {status}:\n{printed}")),
        None => Err(format!(
            "{what} was still running after {deadline:?}:\n{printed}"
        )),
    }
}

/// Runs this very test binary again, inside `around` (a command and its arguments, or nothing),
/// with these variables set.
///
/// # Errors
/// As [`run`].
pub fn rerun(
    around: &[&str],
    variables: &[(&str, &str)],
    deadline: Duration,
) -> Result<Output, String> {
    let mut command = own_command(around)?;
    command.envs(variables.iter().copied());
    run(&mut command, deadline + GRACE)
}

/// What runs this very test binary again, inside `around` (a command and its arguments, or
/// nothing).
///
/// # Errors
/// Nobody knows where the binary is.
pub fn own_command(around: &[&str]) -> Result<Command, String> {
    let own =
        env::current_exe().map_err(|error| format!("cannot find the test binary: {error}"))?;
    Ok(match around {
        [] => Command::new(own),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(own);
            command
        }
    })
}

/// Runs `ip` with these arguments, which must succeed, in the network namespace of the calling
/// thread.
#[track_caller]
pub fn ip(arguments: &str) {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    if let Err(error) = run(&mut command, IP_PATIENCE) {
        panic!("{error}");
    }
}

/// The arguments with which `unshare` gives a network namespace here: as root, or by way of a
/// user namespace. `None` when neither works. Tried once.
pub fn unshare_arguments() -> Option<&'static [&'static str]> {
    static TRIED: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *TRIED.get_or_init(|| {
        let ways: [&[&str]; 2] = [&["-n"], &["-rn"]];
        ways.into_iter().find(|way| {
            Command::new("unshare")
                .args(*way)
                .arg("true")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    })
}

/// The memory of this process that is in use now, in bytes: what is resident, less what is
/// shared with files.
pub fn memory_in_use() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells a process of itself");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("RssAnon is in every status since Linux 4.5");
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number of KiB");
    kib * 1024
}

/// The names of this process's threads. Linux cuts a name to 15 bytes.
pub fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux tells a process of its threads");
    tasks
        // A thread may end while the list is read.
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// How often the threads of this process whose name begins so have gone to sleep, as far as they
/// are still there.
pub fn switches_of(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux tells a process of its threads");
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let field = |status: &str, key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim().to_owned())
    };
    statuses
        .filter(|status| field(status, "Name:").is_some_and(|found| found.starts_with(name)))
        .filter_map(|status| {
            field(&status, "voluntary_ctxt_switches:")?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is worth having all the same.
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn wait(child: &mut Child, deadline: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            // Both fail only when it has just ended.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
