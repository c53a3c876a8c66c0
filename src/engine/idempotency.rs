//! One send, one answer (promise P4): sends are known by agent, owner and message id.
//!
//! What was answered is in the store. Sends that are not answered yet are in [`Sends`], so that of two equal
//! sends that race, one does the work and both get its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};

use super::counters::{Counters, Held};
use super::task::Live;
use crate::fault::{Fault, FaultKind};
use crate::model::{Id, SendMessageRequest, Timestamp};
use crate::store::{Answer, Remembered, SendDigest, SendKey};

/// What a send comes to.
pub(super) type Outcome = Result<Answer, Fault>;

/// What whoever waits is told, with the task, so that it stays in memory until it was looked at.
pub(super) type Reply = (Outcome, Option<Live>);

/// Identifies a send. Each name is preceded by its length, so that no two sets of names look alike.
pub(super) fn key(agent: &str, owner: &str, message_id: &str) -> SendKey {
    let mut hash = Sha256::new();
    for name in [agent, owner, message_id] {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    SendKey(first_half(hash))
}

/// What a repeated send must have in common with the first: message and configuration, as canonical
/// JSON (members have a fixed order, and those of free-form objects are sorted).
pub(super) fn digest(request: &SendMessageRequest) -> Result<SendDigest, Fault> {
    let mut hash = HashWriter(Sha256::new());
    let body = (&request.message, &request.configuration);
    body.serialize(&mut serde_json::Serializer::new(&mut hash)).map_err(Fault::internal)?;
    Ok(SendDigest(first_half(hash.0)))
}

fn first_half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends that are not answered yet.
#[derive(Debug)]
pub(super) struct Sends {
    open: Mutex<OpenSends>,
    counters: Arc<Counters>,
}

/// What was sent, and where its answer will be.
type OpenSends = HashMap<SendKey, (SendDigest, watch::Receiver<Option<Outcome>>)>;

/// Who does the work of a send.
#[derive(Debug)]
pub(super) enum Claimed {
    /// We do.
    Ours(Claim),
    /// An equal send, before us.
    Theirs(watch::Receiver<Option<Outcome>>),
}

/// The duty to answer a send.
#[derive(Debug)]
pub(super) struct Claim {
    key: SendKey,
    digest: SendDigest,
    expires: Timestamp,
    outcome: watch::Sender<Option<Outcome>>,
    sends: Arc<Sends>,
    _held: Held,
}

impl Sends {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { open: Mutex::default(), counters }
    }

    /// Claims a send.
    ///
    /// # Errors
    /// [`FaultKind::Conflict`] if another send with this key, but another body, is on its way.
    pub(super) fn claim(
        self: &Arc<Self>,
        key: SendKey,
        digest: SendDigest,
        expires: Timestamp,
    ) -> Result<Claimed, Fault> {
        match self.lock().entry(key) {
            Entry::Occupied(open) if open.get().0 == digest => Ok(Claimed::Theirs(open.get().1.clone())),
            Entry::Occupied(_) => Err(conflict()),
            Entry::Vacant(place) => {
                let (outcome, receiver) = watch::channel(None);
                place.insert((digest, receiver));
                let held = Held::new(&self.counters, |counters| &counters.open_sends);
                Ok(Claimed::Ours(Claim {
                    key,
                    digest,
                    expires,
                    outcome,
                    sends: Arc::clone(self),
                    _held: held,
                }))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenSends> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// The record that keeps the answer for later.
    pub(super) fn remember(&self, answer: Answer) -> Remembered {
        Remembered { key: self.key, digest: self.digest, answer, expires: self.expires }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.sends.lock().remove(&self.key);
    }
}

/// Another body under the same message id.
pub(super) fn conflict() -> Fault {
    let message = "this messageId was used with another message or configuration; use a fresh one";
    Fault::new(FaultKind::Conflict, message)
}

/// Answers one send: whoever waits for it, and the equal sends that wait with it.
#[derive(Debug)]
pub(super) struct Replier {
    waiting: Option<oneshot::Sender<Reply>>,
    claim: Option<Claim>,
}

impl Replier {
    pub(super) fn new(waiting: oneshot::Sender<Reply>, claim: Option<Claim>) -> Self {
        Self { waiting: Some(waiting), claim }
    }

    /// The record to commit with the answer, unless the send is of an anonymous owner.
    pub(super) fn remember(&self, answer: impl FnOnce() -> Answer) -> Option<Remembered> {
        self.claim.as_ref().map(|claim| claim.remember(answer()))
    }

    /// Answers. Only the first answer counts.
    pub(super) fn answer(&mut self, outcome: Outcome) {
        self.answer_about(None, outcome);
    }

    /// Answers, and lends the task that the answer is about.
    pub(super) fn answer_about(&mut self, task: Option<Live>, outcome: Outcome) {
        if let Some(claim) = self.claim.take() {
            claim.outcome.send_replace(Some(outcome.clone()));
        }
        if let Some(waiting) = self.waiting.take() {
            // Nobody waits any more if the caller has gone; the task goes on.
            let _ = waiting.send((outcome, task));
        }
    }
}

/// A send that was given up before it came to anything.
impl Drop for Replier {
    fn drop(&mut self) {
        if self.waiting.is_some() {
            let message = "the send was given up before it began; send it again";
            self.answer(Err(Fault::new(FaultKind::Overloaded, message)));
        }
    }
}

/// Waits for the answer of an equal send; none if that was given up, or found that there is an answer already.
pub(super) async fn outcome_of(mut theirs: watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    theirs.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
}

/// The task that an answer is about.
pub(super) fn task_of(answer: &Answer) -> Option<&Id> {
    match answer {
        Answer::Task { task_id, .. } => Some(task_id),
        Answer::Message(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_run_into_each_other() {
        assert_ne!(key("a", "bc", "d"), key("ab", "c", "d"));
        assert_eq!(key("a", "b", "c"), key("a", "b", "c"));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_send_that_was_given_up_may_claim_it() {
        let sends = Arc::new(Sends::new(Arc::default()));
        let (key, digest) = (key("a", "o", "m"), SendDigest([1; 16]));
        let claim = || sends.claim(key, digest, Timestamp::from_unix_nanos(1)).unwrap();
        let Claimed::Ours(first) = claim() else { panic!("nobody has claimed it") };
        let Claimed::Theirs(theirs) = claim() else { panic!("it is claimed") };
        drop(first);
        assert!(outcome_of(theirs).await.is_none());
        assert!(matches!(claim(), Claimed::Ours(_)));
    }

    #[test]
    fn the_digest_is_of_message_and_configuration_only() {
        let one = SendMessageRequest::text("hello");
        let mut other = one.clone();
        other.tenant = Some("t".to_owned());
        assert_eq!(digest(&one).unwrap(), digest(&other).unwrap());
        other.message.parts.push(crate::model::Part::text("more"));
        assert_ne!(digest(&one).unwrap(), digest(&other).unwrap());
    }
}
