//! Peers that break WebSocket's framing, or Cap'n Proto's.

use std::time::Duration;

use crate::hostile_bench::Bench;
use crate::hostile_peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, SERVICE, TEXT, Target, frame, head, rpc};
use crate::world::BOB;

/// Words as bytes.
fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A whole frame with one segment.
fn segment(content: &[u64]) -> Vec<u8> {
    let mut frame = vec![(content.len() as u64) << 32];
    frame.extend_from_slice(content);
    words(&frame)
}

async fn refused_frame(payload: &[u8], code: u16, text: &str) {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.frame(payload).await;
            peer.ended().await.is(code, "A2A -32600 INVALID_REQUEST: ", text);
        })
        .await;
}

#[tokio::test]
async fn an_empty_frame_is_refused() {
    refused_frame(&[], 1002, "begins with a segment table").await;
}

#[tokio::test]
async fn a_frame_of_broken_words_is_refused() {
    refused_frame(&[0; 13], 1002, "whole words").await;
}

#[tokio::test]
async fn a_truncated_message_is_refused() {
    let whole = rpc(|message| message.init_bootstrap().set_question_id(0));
    refused_frame(&whole[..whole.len() - 8], 1002, "segment table does not add up").await;
}

#[tokio::test]
async fn a_message_with_a_tail_is_refused() {
    let mut longer = rpc(|message| message.init_bootstrap().set_question_id(0));
    longer.extend_from_slice(&[0; 8]);
    refused_frame(&longer, 1002, "segment table does not add up").await;
}

#[tokio::test]
async fn four_thousand_million_segments_are_refused() {
    refused_frame(&words(&[0xffff_ffff, 0]), 1002, "64 segments").await;
    refused_frame(&words(&[0xffff_fffe, 0]), 1002, "64 segments").await;
}

#[tokio::test]
async fn a_segment_of_thirty_two_gigabytes_is_refused() {
    refused_frame(&words(&[0xffff_ffff_0000_0000, 0]), 1002, "segment table does not add up").await;
}

#[tokio::test]
async fn a_segment_table_that_is_cut_off_is_refused() {
    refused_frame(&words(&[63]), 1002, "segment table is cut off").await;
}

#[tokio::test]
async fn far_pointers_in_a_circle_are_refused() {
    // A far pointer to itself, and two that point to each other.
    refused_frame(&segment(&[2]), 1002, "malformed").await;
    refused_frame(&segment(&[2 | 1 << 3, 2]), 1002, "malformed").await;
    // A double far pointer whose landing pad is itself, in a segment that does exist.
    refused_frame(&segment(&[2 | 1 << 2, 2 | 1 << 2]), 1002, "malformed").await;
}

#[tokio::test]
async fn a_far_pointer_out_of_the_message_is_refused() {
    refused_frame(&segment(&[2 | 7 << 32]), 1002, "malformed").await;
    refused_frame(&segment(&[2 | 0x1fff_ffff << 3]), 1002, "malformed").await;
}

#[tokio::test]
async fn a_pointer_out_of_its_segment_is_refused() {
    refused_frame(&segment(&[0x1000 << 2 | 4 << 32 | 1 << 48]), 1002, "malformed").await;
}

/// A call on nothing we hold, whose capability table is this list pointer.
fn call_with_table(list: u64, tag: u64) -> Vec<u8> {
    // Root: struct, 1 data word, 1 pointer: `Message` with `call`; the call: 3 data words, 3 pointers.
    segment(&[
        1 << 32 | 1 << 48,
        2, // which = call
        3 << 32 | 3 << 48,
        0,
        0,
        0,
        2 << 2 | 1 << 32 | 1 << 48, // target
        4 << 2 | 2 << 48,           // params: 0 data words, 2 pointers
        0,                          // sendResultsTo
        0,                          // target: imported capability 0
        0,
        0,    // params.content
        list, // params.capTable
        tag,
        0,
    ])
}

async fn a_list_costs_nothing(list: u64, tag: u64) {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.bootstrap().await;
            peer.frame(&call_with_table(list, tag)).await;
            let ended = peer.ended().await;
            assert!([1002, 1008].contains(&ended.code), "{ended:?}");
            assert!(ended.reason.contains("A2A -"), "{ended:?}");
        })
        .await;
}

#[tokio::test]
async fn a_list_of_half_a_billion_nothings_costs_nothing() {
    // Lists of voids, and of structs without size, with 2^29 - 1 elements.
    a_list_costs_nothing(1 | 0x1fff_ffff << 35, 0).await;
    a_list_costs_nothing(1 | 7 << 32, 0x1fff_ffff << 2).await;
}

#[tokio::test]
async fn deeply_nested_messages_are_refused() {
    // `unimplemented` within `unimplemented`, a thousand times over.
    let mut content = vec![1 << 32 | 1 << 48];
    for _ in 0..1000 {
        content.extend([0, 1 << 32 | 1 << 48]);
    }
    content.extend([0, 0]);
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.frame(&segment(&content)).await;
            let ended = peer.ended().await;
            assert_eq!(ended.code, 1002, "{ended:?}");
        })
        .await;
}

#[tokio::test]
async fn a_frame_over_the_bound_is_refused_before_it_has_come() {
    for length in [256 << 10 | 1, 1 << 40, u64::MAX >> 1] {
        Bench::new()
            .await
            .withstands(async |bench| {
                let mut peer = bench.peer().await;
                peer.bytes(&head(BINARY | FIN, length, true)).await;
                peer.ended().await.is(1009, "A2A -32600 INVALID_REQUEST: ", "262144 bytes");
                bench.closed("too_big", 1).await;
            })
            .await;
    }
}

#[tokio::test]
async fn fragments_that_add_up_to_more_than_the_bound_are_refused() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.bytes(&frame(BINARY, &vec![0; 200 << 10])).await;
            peer.bytes(&frame(CONTINUATION, &vec![0; 100 << 10])).await;
            peer.ended().await.is(1009, "A2A -32600 INVALID_REQUEST: ", "262144 bytes");
        })
        .await;
}

#[tokio::test]
async fn a_fragmented_message_is_read_as_one() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            let whole = rpc(|message| message.init_bootstrap().set_question_id(0));
            let (start, rest) = whole.split_at(5);
            peer.bytes(&frame(BINARY, start)).await;
            peer.bytes(&frame(PING | FIN, b"in between")).await;
            for byte in rest {
                peer.bytes(&frame(CONTINUATION, &[*byte])).await;
            }
            peer.bytes(&frame(CONTINUATION | FIN, &[])).await;
            peer.answer_to(0).await.expect("an answer");
        })
        .await;
}

#[tokio::test]
async fn a_text_frame_is_refused_as_unsupported() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.bytes(&frame(TEXT | FIN, b"{}")).await;
            peer.ended().await.is(1003, "A2A -32600 INVALID_REQUEST: ", "no text frame");
            let mut peer = bench.peer().await;
            peer.bytes(&frame(TEXT | FIN, b"\xff\xff")).await;
            peer.ended().await.is(1003, "A2A -32600 INVALID_REQUEST: ", "no text frame");
        })
        .await;
}

#[tokio::test]
async fn frames_against_the_rules_of_websocket_are_refused() {
    let unmasked = [head(BINARY | FIN, 8, false), vec![0; 8]].concat();
    let lost = frame(CONTINUATION | FIN, b"of nothing");
    let twice = [frame(BINARY, &[0; 8]), frame(BINARY | FIN, &[0; 8])].concat();
    let reserved_bit = frame(BINARY | FIN | 0x40, &[0; 8]);
    let reserved_opcode = frame(3 | FIN, &[0; 8]);
    let reserved_control = frame(0xb | FIN, &[]);
    let long_ping = frame(PING | FIN, &[0; 126]);
    let split_ping = frame(PING, b"half");
    let cases =
        [unmasked, lost, twice, reserved_bit, reserved_opcode, reserved_control, long_ping, split_ping];
    Bench::new()
        .await
        .withstands(async |bench| {
            for bytes in cases {
                let mut peer = bench.peer().await;
                peer.bytes(&bytes).await;
                peer.ended().await.is(1002, "A2A -32600 INVALID_REQUEST: ", "");
            }
            bench.closed("protocol", 8).await;
        })
        .await;
}

#[tokio::test]
async fn bad_close_frames_end_only_their_own_connection() {
    Bench::new()
        .await
        .withstands(async |bench| {
            for payload in [&[][..], &[3], &[0, 0], &[3, 232], &[3, 237, 0xff, 0xff], &[0xff; 125]] {
                let mut peer = bench.peer().await;
                peer.bytes(&frame(CLOSE | FIN, payload)).await;
                peer.ended().await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_without_growing() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            let pings = frame(PING | FIN, &[7; 125]).repeat(100);
            for _ in 0..200 {
                peer.bytes(&pings).await;
            }
            let service = peer.bootstrap().await;
            let asked = peer.info(Target::Answer(service, None)).await;
            peer.answer_to(asked).await.expect("it is served like everybody");
        })
        .await;
}

#[tokio::test]
async fn a_flood_of_pings_from_a_peer_that_reads_nothing_ends_in_silence() {
    let quick = |limits: &mut a2a_webcap::limits::Limits| {
        limits.wire.idle_timeout = Duration::from_secs(2);
        limits.wire.ping_interval = Duration::from_millis(500);
    };
    Bench::with(quick)
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            let pings = frame(PING | FIN, &[7; 125]).repeat(100);
            // Until neither side takes anything any more, or the server has had enough.
            let until = tokio::time::Instant::now() + Duration::from_secs(1);
            while tokio::time::Instant::now() < until {
                if !peer.try_bytes(&pings) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            drop(peer);
        })
        .await;
}

#[tokio::test]
async fn a_line_that_is_cut_anywhere_leaves_nothing_behind() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut whole = Vec::new();
            whole.extend(frame(BINARY | FIN, &rpc(|message| message.init_bootstrap().set_question_id(0))));
            for cut in (1..whole.len()).step_by(5) {
                let mut peer = bench.peer().await;
                peer.bytes(&whole[..cut]).await;
            }
            for _ in 0..20 {
                let mut peer = bench.peer().await;
                let session = peer.authenticate(BOB).await;
                peer.send_streaming(session, "stream 20 5ms", 1).await;
                peer.bytes(&whole[..7]).await;
            }
        })
        .await;
}

#[tokio::test]
async fn unknown_methods_and_interfaces_are_answered_and_nothing_else_happens() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            let service = Target::Answer(peer.bootstrap().await, None);
            for method in [(SERVICE, 4), (SERVICE, u16::MAX), (0, 0), (u64::MAX, 0), (!SERVICE, 3)] {
                let asked = peer.call(service, method, &[], |_| {}).await;
                let answer = peer.answer_to(asked).await.expect("an answer");
                let (_, outcome) = answer.answer().expect("it is one");
                assert!(outcome.is_err(), "{method:?}");
            }
            let asked = peer.info(service).await;
            assert!(peer.answer_to(asked).await.expect("an answer").answer().expect("it is one").1.is_ok());
        })
        .await;
}

#[tokio::test]
async fn kinds_of_messages_that_nobody_speaks_are_sent_back() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut peer = bench.peer().await;
            peer.send(|message| message.init_provide().set_question_id(1)).await;
            peer.send(|message| message.init_accept().set_question_id(2)).await;
            peer.send(|message| message.init_join().set_question_id(3)).await;
            // A kind from the future.
            peer.frame(&segment(&[1 << 32 | 1 << 48, 999, 0])).await;
            for _ in 0..4 {
                let message = peer.receive().await.expect("an answer");
                let kind = message.root().which();
                assert!(matches!(kind, Ok(capnp_rpc::rpc_capnp::message::Unimplemented(_))));
            }
            peer.bootstrap().await;
            peer.answer_to(0).await.expect("it is served like everybody");
        })
        .await;
}
