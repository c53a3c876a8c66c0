//! Calls of the peer: the recorded exchanges, and what they stand for.

use capnweb::{Cause, Error};

use crate::support::{Bench, Object, answers, frames, play};

#[test]
fn a_pushed_value_can_be_pulled() {
    answers(
        &[r#"["push",{"a":[[1,["date",5]]]}]"#, r#"["pull",1]"#],
        &[r#"["resolve",1,{"a":[[1,["date",5]]]}]"#],
    );
}

#[test]
fn a_result_is_sent_once_and_only_if_asked_for() {
    answers(&[r#"["push",["pipeline",0,["square"],[3]]]"#], &[]);
    answers(
        &[r#"["push",["pipeline",0,["square"],[3]]]"#, r#"["pull",1]"#, r#"["pull",1]"#],
        &[r#"["resolve",1,9]"#],
    );
}

#[test]
fn the_main_object_is_given_whichever_way_it_is_asked_for() {
    answers(
        &[
            r#"["push",["import",0]]"#,
            r#"["pull",1]"#,
            r#"["push",["pipeline",0]]"#,
            r#"["pull",2]"#,
            r#"["pull",0]"#,
        ],
        &[
            r#"["resolve",1,["export",-1]]"#,
            r#"["resolve",2,["export",-2]]"#,
            r#"["resolve",0,["export",-3]]"#,
        ],
    );
}

#[test]
fn properties_of_objects_and_of_results_are_read() {
    answers(
        &[
            r#"["push",["pipeline",0,["val"]]]"#,
            r#"["pull",1]"#,
            r#"["push",["pipeline",0,["nested"],[]]]"#,
            r#"["push",["pipeline",2,["list",1]]]"#,
            r#"["pull",3]"#,
            r#"["push",["pipeline",2,["f"],[5]]]"#,
            r#"["pull",4]"#,
            r#"["push",["pipeline",2,["s","hi"],[]]]"#,
            r#"["pull",5]"#,
            r#"["push",["pipeline",2,["list",2,0]]]"#,
            r#"["pull",6]"#,
        ],
        &[
            r#"["resolve",1,42]"#,
            r#"["resolve",3,20]"#,
            r#"["resolve",4,6]"#,
            r#"["resolve",5,"hi"]"#,
            r#"["resolve",6,30]"#,
        ],
    );
}

#[test]
fn what_is_not_there_is_undefined_and_no_function() {
    let reads =
        [r#"["list","1"]"#, r#"["list","length"]"#, r#"["list",-1]"#, r#"["list",0.5]"#, r#"["nope"]"#];
    for path in reads.into_iter().chain([r#"["nil","x"]"#, r#"["list",0,"toFixed"]"#, r#"["toString"]"#]) {
        answers(
            &[
                r#"["push",["pipeline",0,["nested"],[]]]"#,
                &format!(r#"["push",["pipeline",1,{path}]]"#),
                r#"["pull",2]"#,
            ],
            &[r#"["resolve",2,["undefined"]]"#],
        );
    }
    answers(
        &[r#"["push",["pipeline",0,["nope"],[]]]"#, r#"["pull",1]"#],
        &[r#"["reject",1,["error","TypeError","'nope' is not a function."]]"#],
    );
    answers(
        &[r#"["push",{"a":1}]"#, r#"["push",["pipeline",1,["nope","x"]]]"#, r#"["pull",2]"#],
        &[r#"["reject",2,["error","TypeError","Cannot read properties of undefined (reading 'x')"]]"#],
    );
    answers(
        &[r#"["push",{"a":1}]"#, r#"["push",["pipeline",1,["a"],[]]]"#, r#"["pull",2]"#],
        &[r#"["reject",2,["error","TypeError","'a' is not a function."]]"#],
    );
}

#[test]
fn names_of_every_javascript_object_never_reach_the_host() {
    let (sent, bench) = play(&[
        r#"["push",["pipeline",0,["constructor"]]]"#,
        r#"["pull",1]"#,
        r#"["push",["pipeline",0,["__proto__","polluted"]]]"#,
        r#"["pull",2]"#,
        r#"["push",["pipeline",0,["toString"],[]]]"#,
        r#"["pull",3]"#,
    ]);
    assert_eq!(
        sent,
        frames(&[
            r#"["resolve",1,["undefined"]]"#,
            r#"["reject",2,["error","TypeError","Cannot read properties of undefined (reading 'polluted')"]]"#,
            r#"["reject",3,["error","TypeError","'toString' is not a function."]]"#,
        ])
    );
    assert_eq!(bench.started, [""; 0]);
}

#[test]
fn an_error_arrives_with_its_own_properties() {
    answers(
        &[r#"["push",["pipeline",0,["fail"],[]]]"#, r#"["pull",1]"#, r#"["release",1,1]"#],
        &[r#"["reject",1,["error","RangeError","task not found",null,{"code":-32001}]]"#],
    );
}

#[test]
fn a_stream_call_is_answered_and_leaves_nothing() {
    let (sent, mut bench) = play(&[r#"["stream",["pipeline",0,["square"],[4]]]"#]);
    assert_eq!(sent, frames(&[r#"["resolve",1,16]"#]));
    assert_eq!(bench.session.stats().exports, 1);
    bench.say(&[r#"["pull",1]"#]);
    assert_eq!(bench.violation().map(|violation| violation.code()), Some("NO_SUCH_ID"));
}

#[test]
fn calls_start_in_the_order_of_their_frames() {
    let (_, bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[]]]"#,
        r#"["push",["pipeline",1,["a"],[]]]"#,
        r#"["push",["pipeline",0,["square"],[2]]]"#,
        r#"["push",["pipeline",1,["b"],[]]]"#,
        r#"["push",["pipeline",0,["nothing"],[]]]"#,
    ]);
    let mut bench = bench;
    assert_eq!(bench.started, ["Service.hold", "Service.square", "Service.nothing"]);
    let greeter = bench.session.local(Object::Greeter);
    bench.session.answer(bench.held[0], Ok(greeter.into()));
    bench.say(&[r#"["push",["pipeline",1,["c"],[]]]"#]);
    assert_eq!(bench.started[3..], ["Greeter.a", "Greeter.b", "Greeter.c"]);
}

#[test]
fn answers_come_in_the_order_in_which_they_are_known() {
    let (sent, mut bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[]]]"#,
        r#"["pull",1]"#,
        r#"["push",["pipeline",0,["never"],[]]]"#,
        r#"["pull",2]"#,
        r#"["push",["pipeline",0,["square"],[2]]]"#,
        r#"["pull",3]"#,
    ]);
    assert_eq!(sent, frames(&[r#"["resolve",3,4]"#]));
    bench.session.answer(bench.held[0], Err(Error::plain("late")));
    assert_eq!(bench.heard(), frames(&[r#"["reject",1,["error","Error","late"]]"#]));
}

#[test]
fn calls_on_what_failed_fail_with_the_first_error() {
    answers(
        &[
            r#"["push",["pipeline",0,["fail"],[]]]"#,
            r#"["push",["pipeline",1,["listTasks"],[]]]"#,
            r#"["push",["pipeline",2,["deep"],[]]]"#,
            r#"["pull",3]"#,
        ],
        &[r#"["reject",3,["error","RangeError","task not found",null,{"code":-32001}]]"#],
    );
}

#[test]
fn giving_back_a_result_that_was_asked_for_cancels_the_call() {
    let (_, mut bench) =
        play(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#, r#"["release",1,1]"#]);
    assert_eq!(bench.cancelled, bench.held);
    bench.session.answer(bench.held[0], Ok(1.into()));
    assert_eq!(bench.heard(), frames(&[]), "nobody waits for it");
    assert_eq!(bench.session.stats().calls, 0);
}

#[test]
fn a_call_nobody_asked_the_result_of_runs_on_when_it_is_given_back() {
    let (_, bench) = play(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["release",1,1]"#]);
    assert_eq!((bench.held.len(), bench.cancelled.len()), (1, 0));
}

#[test]
fn a_call_that_others_wait_for_is_not_cancelled() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[]]]"#,
        r#"["pull",1]"#,
        r#"["push",["pipeline",1,["hi"],[]]]"#,
        r#"["pull",2]"#,
        r#"["release",1,1]"#,
    ]);
    assert_eq!(bench.cancelled, []);
    let greeter = bench.session.local(Object::Greeter);
    bench.session.answer(bench.held[0], Ok(greeter.into()));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",2,"hi"]"#]));
    assert_eq!(bench.dropped, [Object::Greeter]);
}

#[test]
fn an_object_comes_back_when_the_last_reference_to_it_is_released() {
    let (sent, mut bench) =
        play(&[r#"["push",["pipeline",0,["makeCounter"],[]]]"#, r#"["pull",1]"#, r#"["release",1,1]"#]);
    assert_eq!(sent, frames(&[r#"["resolve",1,["export",-1]]"#]));
    assert_eq!(bench.dropped, []);
    let sent =
        bench.say(&[r#"["push",["pipeline",-1,["increment"],[]]]"#, r#"["pull",2]"#, r#"["release",-1,1]"#]);
    assert_eq!(sent, frames(&[r#"["resolve",2,1]"#]));
    assert_eq!(bench.dropped, [Object::Counter]);
}

#[test]
fn a_released_main_object_comes_back_too() {
    let (_, mut bench) = play(&[r#"["release",0,1]"#]);
    assert_eq!(bench.dropped, [Object::Service]);
    bench.say(&[r#"["push",["pipeline",0,["val"]]]"#]);
    assert_eq!(
        bench.violation().map(ToString::to_string).as_deref(),
        Some("no such entry on exports table: 0")
    );
}

#[test]
fn a_peer_that_aborts_ends_everything() {
    let (sent, bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[]]]"#,
        r#"["pull",1]"#,
        r#"["abort",["error","Error","session expired",null,{"code":4001}]]"#,
        r#"["push",["pipeline",0,["val"]]]"#,
    ]);
    assert_eq!(sent, frames(&[]));
    assert_eq!(bench.cancelled, bench.held);
    assert_eq!(bench.dropped, [Object::Service]);
    let closed = bench.closed.expect("it has ended");
    assert_eq!(closed.cause, Cause::Peer(Error::plain("session expired").with("code", 4001)));
    assert_eq!(closed.reason, "session expired");
}

#[test]
fn a_host_that_aborts_says_why_within_what_a_close_frame_takes() {
    let mut bench = Bench::new();
    bench.session.abort(Error::plain("é".repeat(100)).with("code", 4001));
    let sent = bench.heard();
    assert_eq!(sent.len(), 1);
    assert!(
        sent[0].starts_with(r#"["abort",["error","Error","éé"#)
            && sent[0].ends_with(r#",null,{"code":4001}]]"#)
    );
    let reason = bench.closed.expect("it has ended").reason;
    assert_eq!(reason, "é".repeat(61), "122 bytes: a character is not cut");
}

#[test]
fn a_connection_that_is_gone_ends_everything_without_a_word() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["hold"],[]]]"#]);
    bench.session.closed();
    assert_eq!(bench.heard(), frames(&[]));
    assert_eq!(bench.closed.map(|closed| closed.cause), Some(Cause::Lost));
    assert_eq!(bench.cancelled.len(), 1);
}

#[test]
fn a_result_that_cannot_be_sent_is_a_rejection() {
    let mut bench = Bench::new();
    let mut other = Bench::new();
    let foreign = crate::support::local(&mut other, Object::Greeter);
    bench.say(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    let value = capnweb::Object::new()
        .with("mine", bench.session.local(Object::Counter))
        .with("main", other.session.main());
    drop(foreign);
    bench.session.answer(bench.held[0], Ok(value.into()));
    let sent = bench.heard();
    assert_eq!(
        sent,
        frames(&[r#"["reject",1,["error","TypeError","the stub belongs to another session"]]"#])
    );
    bench.say(&[r#"["release",1,1]"#]);
    assert_eq!(bench.dropped, [Object::Counter], "what was on its way is taken back");
    assert_eq!(bench.session.stats().exports, 1);
}

#[test]
fn a_call_given_back_before_its_turn_is_started_and_cancelled_at_once() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[["promise",-1]]]]"#,
        r#"["pull",1]"#,
        r#"["release",1,1]"#,
        r#"["resolve",-1,1]"#,
    ]);
    assert_eq!(bench.started, ["Service.hold"]);
    assert_eq!(bench.cancelled, bench.held);
    bench.work();
    assert_eq!(bench.session.stats().calls, 0);
}
