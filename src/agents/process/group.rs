//! Process groups: a program is ended together with everything that it has started.
//!
//! Every group that lives stands in one list of this process, so that whoever ends the process can end them too,
//! wherever the futures are that otherwise would.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::guard::Guard;

/// The groups that live.
static LIVING: Mutex<Living> = Mutex::new(Living { groups: BTreeSet::new(), guard: None });

struct Living {
    /// Their ids.
    groups: BTreeSet<u32>,
    /// What ends them if this process cannot. Started with the first of them.
    guard: Option<Guard>,
}

/// Kills every process of every agent of this process, at once and with what they have started. For the very end
/// of a program: a turn that still runs fails.
pub fn kill_processes() {
    let mut living = living();
    for group in std::mem::take(&mut living.groups) {
        signal(group, Signal::Kill);
        living.unguard(group);
    }
}

/// A process group that is led by a program of ours. Dropping it kills what is left of it.
#[derive(Debug)]
pub(super) struct Group(u32);

impl Living {
    fn unguard(&mut self, group: u32) {
        if let Some(guard) = &mut self.guard {
            guard.ends(group);
        }
    }
}

#[derive(Clone, Copy)]
enum Signal {
    Terminate,
    Kill,
}

impl Group {
    /// The group of a process that was just started as the leader of one.
    pub(super) fn led_by(process: u32) -> Self {
        let mut living = living();
        living.guard.get_or_insert_with(Guard::start).begins(process);
        living.groups.insert(process);
        Self(process)
    }

    /// Asks all of it to end.
    pub(super) fn terminate(&self) {
        // Under the lock, so that an id which the system has given to others since is not signaled.
        let living = living();
        if living.groups.contains(&self.0) {
            signal(self.0, Signal::Terminate);
        }
    }

    /// Ends all of it. Without effect the second time.
    pub(super) fn kill(&self) {
        let mut living = living();
        if living.groups.remove(&self.0) {
            signal(self.0, Signal::Kill);
            living.unguard(self.0);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn living() -> MutexGuard<'static, Living> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn signal(group: u32, which: Signal) {
    use rustix::process::{Pid, Signal as System, kill_process_group};
    let which = match which {
        Signal::Terminate => System::TERM,
        Signal::Kill => System::KILL,
    };
    // Nothing of it may be left, which is what was wanted.
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, which);
    }
}

/// Elsewhere a program itself is killed when its handle is dropped; what it has started is not.
#[cfg(not(unix))]
fn signal(_: u32, _: Signal) {}
