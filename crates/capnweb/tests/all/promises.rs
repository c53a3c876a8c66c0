//! What is not known yet: in arguments, in results, in chains.

use capnweb::{Error, Object as Properties};

use crate::support::{Bench, Object, Value, answers, frames, play};

#[test]
fn a_call_waits_for_a_promise_of_the_peer_in_its_arguments() {
    answers(
        &[r#"["push",["pipeline",0,["square"],[["promise",-1]]]]"#, r#"["pull",1]"#, r#"["resolve",-1,6]"#],
        &[r#"["release",-1,1]"#, r#"["resolve",1,36]"#],
    );
}

#[test]
fn a_promise_of_the_peer_that_fails_fails_the_call() {
    let (sent, bench) = play(&[
        r#"["push",["pipeline",0,["square"],[{"deep":[[["promise",-1]]]}]]]"#,
        r#"["pull",1]"#,
        r#"["reject",-1,["error","RangeError","no"]]"#,
    ]);
    assert_eq!(sent, frames(&[r#"["release",-1,1]"#, r#"["reject",1,["error","RangeError","no"]]"#]));
    assert_eq!(bench.started, [""; 0]);
}

#[test]
fn a_call_waits_for_all_of_its_arguments() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["echo"],[[["x",["promise",-1],["promise",-2]]]]]]"#,
        r#"["pull",1]"#,
        r#"["resolve",-2,2]"#,
    ]);
    assert_eq!(bench.started, [""; 0]);
    assert_eq!(bench.say(&[r#"["resolve",-1,1]"#])[1..], [r#"["resolve",1,[["x",1,2]]]"#]);
    assert_eq!(bench.session.stats().waiting, 0);
}

#[test]
fn a_promise_may_resolve_to_what_holds_promises() {
    answers(
        &[
            r#"["push",["pipeline",0,["echo"],[["promise",-1]]]]"#,
            r#"["pull",1]"#,
            r#"["resolve",-1,{"a":["promise",-2]}]"#,
            r#"["resolve",-2,[["b"]]]"#,
        ],
        &[r#"["release",-1,1]"#, r#"["release",-2,1]"#, r#"["resolve",1,{"a":[["b"]]}]"#],
    );
}

#[test]
fn a_result_can_be_an_argument_before_it_is_known() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[]]]"#,
        r#"["push",["pipeline",0,["square"],[["pipeline",1,["n"]]]]]"#,
        r#"["pull",2]"#,
    ]);
    bench.session.answer(bench.held[0], Ok(Properties::new().with("n", 5).into()));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",2,25]"#]));
}

#[test]
fn a_call_can_stand_inside_an_argument() {
    answers(
        &[r#"["push",["pipeline",0,["square"],[["pipeline",0,["square"],[3]]]]]"#, r#"["pull",1]"#],
        &[r#"["resolve",1,81]"#],
    );
}

#[test]
fn a_value_with_calls_in_it_is_known_when_they_are() {
    answers(
        &[r#"["push",{"a":["pipeline",0,["square"],[3]],"b":["import",0,["val"]]}]"#, r#"["pull",1]"#],
        &[r#"["resolve",1,{"a":9,"b":42}]"#],
    );
}

#[test]
fn a_promise_whose_call_was_dropped_is_released() {
    let (sent, bench) = play(&[
        r#"["push",["pipeline",0,["square"],[["promise",-1],["promise",-2]]]]"#,
        r#"["reject",-1,["error","Error","no"]]"#,
    ]);
    assert_eq!(sent, frames(&[r#"["release",-1,1]"#, r#"["release",-2,1]"#]));
    assert_eq!(bench.session.stats().imports, 0);
}

#[test]
fn promises_in_a_circle_wait_and_are_gone_with_the_session() {
    let (sent, mut bench) = play(&[
        r#"["push",{"a":["promise",-1]}]"#,
        r#"["pull",1]"#,
        r#"["resolve",-1,{"b":["pipeline",1]}]"#,
    ]);
    assert_eq!(sent, frames(&[r#"["release",-1,1]"#]));
    bench.session.closed();
    bench.work();
    assert_eq!((bench.session.stats().waiting, bench.session.stats().kept_bytes), (0, 0));
}

#[test]
fn a_host_hands_out_a_promise_and_settles_it_later() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    let (later, promise) = bench.session.promise();
    bench.session.answer(bench.held[0], Ok(Properties::new().with("task", Value::Promise(promise)).into()));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",1,{"task":["promise",-1]}]"#]));
    assert_eq!(bench.say(&[r#"["push",["pipeline",1,["task","hi"],[]]]"#, r#"["pull",2]"#]), frames(&[]));
    let greeter = bench.session.local(Object::Greeter);
    bench.session.answer(later, Ok(greeter.into()));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",-1,["export",-2]]"#, r#"["resolve",2,"hi"]"#]));
    bench.say(&[r#"["release",1,1]"#, r#"["release",2,1]"#, r#"["release",-1,1]"#, r#"["release",-2,1]"#]);
    assert_eq!(bench.dropped, [Object::Greeter]);
    assert_eq!(bench.session.stats().exports, 1);
}

#[test]
fn a_promise_that_has_failed_is_told_after_what_holds_it() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    let (later, promise) = bench.session.promise();
    bench.session.answer(later, Err(Error::plain("NO_TASK")));
    bench.session.answer(bench.held[0], Ok(Properties::new().with("task", Value::Promise(promise)).into()));
    assert_eq!(
        bench.heard(),
        frames(&[r#"["resolve",1,{"task":["promise",-1]}]"#, r#"["reject",-1,["error","Error","NO_TASK"]]"#])
    );
}

#[test]
fn a_result_may_be_a_promise_itself() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    let (later, promise) = bench.session.promise();
    bench.session.answer(bench.held[0], Ok(Value::Promise(promise)));
    assert_eq!(bench.heard(), frames(&[]));
    bench.session.answer(later, Ok(7.into()));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",1,7]"#]));
}

#[test]
fn the_peers_own_object_in_a_result_is_called_where_it_is() {
    let (sent, mut bench) = play(&[
        r#"["push",["pipeline",0,["echo"],[{"f":["export",-1]}]]]"#,
        r#"["push",["pipeline",1,["f","x"],[1]]]"#,
        r#"["pull",2]"#,
    ]);
    assert_eq!(sent, frames(&[r#"["push",["pipeline",-1,["x"],[1]]]"#, r#"["pull",1]"#]));
    let sent = bench.say(&[r#"["resolve",1,"mine"]"#]);
    assert_eq!(sent, frames(&[r#"["release",1,1]"#, r#"["resolve",2,"mine"]"#]));
    assert_eq!(bench.say(&[r#"["release",2,1]"#, r#"["release",1,1]"#]), frames(&[r#"["release",-1,1]"#]));
}

#[test]
fn a_pulled_result_with_the_peers_own_object_names_it() {
    answers(
        &[r#"["push",["pipeline",0,["echo"],[["export",-1]]]]"#, r#"["pull",1]"#, r#"["release",1,1]"#],
        &[r#"["resolve",1,["import",-1]]"#, r#"["release",-1,1]"#],
    );
}

#[test]
fn an_object_of_the_host_that_comes_back_is_the_same_one() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["makeCounter"],[]]]"#,
        r#"["pull",1]"#,
        r#"["push",["pipeline",0,["echo"],[["import",-1]]]]"#,
        r#"["push",["pipeline",2,["increment"],[]]]"#,
        r#"["pull",3]"#,
    ]);
    bench.say(&[r#"["release",-1,1]"#, r#"["release",1,1]"#]);
    assert_eq!(bench.dropped, [], "the second result holds it still");
    bench.say(&[r#"["release",2,1]"#]);
    assert_eq!(bench.dropped, [Object::Counter]);
}

#[test]
fn a_new_session_holds_only_its_main_object() {
    let stats = Bench::new().session.stats();
    assert_eq!((stats.exports, stats.imports, stats.kept_bytes), (1, 0, 0));
}
