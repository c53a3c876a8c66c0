//! Tests of the grants as a whole: what each rule promises. The random and the racing ones stand beside.

mod claims;
mod model;
mod race;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::fault::FaultKind;

/// An authority with a clock that stands, and a grant of alice's that may do everything.
struct World {
    authority: Arc<Authority>,
    clock: Clock,
    root: Arc<Grant>,
}

const NOW: Timestamp = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);

fn after(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn identity(subject: &str) -> Identity {
    Identity::of(Arc::new(Principal::new(Principal::DEFAULT_REALM, subject).unwrap()))
}

impl World {
    fn new() -> Self {
        Self::with(EngineLimits::default())
    }

    fn with(limits: EngineLimits) -> Self {
        let clock = Clock::standing_at(NOW);
        let authority = Authority::new(limits, clock.clone());
        let root = authority.root(&identity("alice"), Scope::agent(""));
        Self { authority, clock, root }
    }

    /// Lets go of the root and expects that nothing at all is left.
    fn expect_nothing_left(self) {
        drop(self.root);
        assert_eq!(self.authority.counters(), Counters::default());
    }
}

fn labelled(label: &str) -> Policy {
    Policy { label: Some(label.into()), ..Policy::default() }
}

fn revoked(by: &str, label: Option<&str>) -> EndCause {
    EndCause::Revoked { by: by.into(), label: label.map(Arc::from) }
}

fn allows(grant: &Arc<Grant>, permission: Permission) -> bool {
    grant.check(permission, NOW).is_ok()
}

fn refusal(grant: &Arc<Grant>, permission: Permission) -> Fault {
    grant.check(permission, NOW).unwrap_err()
}

#[test]
fn grants_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<(Authority, Grant, Pass, StreamPass, Revoker, Share)>();
}

#[test]
fn a_root_grant_allows_what_the_credential_allows_until_it_expires() {
    let world = World::new();
    let identity = identity("bob").allowed(Permissions::READ_ONLY).until(after(60));
    let grant = world.authority.root(&identity, Scope::agent("tenant"));
    assert!(allows(&grant, Permission::Read) && !allows(&grant, Permission::Send));
    assert_eq!((grant.expires(), &**grant.scope().tenant()), (Some(after(60)), "tenant"));
}

#[test]
fn a_missing_permission_is_named() {
    let world = World::new();
    let reader = world.root.derive(&Policy { read_only: true, ..Policy::default() }).unwrap();
    let fault = refusal(&reader, Permission::Send);
    assert_eq!((fault.kind(), fault.metadata()["permission"].as_str()), (FaultKind::Forbidden, "send"));
    assert_eq!(world.authority.counters().calls, 0, "a refused call is not starting");
}

#[test]
fn a_derived_grant_keeps_the_restrictions_of_all_above_it() {
    let world = World::new();
    let context = Policy { context: Some("c".into()), expires: Some(after(10)), ..Policy::default() };
    let task = Policy { expires: Some(after(20)), ..Policy::for_task("t", Role::Answer) };
    let grant = world.root.derive(&context).unwrap().derive(&task).unwrap();
    assert_eq!(grant.permissions(), Permissions::of(&[Permission::Read, Permission::Answer]));
    assert_eq!((grant.scope().context(), grant.scope().task()), (Some(&"c".into()), Some(&"t".into())));
    assert_eq!(grant.expires(), Some(after(10)), "not beyond the parent's end");
}

#[test]
fn what_the_parent_lacks_cannot_be_derived() {
    let world = World::new();
    let one = world.root.derive(&Policy::for_task("t", Role::Control)).unwrap();
    let asked = [
        Policy::for_task("t", Role::Owner),
        Policy::for_task("u", Role::Observe),
        Policy { permissions: Some(Permissions::ALL), read_only: true, ..Policy::default() },
    ];
    for policy in asked {
        assert_eq!(one.derive(&policy).unwrap_err().kind(), FaultKind::Forbidden, "{policy:?}");
    }
    assert_eq!(world.authority.counters().grants, 2);
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_by_its_field() {
    let world = World::new();
    let cancel = Some(Permissions::of(&[Permission::Cancel]));
    let cases = [
        (Policy { permissions: Some(Permissions::NONE), ..Policy::default() }, "permissions"),
        (Policy { permissions: cancel, read_only: true, ..Policy::default() }, "permissions"),
        (Policy { expires: Some(NOW), ..Policy::default() }, "expires"),
        (labelled(""), "label"),
        (labelled("two\nlines"), "label"),
        (labelled(&"x".repeat(513)), "label"),
        (Policy::for_task("", Role::Observe), "task"),
        (Policy { context: Some("".into()), ..Policy::default() }, "context"),
    ];
    for (policy, field) in cases {
        let fault = world.root.derive(&policy).unwrap_err();
        assert_eq!(fault.violations()[0].field, field, "{policy:?}");
    }
    world.expect_nothing_left();
}

#[test]
fn revoking_ends_everything_below_at_once_and_nothing_beside() {
    let world = World::new();
    let (middle, beside) =
        (world.root.derive(&labelled("m")).unwrap(), world.root.derive(&labelled("b")).unwrap());
    let leaf = middle.derive(&labelled("l")).unwrap();
    drop(middle.revoke(revoked("bob", Some("m"))));
    for ended in [&middle, &leaf] {
        let fault = refusal(ended, Permission::Read);
        assert_eq!(fault.kind(), FaultKind::Revoked);
        assert_eq!(fault.message(), "this capability (m) was revoked by bob: ask for a new one");
        assert_eq!(ended.stream().unwrap_err(), fault);
        assert_eq!(ended.derive(&Policy::default()).unwrap_err(), fault);
    }
    assert!(allows(&world.root, Permission::Send) && allows(&beside, Permission::Send));
}

#[test]
fn a_revoked_grant_says_revoked_even_for_what_it_never_allowed() {
    let world = World::new();
    let reader = world.root.derive(&Policy { read_only: true, ..Policy::default() }).unwrap();
    reader.end(&EndCause::Closed);
    assert_eq!(refusal(&reader, Permission::Send).kind(), FaultKind::Revoked);
}

#[test]
fn a_revoke_is_answered_after_the_last_call_and_stream_below() {
    let world = World::new();
    let leaf = world.root.derive(&Policy::default()).unwrap().derive(&Policy::default()).unwrap();
    let (pass, stream) = (leaf.check(Permission::Send, NOW).unwrap(), leaf.stream().unwrap());
    assert_eq!((world.authority.counters().calls, world.authority.counters().streams), (1, 1));

    let mut answer = Box::pin(world.root.revoke(EndCause::Closed));
    assert_eq!(answer.as_mut().now_or_never(), None);
    drop(pass);
    assert_eq!(answer.as_mut().now_or_never(), None);
    drop(stream);
    assert_eq!(answer.as_mut().now_or_never(), Some(()));
}

#[test]
fn a_second_revoke_waits_too_and_the_first_cause_stays() {
    let world = World::new();
    let leaf = world.root.derive(&Policy::default()).unwrap();
    let pass = leaf.check(Permission::Send, NOW).unwrap();
    let mut first = Box::pin(world.root.revoke(revoked("bob", None)));
    let mut second = Box::pin(world.root.revoke(revoked("carol", None)));
    assert_eq!((first.as_mut().now_or_never(), second.as_mut().now_or_never()), (None, None));
    drop(pass);
    assert_eq!((second.now_or_never(), first.now_or_never()), (Some(()), Some(())));
    assert_eq!(leaf.end_cause(), Some(revoked("bob", None)));
}

#[test]
fn a_revoke_does_not_wait_for_calls_above_or_beside() {
    let world = World::new();
    let (one, other) =
        (world.root.derive(&Policy::default()).unwrap(), world.root.derive(&Policy::default()).unwrap());
    let _above = world.root.check(Permission::Send, NOW).unwrap();
    let _beside = other.stream().unwrap();
    assert_eq!(one.revoke(EndCause::Closed).now_or_never(), Some(()));
}

#[test]
fn an_expired_grant_stays_so_when_the_clock_is_set_back() {
    let world = World::new();
    let grant = world.root.derive(&Policy { expires: Some(after(10)), ..Policy::default() }).unwrap();
    let child = grant.derive(&Policy::default()).unwrap();
    assert!(grant.check(Permission::Read, after(9)).is_ok());
    let fault = grant.check(Permission::Read, after(10)).unwrap_err();
    assert_eq!((fault.kind(), fault.metadata()["cause"].as_str()), (FaultKind::Revoked, "expired"));
    assert_eq!(grant.check(Permission::Read, NOW).unwrap_err(), fault);
    assert_eq!(child.end_cause(), Some(EndCause::Expired));
    assert!(!world.root.is_ended());
}

#[test]
fn a_grant_that_was_over_before_it_was_revoked_says_expired() {
    let world = World::new();
    let child = world.root.derive(&Policy { expires: Some(after(10)), ..Policy::default() }).unwrap();
    world.clock.set(after(10));
    world.root.end(&revoked("bob", None));
    assert_eq!(child.end_cause(), Some(EndCause::Expired));
    assert_eq!(world.root.end_cause(), Some(revoked("bob", None)));
}

#[tokio::test]
async fn whoever_waits_for_the_end_of_a_derived_grant_learns_of_a_revoke_far_above() {
    let world = World::new();
    let leaf = world.root.derive(&Policy::default()).unwrap().derive(&Policy::default()).unwrap();
    let stream = leaf.stream().unwrap();
    let waiting = tokio::spawn(async move { (stream.ended().await, stream) });
    tokio::task::yield_now().await;
    let answer = world.root.revoke(revoked("bob", Some("all")));
    let (cause, stream) = waiting.await.unwrap();
    assert_eq!(cause, revoked("bob", Some("all")));
    drop(stream);
    answer.await;
    assert_eq!(leaf.ended().now_or_never(), Some(revoked("bob", Some("all"))), "also for who asks late");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_learns_of_the_expiry_when_it_is_due() {
    let world = World::new();
    let grant = world.root.derive(&Policy { expires: Some(after(3_600)), ..Policy::default() }).unwrap();
    let begin = tokio::time::Instant::now();
    assert_eq!(grant.ended().await, EndCause::Expired);
    assert_eq!(begin.elapsed().as_secs(), 3_600);
    assert!(!allows(&grant, Permission::Read), "though the wall clock stands");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_ends_a_wait_for_the_expiry_within_a_minute() {
    let world = World::new();
    let grant = world.root.derive(&Policy { expires: Some(after(3_600)), ..Policy::default() }).unwrap();
    let begin = tokio::time::Instant::now();
    let waiting = tokio::spawn(grant.ended());
    tokio::task::yield_now().await;
    world.clock.set(after(3_600));
    assert_eq!(waiting.await.unwrap(), EndCause::Expired);
    assert!(begin.elapsed() <= Duration::from_secs(61), "{:?}", begin.elapsed());
}

#[test]
fn a_wait_without_an_expiry_needs_no_timer() {
    let world = World::new();
    let mut ended = Box::pin(world.root.ended());
    assert_eq!(ended.as_mut().now_or_never(), None, "polled outside of any runtime");
    world.root.end(&EndCause::Closed);
    assert_eq!(ended.now_or_never(), Some(EndCause::Closed));
}

#[test]
fn dropping_the_revoker_revokes_unless_the_policy_says_no() {
    let world = World::new();
    let kept = world.root.derive(&Policy { revoke_on_drop: false, ..Policy::default() }).unwrap();
    let taken = world.root.derive(&labelled("lent")).unwrap();
    drop((kept.revoker(), taken.revoker()));
    assert_eq!(kept.end_cause(), None);
    assert_eq!(taken.end_cause(), Some(revoked("alice", Some("lent"))));
}

#[test]
fn a_revoker_revokes_in_the_name_of_its_holder() {
    let world = World::new();
    let grant = world.root.derive(&labelled("lent")).unwrap();
    let revoker = grant.revoker();
    assert_eq!(revoker.revoke(&"bob".into()).now_or_never(), Some(()));
    drop(revoker);
    assert_eq!(grant.end_cause(), Some(revoked("bob", Some("lent"))));
}

#[test]
fn a_grant_lives_as_long_as_what_was_derived_from_it_and_then_leaves_no_trace() {
    let world = World::new();
    let middle = world.root.derive(&Policy::default()).unwrap();
    let leaf = middle.derive(&Policy::default()).unwrap();
    drop(middle);
    assert!(allows(&leaf, Permission::Read), "dropping the middle of a chain takes nothing away");
    assert_eq!((world.authority.counters().grants, world.root.children()), (3, 1));
    drop(leaf);
    assert_eq!((world.authority.counters().grants, world.root.children()), (1, 0));
    world.expect_nothing_left();
}

#[test]
fn one_derived_grant_too_many_is_refused_until_one_is_dropped() {
    let world = World::with(EngineLimits { grants_per_principal: 2, ..EngineLimits::default() });
    let first = world.root.derive(&Policy::default()).unwrap();
    let second = first.derive(&Policy::default()).unwrap();
    let fault = world.root.derive(&Policy::default()).unwrap_err();
    assert_eq!((fault.kind(), fault.metadata()["limit"].as_str()), (FaultKind::Quota, "2"));

    let bobs = world.authority.root(&identity("bob"), Scope::agent(""));
    assert!(bobs.derive(&Policy::default()).is_ok(), "each principal has a bound of its own");
    drop(second);
    assert!(world.root.derive(&Policy::default()).is_ok());
}

#[test]
fn a_tree_has_a_depth_beyond_which_nothing_is_derived() {
    let world = World::with(EngineLimits { grant_depth: 3, ..EngineLimits::default() });
    let mut grant = Arc::clone(&world.root);
    for _ in 0..3 {
        grant = grant.derive(&Policy::default()).unwrap();
    }
    assert_eq!(grant.derive(&Policy::default()).unwrap_err().kind(), FaultKind::Quota);
}

#[test]
fn the_list_shows_a_principals_living_grants_and_nobody_elses() {
    let world = World::new();
    let _bobs = world.authority.root(&identity("bob"), Scope::agent(""));
    let (lent, taken) =
        (world.root.derive(&labelled("lent")).unwrap(), world.root.derive(&labelled("taken")).unwrap());
    taken.end(&EndCause::Closed);
    let list = world.authority.list(world.root.principal());
    assert_eq!(list.len(), 2);
    let shown = list.iter().find(|info| info.id == lent.id()).unwrap();
    assert_eq!(
        (shown.parent, shown.label.as_deref(), shown.created),
        (Some(world.root.id()), Some("lent"), NOW)
    );
}

/// An audit that keeps everything.
#[derive(Default)]
struct Record(Mutex<Vec<AuditEntry>>);

impl Audit for Record {
    fn record(&self, entry: AuditEntry) {
        lock(&self.0).push(entry);
    }
}

#[test]
fn the_audit_numbers_checks_before_the_answer_that_waited_for_them() {
    let record = Arc::new(Record::default());
    let audit = Arc::clone(&record) as Arc<dyn Audit>;
    let authority = Authority::audited(EngineLimits::default(), Clock::standing_at(NOW), audit);
    let root = authority.root(&identity("alice"), Scope::agent(""));
    let pass = root.check(Permission::Send, NOW).unwrap();
    let mut answer = Box::pin(root.revoke(EndCause::Closed));
    assert_eq!(answer.as_mut().now_or_never(), None);
    let _ = root.check(Permission::Read, NOW);
    drop(pass);
    assert_eq!(answer.as_mut().now_or_never(), Some(()));

    let checked = |permission, allowed| AuditEvent::Checked { permission, allowed };
    let expected = [
        checked(Permission::Send, true),
        AuditEvent::Revoked,
        checked(Permission::Read, false),
        AuditEvent::RevokeAnswered,
    ];
    let entries = lock(&record.0).clone();
    assert_eq!(entries.iter().map(|entry| entry.event).collect::<Vec<_>>(), expected);
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(entries.iter().all(|entry| entry.grant == root.id()));
}

/// Any policy, sensible or not.
fn any_policy() -> impl Strategy<Value = Policy> {
    let permissions = proptest::option::of(proptest::sample::subsequence(Permission::ALL.to_vec(), 0..=8));
    let name = || proptest::option::of(proptest::sample::select(vec!["x", "y"]));
    let expires = proptest::option::of(0..100u64);
    (permissions, any::<bool>(), name(), name(), expires).prop_map(
        |(permissions, read_only, context, task, expires)| Policy {
            permissions: permissions.map(|list| list.into_iter().collect()),
            read_only,
            context: context.map(Arc::from),
            task: task.map(Arc::from),
            expires: expires.map(after),
            ..Policy::default()
        },
    )
}

proptest! {
    #[test]
    fn deriving_never_widens(policies in proptest::collection::vec(any_policy(), 1..12)) {
        let world = World::new();
        let mut line = vec![Arc::clone(&world.root)];
        for policy in &policies {
            let parent = line.last().unwrap();
            let Ok(child) = parent.derive(policy) else { continue };
            for above in &line {
                prop_assert!(child.permissions().is_subset_of(above.permissions()));
                prop_assert!(child.scope().is_within(above.scope()));
                let end = |grant: &Grant| grant.expires().unwrap_or(Timestamp::from_unix_nanos(i64::MAX));
                prop_assert!(end(&child) <= end(above));
                for permission in Permission::ALL {
                    prop_assert!(!allows(&child, permission) || allows(above, permission));
                }
            }
            if policy.read_only {
                prop_assert!(child.permissions().is_subset_of(Permissions::READ_ONLY));
            }
            line.push(child);
        }
        drop(line);
        world.expect_nothing_left();
    }
}
