//! Taking authority back races whatever goes on under it. The judge is the server's own numbering of every
//! check and every revoke: after the answer to a revoke nothing starts under it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_webcap::agents::Demo;
use a2a_webcap::authority::{Audit, AuditEntry, AuditEvent};
use a2a_webcap::client::{At, Cursor, GrantPolicy, Observer, SessionPolicy, TaskRole};
use a2a_webcap::fault::{FaultKind, Result};
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{
    EndReason, ListTasksRequest, StreamEnd, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent,
};
use futures::future::{join, join_all};

use crate::hostile_bench::{Bench, run, settles};
use crate::party::{Grant, Pending, Session, TaskHandle, Wire, on_wires};
use crate::world::{ALICE, BOB, World, soon, until};

on_wires! {
    blocking: [
        no_call_on_the_same_connection_starts_after_a_revoke_has_answered,
        no_call_on_another_connection_starts_after_a_revoke_has_answered,
        whatever_ends_a_grant_ends_its_streams_with_a_word_in_the_midst_of_their_events,
        a_grant_that_expires_ends_its_streams_and_refuses_calls_in_flight,
    ]
}

/// Rounds of each race. Of JSON a debug build makes no more in the same time.
fn rounds(wire: Wire) -> usize {
    match wire {
        Wire::Capnp | Wire::Pipes => 50,
        Wire::Capnweb => 20,
    }
}

/// Calls in flight in each.
const CALLS: usize = 1_000;

/// The server's own record.
#[derive(Default)]
struct Record(Mutex<Vec<AuditEntry>>);

impl Audit for Record {
    fn record(&self, entry: AuditEntry) {
        self.0.lock().unwrap().push(entry);
    }
}

impl Record {
    /// Takes the record of one round. Of the first of these grants, and those derived from it, nothing was
    /// allowed after the answer to its revoke. How much was allowed before, and refused after.
    fn judge(&self, grants: &BTreeSet<String>, revoked: &str) -> (usize, usize) {
        let entries = std::mem::take(&mut *self.0.lock().unwrap());
        let answered = entries
            .iter()
            .find(|entry| entry.event == AuditEvent::RevokeAnswered && entry.grant.to_string() == revoked);
        let answered = answered.expect("the revoke was answered").seq;
        let (mut allowed, mut refused) = (0, 0);
        for entry in entries.iter().filter(|entry| grants.contains(&entry.grant.to_string())) {
            match entry.event {
                AuditEvent::Checked { allowed: true, .. } => {
                    assert!(entry.seq < answered, "{entry:?} began after the answer, {answered}");
                    allowed += 1;
                }
                AuditEvent::Checked { allowed: false, .. } => refused += 1,
                _ => {}
            }
        }
        (allowed, refused)
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// An object that remembers where its stream ended.
#[derive(Clone, Default)]
struct Watch {
    last: Rc<Cell<u64>>,
    end: Rc<RefCell<Option<StreamEnd>>>,
}

impl Watch {
    fn take(&self, at: At) {
        assert!(self.end.borrow().is_none(), "an event after the end");
        assert!(at.seq == self.last.get() + 1 || self.last.get() == 0, "a gap before {}", at.seq);
        self.last.set(at.seq);
    }

    /// Asserts that the stream ended in this way, at the event that came last.
    fn ended(&self, reason: EndReason) {
        let end = self.end.borrow();
        let end = end.as_ref().expect("the last word has come");
        assert_eq!((end.reason, end.last_seq), (reason, self.last.get()));
        let revoked = (reason == EndReason::Revoked).then_some(FaultKind::Revoked);
        assert_eq!(end.fault.as_ref().map(|fault| fault.kind()), revoked);
    }
}

impl Observer for Watch {
    async fn on_task(&mut self, _: Task, at: At) -> Result<()> {
        self.last.set(at.seq);
        Ok(())
    }

    async fn on_status_update(&mut self, _: TaskStatusUpdateEvent, at: At) -> Result<()> {
        self.take(at);
        Ok(())
    }

    async fn on_artifact_update(&mut self, _: TaskArtifactUpdateEvent, at: At) -> Result<()> {
        self.take(at);
        Ok(())
    }

    async fn on_end(&mut self, end: StreamEnd) {
        assert_eq!(self.end.replace(Some(end)), None, "the last word comes once");
    }
}

async fn judged(wire: Wire) -> (World, Arc<Record>) {
    let record = Arc::new(Record::default());
    let mut limits = Limits::default();
    limits.engine.memory_finished_tasks = 100;
    let audit = Arc::clone(&record);
    let world = wire.world(|builder| builder.agent(Demo).limits(limits).audit(audit)).await;
    (world, record)
}

/// Sends a message and says which task it opened, and that it works.
async fn working(session: &Session, text: &str) -> TaskHandle {
    let started = session.send_streaming(text, Watch::default());
    started.ready().await.unwrap();
    started.task.get(None).await.unwrap();
    started.task
}

/// The calls of one round: they are sent when made. Each ends with an answer, or with REVOKED.
async fn outcome<T: 'static>(call: Pending<T>) -> bool {
    match call.await {
        Ok(_) => true,
        Err(fault) if fault.kind() == FaultKind::Revoked => false,
        Err(fault) => panic!("neither answered nor refused: {fault:?}"),
    }
}

async fn id(grant: &Grant) -> String {
    grant.info().await.unwrap().id
}

fn no_call_on_the_same_connection_starts_after_a_revoke_has_answered(wire: Wire) {
    run(async {
        let (world, record) = judged(wire).await;
        let session = world.session(ALICE).await;
        let task = working(&session, "long").await;
        let task_id = task.get(None).await.unwrap().id;
        let (rounds, mut allowed, mut refused) = (rounds(wire), 0, 0);
        for round in 0..rounds {
            let (narrow, grant) = session.attenuate(&SessionPolicy::default());
            let (narrower, inner) =
                narrow.attenuate(&SessionPolicy { read_only: true, ..Default::default() });
            let handle = narrow.task(&task_id);
            let grants = BTreeSet::from([id(&grant).await, id(&inner).await]);
            let revoked = id(&grant).await;
            let watch = Watch::default();
            let subscription = handle.subscribe(Cursor::Snapshot, watch.clone());
            subscription.ready().await.unwrap();
            record.clear();

            let mut calls = Vec::new();
            let mut revoking = None;
            for call in 0..CALLS {
                if call == round * CALLS / rounds {
                    revoking = Some(grant.revoke());
                }
                let list = ListTasksRequest::default();
                calls.push(match call % 3 {
                    0 => Box::pin(outcome(handle.get(Some(0))))
                        as std::pin::Pin<Box<dyn Future<Output = bool>>>,
                    1 => Box::pin(outcome(narrow.list_tasks(&list))),
                    _ => Box::pin(outcome(narrower.list_tasks(&list))),
                });
            }
            let revoking = async {
                revoking.expect("it was asked for").await.unwrap();
                // It left the server first; a busy client may hand the answer on before it has told its observer.
                until("the last word", || watch.end.borrow().is_some()).await;
                watch.ended(EndReason::Revoked);
            };
            let (answers, ()) = soon("all answers", join(join_all(calls), revoking)).await;
            let late = handle.get(Some(0)).await.unwrap_err();
            assert_eq!(late.kind(), FaultKind::Revoked);
            let (before, after) = record.judge(&grants, &revoked);
            let answered = answers.iter().filter(|answered| **answered).count();
            assert!(before >= answered, "{answered} calls were answered, and {before} allowed");
            allowed += before;
            refused += after;
        }
        println!("{allowed} calls were allowed, {refused} refused");
        let few = 20 * rounds;
        assert!(allowed > few && refused > few, "the revokes came in the midst of the calls");
        task.cancel(None).await.unwrap();
        drop((task, session));
        settles(&world.server).await;
    });
}

fn no_call_on_another_connection_starts_after_a_revoke_has_answered(wire: Wire) {
    run(async {
        let (world, record) = judged(wire).await;
        let session = world.session(ALICE).await;
        let task = working(&session, "long").await;
        let (rounds, mut allowed, mut refused) = (rounds(wire), 0, 0);
        for round in 0..rounds {
            let policy = GrantPolicy::default();
            let (secret, grant) = task.share(TaskRole::Owner, &policy).await.unwrap();
            // Whoever claims it derives from it once more.
            let other = world.connection().await;
            let claimed = other.claim(&secret);
            let (derived, inner) = claimed.attenuate(TaskRole::Observe, &policy);
            let grants = BTreeSet::from([id(&grant).await, id(&inner).await]);
            let revoked = id(&grant).await;
            let watches = [Watch::default(), Watch::default()];
            let subscriptions = [
                claimed.subscribe(Cursor::After(0), watches[0].clone()),
                derived.subscribe(Cursor::Snapshot, watches[1].clone()),
            ];
            for subscription in &subscriptions {
                subscription.ready().await.unwrap();
            }
            record.clear();

            let calls = (0..CALLS).map(|call| {
                let handle = if call % 2 == 0 { &claimed } else { &derived };
                outcome(handle.get(Some(0)))
            });
            let calls = join_all(calls.collect::<Vec<_>>());
            let revoking = async {
                // Sooner or later in the flight of the calls.
                tokio::time::sleep(Duration::from_micros(round as u64 * 400)).await;
                grant.revoke().await.unwrap();
                let counters = world.server.service().authority().counters();
                assert_eq!((counters.calls, counters.streams), (0, 0), "at the answer nothing goes on");
            };
            let (_answers, ()) = soon("all answers", join(calls, revoking)).await;
            assert_eq!(derived.get(Some(0)).await.unwrap_err().kind(), FaultKind::Revoked);
            for watch in &watches {
                until("the last word", || watch.end.borrow().is_some()).await;
                watch.ended(EndReason::Revoked);
            }
            let (before, after) = record.judge(&grants, &revoked);
            allowed += before;
            refused += after;
        }
        println!("{allowed} calls were allowed, {refused} refused");
        let few = 20 * rounds;
        assert!(allowed > few && refused > few, "the revokes came in the midst of the calls");
        task.cancel(None).await.unwrap();
        drop((task, session));
        settles(&world.server).await;
    });
}

fn whatever_ends_a_grant_ends_its_streams_with_a_word_in_the_midst_of_their_events(wire: Wire) {
    run(async {
        let bench = Bench::new().await.over(wire);
        for round in 0..20 {
            let session = bench.world.session(BOB).await;
            let (narrow, grant) = session.attenuate(&SessionPolicy::default());
            let watch = Watch::default();
            let started = narrow.send_streaming("burst 400", watch.clone());
            let enough = 1 + round * 20;
            until("events", || watch.last.get() >= enough || watch.end.borrow().is_some()).await;
            let reason = match round % 4 {
                0 => {
                    grant.revoke().await.unwrap();
                    EndReason::Revoked
                }
                1 => {
                    drop(grant);
                    EndReason::Revoked
                }
                2 => {
                    narrow.close().await.unwrap();
                    EndReason::Detached
                }
                _ => {
                    session.close().await.unwrap();
                    EndReason::Detached
                }
            };
            until("the last word", || watch.end.borrow().is_some()).await;
            // The burst may have been quicker.
            if watch.end.borrow().as_ref().unwrap().reason != EndReason::Completed {
                watch.ended(reason);
            }
            let late = started.task.get(None).await.unwrap_err();
            assert_eq!(late.kind(), FaultKind::Revoked);
        }
        settles(&bench.world.server).await;
    });
}

fn a_grant_that_expires_ends_its_streams_and_refuses_calls_in_flight(wire: Wire) {
    run(async {
        let bench = Bench::new().await.over(wire);
        let session = bench.world.session(BOB).await;
        let now = bench.world.server.service().clock().now();
        let grant = GrantPolicy {
            expires: Some(now.saturating_add(Duration::from_millis(300))),
            ..GrantPolicy::default()
        };
        let (narrow, _grant) = session.attenuate(&SessionPolicy { grant, ..SessionPolicy::default() });
        let watch = Watch::default();
        let started = narrow.send_streaming("stream 100 20ms", watch.clone());
        let waiting = narrow.send("stream 100 20ms");
        started.ready().await.unwrap();
        let (mut allowed, mut refused) = (0, 0);
        while refused < 20 {
            match started.task.get(Some(0)).await {
                Ok(_) => {
                    assert_eq!(refused, 0, "an expired grant came back");
                    allowed += 1;
                }
                Err(fault) => {
                    assert_eq!(fault.kind(), FaultKind::Revoked);
                    refused += 1;
                }
            }
        }
        assert!(allowed > 0);
        assert_eq!(soon("an answer", waiting).await.unwrap_err().kind(), FaultKind::Revoked);
        until("the last word", || watch.end.borrow().is_some()).await;
        watch.ended(EndReason::Revoked);
        let tasks = session.list_tasks(&ListTasksRequest::default()).await.unwrap().tasks;
        for task in tasks.iter().filter(|task| !task.is_finished()) {
            session.task(&task.id).cancel(None).await.unwrap();
        }
        drop((started, narrow, session, _grant));
        settles(&bench.world.server).await;
    });
}
