//! Peers that mean no good: each gets its typed close, and nothing panics, hangs or grows.

use std::time::Duration;

use bytes::Bytes;
use capnp::traits::ImbueMut;
use capnp_rpc::rpc_capnp::message as rpc;
use futures::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::testing::{BENCH, Method, RawPeer, Served, envelope, local, serve, settle};
use super::{CloseReason, Counters, code};
use crate::limits::WireLimits;

/// What the peer saw of its end: the text of the `Abort`, and the close code.
type Seen = (Option<String>, u16);

/// Lets a hostile peer do its worst, on a line of its own, and gives back what it saw of the end.
fn attack<F>(limits: &WireLimits, worst: impl FnOnce(RawPeer) -> F) -> Seen
where
    F: Future<Output = RawPeer>,
{
    let mut seen = (None, 0);
    local(true, async {
        let (served, line) = serve(limits).await;
        let mut peer = worst(RawPeer::new(line).await).await;
        let (abort, code, _) = peer.end().await;
        seen = (abort, code);
        drop(peer);
        let reason = served.ended.await.expect("no panic gets out");
        assert_ne!(reason, CloseReason::Panicked);
        // A kept object of the peer keeps the RPC session's tables, and the bootstrap object in them.
        served.world.kept.borrow_mut().clear();
        assert_eq!(served.world.alive.get(), 0, "an object outlived its connection");
    });
    seen
}

/// Sends these messages one after the other, then waits for the end.
fn attack_with(messages: Vec<Bytes>) -> Seen {
    attack(&WireLimits::default(), async |mut peer| {
        for message in messages {
            peer.send_frame(message).await;
        }
        peer
    })
}

#[track_caller]
fn assert_refused(seen: &Seen, code: u16, begin: &str) {
    let (abort, seen_code) = seen;
    let abort = abort.as_deref().unwrap_or("no abort");
    assert!(*seen_code == code && abort.starts_with(begin), "{seen_code}: {abort}");
}

#[track_caller]
fn assert_violation(seen: &Seen) {
    assert_refused(seen, code::PROTOCOL, "A2A -32600 INVALID_REQUEST: ");
}

fn bootstrap(id: u32) -> Bytes {
    envelope(|root| root.init_bootstrap().set_question_id(id))
}

/// A call on the bootstrap object, which was asked for as question 0.
fn call(id: u32, method: Method) -> Bytes {
    envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(id);
        call.set_interface_id(BENCH);
        call.set_method_id(method as u16);
        call.init_target().init_promised_answer().set_question_id(0);
    })
}

fn finish(id: u32) -> Bytes {
    envelope(|root| root.init_finish().set_question_id(id))
}

fn release(id: u32, count: u32) -> Bytes {
    envelope(|root| {
        let mut release = root.init_release();
        release.set_id(id);
        release.set_reference_count(count);
    })
}

/// A call that hands over promise `promise` (kept by the bench).
fn keep_promise(id: u32, promise: u32) -> Bytes {
    envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(id);
        call.set_interface_id(BENCH);
        call.set_method_id(Method::Keep as u16);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        let mut params = call.init_params();
        params.reborrow().init_cap_table(1).get(0).set_sender_promise(promise);
        // A pointer to entry 0 of the table above, whatever that says.
        let mut index = Vec::new();
        let mut content = params.reborrow().get_content();
        content.imbue_mut(&mut index);
        content.set_as_capability(any_cap());
    })
}

fn any_cap() -> Box<dyn capnp::private::capability::ClientHook> {
    capnp_rpc::new_future_client::<capnp::capability::Client>(std::future::pending()).hook
}

fn raw(segments: &[&[u64]]) -> Vec<u8> {
    let mut frame = (segments.len() as u32 - 1).to_le_bytes().to_vec();
    for segment in segments {
        frame.extend((segment.len() as u32).to_le_bytes());
    }
    if segments.len().is_multiple_of(2) {
        frame.extend([0; 4]);
    }
    for word in segments.iter().copied().flatten() {
        frame.extend(word.to_le_bytes());
    }
    frame
}

#[test]
fn a_frame_that_is_no_message_is_refused() {
    for frame in [&b""[..], b"1234567", b"12345678", &[0; 12], &[0xff; 8], &[0xff; 64], &[0; 8]] {
        assert_violation(&attack_with(vec![Bytes::copy_from_slice(frame)]));
    }
}

#[test]
fn a_segment_count_of_all_ones_or_of_one_too_many_is_refused() {
    let mut many = 64u32.to_le_bytes().to_vec();
    many.resize(8 * 66, 0);
    assert_violation(&attack_with(vec![many.into()]));
    let mut all = u32::MAX.to_le_bytes().to_vec();
    all.resize(64, 0xff);
    assert_violation(&attack_with(vec![all.into()]));
}

#[test]
fn a_truncated_or_padded_message_is_refused() {
    let whole = bootstrap(0);
    assert_violation(&attack_with(vec![whole.slice(..whole.len() - 8)]));
    assert_violation(&attack_with(vec![[&whole[..], &[0; 8]].concat().into()]));
}

#[test]
fn a_far_pointer_that_points_at_itself_is_refused() {
    // A far pointer (type 2) to word 0 of segment 0, which is itself; and a double-far pair.
    assert_violation(&attack_with(vec![raw(&[&[0b010]]).into()]));
    assert_violation(&attack_with(vec![raw(&[&[0b110], &[0b110, 0b110]]).into()]));
    let two = raw(&[&[0b010 | 1 << 32], &[0b010]]);
    assert_violation(&attack_with(vec![two.into()]));
}

#[test]
fn an_oversized_message_is_refused_before_it_is_sent_whole() {
    let limits = WireLimits { message_bytes: 1 << 20, ..WireLimits::default() };
    let seen = attack(&limits, async |peer| {
        let mut peer = peer;
        // Only the frame's header, which announces 64 MiB, and one byte.
        let line = peer.0.get_mut();
        let mut header = vec![0x82, 0xff];
        header.extend((64u64 << 20).to_be_bytes());
        header.extend([1, 2, 3, 4, 5]);
        line.write_all(&header).await.expect("written");
        peer
    });
    assert_refused(&seen, code::TOO_BIG, "A2A -32600 INVALID_REQUEST: a message may have 1048576 bytes");
}

#[test]
fn fragments_of_one_message_are_bounded_together() {
    let limits = WireLimits { message_bytes: 64 << 10, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        for part in 0..5 {
            let opcode = OpCode::Data(if part == 0 { Data::Binary } else { Data::Continue });
            let frame = Frame::message(vec![0; 16 << 10], opcode, false);
            let _ = peer.0.send(Message::Frame(frame)).await;
        }
        peer
    });
    assert_refused(&seen, code::TOO_BIG, "A2A -32600 INVALID_REQUEST: ");
}

#[test]
fn a_text_frame_is_refused_with_a_code_of_its_own() {
    let seen = attack(&WireLimits::default(), async |mut peer| {
        let _ = peer.0.send(Message::Text("{}".into())).await;
        peer
    });
    assert_refused(&seen, code::UNSUPPORTED, "A2A -32600 INVALID_REQUEST: Cap'n Proto travels in binary");
}

#[test]
fn a_deeply_nested_message_ends_without_a_deep_stack() {
    // Unimplemented within Unimplemented, 100,000 times.
    let mut message = capnp::message::Builder::new_default();
    let mut at: rpc::Builder<'_> = message.init_root();
    for _ in 0..100_000 {
        at = at.init_unimplemented();
    }
    assert_violation(&attack_with(vec![super::message::write(&message)]));
}

#[test]
fn a_list_of_millions_of_things_that_take_no_room_is_refused() {
    // A call whose capability table says it has 2^28 elements of no size.
    let frame = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        call.init_params().init_cap_table(1).get(0).set_none(());
    });
    let mut frame = frame.to_vec();
    let tag = frame.chunks_exact(8).position(|word| {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        // An inline composite list of 3 words (of 3 or 2), as the table is.
        word & 7 == 1 && (word >> 32) & 7 == 7
    });
    let at = tag.expect("the table") * 8;
    let list = u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
    frame[at..at + 8].copy_from_slice(&(list & 0xffff_ffff | 7 << 32).to_le_bytes());
    let offset = ((list as u32 as i32) >> 2) as usize + 1;
    let element = at + offset * 8;
    frame[element..element + 8].copy_from_slice(&(((1u64 << 28) - 1) << 2).to_le_bytes());
    assert_violation(&attack_with(vec![bootstrap(0), frame.into()]));
}

#[test]
fn ids_that_are_not_live_are_refused() {
    let unknown_target = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.init_target().set_imported_cap(7);
    });
    let unknown_cap = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        call.init_params().init_cap_table(1).get(0).set_receiver_hosted(9);
    });
    let unknown_return = envelope(|root| {
        let mut ret = root.init_return();
        ret.set_answer_id(3);
        ret.init_results();
    });
    let unknown_embargo = envelope(|root| {
        let mut disembargo = root.init_disembargo();
        disembargo.reborrow().init_context().set_receiver_loopback(0);
        disembargo.init_target().set_imported_cap(0);
    });
    let embargo_on_nothing = envelope(|root| {
        let mut disembargo = root.init_disembargo();
        disembargo.reborrow().init_context().set_sender_loopback(0);
        disembargo.init_target().set_imported_cap(5);
    });
    let unimplemented_resolve = envelope(|root| {
        root.init_unimplemented().init_resolve().init_cap().set_sender_hosted(4);
    });
    for message in [
        unknown_target,
        unknown_cap,
        unknown_return,
        unknown_embargo,
        embargo_on_nothing,
        unimplemented_resolve,
        finish(8),
        release(8, 1),
    ] {
        assert_violation(&attack_with(vec![bootstrap(0), message]));
    }
}

#[test]
fn an_id_in_use_is_refused_for_a_new_call() {
    assert_violation(&attack_with(vec![bootstrap(0), bootstrap(0)]));
    assert_violation(&attack_with(vec![bootstrap(0), call(1, Method::Never), call(1, Method::Never)]));
}

#[test]
fn a_second_release_or_finish_is_refused() {
    // The answer to the bootstrap call holds export 0, once.
    assert_violation(&attack_with(vec![bootstrap(0), release(0, 1), release(0, 1)]));
    assert_violation(&attack_with(vec![bootstrap(0), release(0, 2)]));
    let twice = vec![bootstrap(0), call(1, Method::Never), finish(1), finish(1)];
    assert_violation(&attack_with(twice));
    // Released by name, then once more with the finish.
    assert_violation(&attack_with(vec![bootstrap(0), release(0, 1), finish(0)]));
}

#[test]
fn an_embargo_that_no_promise_asked_for_is_refused() {
    let garbage = envelope(|root| {
        let mut disembargo = root.init_disembargo();
        disembargo.reborrow().init_context().set_sender_loopback(1);
        disembargo.init_target().set_imported_cap(0);
    });
    assert_violation(&attack_with(vec![bootstrap(0), garbage]));
    let third = envelope(|root| {
        root.init_disembargo().init_context().set_accept(());
    });
    assert_violation(&attack_with(vec![bootstrap(0), third]));
}

fn resolve(promise: u32, to: u32) -> Bytes {
    envelope(|root| {
        let mut resolve = root.init_resolve();
        resolve.set_promise_id(promise);
        resolve.init_cap().set_sender_promise(to);
    })
}

#[test]
fn a_promise_resolved_to_itself_is_refused() {
    assert_violation(&attack_with(vec![bootstrap(0), keep_promise(1, 5), resolve(5, 5)]));
}

#[test]
fn promises_resolved_in_a_circle_do_not_loop() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        // All at once: each must be handled before the objects of the one before it are gone.
        for message in [bootstrap(0), keep_promise(1, 5), keep_promise(2, 6)] {
            peer.send_frame(message).await;
        }
        for message in [resolve(5, 6), resolve(6, 5), resolve(5, 6), resolve(6, 5), call(3, Method::Make)] {
            peer.0.feed(Message::Binary(message)).await.expect("fed");
        }
        peer.0.flush().await.expect("flushed");
        settle().await;
        match served.handle.ending() {
            None => assert_eq!(served.world.alive.get(), 2),
            Some(reason) => assert_eq!(reason.label(), "protocol"),
        }
    });
}

#[test]
fn third_parties_are_refused() {
    let results = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        call.init_send_results_to().init_third_party();
    });
    let object = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        call.init_params().init_cap_table(1).get(0).init_third_party_hosted();
    });
    for message in [results, object] {
        assert_violation(&attack_with(vec![bootstrap(0), message]));
    }
}

#[test]
fn an_unknown_kind_of_message_is_answered_and_the_session_goes_on() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        peer.send(|root| {
            root.init_provide();
        })
        .await;
        let answer = peer.receive().await.expect("an answer");
        let root: rpc::Reader<'_> = answer.get_root().expect("a root");
        assert!(matches!(root.which(), Ok(rpc::Unimplemented(_))));
        assert!(!served.ended.is_finished());
    });
}

#[test]
fn a_flood_of_calls_is_bounded() {
    let limits = WireLimits { questions: 100, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        peer.send_frame(bootstrap(0)).await;
        for id in 1..1_000 {
            peer.send_frame(call(id, Method::Never)).await;
        }
        peer
    });
    assert_refused(&seen, code::POLICY, "A2A -31503 OVERLOADED: 100 calls may be unanswered");
}

#[test]
fn calls_that_are_given_up_are_bounded_over_the_connections_life() {
    let limits = WireLimits { abandoned_calls: 50, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        peer.send_frame(bootstrap(0)).await;
        for id in 1..100 {
            peer.send_frame(call(id, Method::Never)).await;
            peer.send_frame(finish(id)).await;
        }
        peer
    });
    assert_refused(&seen, code::POLICY, "A2A -31429 QUOTA: 50 calls were given up");
}

#[test]
fn objects_that_the_peer_makes_and_keeps_are_bounded() {
    let limits = WireLimits { exports: 50, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        peer.send_frame(bootstrap(0)).await;
        for id in 1..200 {
            peer.send_frame(call(id, Method::Make)).await;
        }
        peer
    });
    assert_refused(&seen, code::POLICY, "A2A -31429 QUOTA: 50 ");
}

#[test]
fn objects_that_the_peer_makes_us_hold_are_bounded() {
    let limits = WireLimits { imports: 50, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        peer.send_frame(bootstrap(0)).await;
        for id in 1..200 {
            peer.send_frame(keep_promise(id, id)).await;
        }
        peer
    });
    assert_refused(&seen, code::POLICY, "A2A -31429 QUOTA: 50 objects of yours may be held");
}

#[test]
fn one_message_with_very_many_objects_is_bounded() {
    let many = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        let mut table = call.init_params().init_cap_table(100_000);
        for index in 0..100_000 {
            table.reborrow().get(index).set_sender_hosted(1);
        }
    });
    let seen = attack_with(vec![bootstrap(0), many]);
    assert_refused(&seen, code::POLICY, "A2A -31429 QUOTA: a message may carry 4096 objects");
}

#[test]
fn a_transform_without_end_is_refused() {
    let endless = envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(1);
        call.init_target().init_promised_answer().init_transform(10_000);
    });
    assert_violation(&attack_with(vec![bootstrap(0), endless]));
}

#[test]
fn large_calls_that_wait_hold_a_bounded_number_of_bytes() {
    let limits = WireLimits { message_bytes: 64 << 10, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        peer.send_frame(bootstrap(0)).await;
        for id in 1..100 {
            let large = envelope(|root| {
                let mut call = root.init_call();
                call.set_question_id(id);
                call.set_interface_id(BENCH);
                call.set_method_id(Method::Never as u16);
                call.reborrow().init_target().init_promised_answer().set_question_id(0);
                call.init_params().get_content().initn_as::<capnp::data::Builder<'_>>(60 << 10);
            });
            peer.send_frame(large).await;
        }
        peer
    });
    assert_refused(&seen, code::POLICY, "A2A -31503 OVERLOADED: messages of 262144 bytes in all");
}

/// Question `id` to the bench's `Blob`, for `bytes` bytes.
fn blob(id: u32, bytes: u64) -> Bytes {
    envelope(|root| {
        let mut call = root.init_call();
        call.set_question_id(id);
        call.set_interface_id(BENCH);
        call.set_method_id(Method::Blob as u16);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        let content = call.init_params().get_content();
        content.initn_as::<capnp::data::Builder<'_>>(8).copy_from_slice(&bytes.to_le_bytes());
    })
}

#[test]
fn a_peer_that_never_reads_stops_being_read_and_is_ended_when_silent() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        peer.send_frame(bootstrap(0)).await;
        // Sends as fast as it can, for longer than the idle timeout, and reads nothing.
        let flood = async {
            for id in 1.. {
                peer.send_frame(blob(id, 16 << 10)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(59), flood).await;
        let Counters { queued_bytes, questions, .. } = served.handle.counters();
        assert!(queued_bytes > 256 << 10, "{queued_bytes} bytes: the send budget was never reached");
        assert!(queued_bytes < (256 + 64 * 17) << 10, "{queued_bytes} bytes are queued");
        assert!(questions <= 64, "{questions} calls were taken");

        assert_eq!(served.ended.await.expect("no panic"), CloseReason::Silent);
        assert_eq!(served.world.alive.get(), 0);
    });
}

#[test]
fn answers_longer_than_the_queue_end_the_connection_that_asked_for_them() {
    let limits = WireLimits { message_bytes: 64 << 10, ..WireLimits::default() };
    let seen = attack(&limits, async |mut peer| {
        peer.send_frame(bootstrap(0)).await;
        peer.send_frame(blob(1, 1 << 20)).await;
        peer
    });
    assert_refused(&seen, code::POLICY, "A2A -31503 OVERLOADED: 131072 bytes wait to be written");
}

#[test]
fn a_slow_reader_that_still_reads_is_not_ended() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        peer.send_frame(bootstrap(0)).await;
        peer.send_frame(blob(1, 1 << 20)).await;
        settle().await;
        let line = peer.0.get_mut();
        // 4 KiB every ten seconds: over forty minutes for a megabyte, without a byte in return.
        let mut scratch = [0; 4 << 10];
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            line.read_exact(&mut scratch).await.expect("it still sends");
        }
        assert!(!served.ended.is_finished());
    });
}

#[test]
fn a_silent_peer_is_pinged_and_then_counts_as_gone() {
    local(true, async {
        let (served, mut line) = serve(&WireLimits::default()).await;
        let started = tokio::time::Instant::now();
        let mut ping = [0; 2];
        line.read_exact(&mut ping).await.expect("a ping");
        assert_eq!((ping, started.elapsed().as_secs()), ([0x89, 0], 20));
        assert_eq!(served.ended.await.expect("no panic"), CloseReason::Silent);
        // One more second of courtesy for the close frame.
        assert!((60..=61).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    });
}

#[test]
fn a_flood_of_pings_whose_pongs_are_not_taken_is_ended() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        let flood = async { while peer.0.send(Message::Ping(vec![0; 125].into())).await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(50), flood).await;
        assert_eq!(served.ended.await.expect("no panic").label(), "overloaded");
    });
}

#[test]
fn a_peer_that_answers_pings_stays() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        let _ = tokio::time::timeout(Duration::from_secs(3_600), peer.receive()).await;
        assert!(!served.ended.is_finished());
    });
}

#[test]
fn an_aborting_peer_is_taken_at_its_word() {
    local(true, async {
        let (served, line) = serve(&WireLimits::default()).await;
        let mut peer = RawPeer::new(line).await;
        peer.send(|root| root.init_abort().set_reason("enough")).await;
        let (abort, code, _) = peer.end().await;
        assert_eq!((abort, code), (None, code::NORMAL));
        let Served { ended, .. } = served;
        assert_eq!(ended.await.expect("no panic"), CloseReason::PeerAborted("enough".to_owned()));
    });
}
