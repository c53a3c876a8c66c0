//! Frames that no honest client sends: each class of what the reference lets through, or does not survive. Every
//! test asserts the refusal, and that what the session keeps stays within its bounds.

use std::fmt::Write;

use capnweb::Limits;
use serde_json::Value;

use crate::dice::Dice;
use crate::support::{self, Host};

/// The stack of a thread that serves sessions, if nobody asks for another one.
const SMALL: usize = 2 << 20;

/// Says frames to a session of its own and gives it back.
pub(crate) fn after(frames: &[&str]) -> Host {
    let mut host = Host::new();
    for frame in frames {
        host.receive(frame);
    }
    host
}

/// Says the frames, and asserts that the last of them ended the session with an `abort` of this code, that nothing
/// comes after it, and that nothing is kept.
#[track_caller]
fn ends(code: &str, frames: &[&str]) {
    let (last, before) = frames.split_last().expect("a frame");
    let mut host = after(before);
    host.settle();
    assert_eq!(host.ended(), None, "{before:?}");
    host.receive(last);
    let said = host.settle().frames;
    let shown = last.chars().take(120).collect::<String>();
    assert!(host.ended().is_some(), "{shown} was let through: {said:.200?}");
    let abort: Value = serde_json::from_str(said.last().expect("an abort")).expect("JSON");
    assert_eq!((&abort[0], &abort[1][4]["code"]), (&"abort".into(), &code.into()), "{shown}");
    host.receive(r#"["push",["pipeline",0,["square"],[2]]]"#);
    host.receive(r#"["pull",1]"#);
    assert_eq!(host.settle().frames, Vec::<String>::new(), "an ended session speaks: {shown}");
    assert_eq!((host.exports(), host.imports()), (0, 0), "an ended session keeps something: {shown}");
}

/// Says the frames, and asserts that the session goes on and serves.
#[track_caller]
pub(crate) fn goes_on(host: &mut Host) {
    assert_eq!(host.ended(), None);
    host.receive(r#"["stream",["pipeline",0,["square"],[9]]]"#);
    let said = host.settle();
    assert!(said.frames.last().is_some_and(|frame| frame.ends_with(",81]")), "{:?}", said.frames);
}

pub(crate) fn call(method: &str, arguments: &str) -> String {
    format!(r#"["push",["pipeline",0,["{method}"],[{arguments}]]]"#)
}

#[test]
fn a_number_that_is_no_whole_number_ends_the_session_wherever_it_stands() {
    let numbers = [
        "0.5",
        "-0.5",
        "1e400",
        "-1e400",
        "1e19",
        "9007199254740994",
        r#""1""#,
        "null",
        "true",
        "[]",
        "{}",
        "[[1]]",
    ];
    let messages = [
        r#"["pull",N]"#,
        r#"["release",N,1]"#,
        r#"["release",0,N]"#,
        r#"["resolve",N,1]"#,
        r#"["reject",N,1]"#,
        r#"["push",["import",N]]"#,
        r#"["push",["pipeline",N]]"#,
        r#"["push",["pipeline",N,["x"],[]]]"#,
        r#"["push",["export",N]]"#,
        r#"["push",["promise",N]]"#,
        r#"["push",["writable",N]]"#,
        r#"["push",["readable",N]]"#,
        r#"["push",["remap",N,[],[],[1]]]"#,
        r#"["push",["remap",0,[],[["import",N]],[1]]]"#,
        r#"["push",["remap",0,[],[["export",N]],[1]]]"#,
        r#"["stream",["pipeline",N,["write"],[1]]]"#,
    ];
    for message in messages {
        for number in numbers {
            ends("BAD_MESSAGE", &[&message.replace('N', number)]);
        }
    }
}

#[test]
fn a_number_of_the_wrong_sign_ends_the_session() {
    for message in [
        r#"["push",["export",0]]"#,
        r#"["push",["export",5]]"#,
        r#"["push",["promise",5]]"#,
        r#"["push",["writable",5]]"#,
        r#"["push",["readable",-1]]"#,
        r#"["push",["readable",0]]"#,
        r#"["push",["remap",0,[],[["export",5]],[1]]]"#,
    ] {
        ends("BAD_MESSAGE", &[message]);
    }
}

#[test]
fn a_resolve_does_not_put_another_object_in_the_place_of_the_main_one() {
    let mut host = after(&[r#"["resolve",0,{"a":["export",-1]}]"#]);
    assert_eq!(host.settle().frames, [r#"["release",-1,1]"#]);
    goes_on(&mut host);
}

#[test]
fn a_count_of_references_that_is_no_count_ends_the_session() {
    for (code, count) in [
        ("BAD_RELEASE", "-1"),
        ("BAD_RELEASE", "0"),
        ("BAD_RELEASE", "2"),
        ("BAD_RELEASE", "-9007199254740991"),
        ("BAD_MESSAGE", "0.5"),
        ("BAD_MESSAGE", "1e300"),
    ] {
        ends(code, &[&call("square", "2"), &format!(r#"["release",1,{count}]"#)]);
    }
}

#[test]
fn a_bigint_that_is_too_long_or_no_number_ends_the_session() {
    ends("LIMIT", &[&format!(r#"["push",["bigint","{}"]]"#, "9".repeat(16_385))]);
    for digits in ["", "-", "+1", "0x1f", "1e5", "1.0", " 1", "1 ", "--1", "١", "12x"] {
        ends("BAD_EXPRESSION", &[&format!(r#"["push",["bigint","{digits}"]]"#)]);
    }
}

#[test]
fn nesting_without_end_ends_the_session_in_whatever_it_hides() {
    let deep = 100_000;
    let (arrays, objects) = ("[".repeat(2 * deep), r#"{"a":"#.repeat(deep));
    for (code, open) in [
        ("LIMIT", arrays.clone()),
        ("LIMIT", objects.clone()),
        ("LIMIT", format!(r#"["push",{arrays}"#)),
        ("LIMIT", format!(r#"["push",["pipeline",0,["echo"],[{objects}"#)),
        ("LIMIT", format!(r#"["push",["error","Error","m",null,{objects}"#)),
        ("BAD_EXPRESSION", format!(r#"["push",["pipeline",0,{arrays}"#)),
        ("LIMIT", format!(r#"["push",["remap",0,[],[],{arrays}"#)),
        ("BAD_EXPRESSION", format!(r#"["push",["remap",0,[],{arrays}"#)),
        ("LIMIT", format!(r#"["resolve",9,{objects}"#)),
        ("LIMIT", format!(r#"["reject",9,{arrays}"#)),
        ("LIMIT", format!(r#"["abort",{arrays}"#)),
        ("BAD_MESSAGE", format!(r#"["pull",{arrays}"#)),
    ] {
        ends(code, &[&open]);
    }
    let closed = format!(r#"["push",{}1{}]"#, "[[".repeat(deep), "]]".repeat(deep));
    ends("LIMIT", &[&closed]);
}

#[test]
fn nested_calls_that_are_too_deep_end_the_session() {
    let deep = 256;
    let nested = format!("{}1{}", r#"["pipeline",0,["square"],["#.repeat(deep), "]]".repeat(deep));
    ends("LIMIT", &[&format!(r#"["push",{nested}]"#)]);
}

#[test]
fn calls_as_deep_as_may_be_are_served_on_a_small_stack() {
    let deep = 255;
    let nested = format!("{}1{}", r#"["pipeline",0,["square"],["#.repeat(deep), "]]".repeat(deep));
    let small = std::thread::Builder::new().stack_size(SMALL);
    let served = small.spawn(move || {
        let mut host = after(&[&format!(r#"["stream",{nested}]"#)]);
        host.settle().frames
    });
    assert_eq!(served.expect("a thread").join().expect("no overflow"), [r#"["resolve",1,1]"#]);
}

#[test]
fn maps_nested_without_end_are_refused_before_the_stack_is() {
    for deep in [17, 100, 250] {
        let nested =
            format!(r#"{}["pipeline",0]{}"#, r#"["remap",0,[],[],["#.repeat(deep), "]]".repeat(deep));
        let small = std::thread::Builder::new().stack_size(SMALL);
        let refused = small.spawn(move || {
            let mut host = after(&[
                r#"["push",7]"#,
                &format!(r#"["push",["remap",1,[],[],[{nested}]]]"#),
                r#"["pull",2]"#,
            ]);
            refused(&mut host, 2);
        });
        refused.expect("a thread").join().expect("no overflow");
    }
}

#[test]
fn maps_nested_as_deep_as_may_be_are_served() {
    let nested = format!(r#"{}["pipeline",0]{}"#, r#"["remap",0,[],[],["#.repeat(16), "]]".repeat(16));
    let mut host = after(&[r#"["push",7]"#, &format!(r#"["stream",["remap",1,[],[],[{nested}]]]"#)]);
    assert_eq!(host.settle().frames, [r#"["resolve",2,7]"#]);
}

#[test]
fn names_that_every_object_has_reach_nothing() {
    for name in [
        "__proto__",
        "constructor",
        "prototype",
        "toString",
        "toLocaleString",
        "valueOf",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
    ] {
        let mut host = after(&[
            &format!(r#"["stream",["pipeline",0,["{name}"]]]"#),
            &format!(r#"["stream",["pipeline",0,["{name}"],[]]]"#),
            &format!(r#"["stream",["pipeline",0,["echo"],[{{"{name}":1}}]]]"#),
        ]);
        let frames = host.settle().frames;
        let kept = if name == "prototype" { r#"{"prototype":1}"# } else { "{}" };
        assert_eq!(
            frames,
            [
                r#"["resolve",1,["undefined"]]"#.to_owned(),
                format!(r#"["reject",2,["error","TypeError","'{name}' is not a function."]]"#),
                format!(r#"["resolve",3,{kept}]"#),
            ]
        );
        goes_on(&mut host);
    }
}

#[test]
fn a_map_of_many_items_by_many_steps_is_rejected_and_harms_nobody() {
    let items = vec!["1"; 10_000].join(",");
    let steps = vec![r#"["pipeline",0]"#; 1_000].join(",");
    let mut host = after(&[
        &format!(r#"["push",[[{items}]]]"#),
        &format!(r#"["push",["remap",1,[],[],[{steps}]]]"#),
        r#"["pull",2]"#,
    ]);
    refused(&mut host, 2);
}

#[test]
fn maps_in_maps_in_maps_are_counted_together() {
    let items = vec!["1"; 100].join(",");
    let mut instructions = r#"["pipeline",0]"#.to_owned();
    for _ in 0..4 {
        // Each maps the list, which is capture 1, once more for each of its items.
        instructions = format!(r#"["remap",-1,[],[["import",-1]],[{instructions}]]"#);
    }
    let mut host = after(&[
        &format!(r#"["push",[[{items}]]]"#),
        &format!(r#"["push",["remap",1,[],[["import",1]],[{instructions}]]]"#),
        r#"["pull",2]"#,
    ]);
    refused(&mut host, 2);
}

/// Asserts that call `id` was rejected, nothing else was said, and the session goes on.
#[track_caller]
fn refused(host: &mut Host, id: usize) {
    let frames = host.settle().frames;
    let [frame] = frames.as_slice() else { panic!("{} frames", frames.len()) };
    assert!(frame.starts_with(&format!(r#"["reject",{id},["error","#)), "{frame:.200}");
    goes_on(host);
}

#[test]
fn a_callback_that_never_answers_holds_up_its_own_call_only() {
    let mut host = Host::new();
    for id in 1..=100 {
        host.receive(&call("cb", &format!(r#"["export",-{id}]"#)));
        host.receive(&format!(r#"["pull",{id}]"#));
    }
    let frames = host.settle().frames;
    assert_eq!(frames.iter().filter(|frame| frame.starts_with(r#"["push","#)).count(), 100);
    assert_eq!(frames.iter().filter(|frame| frame.starts_with(r#"["resolve","#)).count(), 0);
    goes_on(&mut host);
}

#[test]
fn a_message_with_too_many_values_ends_the_session() {
    let values = vec!["1"; Limits::default().values + 1].join(",");
    ends("LIMIT", &[&format!(r#"["push",[[{values}]]]"#)]);
}

#[test]
fn a_message_with_too_many_calls_ends_the_session() {
    let calls = vec![r#"["pipeline",0,["never"],[]]"#; Limits::default().calls + 1].join(",");
    ends("LIMIT", &[&format!(r#"["push",[[{calls}]]]"#)]);
}

#[test]
fn a_message_that_is_too_long_ends_the_session() {
    ends("LIMIT", &[&format!(r#"["push","{}"]"#, "x".repeat(Limits::default().message_bytes))]);
}

#[test]
fn of_equal_keys_the_last_counts_and_the_others_leave_nothing() {
    let keys: String = (0..1_000).fold(String::new(), |mut text, k| {
        write!(text, r#""a":["export",-{}],"#, k + 1).expect("a string takes all");
        text
    });
    let mut host = after(&[&format!(r#"["push",{{{keys}"a":5}}]"#), r#"["pull",1]"#, r#"["release",1,1]"#]);
    let frames = host.settle().frames;
    assert!(frames.contains(&r#"["resolve",1,{"a":5}]"#.to_owned()), "{frames:?}");
    assert_eq!(host.imports(), 0);
    goes_on(&mut host);
}

#[test]
fn half_a_surrogate_pair_fails_its_own_call() {
    for text in [r"\ud800", r"\udfff", r"\ud800x", r"\ud800\ud800", r"\udc00\ud800", r"x\ud83d"] {
        for value in
            [format!(r#""{text}""#), format!(r#"{{"{text}":1}}"#), format!(r#"{{"{text}":["undefined"]}}"#)]
        {
            let mut host = after(&[&call("echo", &value), r#"["pull",1]"#]);
            refused(&mut host, 1);
        }
    }
}

#[test]
fn half_a_surrogate_pair_in_a_path_ends_the_session() {
    ends("BAD_EXPRESSION", &[r#"["push",["pipeline",0,["\ud800"],[]]]"#]);
}

#[test]
fn what_is_no_json_ends_the_session() {
    for text in [
        "garbage",
        "{",
        "[\"pull\",0",
        "[\"pull\",0]x",
        "[\"pull\",0][\"pull\",0]",
        "[\"pull\",00]",
        "[\"pull\",0x0]",
        "[\"pull\",0,]",
        "[\"pull\",-]",
        "[\"push\",\"a\nb\"]",
        "[\"push\",\"\\x41\"]",
        "[\"push\",\"\\u12\"]",
        "\u{feff}[\"pull\",0]",
        "[\"push\",{a:1}]",
        "[\"push\",{\"a\":1,}]",
        "/**/[\"pull\",0]",
        "[\"push\",tru]",
        "",
        " ",
        "\"",
        "[\"push\",.5]",
        "[\"push\",NaN]",
        "[\"push\",+0]",
        "[\"push\",1.]",
        "[\"push\",1e]",
        "[\"push\",01]",
        "[\"push\",-]",
        "]",
    ] {
        ends("NOT_JSON", &[text]);
    }
}

#[test]
fn json_that_is_no_message_ends_the_session() {
    for text in [
        "null",
        "true",
        "5",
        "\"push\"",
        "{}",
        "[]",
        "[5]",
        "[null]",
        "[[]]",
        "[[\"push\",1]]",
        "[\"\"]",
        "[\"PUSH\",1]",
    ] {
        ends("BAD_MESSAGE", &[text]);
    }
}

#[test]
fn a_pull_repeated_without_end_is_answered_once() {
    let mut host = after(&[&call("square", "4")]);
    for _ in 0..10_000 {
        host.receive(r#"["pull",1]"#);
    }
    assert_eq!(host.settle().frames, [r#"["resolve",1,16]"#]);
}

#[test]
fn a_promise_that_waits_for_itself_waits_and_harms_nobody() {
    let mut host = after(&[
        &call("echo", r#"["promise",-1]"#),
        r#"["pull",1]"#,
        r#"["resolve",-1,["pipeline",1]]"#,
        &call("echo", r#"["promise",-2]"#),
        r#"["pull",2]"#,
        r#"["resolve",-2,{"a":["pipeline",2]}]"#,
    ]);
    let frames = host.settle().frames;
    assert!(!frames.iter().any(|frame| frame.starts_with(r#"["resolve","#)), "{frames:?}");
    goes_on(&mut host);
}

#[test]
fn promises_that_wait_for_each_other_wait_and_harm_nobody() {
    let mut host = after(&[
        &call("echo", r#"[[["promise",-1],["promise",-2]]]"#),
        r#"["pull",1]"#,
        r#"["resolve",-1,["promise",-3]]"#,
        r#"["resolve",-2,["pipeline",1]]"#,
    ]);
    host.settle();
    if host.ended().is_none() {
        host.receive(r#"["resolve",-3,["pipeline",1]]"#);
        host.settle();
        goes_on(&mut host);
    }
    assert!(host.imports() <= 8, "{}", host.imports());
}

#[test]
fn a_long_chain_of_unfinished_calls_unwinds_on_a_small_stack() {
    let links = Limits::default().unanswered_calls - 10;
    let small = std::thread::Builder::new().stack_size(SMALL);
    let said = small.spawn(move || {
        let mut host = after(&[&call("gate", r#""k""#)]);
        for id in 1..links {
            host.receive(&format!(r#"["push",["pipeline",0,["square"],[["pipeline",{id}]]]]"#));
        }
        host.receive(&format!(r#"["pull",{links}]"#));
        host.settle();
        host.receive(&call("open", r#""k",1"#));
        (links, host.settle().frames)
    });
    let (links, frames) = said.expect("a thread").join().expect("no overflow");
    assert_eq!(frames, [format!(r#"["resolve",{links},1]"#)]);
}

#[test]
fn a_long_chain_of_promises_unwinds_on_a_small_stack() {
    let links = 2_000;
    let small = std::thread::Builder::new().stack_size(SMALL);
    let frames = small.spawn(move || {
        let mut host = after(&[&call("echo", r#"["promise",-1]"#), r#"["pull",1]"#]);
        for id in 1..links {
            host.receive(&format!(r#"["resolve",-{id},["promise",-{}]]"#, id + 1));
        }
        host.receive(&format!(r#"["resolve",-{links},7]"#));
        host.settle().frames
    });
    let frames = frames.expect("a thread").join().expect("no overflow");
    assert_eq!(frames.last().map(String::as_str), Some(r#"["resolve",1,7]"#));
}

#[test]
fn an_ended_session_leaves_its_neighbour_alone() {
    let mut neighbour = after(&[&call("makeCounter", "1")]);
    let mut host = after(&[&call("makeCounter", "1"), "garbage"]);
    host.settle();
    assert!(host.ended().is_some());
    neighbour.receive(r#"["push",["pipeline",1,["increment"],[]]]"#);
    neighbour.receive(r#"["pull",2]"#);
    assert_eq!(neighbour.settle().frames, [r#"["resolve",2,2]"#]);
}

/// Frames of every kind that do what they should.
fn honest() -> Vec<String> {
    [
        call(
            "echo",
            r#"{"a":[[1,["bigint","5"],["date",5],["bytes","AQI"],["error","Error","m",null,{"c":1}]]]}"#,
        ),
        r#"["push",["pipeline",1,["a",0]]]"#.to_owned(),
        r#"["push",["remap",1,["a"],[["import",0]],[["pipeline",-1,["square"],[["pipeline",0]]]]]]"#
            .to_owned(),
        r#"["pull",3]"#.to_owned(),
        call("cb", r#"["export",-1]"#),
        r#"["pull",4]"#.to_owned(),
        r#"["resolve",1,{"x":["promise",-2]}]"#.to_owned(),
        r#"["resolve",-2,["undefined"]]"#.to_owned(),
        r#"["pipe"]"#.to_owned(),
        call("consume", r#"["readable",5]"#),
        r#"["stream",["pipeline",5,["write"],["chunk"]]]"#.to_owned(),
        r#"["stream",["pipeline",5,["close"],[]]]"#.to_owned(),
        r#"["release",1,1]"#.to_owned(),
        r#"["reject",9,["error","RangeError","m"]]"#.to_owned(),
    ]
    .into()
}

/// Changes a frame a little, as chance will have it.
fn mutated(frame: &str, others: &[String], dice: &mut Dice) -> String {
    const WORDS: [&str; 14] = [
        "-1",
        "0",
        "1",
        "2",
        "[",
        "]",
        "[[",
        "]]",
        "null",
        "0.5",
        "1e400",
        "[\"undefined\"]",
        "{}",
        "\"__proto__\"",
    ];
    let mut bytes = frame.as_bytes().to_vec();
    let at = dice.under(bytes.len());
    match dice.under(5) {
        0 => {
            bytes.remove(at);
        }
        1 => bytes.truncate(at),
        2 => bytes[at] = b' ' + u8::try_from(dice.under(95)).expect("printable"),
        3 => {
            let word = *dice.one_of(&WORDS);
            bytes.splice(at..(at + 1).min(frame.len()), word.bytes());
        }
        _ => {
            let other = dice.one_of(others).as_bytes();
            let from = dice.under(other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_mutation_of_honest_frames_is_more_than_a_typed_refusal() {
    let honest = honest();
    let seeds = if std::env::var_os("A2A_WEBCAP_LONG").is_some() { 100_000 } else { 5_000 };
    for seed in 0..seeds {
        let mut dice = Dice::new(seed);
        let mut host = Host::new();
        for frame in &honest {
            let frame = if dice.chance(15) { mutated(frame, &honest, &mut dice) } else { frame.clone() };
            host.receive(&frame);
            if dice.chance(50) {
                host.settle();
            }
        }
        let said = host.settle();
        for frame in said.frames {
            let frame: Value =
                serde_json::from_str(&frame).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(frame[0].is_string(), "seed {seed}: {frame}");
        }
        if host.ended().is_some() {
            assert_eq!((host.exports(), host.imports()), (0, 0), "seed {seed}");
        } else {
            assert!(host.exports() <= 32 && host.imports() <= 32, "seed {seed}");
        }
    }
}

#[test]
fn no_garbage_in_a_batch_is_more_than_a_typed_refusal() {
    let honest = honest();
    for seed in 0..3_000 {
        let mut dice = Dice::new(seed);
        let lines: Vec<String> = (0..1 + dice.under(8))
            .map(|_| {
                let line = dice.one_of(&honest).clone();
                if dice.chance(20) { mutated(&line, &honest, &mut dice) } else { line }
            })
            .collect();
        let (answer, done) = support::batch(&lines.join("\n"));
        // What waits for the rest of a stream, or for a promise, is the deadline's.
        assert!(done || answer.closed.is_none(), "seed {seed}");
        for frame in answer.body.lines() {
            let frame: Value =
                serde_json::from_str(frame).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_ne!(frame[0], "push", "seed {seed}: nobody can be called");
        }
    }
}
