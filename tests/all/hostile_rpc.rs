//! Peers that speak RPC, and too much of it.

use std::time::Duration;

use a2a_webcap::limits::Limits;
use a2a_webcap::model::SubscribeToTaskRequest;
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::operations;
use capnp::traits::ImbueMut as _;

use crate::hostile_bench::Bench;
use crate::hostile_peer::{
    BINARY, CLOSE, Cap, Ended, FIN, OPERATIONS, Peer, SERVICE, SESSION, Target, frame, rpc, some_cap,
    write_call, write_target,
};
use crate::world::{BOB, soon};

const QUOTA: &str = "A2A -31429 QUOTA: ";
const OVERLOADED: &str = "A2A -31503 OVERLOADED: ";
const INVALID: &str = "A2A -32600 INVALID_REQUEST: ";

/// A peer with a session that works.
async fn bob(bench: &Bench) -> (Peer, Target) {
    let mut peer = bench.peer().await;
    let session = peer.authenticate(BOB).await;
    let Target::Answer(asked, _) = session else { unreachable!("it is pipelined") };
    assert!(peer.answer_to(asked).await.expect("an answer").answer().expect("it is one").1.is_ok());
    (peer, session)
}

#[tokio::test]
async fn a_flood_of_unanswered_calls_is_refused() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            for _ in 0..33 {
                peer.send_message(session, "stream 2 2s").await;
            }
            peer.ended().await.is(1008, OVERLOADED, "32 calls may be unanswered");
        })
        .await;
}

#[tokio::test]
async fn calls_that_hold_too_many_bytes_are_refused() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            let long = format!("stream 2 2s {}", "x".repeat(200 << 10));
            for _ in 0..6 {
                peer.send_message(session, &long).await;
            }
            peer.ended().await.is(1008, OVERLOADED, "1048576 bytes");
        })
        .await;
}

#[tokio::test]
async fn calls_that_are_given_up_unanswered_are_counted() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            for _ in 0..51 {
                let asked = peer.send_message(session, "stream 2 2s").await;
                peer.finish(asked).await;
            }
            peer.ended().await.is(1008, QUOTA, "50 calls were given up unanswered");
        })
        .await;
}

#[tokio::test]
async fn answers_that_are_never_finished_are_bounded() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            let (_, ended) = attenuates(&mut peer, session, None).await;
            ended.is(1008, QUOTA, "64 objects");

            // All of these answers hold one and the same object.
            let mut peer = bench.peer().await;
            for _ in 0..64 {
                let asked = peer.bootstrap().await;
                peer.answer_to(asked).await.expect("an answer");
            }
            peer.bootstrap().await;
            peer.ended().await.is(1008, QUOTA, "64 answers");
        })
        .await;
}

#[tokio::test]
async fn objects_that_are_never_released_are_bounded() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            // Each answer is finished, and what it brought is kept.
            let (kept, ended) = attenuates(&mut peer, session, Some(false)).await;
            assert!((28..=32).contains(&kept), "{kept} sessions, each with its grant");
            ended.is(1008, QUOTA, "64 objects");
            // And now everything is given back.
            let (mut peer, session) = bob(bench).await;
            for _ in 0..200 {
                let asked = peer.call(session, (SESSION, 3), &[], |_| {}).await;
                peer.answer_to(asked).await.expect("an answer");
                peer.finish(asked).await;
            }
        })
        .await;
}

/// Asks for narrower sessions until the server has had enough. Each call is finished, with its objects
/// released or not; or not finished.
async fn attenuates(peer: &mut Peer, session: Target, finish: Option<bool>) -> (usize, Ended) {
    for answers in 0..1_000 {
        let asked = peer.call(session, (SESSION, 3), &[], |_| {}).await;
        if let Err(ended) = peer.answer_to(asked).await {
            return (answers, ended);
        }
        if let Some(release) = finish {
            peer.send(|message| {
                let mut finish = message.init_finish();
                finish.set_question_id(asked);
                finish.set_release_result_caps(release);
            })
            .await;
        }
    }
    panic!("nothing bounds this")
}

#[tokio::test]
async fn objects_that_are_forced_upon_the_server_are_bounded() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            let caps: Vec<Cap> = (0..65).map(Cap::Mine).collect();
            peer.call(session, (SESSION, 1), &caps, |_| {}).await;
            peer.ended().await.is(1008, QUOTA, "64 objects");

            let (mut peer, session) = bob(bench).await;
            for observer in 0..65 {
                let asked = peer.send_streaming(session, "stream 2 100ms", observer).await;
                if peer.answer_to(asked).await.is_err() {
                    break;
                }
                peer.finish(asked).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_peer_that_calls_and_never_reads_is_dropped() {
    let quick = |limits: &mut Limits| {
        limits.wire.idle_timeout = Duration::from_secs(2);
        limits.wire.ping_interval = Duration::from_millis(500);
    };
    Bench::with(quick)
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            let mut calls = 0;
            // Until the server takes no more.
            while calls < 100_000 && peer.try_bytes(&list_tasks(1_000 + calls, session)) {
                calls += 1;
                if calls % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            bench_ended(bench).await;
        })
        .await;
}

/// A call whose answer is longer than itself, and the end of it, in one write.
fn list_tasks(id: u32, session: Target) -> Vec<u8> {
    let call = rpc(|message| write_call(message.init_call(), id, session, (OPERATIONS, 3), &[], |_| {}));
    frame(BINARY | FIN, &call)
}

/// Waits until one connection has ended, however that is called.
async fn bench_ended(bench: &Bench) {
    soon("the end of the connection", async {
        while bench.world.server.net_counters().closes().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_streams_and_never_reads_is_dropped() {
    let quick = |limits: &mut Limits| {
        limits.wire.idle_timeout = Duration::from_secs(2);
        limits.wire.ping_interval = Duration::from_millis(500);
    };
    Bench::with(quick)
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            for observer in 0..20 {
                peer.send_streaming(session, "burst 5000", observer).await;
            }
            bench.closed("silent", 1).await;
        })
        .await;
}

#[tokio::test]
async fn an_observer_that_never_answers_holds_up_only_its_own_stream() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            for observer in 0..20 {
                peer.send_streaming(session, "burst 2000", observer).await;
            }
            // It reads everything, and answers nothing: only its windows are filled.
            assert!(peer.is_open_for(Duration::from_millis(500)).await);
            let asked = peer.call(session, (SESSION, 1), &[], |_| {}).await;
            peer.answer_to(asked).await.expect("calls are answered all the same");
        })
        .await;
}

#[tokio::test]
async fn streams_whose_last_word_is_never_answered_are_bounded() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            let mut streams = 0;
            let ended = loop {
                // One and the same object again and again, which answers nothing.
                let asked = peer.send_streaming(session, "message hello", 7).await;
                match peer.answer_to(asked).await {
                    Ok(_) => peer.finish(asked).await,
                    Err(ended) => break ended,
                }
                streams += 1;
                assert!(streams < 5_000, "nothing bounds the server's own unanswered calls");
            };
            ended.is(1008, QUOTA, "228 calls on your objects are unanswered");
        })
        .await;
}

#[tokio::test]
async fn an_observer_that_throws_ends_its_stream_and_nothing_else() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            peer.send_streaming(session, "stream 50 1ms", 7).await;
            let mut calls = 0;
            let quiet = soon("the end of the stream", async {
                loop {
                    match tokio::time::timeout(Duration::from_millis(300), peer.receive()).await {
                        Ok(Ok(message)) => {
                            let Some(call) = message.call() else { continue };
                            calls += 1;
                            peer.send(|message| {
                                let mut ret = message.init_return();
                                ret.set_answer_id(call);
                                ret.init_exception().set_reason("no\n".repeat(10_000));
                            })
                            .await;
                        }
                        Ok(Err(ended)) => return Err(ended),
                        Err(_) => return Ok(()),
                    }
                }
            })
            .await;
            assert_eq!(quiet, Ok(()));
            assert!(calls < 50, "{calls} calls on an object that throws");
        })
        .await;
}

/// Messages that no honest peer sends after `Bootstrap` 0, and what each is refused with.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let call = |target, caps: &[Cap]| {
        rpc(|message| write_call(message.init_call(), 1, target, (SERVICE, 0), caps, |_| {}))
    };
    vec![
        ("an object that is not held", call(Target::Export(99), &[])),
        ("an object is given that is not held", call(Target::Answer(0, None), &[Cap::Yours(99)])),
        ("the id of one that is not over", rpc(|message| message.init_bootstrap().set_question_id(0))),
        ("finished that is not open", rpc(|message| message.init_finish().set_question_id(9))),
        ("does not wait for one", rpc(|message| message.init_return().set_answer_id(9))),
        (
            "released that is not held",
            rpc(|message| {
                let mut release = message.init_release();
                release.set_id(9);
                release.set_reference_count(1);
            }),
        ),
        (
            "resolved to nothing",
            rpc(|message| {
                let mut resolve = message.init_resolve();
                resolve.set_promise_id(9);
                resolve.init_cap().set_none(());
            }),
        ),
        (
            "lifted that does not stand",
            rpc(|message| {
                let mut disembargo = message.init_disembargo();
                disembargo.reborrow().init_target().init_promised_answer().set_question_id(0);
                disembargo.init_context().set_receiver_loopback(9);
            }),
        ),
        (
            "third parties",
            rpc(|message| {
                let mut disembargo = message.init_disembargo();
                disembargo.reborrow().init_target().init_promised_answer().set_question_id(0);
                disembargo.init_context().set_accept(());
            }),
        ),
        (
            "third part",
            rpc(|message| {
                let mut call = message.init_call();
                call.set_question_id(1);
                call.reborrow().init_target().init_promised_answer().set_question_id(0);
                call.init_params().init_cap_table(1).get(0).init_third_party_hosted();
            }),
        ),
        (
            "third party",
            rpc(|message| {
                let mut call = message.init_call();
                call.set_question_id(1);
                call.reborrow().init_target().init_promised_answer().set_question_id(0);
                call.get_send_results_to().init_third_party();
            }),
        ),
        (
            "too many pointers",
            rpc(|message| {
                let mut call = message.init_call();
                call.set_question_id(1);
                let mut answer = call.init_target().init_promised_answer();
                answer.set_question_id(0);
                answer.init_transform(65);
            }),
        ),
    ]
}

#[tokio::test]
async fn what_no_honest_peer_says_is_refused_by_name() {
    Bench::new()
        .await
        .withstands(async |bench| {
            for (text, lie) in lies() {
                let mut peer = bench.peer().await;
                peer.bootstrap().await;
                peer.frame(&lie).await;
                peer.ended().await.is(1002, INVALID, text);
            }
        })
        .await;
}

#[tokio::test]
async fn an_abort_ends_the_connection_in_peace() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let (mut peer, session) = bob(bench).await;
            peer.send_streaming(session, "stream 50 1ms", 7).await;
            peer.send(|message| message.init_abort().set_reason("enough\n".repeat(1_000))).await;
            let ended = peer.ended().await;
            assert_eq!((ended.code, ended.abort), (1000, None));
            bench.closed("peer_aborted", 1).await;
        })
        .await;
}

#[tokio::test]
async fn a_close_in_the_midst_of_everything_leaves_nothing_behind() {
    Bench::new()
        .await
        .withstands(async |bench| {
            for _ in 0..20 {
                let (mut peer, session) = bob(bench).await;
                peer.send_streaming(session, "stream 20 5ms", 1).await;
                peer.send_message(session, "stream 2 50ms").await;
                peer.bytes(&frame(CLOSE | FIN, &1000_u16.to_be_bytes())).await;
                peer.frame(&[0; 16]).await;
                assert_eq!(peer.ended().await.code, 1000);
            }
        })
        .await;
}

/// A subscription that carries promise 2, whose results go here or stay there; then the promise becomes the
/// answer.
async fn circle(peer: &mut Peer, session: Target, yourself: bool) {
    let id = peer.question();
    peer.send(|message| {
        let mut call = message.init_call();
        call.set_question_id(id);
        call.set_interface_id(OPERATIONS);
        call.set_method_id(5);
        write_target(call.reborrow().init_target(), session);
        if yourself {
            call.reborrow().get_send_results_to().set_yourself(());
        }
        let mut payload = call.init_params();
        payload.reborrow().init_cap_table(1).get(0).set_sender_promise(2);
        let mut hooks = Vec::new();
        let mut content = payload.reborrow().get_content();
        content.imbue_mut(&mut hooks);
        let mut params = content.init_as::<operations::subscribe_to_task_params::Builder<'_>>();
        SubscribeToTaskRequest::new("nothing").encode(params.reborrow().init_request());
        params.set_observer(some_cap());
    })
    .await;
    peer.send(|message| {
        let mut resolve = message.init_resolve();
        resolve.set_promise_id(2);
        let mut answer = resolve.init_cap().init_receiver_answer();
        answer.set_question_id(id);
        answer.init_transform(1).get(0).set_get_pointer_field(0);
    })
    .await;
}

#[tokio::test]
async fn a_promise_that_becomes_the_answer_of_the_call_that_carried_it_is_refused() {
    for yourself in [false, true] {
        Bench::new()
            .await
            .withstands(async |bench| {
                let (mut peer, session) = bob(bench).await;
                circle(&mut peer, session, yourself).await;
                peer.ended().await.is(1002, INVALID, "object of its sender's own");
            })
            .await;
    }
}
