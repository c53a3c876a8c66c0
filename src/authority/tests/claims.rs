//! Sharing and claiming.

use super::*;
use crate::authority::claims::opens_nothing;

fn observe() -> Policy {
    Policy::for_task("t", Role::Observe)
}

fn share(world: &World) -> Share {
    world.authority.share(&world.root, &observe(), after(60)).unwrap()
}

#[test]
fn a_secret_opens_what_was_shared_once() {
    let world = World::new();
    let share = share(&world);
    assert_eq!(world.authority.counters().claims, 1);
    let claimed = world.authority.claim(share.secret.expose(), NOW).unwrap();
    assert!(Arc::ptr_eq(&claimed.grant, &share.grant));
    assert!(allows(&claimed.grant, Permission::Read) && !allows(&claimed.grant, Permission::Send));
    assert_eq!(claimed.grant.owner_key(), world.root.owner_key(), "it is the sharer's authority");
    assert_eq!(world.authority.claim(share.secret.expose(), NOW).unwrap_err(), opens_nothing());
    drop((share, claimed));
    world.expect_nothing_left();
}

#[test]
fn wrong_used_expired_and_revoked_secrets_get_the_same_answer_byte_for_byte() {
    let world = World::new();
    let [used, expired, taken_back] = [(); 3].map(|()| share(&world));
    world.authority.claim(used.secret.expose(), NOW).unwrap();
    taken_back.grant.end(&revoked("alice", None));
    let never = ShareSecret::generate().unwrap();
    let cases = [
        (never.expose(), NOW),
        ("", NOW),
        (&"x".repeat(1 << 20), NOW),
        (used.secret.expose(), NOW),
        (taken_back.secret.expose(), NOW),
        (expired.secret.expose(), after(60)),
    ];
    for (secret, now) in cases {
        let fault = world.authority.claim(secret, now).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unauthenticated);
        assert_eq!(format!("{fault:?}"), format!("{:?}", opens_nothing()));
    }
}

#[test]
fn ending_the_sharers_grant_kills_the_unclaimed_secret_and_what_was_claimed() {
    let world = World::new();
    let (unclaimed, taken) = (share(&world), share(&world));
    let claimed = world.authority.claim(taken.secret.expose(), NOW).unwrap();
    world.root.end(&EndCause::Closed);
    assert_eq!(world.authority.counters().claims, 0);
    assert_eq!(world.authority.claim(unclaimed.secret.expose(), NOW).unwrap_err(), opens_nothing());
    assert_eq!(claimed.grant.end_cause(), Some(EndCause::Closed));
}

#[test]
fn sharing_needs_the_permission_to_share_and_a_time_to_come() {
    let world = World::new();
    let control = world.root.derive(&Policy::for_task("t", Role::Control)).unwrap();
    let fault = world.authority.share(&control, &observe(), after(60)).unwrap_err();
    assert_eq!((fault.kind(), fault.metadata()["permission"].as_str()), (FaultKind::Forbidden, "share"));
    let fault = world.authority.share(&world.root, &observe(), NOW).unwrap_err();
    assert_eq!(fault.violations()[0].field, "expires");
    assert_eq!(world.authority.counters().claims, 0);
}

#[test]
fn of_many_who_claim_at_once_exactly_one_gets_it() {
    let world = World::new();
    for _ in 0..50 {
        let share = share(&world);
        let (start, secret) = (std::sync::Barrier::new(8), share.secret.expose());
        let wins = std::thread::scope(|scope| {
            let claim = || {
                start.wait();
                world.authority.claim(secret, NOW).is_ok()
            };
            let claims: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1);
    }
    world.expect_nothing_left();
}

#[test]
fn unclaimed_secrets_are_bounded_and_the_expired_and_revoked_free_their_place() {
    let world = World::with(EngineLimits { grants_per_principal: 2, ..EngineLimits::default() });
    drop(world.authority.share(&world.root, &observe(), after(10)).unwrap());
    let second = world.authority.share(&world.root, &observe(), after(20)).unwrap();
    let again = |world: &World| world.authority.share(&world.root, &observe(), after(90)).map(drop);
    assert_eq!(again(&world).unwrap_err().kind(), FaultKind::Quota);
    world.clock.set(after(10));
    assert_eq!(again(&world), Ok(()), "the first can no longer be claimed");
    assert_eq!(again(&world).unwrap_err().kind(), FaultKind::Quota);
    drop(second.grant.revoker());
    drop(second);
    assert_eq!(again(&world), Ok(()), "the second was revoked");
}

#[test]
fn an_unclaimed_grant_lives_without_anybody_holding_it() {
    let world = World::new();
    let secret = share(&world).secret;
    assert_eq!((world.authority.counters().grants, world.authority.counters().claims), (2, 1));
    assert!(world.authority.claim(secret.expose(), NOW).is_ok());
}

#[test]
fn an_authority_with_unclaimed_secrets_goes_when_it_is_dropped() {
    let world = World::new();
    let share = share(&world);
    let grant = Arc::downgrade(&share.grant);
    drop((share, world));
    assert!(grant.upgrade().is_none());
}

#[test]
fn debug_output_of_a_share_does_not_contain_the_secret() {
    let world = World::new();
    let share = share(&world);
    assert!(!format!("{share:?}").contains(share.secret.expose()));
}
