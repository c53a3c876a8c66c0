//! What ends the programs of agents when this process is killed itself and cannot do it any more.
//!
//! A shell that does nothing but wait: it is told of each group that begins and ends, and when its input ends, which
//! the system sees to however this process dies, it kills the groups that are left.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

/// The guard of this process. Dropping it ends it, and with it what it guards.
#[derive(Debug)]
pub(super) struct Guard {
    /// None where there is no shell, or it has been ended: then nothing is guarded.
    shell: Option<Child>,
}

impl Guard {
    /// Starts one, in a group of its own so that what ends this process's group leaves it.
    pub(super) fn start() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).current_dir("/");
        // It needs nothing of ours but to be found, and lives as long as we do.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let started = command.spawn();
        if let Err(error) = &started {
            tracing::warn!(%error, "no shell: programs of agents would outlive a server that is killed with SIGKILL");
        }
        let shell = started.ok();
        #[cfg(unix)]
        if let Some(stdin) = shell.as_ref().and_then(|shell| shell.stdin.as_ref()) {
            // A guard that is stopped must not stop us.
            let _ = rustix::fs::fcntl_setfl(stdin, rustix::fs::OFlags::NONBLOCK);
        }
        Self { shell }
    }

    /// A group lives from now on.
    pub(super) fn begins(&mut self, group: u32) {
        self.tell('+', group);
    }

    /// A group is ended.
    pub(super) fn ends(&mut self, group: u32) {
        self.tell('-', group);
    }

    fn tell(&mut self, sign: char, group: u32) {
        let line = format!("{sign} {group}\n");
        let stdin = self.shell.as_mut().and_then(|shell| shell.stdin.as_mut());
        let told = stdin.map(|stdin| stdin.write_all(line.as_bytes()));
        if let Some(Err(error)) = told {
            tracing::warn!(%error, "the guard of agents' programs has gone");
            self.shell = None;
        }
    }
}

/// Only words of the shell itself: whoever killed us may have left nothing else. The numbers are ours.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
  esac
done
for group in $groups; do kill -KILL "-$group"; done
"#;
