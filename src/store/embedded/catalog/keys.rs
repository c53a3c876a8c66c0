//! Keys of the catalog's tables.
//!
//! One tree holds everything; the first byte of a key says what it is. Numbers and times are in big-endian order
//! so that keys sort as they do (times with their sign flipped); "descending" is the complement of that.
//!
//! | first byte | key | value |
//! | --- | --- | --- |
//! | 1 | nothing | the head: see [`Head`](super::records::Head) |
//! | 2 | task | what is kept of it: see [`Kept`](super::records::Kept) |
//! | 3 | length of the task (u16), task, first number (u64) | segment, offset, length (u32 each) |
//! | 4 | scope, state, status time descending, task descending | what a list shows of it |
//! | 5 | scope | counts per state |
//! | 6 | unfinished task | nothing |
//! | 7 | state, status time, finished task | nothing |
//! | 8 | the same, of tasks that have more than their last event | nothing |
//! | 9 | key of a send | the answer |
//! | 10 | expiry, key of a send | nothing |
//! | 11 | length of the task (u16), task, id of a webhook | its configuration as JSON |
//!
//! A scope is 16 bytes of a SHA-256: of agent and owner, or of those and a conversation. A descending task has
//! its bytes complemented, with `FF` escaped as `FF 00` and `FF FF` at its end, so that a longer id sorts before
//! its own beginning.

use sha2::{Digest as _, Sha256};

use crate::model::{Id, TaskState, Timestamp};
use crate::store::SendKey;

pub(super) const HEAD: u8 = 1;
pub(super) const TASK: u8 = 2;
pub(super) const CHUNK: u8 = 3;
pub(super) const LIST: u8 = 4;
pub(super) const COUNT: u8 = 5;
pub(super) const UNFINISHED: u8 = 6;
pub(super) const FINISHED: u8 = 7;
pub(super) const WHOLE: u8 = 8;
pub(super) const ANSWER: u8 = 9;
pub(super) const EXPIRY: u8 = 10;
pub(super) const HOOK: u8 = 11;

/// The most bytes of a task's or webhook's id: a key has at most 65,535 bytes, and in one an id may double.
pub(super) const ID_BYTES: usize = 16 << 10;

/// What a list is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Scope(pub(super) [u8; 16]);

impl Scope {
    /// All tasks; only counted, not listed.
    pub(super) const ALL: Self = Self([0; 16]);

    /// An owner's tasks with one agent.
    pub(super) fn owner(agent: &str, owner: &str) -> Self {
        let mut hash = Sha256::new_with_prefix([0]);
        hash.update((agent.len() as u64).to_le_bytes());
        hash.update(agent);
        hash.update(owner);
        Self::first_half(hash)
    }

    /// Those of one conversation.
    pub(super) fn context(self, context: &str) -> Self {
        let mut hash = Sha256::new_with_prefix([1]);
        hash.update(self.0);
        hash.update(context);
        Self::first_half(hash)
    }

    fn first_half(hash: Sha256) -> Self {
        let hash: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(half)
    }
}

pub(super) fn put_task(out: &mut Vec<u8>, task: &str) {
    out.push(TASK);
    out.extend_from_slice(task.as_bytes());
}

pub(super) fn task(task: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + task.len());
    put_task(&mut key, task);
    key
}

/// A task with its length in front, so that no task's keys are among another's.
fn put_owned(out: &mut Vec<u8>, kind: u8, task: &str) {
    out.push(kind);
    out.extend_from_slice(&u16::try_from(task.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(task.as_bytes());
}

pub(super) fn put_chunk(out: &mut Vec<u8>, task: &str, first: u64) {
    put_owned(out, CHUNK, task);
    out.extend_from_slice(&first.to_be_bytes());
}

pub(super) fn chunk(task: &str, first: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(11 + task.len());
    put_chunk(&mut key, task, first);
    key
}

/// The first number in a chunk's key.
pub(super) fn chunk_first(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn put_hook(out: &mut Vec<u8>, task: &str, hook: &str) {
    put_owned(out, HOOK, task);
    out.extend_from_slice(hook.as_bytes());
}

/// What all of a task's webhooks begin with.
pub(super) fn hooks(task: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + task.len());
    put_owned(&mut key, HOOK, task);
    key
}

/// What all of a scope's tasks in a state begin with.
pub(super) fn list_run(scope: Scope, state: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(128);
    key.push(LIST);
    key.extend_from_slice(&scope.0);
    key.push(state);
    key
}

pub(super) fn put_list(out: &mut Vec<u8>, scope: Scope, state: u8, since: Timestamp, task: &str) {
    out.push(LIST);
    out.extend_from_slice(&scope.0);
    out.push(state);
    put_list_place(out, since, task);
}

/// What follows the state in a list's key.
pub(super) fn put_list_place(out: &mut Vec<u8>, since: Timestamp, task: &str) {
    out.extend_from_slice(&descending(since));
    for byte in task.bytes() {
        match !byte {
            0xFF => out.extend_from_slice(&[0xFF, 0]),
            byte => out.push(byte),
        }
    }
    out.extend_from_slice(&[0xFF, 0xFF]);
}

/// Sorts behind every task of this time.
pub(super) fn put_list_end(out: &mut Vec<u8>, since: Timestamp) {
    out.extend_from_slice(&descending(since));
    out.extend_from_slice(&[0xFF; 3]);
}

/// Time and task of a list's key.
pub(super) fn list_place(key: &[u8]) -> Option<(Timestamp, Id)> {
    let rest = key.get(1 + 16 + 1..)?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let time = !u64::from_be_bytes(*time);
    let mut task = Vec::with_capacity(rest.len());
    let mut bytes = rest.iter();
    loop {
        match bytes.next()? {
            0xFF => match bytes.next()? {
                0 => task.push(0),
                0xFF => break,
                _ => return None,
            },
            byte => task.push(!byte),
        }
    }
    let task = std::str::from_utf8(&task).ok()?;
    bytes.next().is_none().then(|| (from_ordered(time), Id::from(task)))
}

pub(super) fn put_count(out: &mut Vec<u8>, scope: Scope) {
    out.push(COUNT);
    out.extend_from_slice(&scope.0);
}

pub(super) fn count(scope: Scope) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    put_count(&mut key, scope);
    key
}

pub(super) fn put_unfinished(out: &mut Vec<u8>, task: &str) {
    out.push(UNFINISHED);
    out.extend_from_slice(task.as_bytes());
}

/// In [`FINISHED`] and [`WHOLE`].
pub(super) fn put_finished(out: &mut Vec<u8>, kind: u8, state: TaskState, since: Timestamp, task: &str) {
    out.push(kind);
    out.push(state as u8);
    out.extend_from_slice(&ordered(since).to_be_bytes());
    out.extend_from_slice(task.as_bytes());
}

/// Time and task of a key in [`FINISHED`] or [`WHOLE`].
pub(super) fn finished_place(key: &[u8]) -> Option<(Timestamp, Id)> {
    let (time, task) = key.get(2..)?.split_first_chunk::<8>()?;
    let task = std::str::from_utf8(task).ok()?;
    Some((from_ordered(u64::from_be_bytes(*time)), Id::from(task)))
}

pub(super) fn put_answer(out: &mut Vec<u8>, send: SendKey) {
    out.push(ANSWER);
    out.extend_from_slice(&send.0);
}

pub(super) fn put_expiry(out: &mut Vec<u8>, expires: Timestamp, send: SendKey) {
    out.push(EXPIRY);
    out.extend_from_slice(&ordered(expires).to_be_bytes());
    out.extend_from_slice(&send.0);
}

/// What every answer that has expired at this time sorts before.
pub(super) fn expired_end(now: Timestamp) -> Vec<u8> {
    let mut key = vec![EXPIRY];
    key.extend_from_slice(&ordered(now).to_be_bytes());
    key.extend_from_slice(&[0xFF; 17]);
    key
}

pub(super) fn expiry(key: &[u8]) -> Option<(Timestamp, SendKey)> {
    let (time, send) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((from_ordered(u64::from_be_bytes(*time)), SendKey(send.try_into().ok()?)))
}

fn ordered(time: Timestamp) -> u64 {
    (time.unix_nanos() as u64) ^ SIGN
}

fn from_ordered(time: u64) -> Timestamp {
    Timestamp::from_unix_nanos((time ^ SIGN) as i64)
}

fn descending(time: Timestamp) -> [u8; 8] {
    (!ordered(time)).to_be_bytes()
}

const SIGN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn list_key(time: i64, task: &str) -> Vec<u8> {
        let mut key = Vec::new();
        put_list(&mut key, Scope::ALL, 3, Timestamp::from_unix_nanos(time), task);
        key
    }

    #[test]
    fn list_keys_sort_newest_first_then_by_descending_id() {
        let mut places = Vec::new();
        for time in [i64::MIN, -5, -1, 0, 1, 7, i64::MAX] {
            for task in ["", "a", "a\0", "a\0\0", "a\u{1}", "ab", "b", "\0", "\u{10FFFF}"] {
                places.push((time, task));
            }
        }
        let mut by_key = places.clone();
        by_key.sort_by_key(|(time, task)| list_key(*time, task));
        places.sort_by(|one, other| other.cmp(one));
        assert_eq!(by_key, places);
        for (time, task) in places {
            let place = (Timestamp::from_unix_nanos(time), Id::from(task));
            assert_eq!(list_place(&list_key(time, task)), Some(place));
        }
    }

    #[test]
    fn the_end_of_a_time_is_behind_all_its_tasks() {
        let mut end = list_run(Scope::ALL, 3);
        put_list_end(&mut end, Timestamp::from_unix_nanos(5));
        for task in ["", "\0\0", "z"] {
            assert!(list_key(5, task) < end && list_key(4, task) > end, "{task:?}");
        }
    }

    #[test]
    fn finished_and_expiry_keys_come_back() {
        for time in [i64::MIN, -1, 0, i64::MAX] {
            let time = Timestamp::from_unix_nanos(time);
            let mut key = Vec::new();
            put_finished(&mut key, WHOLE, TaskState::Failed, time, "task");
            assert_eq!(finished_place(&key), Some((time, "task".into())));
            let mut key = Vec::new();
            put_expiry(&mut key, time, SendKey([7; 16]));
            assert_eq!(expiry(&key), Some((time, SendKey([7; 16]))));
            assert!(key < expired_end(time));
        }
    }

    #[test]
    fn scopes_of_different_texts_differ() {
        let scopes = [
            Scope::owner("a", "bc"),
            Scope::owner("ab", "c"),
            Scope::owner("a", "b").context("c"),
            Scope::owner("a", "").context("bc"),
            Scope::ALL,
        ];
        for (at, scope) in scopes.iter().enumerate() {
            assert!(!scopes[..at].contains(scope), "{at}");
        }
    }
}
