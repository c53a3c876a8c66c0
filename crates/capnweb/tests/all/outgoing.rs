//! Calls to the peer.

use capnweb::{Error, Limits, Object as Properties, Refused};

use crate::support::{Bench, Object, Value, count, frames, play};

#[test]
fn a_callback_is_called_awaited_and_released() {
    let (sent, mut bench) = play(&[r#"["push",["pipeline",0,["cb"],[["export",-1]]]]"#, r#"["pull",1]"#]);
    assert_eq!(sent, frames(&[r#"["push",["pipeline",-1,[],[1]]]"#, r#"["pull",1]"#, r#"["release",-1,1]"#]));
    let sent = bench.say(&[r#"["resolve",1,"ok"]"#]);
    assert_eq!(sent, frames(&[r#"["release",1,1]"#, r#"["resolve",1,"ok"]"#]));
}

#[test]
fn a_function_in_a_plain_object_is_called_by_itself() {
    let (sent, _) = play(&[r#"["push",["pipeline",0,["callMember"],[{"on":["export",-1]}]]]"#]);
    assert_eq!(sent[0], r#"["push",["pipeline",-1,[],[1]]]"#);
}

#[test]
fn a_callback_that_fails_fails_who_awaits_it() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["cb"],[["export",-1]]]]"#, r#"["pull",1]"#]);
    let sent = bench.say(&[r#"["reject",1,["error","RangeError","client boom"]]"#]);
    assert_eq!(sent, frames(&[r#"["release",1,1]"#, r#"["reject",1,["error","RangeError","client boom"]]"#]));
}

#[test]
fn events_go_out_as_stream_calls_that_leave_nothing() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["keep"],[["export",-1]]]]"#, r#"["release",1,1]"#]);
    let observer = bench.kept.clone().expect("kept");
    let event = capnweb::Encoded::parse(r#"{"n":1}"#).expect("an expression");
    for n in 1..=1_000 {
        let id =
            bench.session.stream(&observer, &["onEvent"], &[Value::Encoded(event.clone())]).expect("room");
        assert_eq!(bench.heard(), frames(&[r#"["stream",["pipeline",-1,["onEvent"],[{"n":1}]]]"#]));
        bench.say(&[&format!(r#"["resolve",{n},["undefined"]]"#)]);
        assert_eq!(bench.answered.pop().map(|answer| answer.0), Some(id));
    }
    let stats = bench.session.stats();
    assert_eq!((stats.imports, stats.exports, stats.questions), (1, 1, 0));
    drop((observer, bench.kept.take()));
    assert_eq!(bench.heard(), frames(&[r#"["release",-1,1]"#]));
}

#[test]
fn the_window_closes_with_what_is_unacknowledged_and_opens_with_answers() {
    let mut limits = Limits::default();
    limits.stream_window = 100;
    let mut bench = Bench::with(limits);
    let main = bench.session.main();
    bench.session.stream(&main, &["e"], &["x".repeat(60).into()]).expect("sent");
    assert!(bench.session.window(&main) < 20);
    bench.session.stream(&main, &["e"], &["x".repeat(60).into()]).expect("sent");
    assert_eq!(bench.session.window(&main), 0);
    bench.say(&[r#"["resolve",1,null]"#, r#"["reject",2,["error","Error","no"]]"#]);
    assert_eq!(bench.session.window(&main), 100);
    assert_eq!(bench.answered[1].1, Err(Error::plain("no")));
}

#[test]
fn calls_can_be_made_on_an_answer_that_is_not_there() {
    let mut bench = Bench::new();
    let main = bench.session.main();
    let session = bench.session.push(&main, &["authenticate"], &["secret".into()]).expect("sent");
    let tasks = bench.session.call(&session, &["listTasks"], &[]).expect("sent");
    let first = bench.session.get(tasks.result(), &["first", "id"]).expect("sent");
    drop(session);
    assert_eq!(
        bench.heard(),
        frames(&[
            r#"["push",["pipeline",0,["authenticate"],["secret"]]]"#,
            r#"["push",["pipeline",1,["listTasks"],[]]]"#,
            r#"["pull",2]"#,
            r#"["push",["pipeline",2,["first","id"]]]"#,
            r#"["pull",3]"#,
            r#"["release",1,1]"#,
        ])
    );
    bench.say(&[r#"["resolve",3,"a"]"#, r#"["resolve",2,[[]]]"#]);
    assert_eq!(bench.answered, [(first.id(), Ok("a".into())), (tasks.id(), Ok(Value::Array(vec![])))]);
    drop((first, tasks));
    assert_eq!(bench.heard(), frames(&[r#"["release",3,1]"#, r#"["release",2,1]"#]));
}

#[test]
fn dropping_a_question_gives_the_call_up() {
    let mut bench = Bench::new();
    let question = bench.session.call(&bench.session.main(), &["slow"], &[]).expect("sent");
    bench.heard();
    drop(question);
    assert_eq!(bench.heard(), frames(&[r#"["release",1,1]"#]));
    let sent = bench.say(&[r#"["resolve",1,{"late":["export",-1]}]"#]);
    assert_eq!(sent, frames(&[r#"["release",-1,1]"#]), "what comes too late is given back");
    assert_eq!(bench.answered, []);
    assert_eq!(bench.session.stats().questions, 0);
}

#[test]
fn an_answer_waits_for_the_promises_in_it() {
    let mut bench = Bench::new();
    let question = bench.session.call(&bench.session.main(), &["list"], &[]).expect("sent");
    bench.say(&[r#"["resolve",1,[[["promise",-1],["promise",-2]]]]"#, r#"["resolve",-1,"a"]"#]);
    assert_eq!(bench.answered, []);
    bench.say(&[r#"["resolve",-2,"b"]"#]);
    assert_eq!(bench.answered, [(question.id(), Ok(Value::Array(vec!["a".into(), "b".into()])))]);
}

#[test]
fn an_answer_that_comes_twice_is_given_back() {
    let mut bench = Bench::new();
    let question = bench.session.call(&bench.session.main(), &["get"], &[]).expect("sent");
    bench.heard();
    bench.say(&[r#"["resolve",1,1]"#]);
    assert_eq!(bench.say(&[r#"["resolve",1,["export",-1]]"#]), frames(&[r#"["release",-1,1]"#]));
    assert_eq!(bench.answered.len(), 1);
    drop(question);
}

#[test]
fn what_is_said_of_calls_nobody_made_is_ignored() {
    let (sent, bench) = play(&[r#"["reject",9,["error","Error","x"]]"#, r#"["resolve",9,["export",-1]]"#]);
    assert_eq!(sent, frames(&[r#"["release",-1,1]"#]));
    assert!(bench.closed.is_none());
}

#[test]
fn an_object_that_was_introduced_often_is_released_as_often() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["keep"],[["export",-1]]]]"#,
        r#"["push",["pipeline",0,["keep"],[["export",-1]]]]"#,
    ]);
    bench.kept = None;
    assert_eq!(bench.heard(), frames(&[r#"["release",-1,2]"#]));
    bench.say(&[r#"["push",["pipeline",0,["keep"],[["export",-1]]]]"#]);
    bench.kept = None;
    assert_eq!(bench.heard(), frames(&[r#"["release",-1,1]"#]));
}

#[test]
fn forgetting_a_call_takes_two_frames_and_no_answer() {
    let mut bench = Bench::new();
    bench.session.forget(&bench.session.main(), &["note"], &[1.into()]).expect("sent");
    assert_eq!(bench.heard(), frames(&[r#"["push",["pipeline",0,["note"],[1]]]"#, r#"["release",1,1]"#]));
    assert_eq!(bench.session.stats().imports, 0);
}

#[test]
fn objects_and_stubs_can_be_arguments() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["keep"],[["export",-1]]]]"#]);
    let kept = bench.kept.clone().expect("kept");
    let greeter = bench.session.local(Object::Greeter);
    let asked = bench.session.push(&kept, &["a"], &[]).expect("sent");
    bench.heard();
    let object = Properties::new().with("f", greeter).with("back", kept.clone()).with("p", asked.clone());
    bench.session.forget(&kept, &["b"], &[object.into()]).expect("sent");
    assert_eq!(
        bench.heard()[0],
        r#"["push",["pipeline",-1,["b"],[{"f":["export",-1],"back":["import",-1],"p":["pipeline",1]}]]]"#
    );
    assert_eq!(
        bench.say(&[r#"["push",["pipeline",-1,["hi"],[]]]"#, r#"["pull",2]"#]),
        frames(&[r#"["resolve",2,"hi"]"#])
    );
}

#[test]
fn a_call_that_cannot_be_sent_changes_nothing() {
    let mut bench = Bench::new();
    let other = Bench::new();
    let main = bench.session.main();
    let greeter = bench.session.local(Object::Greeter);
    let result = bench.session.push(&main, &["f"], &[greeter.into(), other.session.main().into()]);
    assert_eq!(result.err(), Some(Refused::Foreign));
    assert_eq!(bench.session.call(&other.session.main(), &["f"], &[]).err(), Some(Refused::Foreign));
    assert_eq!(bench.heard(), frames(&[]));
    assert_eq!((bench.session.stats().exports, bench.session.stats().imports), (1, 0));
    assert_eq!(bench.dropped, [Object::Greeter]);
    bench.session.forget(&main, &["g"], &[]).expect("sent");
    assert_eq!(bench.heard()[1], r#"["release",1,1]"#, "no number was used up");
}

#[test]
fn too_many_questions_are_refused_to_the_host() {
    let mut limits = Limits::default();
    limits.unanswered_questions = 2;
    let mut bench = Bench::with(limits);
    let main = bench.session.main();
    let questions: Vec<_> = (0..2).map(|_| bench.session.call(&main, &["f"], &[]).expect("room")).collect();
    assert_eq!(bench.session.call(&main, &["f"], &[]).err(), Some(Refused::TooManyQuestions));
    bench.say(&[r#"["resolve",1,1]"#]);
    assert!(bench.session.stream(&main, &["f"], &[]).is_ok());
    drop(questions);
}

#[test]
fn an_ended_session_answers_what_was_asked_and_refuses_more() {
    let mut bench = Bench::new();
    let main = bench.session.main();
    let question = bench.session.call(&main, &["f"], &[]).expect("sent");
    let stream = bench.session.stream(&main, &["f"], &[]).expect("sent");
    bench.say(&[r#"["abort",["error","Error","over"]]"#]);
    let over = || Err(Error::plain("over"));
    assert_eq!(bench.answered, [(question.id(), over()), (stream, over())]);
    assert_eq!(bench.session.call(&main, &["f"], &[]).err(), Some(Refused::Ended));
}

#[test]
fn dropping_a_stub_wakes_the_host() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["keep"],[["export",-1]]]]"#]);
    let (woken, wake) = count();
    bench.session.set_wake(wake);
    bench.kept = None;
    assert_eq!(woken.get(), 1);
}

#[test]
fn an_object_that_is_dropped_and_introduced_again_in_one_message_stays() {
    let (sent, mut bench) = play(&[r#"["push",{"toJSON":["export",-1],"f":["export",-1]}]"#]);
    assert_eq!(sent, frames(&[]));
    assert_eq!(bench.say(&[r#"["release",1,1]"#]), frames(&[r#"["release",-1,2]"#]));
}
