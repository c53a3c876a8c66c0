//! Bounds: one past each, and what it costs.

use capnweb::{Error, Limits, Violation};

use crate::support::{Bench, Object, frames};

fn bench(change: impl FnOnce(&mut Limits)) -> Bench {
    let mut limits = Limits::default();
    change(&mut limits);
    Bench::with(limits)
}

#[track_caller]
fn ended(bench: &Bench, limit: &str) {
    match bench.violation() {
        Some(Violation::Limit(name, _)) => assert_eq!(*name, limit),
        other => panic!("ended by {other:?}"),
    }
}

fn nested(levels: usize) -> String {
    format!(r#"["push",{}0{}]"#, "[[".repeat(levels), "]]".repeat(levels))
}

#[test]
fn a_message_that_is_too_long_ends_the_session() {
    let mut bench = bench(|limits| limits.message_bytes = 30);
    assert_eq!(bench.say(&[r#"["push","0123456789"]"#]), frames(&[]));
    bench.say(&[r#"["push","012345678901234567890"]"#]);
    ended(&bench, "message_bytes");
}

#[test]
fn values_nest_as_deep_as_in_the_reference() {
    let mut bench = Bench::new();
    let sent = bench.say(&[&nested(255), r#"["pull",1]"#]);
    assert_eq!(sent.len(), 1);
    assert!(bench.closed.is_none());
    bench.say(&[&nested(256)]);
    ended(&bench, "depth");
}

#[test]
fn depth_counts_through_calls_errors_and_what_nobody_reads() {
    let calls = |levels: usize| {
        format!(r#"["push",{}0{}]"#, r#"["pipeline",0,["echo"],["#.repeat(levels), "]]".repeat(levels))
    };
    let mut fine = Bench::new();
    fine.say(&[&calls(255)]);
    assert!(fine.closed.is_none(), "{:?}", fine.closed);
    let errors =
        format!(r#"["push",{}0{}]"#, r#"["error","Error","m",null,{"a":"#.repeat(256), "}]".repeat(256));
    let skipped = format!(r#"["pull",0,{}{}]"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    for frame in [calls(256), errors, skipped] {
        let mut bench = Bench::new();
        bench.say(&[&frame]);
        ended(&bench, "depth");
    }
}

#[test]
fn results_cannot_be_nested_into_each_other_without_end() {
    let mut bench = Bench::new();
    bench.say(&[r#"["push",[[0]]]"#]);
    for n in 1..600 {
        bench.say(&[&format!(r#"["push",[[["pipeline",{n}]]]]"#), &format!(r#"["release",{n},1]"#)]);
    }
    let sent = bench.say(&[r#"["pull",600]"#]);
    assert!(
        sent[0].starts_with(r#"["reject",600,["error","RangeError","the value nests too deep"#),
        "{sent:?}"
    );
    assert!(bench.closed.is_none());
}

#[test]
fn a_short_text_cannot_stand_for_any_number_of_values() {
    let mut bench = bench(|limits| limits.values = 100);
    bench.say(&[&format!(r#"["push",[[{}0]]]"#, "0,".repeat(98))]);
    assert!(bench.closed.is_none());
    bench.say(&[&format!(r#"["push",[[{}0]]]"#, "0,".repeat(100))]);
    ended(&bench, "values");
}

#[test]
fn a_big_integer_has_so_many_digits() {
    let mut bench = Bench::new();
    bench.say(&[&format!(r#"["push",["bigint","{}"]]"#, "7".repeat(16_384))]);
    assert!(bench.closed.is_none());
    bench.say(&[&format!(r#"["push",["bigint","{}"]]"#, "7".repeat(16_385))]);
    ended(&bench, "bigint_digits");
}

#[test]
fn one_message_asks_for_so_many_calls() {
    let mut bench = bench(|limits| limits.calls = 3);
    bench.say(&[r#"["push",[[["pipeline",0,["val"]],["pipeline",0,["val"]],["pipeline",0,["val"]]]]]"#]);
    assert!(bench.closed.is_none());
    bench.say(&[
        r#"["push",[[["pipeline",0,["val"]],["pipeline",0,["val"]],["pipeline",0,["val"]],["pipeline",0,["val"]]]]]"#,
    ]);
    ended(&bench, "calls");
}

#[test]
fn a_peer_that_releases_nothing_is_cut_off() {
    let mut bench = Bench::new();
    for _ in 0..4_095 {
        bench.say(&[r#"["push",1]"#]);
    }
    assert!(bench.closed.is_none());
    bench.say(&[r#"["push",1]"#]);
    ended(&bench, "exports");
}

#[test]
fn a_result_with_too_many_objects_is_rejected() {
    let mut bench = bench(|limits| limits.exports = 4);
    let mut objects = Vec::new();
    for _ in 0..3 {
        objects.push(bench.session.local(Object::Greeter).into());
    }
    bench.say(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    bench.session.answer(bench.held[0], Ok(capnweb::Value::Array(objects)));
    assert!(bench.heard()[0].starts_with(r#"["reject",1,"#));
    assert_eq!(bench.session.stats().exports, 2);
}

#[test]
fn a_peer_introduces_so_many_objects() {
    let mut bench = bench(|limits| limits.imports = 2);
    bench.say(&[r#"["push",[[["export",-1],["export",-2],["export",-1]]]]"#]);
    assert!(bench.closed.is_none());
    bench.say(&[r#"["push",["export",-3]]"#]);
    ended(&bench, "imports");
}

#[test]
fn one_unanswered_call_too_many_is_rejected_alone() {
    let mut bench = bench(|limits| limits.unanswered_calls = 2);
    let hold = r#"["push",["pipeline",0,["hold"],[]]]"#;
    let sent = bench.say(&[hold, r#"["push",["pipeline",1,["x"],[]]]"#, hold, r#"["pull",3]"#]);
    assert_eq!(
        sent,
        frames(&[r#"["reject",3,["error","RangeError","too many calls are unanswered: wait for results"]]"#])
    );
    bench.session.answer(bench.held[0], Err(Error::plain("x")));
    assert_eq!(
        bench.say(&[r#"["push",["pipeline",0,["square"],[2]]]"#, r#"["pull",4]"#]),
        frames(&[r#"["resolve",4,4]"#])
    );
}

#[test]
fn results_that_are_not_released_take_so_many_bytes() {
    let mut bench = bench(|limits| limits.kept_bytes = 10_000);
    let push = format!(r#"["push","{}"]"#, "x".repeat(4_000));
    bench.say(&[&push, &push, r#"["release",1,1]"#, &push]);
    assert!(bench.closed.is_none());
    bench.say(&[&push]);
    ended(&bench, "kept_bytes");
}

#[test]
fn arguments_of_calls_that_wait_take_so_many_bytes() {
    let mut bench = bench(|limits| limits.kept_bytes = 10_000);
    let never = format!(r#"["push",["pipeline",0,["never"],["{}"]]]"#, "x".repeat(4_000));
    bench.say(&[&never, &never]);
    assert!(bench.closed.is_none());
    bench.say(&[&never]);
    ended(&bench, "kept_bytes");
}

#[test]
fn a_result_cannot_be_copied_without_end() {
    let mut bench = bench(|limits| limits.message_bytes = 100_000);
    let many = vec![r#"["pipeline",1]"#; 100].join(",");
    let sent = bench.say(&[
        &format!(r#"["push","{}"]"#, "x".repeat(4_000)),
        &format!(r#"["push",["pipeline",0,["echo"],[[[{many}]]]]]"#),
        r#"["pull",2]"#,
    ]);
    assert_eq!(
        sent,
        frames(&[r#"["reject",2,["error","RangeError","results are used too often in one message"]]"#])
    );
    assert!(bench.closed.is_none());
}

#[test]
fn an_answer_that_is_too_long_is_rejected() {
    let mut bench = bench(|limits| limits.message_bytes = 1_000);
    bench.say(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    bench.session.answer(bench.held[0], Ok("x".repeat(2_000).into()));
    assert!(bench.heard()[0].starts_with(r#"["reject",1,["error","RangeError","#));
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    let mut limits = Limits::default();
    limits.queued_bytes = 200;
    let mut session = capnweb::Session::<Object>::new(Object::Service, limits);
    for n in 1.. {
        assert!(n < 50, "it would go on for ever");
        session.receive(r#"["push",1]"#);
        session.receive(&format!(r#"["pull",{n}]"#));
        while session.poll().is_some_and(|action| !matches!(action, capnweb::Action::Closed(_))) {}
        if session.is_ended() {
            break;
        }
    }
    assert!(session.is_ended());
}

#[test]
fn nesting_of_every_kind_fits_into_a_small_stack() {
    let inner = r#"["remap",0,[],[],["#;
    let nested = format!(r#"["push",["remap",1,[],[],[{}7{}]]]"#, inner.repeat(255), "]]".repeat(255));
    let calls =
        format!(r#"["push",{}0{}]"#, r#"["pipeline",0,["echo"],[{"a":"#.repeat(127), "}]]".repeat(127));
    let errors = format!(r#"["push",{}0{}]"#, r#"["error","E","m",null,{"a":"#.repeat(255), "}]".repeat(255));
    let objects = format!(r#"["push",{}0{}]"#, r#"{"a":"#.repeat(255), "}".repeat(255));
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for frame in [nested, calls, errors, objects] {
            let mut bench = Bench::new();
            bench.say(&["[\"push\",7]", &frame, r#"["pull",2]"#]);
            let sent = bench.heard();
            assert!(bench.closed.is_none(), "{:?} {sent:?}", bench.closed);
        }
    });
    worker.expect("a thread").join().expect("no overflow");
}

#[test]
fn long_instructions_are_not_read_for_any_number_of_elements() {
    let mut bench = bench(|limits| limits.message_bytes = 100_000);
    let sent = bench.say(&[
        &format!(r#"["push",[[{}0]]]"#, "0,".repeat(199)),
        &format!(r#"["push",["remap",1,[],[],["{}",7]]]"#, "x".repeat(1_000)),
        r#"["pull",2]"#,
    ]);
    assert!(
        sent[0].starts_with(r#"["reject",2,["error","RangeError","the remap takes too many steps"#),
        "{sent:?}"
    );
    assert!(bench.closed.is_none());
}

#[test]
fn what_grows_when_it_is_written_is_bounded_too() {
    let mut bench = bench(|limits| limits.message_bytes = 1_000);
    let hold = r#"["push",["pipeline",0,["hold"],[]]]"#;
    bench.say(&[hold, r#"["pull",1]"#, hold, r#"["pull",2]"#]);
    bench.session.answer(bench.held[0], Ok("\u{1}".repeat(500).into()));
    bench.session.answer(bench.held[1], Err(Error::plain("\u{1}".repeat(500))));
    assert_eq!(
        bench.heard(),
        frames(&[
            r#"["reject",1,["error","TypeError","a value is too long to be sent"]]"#,
            r#"["reject",2,["error","RangeError","the error is too long to be sent"]]"#,
        ])
    );
}

#[test]
fn a_writer_that_stops_at_bytes_may_write_many_small_chunks() {
    let mut bench = Bench::new();
    bench.slow_reader = true;
    bench.say(&[r#"["pipe"]"#, r#"["push",["pipeline",0,["hoard"],[["readable",1]]]]"#]);
    for _ in 0..8_192 {
        assert_eq!(bench.say(&[r#"["stream",["pipeline",1,["write"],[1]]]"#]), frames(&[]));
    }
    let sent = bench.say(&[r#"["push",["pipeline",0,["val"]]]"#, r#"["pull",8195]"#]);
    assert_eq!(sent, frames(&[r#"["resolve",8195,42]"#]), "calls are counted by themselves");
    let sent = bench.say(&[r#"["stream",["pipeline",1,["write"],[1]]]"#]);
    assert!(sent[0].starts_with(r#"["reject",8196,["error","RangeError","#), "{sent:?}");
    bench.session.answer(bench.unread[0], Ok(capnweb::Value::Undefined));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",3,["undefined"]]"#]));
    assert!(bench.closed.is_none());
}

#[test]
fn stream_calls_that_wait_for_nothing_of_their_own_are_bounded_too() {
    let mut bench = bench(|limits| limits.unanswered_streams = 10);
    bench.say(&[r#"["push",["pipeline",0,["never"],[]]]"#]);
    for _ in 0..20 {
        bench.say(&[r#"["stream",["pipeline",1]]"#]);
    }
    ended(&bench, "unanswered_streams");
}

#[test]
fn an_answer_cannot_be_copied_without_end_for_those_who_wait() {
    let mut bench = bench(|limits| limits.kept_bytes = 100_000);
    bench.say(&[r#"["push",["pipeline",0,["hold"],[]]]"#]);
    for n in 2..42 {
        bench.say(&[r#"["push",["pipeline",0,["nothing"],[["pipeline",1]]]]"#, &format!(r#"["pull",{n}]"#)]);
    }
    bench.session.answer(bench.held[0], Ok("x".repeat(4_000).into()));
    let sent = bench.heard();
    let rejected = sent.iter().filter(|frame| frame.contains("used too often")).count();
    assert_eq!((sent.len(), rejected > 0 && rejected < 40), (40, true), "{rejected} were rejected");
    assert!(bench.closed.is_none());
}
