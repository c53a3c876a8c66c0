//! Processes of this program, pinned to a core, that are asked line by line.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;

/// The first argument of a process that is asked.
pub(crate) const ROLE: &str = "--role";
/// Where servers run.
pub(crate) const SERVER_CORE: &str = "0";
/// Where clients run.
pub(crate) const CLIENT_CORE: &str = "1";

/// Pins to a core, with as many open files as may be had: `exec` keeps the process's number.
const START: &str = r#"ulimit -n "$(ulimit -Hn)"; core=$1; shift; exec taskset -c "$core" "$@""#;

/// A process that answers one line with one line. Ends with this value.
pub(crate) struct Process {
    /// The process.
    pub(crate) child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What it said first.
    pub(crate) greeting: String,
}

impl Process {
    /// Starts this program in another role and waits for its first line.
    pub(crate) fn start(core: &str, role: &[&str]) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        let program = program.to_str().ok_or("the path of this program is not UTF-8")?;
        Self::of(core, &[&[program, ROLE], role].concat())
    }

    /// Starts any program and waits for its first line.
    pub(crate) fn of(core: &str, command_line: &[&str]) -> Outcome<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh", core]).args(command_line);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut process = Self { child, stdin, stdout, greeting: String::new() };
        process.greeting = process.hear()?;
        Ok(process)
    }

    /// Says a line and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> Outcome<String> {
        writeln!(self.stdin, "{line}")?;
        self.stdin.flush()?;
        self.hear()
    }

    fn hear(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("a process of the benchmark ended early; what it said is above".into());
        }
        Ok(line.trim().to_owned())
    }

    /// CPU time of all its threads, in nanoseconds.
    pub(crate) fn cpu_nanos(&self) -> Outcome<u64> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanos += text.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
        }
        Ok(nanos)
    }

    /// Bytes of its memory that are resident.
    pub(crate) fn resident_bytes(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: says the greeting, then answers each line until there are no more.
pub(crate) async fn answer<F>(greeting: &str, mut each: impl FnMut(String) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<String>>,
{
    say(greeting)?;
    while let Some(line) = heard().await? {
        say(&each(line).await?)?;
    }
    Ok(())
}

fn say(line: &str) -> Outcome<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// The next line, read on a thread of its own: connections must be kept alive meanwhile.
async fn heard() -> Outcome<Option<String>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = sender.send(std::io::stdin().read_line(&mut line).map(|bytes| (bytes > 0).then_some(line)));
    });
    let line = receiver.await??;
    Ok(line.map(|line| line.trim().to_owned()))
}
