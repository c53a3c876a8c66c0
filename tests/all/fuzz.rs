//! Seeded fuzzing of a whole server: RPC messages that make a kind of sense, and frames that make none.
//!
//! `A2A_WEBCAP_FUZZ_SCRIPTS` sets how many scripts a run plays (200000 for a long one);
//! `A2A_WEBCAP_FUZZ_SEED` plays one, and prints what was said.

use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;

use crate::fuzz_script::Script;
use crate::fuzz_words::Dice;
use crate::hostile_bench::{Bench, Witness, alone, resident_bytes, run, settles};
use crate::hostile_peer::{BINARY, FIN, frame, rpc};
use crate::world::{BOB, soon};

/// Scripts of a normal run.
const SCRIPTS: u64 = 2_000;
/// Connections at the same time.
const AT_ONCE: u64 = 16;
/// How often each of them is played again, alone, when together they have done damage.
const TRIES: usize = 10;
/// What a run may leave in memory, whatever its length: caches and the allocator's room.
const GROWTH: usize = 24 << 20;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_script_of_messages_hurts_the_server_or_anybody_else() {
    alone("fuzz::no_script_of_messages_hurts_the_server_or_anybody_else", || {
        fuzz(|bench, seed, aloud| async move {
            let mut script = Script::new(seed, bench.peer().await);
            let ended = script.play().await;
            if aloud {
                println!("{}\n{ended:?}", script.said.join("\n"));
            }
            if let Some(ended) = ended {
                assert!([0, 1000, 1002, 1008].contains(&ended.code), "seed {seed}: {ended:?}");
                assert!(script.lies > 0, "seed {seed}: an honest peer was refused: {ended:?}");
            }
        });
    });
}

#[test]
fn no_mutation_of_honest_frames_hurts_the_server_or_anybody_else() {
    alone("fuzz::no_mutation_of_honest_frames_hurts_the_server_or_anybody_else", || {
        fuzz(|bench, seed, aloud| async move {
            let mut dice = Dice::new(seed);
            let mut peer = bench.peer().await;
            let mut bytes = honest_frames();
            for _ in 0..1 + dice.under(3) {
                mutate(&mut bytes, &mut dice);
            }
            for message in &bytes {
                peer.frame(message).await;
            }
            let ended = soon("silence", async {
                loop {
                    match tokio::time::timeout(Duration::from_millis(5), peer.receive()).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(ended)) => return Some(ended),
                        Err(_) => return None,
                    }
                }
            })
            .await;
            if aloud {
                println!("{bytes:02x?}\n{ended:?}");
            }
        });
    });
}

#[test]
fn no_mutation_of_websocket_bytes_hurts_the_server_or_anybody_else() {
    alone("fuzz::no_mutation_of_websocket_bytes_hurts_the_server_or_anybody_else", || {
        fuzz(|bench, seed, _| async move {
            let mut dice = Dice::new(seed);
            let mut peer = bench.peer().await;
            let frames = honest_frames();
            let mut bytes = [frames.iter().flat_map(|message| frame(BINARY | FIN, message)).collect()];
            for _ in 0..1 + dice.under(3) {
                mutate(&mut bytes, &mut dice);
            }
            peer.bytes(&bytes[0]).await;
            let _ = tokio::time::timeout(Duration::from_millis(3), peer.receive()).await;
        });
    });
}

/// Plays every seed against one server, with a witness, and looks for damage.
fn fuzz<P: Future<Output = ()>>(play: impl Fn(Rc<Bench>, u64, bool) -> P) {
    run(async {
        let bench = Rc::new(Bench::new().await);
        if let Some(seed) = setting("A2A_WEBCAP_FUZZ_SEED") {
            play(Rc::clone(&bench), seed, true).await;
            settles(&bench.world.server).await;
            return;
        }
        let witness = Witness::start(bench.world.alice().await);
        let scripts = setting("A2A_WEBCAP_FUZZ_SCRIPTS").unwrap_or(SCRIPTS);
        let warm = scripts / 4;
        let mut before = 0;
        let mut seed = 0;
        while seed < scripts {
            let seeds = seed..(seed + AT_ONCE).min(scripts);
            let playing = seeds.clone().map(|seed| play(Rc::clone(&bench), seed, false));
            let played = tokio::time::timeout(Duration::from_secs(30), join_all(playing)).await;
            if played.is_err() || !unhurt(&bench, 1).await {
                let mut culprits = Vec::new();
                // Much depends on what the server happens to answer first: so each has several tries.
                for seed in seeds.clone().flat_map(|seed| [seed; TRIES]) {
                    let bench = Rc::new(Bench::new().await);
                    let alone = play(Rc::clone(&bench), seed, false);
                    let played = tokio::time::timeout(Duration::from_secs(5), alone).await;
                    if played.is_err() || !unhurt(&bench, 0).await {
                        culprits.push(seed);
                    }
                }
                panic!("the seeds {culprits:?} of {seeds:?}: a hang, a defect or a leak");
            }
            if seeds.contains(&warm) {
                before = resident_bytes();
            }
            seed = seeds.end;
        }
        witness.finish().await;
        settles(&bench.world.server).await;
        let grown = resident_bytes().saturating_sub(before);
        println!(
            "{scripts} scripts, {:?}, {} KiB more",
            bench.world.server.net_counters().closes(),
            grown >> 10
        );
        assert!(grown < GROWTH, "{grown} bytes more than after {warm} scripts");
    });
}

/// Whether no defect was counted, and soon only `grants` grants are alive.
async fn unhurt(bench: &Bench, grants: u64) -> bool {
    let alive = || bench.world.server.service().authority().counters().grants;
    for _ in 0..400 {
        if alive() == grants {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let panics = bench.world.server.net_counters().panics();
    panics == 0 && alive() == grants
}

/// Bootstrap, authenticate, a streaming send, a blocking send, finishes: what an honest client says.
fn honest_frames() -> Vec<Vec<u8>> {
    use a2a_webcap::model::SendMessageRequest;
    use a2a_webcap::wire::capnp::Encode as _;
    use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, operations};

    use crate::hostile_peer::{Cap, OPERATIONS, SERVICE, SESSION, Target, some_cap, write_call};
    let session = Target::Answer(1, Some(0));
    let mut frames = vec![rpc(|message| message.init_bootstrap().set_question_id(0))];
    frames.push(rpc(|message| {
        write_call(message.init_call(), 1, Target::Answer(0, None), (SERVICE, 2), &[], |params| {
            let params = params.init_as::<a2a_service::authenticate_params::Builder<'_>>();
            params.init_credentials().set_api_key(BOB);
        });
    }));
    frames.push(rpc(|message| {
        write_call(message.init_call(), 2, session, (OPERATIONS, 1), &[Cap::Mine(0)], |params| {
            let mut params = params.init_as::<operations::send_streaming_message_params::Builder<'_>>();
            SendMessageRequest::text("stream 3 1ms").encode(params.reborrow().init_request());
            params.set_observer(some_cap());
        });
    }));
    frames.push(rpc(|message| {
        write_call(message.init_call(), 3, session, (OPERATIONS, 0), &[], |params| {
            let params = params.init_as::<operations::send_message_params::Builder<'_>>();
            SendMessageRequest::text("message hello").encode(params.init_request());
        });
    }));
    frames.push(rpc(|message| {
        write_call(message.init_call(), 4, session, (SESSION, 1), &[], |_| {});
    }));
    frames.push(rpc(|message| message.init_finish().set_question_id(2)));
    frames
}

/// Changes one of the frames somewhere.
fn mutate(frames: &mut [Vec<u8>], dice: &mut Dice) {
    let index = dice.under(frames.len());
    let frame = &mut frames[index];
    if frame.is_empty() {
        return;
    }
    let at = dice.under(frame.len());
    let noise = dice.next().to_le_bytes();
    match dice.under(9) {
        0 => frame[at] = noise[0],
        1 => frame[at] ^= 1 << (noise[0] & 7),
        2 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][dice.under(5)],
        3 => frame.truncate(at / 8 * 8),
        4 => drop(frame.splice(at..at, noise)),
        5 => {
            let word = at / 8 * 8;
            let end = (word + 8).min(frame.len());
            frame[word..end].copy_from_slice(&noise[..end - word]);
        }
        6 => {
            // A pointer of another kind.
            let word = at / 8 * 8;
            frame[word] = frame[word] & !3 | noise[0] & 3;
        }
        7 => {
            let from = dice.under(frame.len()) / 8 * 8;
            let to = at / 8 * 8;
            let length = 8.min(frame.len() - from).min(frame.len() - to);
            frame.copy_within(from..from + length, to);
        }
        _ => {
            let other = dice.under(frames.len());
            frames.swap(index, other);
        }
    }
}
