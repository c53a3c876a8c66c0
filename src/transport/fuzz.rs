//! RPC messages at random, with ids that are often live: whatever comes, nothing panics or hangs, and
//! the next connection works.

use bytes::Bytes;
use capnp::traits::ImbueMut;
use capnp_rpc::rpc_capnp::{cap_descriptor, message_target, payload};
use futures::SinkExt;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::Message;

use super::message::Frame;
use super::testing::{BENCH, RawPeer, envelope, local, pair, serve, settle};
use super::testing::{Method, call};
use super::{CloseReason, Counters};
use crate::limits::WireLimits;

#[derive(Clone, Debug)]
enum Target {
    Export(u32),
    Answer(u32, Vec<Option<u16>>),
}

#[derive(Clone, Debug)]
enum Cap {
    None,
    Hosted(u32),
    Promise(u32),
    Export(u32),
    Answer(u32),
}

#[derive(Clone, Debug)]
enum Step {
    Bootstrap,
    Call {
        target: Target,
        method: u16,
        caps: Vec<Cap>,
        yourself: bool,
    },
    CallWithId {
        id: u32,
        target: Target,
        method: u16,
    },
    Return {
        id: u32,
        kind: u8,
        caps: Vec<Cap>,
        flags: u8,
    },
    Finish {
        id: u32,
        release: bool,
    },
    Release {
        id: u32,
        count: u32,
    },
    Resolve {
        id: u32,
        cap: Option<Cap>,
    },
    Disembargo {
        lift: bool,
        id: u32,
        target: Target,
    },
    Unimplemented {
        cap: Cap,
    },
    /// Lets the other side work through what it has.
    Pause,
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 0..4u32, 5 => 0..12u32, 1 => any::<u32>()]
}

fn target() -> impl Strategy<Value = Target> {
    let transform = prop::collection::vec(prop::option::of(0..2u16), 0..2);
    prop_oneof![
        id().prop_map(Target::Export),
        (id(), transform).prop_map(|(id, ops)| Target::Answer(id, ops))
    ]
}

fn cap() -> impl Strategy<Value = Cap> {
    prop_oneof![
        1 => Just(Cap::None),
        4 => id().prop_map(Cap::Hosted),
        6 => id().prop_map(Cap::Promise),
        4 => id().prop_map(Cap::Export),
        3 => id().prop_map(Cap::Answer),
    ]
}

fn caps() -> impl Strategy<Value = Vec<Cap>> {
    prop_oneof![prop::collection::vec(cap(), 1), prop::collection::vec(cap(), 0..3)]
}

fn step() -> impl Strategy<Value = Step> {
    let method = 0..10u16;
    let yourself = prop::bool::weighted(0.1);
    let calls = (target(), method.clone(), caps(), yourself);
    prop_oneof![
        2 => Just(Step::Bootstrap),
        12 => calls.prop_map(|(target, method, caps, yourself)| Step::Call { target, method, caps, yourself }),
        1 => (id(), target(), method).prop_map(|(id, target, method)| Step::CallWithId { id, target, method }),
        4 => (id(), 0..6u8, caps(), any::<u8>())
            .prop_map(|(id, kind, caps, flags)| Step::Return { id, kind, caps, flags }),
        4 => (id(), any::<bool>()).prop_map(|(id, release)| Step::Finish { id, release }),
        2 => (id(), 0..3u32).prop_map(|(id, count)| Step::Release { id, count }),
        5 => (id(), prop::option::weighted(0.9, cap())).prop_map(|(id, cap)| Step::Resolve { id, cap }),
        1 => (prop::bool::weighted(0.7), id(), target())
            .prop_map(|(lift, id, target)| Step::Disembargo { lift, id, target }),
        1 => cap().prop_map(|cap| Step::Unimplemented { cap }),
        6 => Just(Step::Pause),
    ]
}

fn write_target(builder: message_target::Builder<'_>, target: &Target) {
    let mut builder = builder;
    match target {
        Target::Export(id) => builder.set_imported_cap(*id),
        Target::Answer(id, ops) => {
            let mut answer = builder.init_promised_answer();
            answer.set_question_id(*id);
            let mut transform = answer.init_transform(ops.len() as u32);
            for (index, op) in ops.iter().enumerate() {
                if let Some(field) = op {
                    transform.reborrow().get(index as u32).set_get_pointer_field(*field);
                }
            }
        }
    }
}

fn write_cap(builder: cap_descriptor::Builder<'_>, cap: &Cap) {
    let mut builder = builder;
    match cap {
        Cap::None => builder.set_none(()),
        Cap::Hosted(id) => builder.set_sender_hosted(*id),
        Cap::Promise(id) => builder.set_sender_promise(*id),
        Cap::Export(id) => builder.set_receiver_hosted(*id),
        Cap::Answer(id) => builder.init_receiver_answer().set_question_id(*id),
    }
}

/// The content is a pointer to entry 0, where there is one.
fn write_payload(mut builder: payload::Builder<'_>, caps: &[Cap]) {
    let mut table = builder.reborrow().init_cap_table(caps.len() as u32);
    for (index, cap) in caps.iter().enumerate() {
        write_cap(table.reborrow().get(index as u32), cap);
    }
    let mut content = builder.get_content();
    if caps.is_empty() {
        content.set_as::<capnp::data::Owned>(&3u64.to_le_bytes()[..]).expect("data");
    } else {
        let mut index = Vec::new();
        let mut content = content.reborrow();
        content.imbue_mut(&mut index);
        content.set_as_capability(
            capnp_rpc::new_future_client::<capnp::capability::Client>(std::future::pending()).hook,
        );
    }
}

impl Step {
    /// The message; `fresh` is the next id for a call that has none.
    fn message(&self, fresh: &mut u32) -> Option<Bytes> {
        let mut new_id = || {
            *fresh += 1;
            *fresh - 1
        };
        Some(match self {
            Step::Pause => return None,
            Step::Bootstrap => envelope(|root| root.init_bootstrap().set_question_id(new_id())),
            Step::Call { target, method, caps, yourself } => envelope(|root| {
                let mut call = root.init_call();
                call.set_question_id(new_id());
                call.set_interface_id(BENCH);
                call.set_method_id(*method);
                write_target(call.reborrow().init_target(), target);
                write_payload(call.reborrow().init_params(), caps);
                if *yourself {
                    call.init_send_results_to().set_yourself(());
                }
            }),
            Step::CallWithId { id, target, method } => envelope(|root| {
                let mut call = root.init_call();
                call.set_question_id(*id);
                call.set_interface_id(BENCH);
                call.set_method_id(*method);
                write_target(call.init_target(), target);
            }),
            Step::Return { id, kind, caps, flags } => envelope(|root| {
                let mut ret = root.init_return();
                ret.set_answer_id(*id);
                ret.set_release_param_caps(flags & 1 != 0);
                ret.set_no_finish_needed(flags & 6 == 6);
                match kind {
                    0 => ret.init_exception().set_reason("no"),
                    1 if flags & 8 != 0 => ret.set_canceled(()),
                    2 if flags & 8 != 0 => ret.set_results_sent_elsewhere(()),
                    3 => ret.set_take_from_other_question(u32::from(flags >> 4)),
                    _ => write_payload(ret.init_results(), caps),
                }
            }),
            Step::Finish { id, release } => envelope(|root| {
                let mut finish = root.init_finish();
                finish.set_question_id(*id);
                finish.set_release_result_caps(*release);
            }),
            Step::Release { id, count } => envelope(|root| {
                let mut release = root.init_release();
                release.set_id(*id);
                release.set_reference_count(*count);
            }),
            Step::Resolve { id, cap } => envelope(|root| {
                let mut resolve = root.init_resolve();
                resolve.set_promise_id(*id);
                match cap {
                    Some(cap) => write_cap(resolve.init_cap(), cap),
                    None => resolve.init_exception().set_reason("no"),
                }
            }),
            Step::Disembargo { lift, id, target } => envelope(|root| {
                let mut disembargo = root.init_disembargo();
                match lift {
                    true => disembargo.reborrow().init_context().set_receiver_loopback(*id),
                    false => disembargo.reborrow().init_context().set_sender_loopback(*id),
                }
                write_target(disembargo.init_target(), target);
            }),
            Step::Unimplemented { cap } => envelope(|root| {
                write_cap(root.init_unimplemented().init_resolve().init_cap(), cap);
            }),
        })
    }
}

/// Plays the steps to a server and says how it ended. Before step `lawless`, a step that the ledger
/// would refuse is left out, so that the session goes deep; from there on, anything goes.
async fn play(steps: &[Step], lawless: usize) -> CloseReason {
    let limits = WireLimits::default();
    let (served, line) = serve(&limits).await;
    let mut peer = RawPeer::new(line).await;
    let mut fresh = 0;
    let mut expected = served.handle.ledger().borrow().clone();
    for (index, step) in std::iter::once(&Step::Bootstrap).chain(steps).enumerate() {
        let Some(message) = step.message(&mut fresh) else {
            let _ = peer.0.flush().await;
            settle().await;
            expected = served.handle.ledger().borrow().clone();
            continue;
        };
        let mut next = expected.clone();
        let frame = Frame::read(&message, &limits).expect("well formed");
        if next.received(&frame).is_ok() {
            expected = next;
        } else if index < lawless {
            continue;
        }
        // A connection that is already closed is no error here.
        let _ = peer.0.feed(Message::Binary(message)).await;
    }
    let _ = peer.0.flush().await;
    settle().await;
    drop(peer);
    let reason = served.ended.await.expect("no panic gets out");
    let Counters { queued_bytes, .. } = served.handle.counters();
    assert_eq!(queued_bytes, 0);
    reason
}

// More with PROPTEST_CASES.
proptest! {
    #[test]
    fn no_sequence_of_messages_makes_the_server_panic_or_hang(
        steps in prop::collection::vec(step(), 1..60), lawless in 0..80usize
    ) {
        // `Panic` is a defect by order: here only the others are looked for.
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|step| !matches!(step, Step::Call { method, .. } | Step::CallWithId { method, .. }
                if *method == Method::Panic as u16))
            .collect();
        local(true, async {
            assert_ne!(play(&steps, lawless).await, CloseReason::Panicked);
            let other = pair(&WireLimits::default()).await;
            assert_eq!(call(&other.object, Method::Echo, b"fine").await.expect("an answer"), b"fine");
        });
    }
}
