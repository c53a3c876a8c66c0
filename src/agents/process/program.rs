//! A program to run as an agent: which one it is, and how it is started and ended.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::error::ProcessError;
use super::group::Group;

/// A program and its arguments. It was looked up once; no shell is ever between it and what it is told.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    directory: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Program {
    /// Splits a command line into words as a shell would, without running one, and finds the program: a path from
    /// the present directory if there is a slash in it, else a name in one of the directories of `PATH`.
    ///
    /// # Errors
    /// [`ProcessError`], if there is no such program.
    pub fn parse(command_line: &str) -> Result<Self, ProcessError> {
        let words = shlex::split(command_line).ok_or(ProcessError::CommandLine)?;
        let (program, arguments) = words.split_first().ok_or(ProcessError::CommandLine)?;
        Self::new(program, arguments)
    }

    /// A program by its path or name, with arguments as they are.
    ///
    /// # Errors
    /// [`ProcessError`], if there is no such program.
    pub fn new(
        program: &str,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ProcessError> {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Ok(Self { path: found(program)?, arguments, directory: None, environment: Vec::new() })
    }

    /// Adds a variable to the program's environment, which otherwise is this process's without the variables of
    /// this server (`A2A_WEBCAP_…` and `A2ACLI_…`): they may hold keys.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where the program runs; in this process's directory if not said.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What the agent is called if nobody says otherwise: the name of the first word that is a script, else the
    /// program's.
    pub(in super::super) fn name(&self) -> String {
        let named = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let script = self.files().find(|path| path.extension().is_some());
        script.as_deref().and_then(named).or_else(|| named(&self.path)).unwrap_or_else(|| "agent".to_owned())
    }

    /// The files that its command line names, the program first.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let base = self.directory.clone().unwrap_or_default();
        let arguments = self.arguments.iter().map(move |word| base.join(word));
        std::iter::once(self.path.clone()).chain(arguments).filter(|path| path.is_file())
    }

    /// Starts it, as the leader of a process group of its own.
    ///
    /// # Errors
    /// What the system says.
    pub(in super::super) fn start(&self, environment: &[(&str, &str)]) -> Result<Running, ProcessError> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        let secret = |name: &str| name.starts_with("A2A_WEBCAP_") || name.starts_with("A2ACLI_");
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(secret)) {
            command.env_remove(name);
        }
        for name in TOLD {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(environment.iter().copied());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let failed = |error| ProcessError::Spawn { program: self.name(), error };
        let mut child = command.spawn().map_err(failed)?;
        let group = child.id().map(Group::led_by);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Running { group, child, stdin: Some(stdin), stdout: Some(stdout), stderr: Some(stderr) })
    }
}

/// Without the arguments, which may hold a secret.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A program that runs. Dropping this kills it, and all that it has started.
#[derive(Debug)]
pub(in super::super) struct Running {
    // Dropped before its leader's handle, so that the id is still its own.
    group: Option<Group>,
    child: Child,
    pub(in super::super) stdin: Option<ChildStdin>,
    pub(in super::super) stdout: Option<ChildStdout>,
    pub(in super::super) stderr: Option<ChildStderr>,
}

impl Running {
    /// Waits for its end, and then ends what it has left behind.
    pub(in super::super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill();
        status
    }

    /// Asks it to end; kills it when the grace is over.
    pub(in super::super) async fn end(&mut self, grace: Duration) -> std::io::Result<ExitStatus> {
        if let Some(group) = &self.group {
            group.terminate();
        }
        let asked = tokio::time::timeout(grace, self.child.wait()).await;
        self.kill();
        match asked {
            Ok(status) => status,
            Err(_) => self.child.wait().await,
        }
    }

    fn kill(&mut self) {
        if let Some(group) = &self.group {
            group.kill();
        }
        // Where there are no groups; of one that has ended already, without effect.
        let _ = self.child.start_kill();
    }
}

/// How a program ended, in words.
pub(in super::super) fn ended(status: &std::io::Result<ExitStatus>) -> String {
    let status = match status {
        Ok(status) => status,
        Err(error) => return format!("its end is not known: {error}"),
    };
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(status) {
        return match signal_name(signal) {
            Some(name) => format!("killed by signal {signal} ({name})"),
            None => format!("killed by signal {signal}"),
        };
    }
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

#[cfg(unix)]
fn signal_name(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
    ];
    names.into_iter().find_map(|(known, name)| (known.as_raw() == signal).then_some(name))
}

/// Looks a program up.
fn found(program: &str) -> Result<PathBuf, ProcessError> {
    let absent = || ProcessError::NotFound { program: program.to_owned() };
    if program.is_empty() {
        return Err(ProcessError::CommandLine);
    }
    if program.contains(std::path::is_separator) {
        let path = std::path::absolute(program).map_err(|_| absent())?;
        return match (path.is_file(), is_executable(&path)) {
            (true, true) => Ok(path),
            (true, false) => Err(ProcessError::NotExecutable { path }),
            (false, _) => Err(absent()),
        };
    }
    let directories = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&directories).flat_map(|directory| {
        [format!("{program}{}", env::consts::EXE_SUFFIX), program.to_owned()].map(|name| directory.join(name))
    });
    let path = candidates.find(|path| path.is_file() && is_executable(path)).ok_or_else(absent)?;
    std::path::absolute(path).map_err(|_| absent())
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    true
}

/// Variables that say what a turn is about. What this process has of that name is not the program's.
const TOLD: [&str; 9] = [
    "A2A_TASK_ID",
    "A2A_CONTEXT_ID",
    "A2A_MESSAGE_ID",
    "A2A_SUBJECT",
    "A2A_ACCEPTED_OUTPUT_MODES",
    "A2A_EXTENSIONS",
    "A2A_PROTOCOL",
    "TRACEPARENT",
    "TRACESTATE",
];
