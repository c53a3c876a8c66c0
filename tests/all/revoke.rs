//! After a revoke has answered, no call through what was revoked starts: judged by the server's own numbers.

use std::sync::{Arc, Mutex};

use a2a_webcap::authority::{Audit, AuditEntry, AuditEvent};
use a2a_webcap::client::{Credentials, Cursor, GrantPolicy, SessionPolicy, TaskRole};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{EndReason, GetTaskRequest};
use futures::future::join_all;

use crate::doubles::{Collector, Puppet};
use crate::world::{ALICE, BOB, World};

/// Calls in flight when the revoke comes.
const CALLS: usize = 1_000;
const ROUNDS: usize = 20;

/// Everything that was decided, in the order of the server's numbers.
#[derive(Default)]
struct Judge(Mutex<Vec<AuditEntry>>);

impl Audit for Judge {
    fn record(&self, entry: AuditEntry) {
        self.0.lock().unwrap().push(entry);
    }
}

impl Judge {
    /// Takes what was decided since the last time. Everything was decided under one session's grants, so
    /// that what is not the session's own grant was derived.
    fn verdict(&self) -> Verdict {
        let mut entries = std::mem::take(&mut *self.0.lock().unwrap());
        entries.sort_by_key(|entry| entry.seq);
        let revoked = entries.iter().find(|entry| entry.event == AuditEvent::Revoked);
        let grant = revoked.expect("a grant was revoked").grant;
        let of_it = || entries.iter().filter(move |entry| entry.grant == grant);
        let answered =
            of_it().find(|entry| entry.event == AuditEvent::RevokeAnswered).expect("it was answered").seq;
        let started = |entry: &&AuditEntry| matches!(entry.event, AuditEvent::Checked { allowed: true, .. });
        Verdict {
            started: of_it().filter(started).count(),
            started_after: of_it().filter(started).filter(|entry| entry.seq > answered).count(),
            refused: of_it()
                .filter(|e| matches!(e.event, AuditEvent::Checked { allowed: false, .. }))
                .count(),
        }
    }
}

struct Verdict {
    started: usize,
    started_after: usize,
    refused: usize,
}

#[tokio::test(flavor = "local")]
async fn no_call_starts_after_a_revoke_has_answered() {
    let judge = Arc::new(Judge::default());
    let (world, mut stage) =
        World::puppet_of(Puppet::default(), |builder| builder.audit(judge.clone())).await;
    let owner = world.session(ALICE).await;
    let mut overlapped = 0;
    for round in 0..ROUNDS {
        let task = owner.send_streaming("go", Collector::new());
        let cue = stage.turn().await;
        let id = task.task.get(None).await.unwrap().id;
        // In half of the rounds somebody else holds it, on another connection and worker.
        let (calls, grant, held) = if round % 2 == 0 {
            let (narrower, grant) = owner.attenuate(&SessionPolicy::default());
            let request = GetTaskRequest::new(id);
            let first = narrower.get_task(&request);
            first.await.unwrap();
            let calls: Vec<_> = (0..CALLS).map(|_| narrower.get_task(&request)).collect();
            (calls, grant, (Some(narrower), None))
        } else {
            let (secret, grant) = task.task.share(TaskRole::Observe, &GrantPolicy::default()).await.unwrap();
            let holder = world.connection().await.claim(&secret);
            holder.get(None).await.unwrap();
            let calls: Vec<_> = (0..CALLS).map(|_| holder.get(None)).collect();
            (calls, grant, (None, Some(holder)))
        };
        let (outcomes, revoked) = futures::future::join(join_all(calls), grant.revoke()).await;
        revoked.unwrap();
        for outcome in &outcomes {
            assert!(
                outcome.as_ref().err().is_none_or(|fault| fault.kind() == FaultKind::Revoked),
                "{outcome:?}"
            );
        }
        let verdict = judge.verdict();
        assert_eq!(verdict.started_after, 0, "round {round}: a call started after the answer");
        assert!(verdict.started >= 1, "round {round}");
        overlapped += usize::from(verdict.refused > 0 && verdict.started > 1);
        drop(held);
        cue.end();
    }
    assert!(overlapped > 0, "no round had calls on both sides of the revoke: it judged nothing");
}

#[tokio::test(flavor = "local")]
async fn a_revoke_is_answered_after_the_last_word_to_every_stream_under_it() {
    let (world, mut stage) = World::puppet().await;
    let owner = world.session(ALICE).await;
    let started = owner.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    let (narrower, grant) = owner.attenuate(&SessionPolicy::default());
    let handle = narrower.task(&started.task.get(None).await.unwrap().id);
    // One below the grant, one further below and on another connection.
    let (near, far) = (Collector::new(), Collector::new());
    let _near = handle.subscribe(Cursor::After(0), near.clone());
    let (secret, _shared) = handle.share(TaskRole::Observe, &GrantPolicy::default()).await.unwrap();
    let other = world.connection().await;
    other.authenticate(&Credentials::api_key(BOB)).ready().await.unwrap();
    let claimed = other.claim(&secret);
    let _far = claimed.subscribe(Cursor::After(0), far.clone());
    near.has(2).await;
    far.has(2).await;

    grant.revoke().await.unwrap();
    cue.says("after the revoke").await;
    for stream in [near, far] {
        let end = stream.end().await;
        assert_eq!((end.reason, end.last_seq), (EndReason::Revoked, 2));
        assert_eq!(end.fault.expect("it says why").kind(), FaultKind::Revoked);
        assert!(stream.texts().is_empty(), "nothing came after the revoke");
    }
    assert_eq!(claimed.get(None).await.unwrap_err().kind(), FaultKind::Revoked);
    // What was not derived from it lives.
    assert_eq!(started.task.get(None).await.unwrap().artifacts.len(), 1);
    cue.end();
}
