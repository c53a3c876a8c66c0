//! Process groups: a program is ended together with everything that it has started.
//!
//! Every group that lives stands in one list of this process, so that whoever ends the process can end them too,
//! wherever the futures are that otherwise would.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The ids of the groups that live.
static LIVING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Kills every process of every agent of this process, at once and with what they have started. For the very end
/// of a program: a turn that still runs fails.
pub fn kill_processes() {
    let groups = std::mem::take(&mut *living());
    for group in groups {
        signal(group, Signal::Kill);
    }
}

/// A process group that is led by a program of ours. Dropping it kills what is left of it.
#[derive(Debug)]
pub(super) struct Group(u32);

#[derive(Clone, Copy)]
enum Signal {
    Terminate,
    Kill,
}

impl Group {
    /// The group of a process that was just started as the leader of one.
    pub(super) fn led_by(process: u32) -> Self {
        living().insert(process);
        Self(process)
    }

    /// Asks all of it to end.
    pub(super) fn terminate(&self) {
        // Under the lock, so that an id which the system has given to others since is not signaled.
        let living = living();
        if living.contains(&self.0) {
            signal(self.0, Signal::Terminate);
        }
    }

    /// Ends all of it. Without effect the second time.
    pub(super) fn kill(&self) {
        if living().remove(&self.0) {
            signal(self.0, Signal::Kill);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn living() -> MutexGuard<'static, BTreeSet<u32>> {
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
