//! HTTP batches.

use capnweb::{Action, Batch, Error, Limits};

/// Serves a batch: `square`, `fail`, `never`, `back` (which calls its argument).
fn answer(body: &str) -> (String, Option<String>, bool) {
    let mut batch = Batch::new((), Limits::default(), body);
    while let Some(action) = batch.poll() {
        let Action::Call(call) = action else { continue };
        let arguments = call.arguments.unwrap_or_default();
        let result = match call.path.first().and_then(|key| key.as_name()) {
            Some("square") => Ok(arguments[0].as_f64().map_or(capnweb::Value::Null, |n| (n * n).into())),
            Some("name") => Ok("alice".into()),
            Some("back") => match &arguments[0] {
                capnweb::Value::Remote(remote) => {
                    let refused = batch.session().call(remote, &[], &[]).expect_err("nobody can be called");
                    Err(refused.into())
                }
                _ => Ok(capnweb::Value::Undefined),
            },
            Some("echo") => Ok(arguments.into_iter().next().unwrap_or(capnweb::Value::Undefined)),
            Some("never") => continue,
            _ => Err(Error::range_error("task not found").with("code", -32001)),
        };
        batch.answer(call.id, result);
    }
    let done = batch.is_done();
    let answer = batch.finish();
    (answer.body, answer.closed.map(|closed| closed.reason), done)
}

#[test]
fn a_batch_is_answered_with_one_body() {
    let (body, closed, done) = answer(concat!(
        r#"["push",["pipeline",0,["square"],[3]]]"#,
        "\n",
        r#"["push",["pipeline",0,["square"],[["pipeline",1]]]]"#,
        "\n",
        r#"["push",["pipeline",0,["fail"],[]]]"#,
        "\n",
        r#"["pull",2]"#,
        "\r\n",
        r#"["pull",3]"#,
    ));
    assert_eq!(
        body,
        "[\"resolve\",2,81]\n[\"reject\",3,[\"error\",\"RangeError\",\"task not found\",null,{\"code\":-32001}]]",
        "in the order in which they were known"
    );
    assert_eq!((closed, done), (None, true));
}

#[test]
fn an_empty_batch_and_a_trailing_newline_are_fine() {
    assert_eq!(answer(""), (String::new(), None, true));
    assert_eq!(answer("\n"), (String::new(), None, true));
    let (body, closed, _) = answer("[\"push\",[\"pipeline\",0,[\"name\"]]]\n[\"pull\",1]\n");
    assert_eq!((body.as_str(), closed), ("[\"resolve\",1,\"alice\"]", None));
}

#[test]
fn garbage_is_answered_with_an_abort() {
    let (body, closed, done) = answer("garbage");
    assert!(body.starts_with(r#"["abort",["error","SyntaxError","message is not JSON"#), "{body}");
    assert!(closed.is_some_and(|reason| reason.starts_with("message is not JSON")));
    assert!(done);
}

#[test]
fn callbacks_are_refused_at_once() {
    let (body, closed, done) =
        answer("[\"push\",[\"pipeline\",0,[\"back\"],[[\"export\",-1]]]]\n[\"pull\",1]");
    assert!(
        body.contains(r#"["reject",1,["error","TypeError","nobody can be called in an HTTP batch"#),
        "{body}"
    );
    assert_eq!((closed, done), (None, true));
    let chained = concat!(
        "[\"push\",[\"pipeline\",0,[\"echo\"],[[\"export\",-1]]]]\n",
        "[\"push\",[\"pipeline\",1,[\"x\"],[]]]\n[\"pull\",2]"
    );
    assert!(answer(chained).0.contains(r#"["reject",2,["error","TypeError","nobody can be called"#));
}

#[test]
fn what_the_body_does_not_settle_is_rejected() {
    let (body, _, done) = answer("[\"push\",[\"pipeline\",0,[\"square\"],[[\"promise\",-1]]]]\n[\"pull\",1]");
    assert!(body.contains("the batch ended before this promise was settled"), "{body}");
    assert!(done);
}

#[test]
fn a_batch_waits_for_what_was_asked_for_and_for_nothing_else() {
    let asked = "[\"push\",[\"pipeline\",0,[\"never\"],[]]]\n[\"pull\",1]";
    assert!(!answer(asked).2);
    let not_asked =
        "[\"push\",[\"pipeline\",0,[\"never\"],[]]]\n[\"push\",[\"pipeline\",0,[\"name\"]]]\n[\"pull\",2]";
    assert_eq!(answer(not_asked), ("[\"resolve\",2,\"alice\"]".to_owned(), None, true));
}

#[test]
fn a_batch_may_hold_more_calls_than_may_be_unanswered() {
    let frames: Vec<String> = (1..=3_000)
        .flat_map(|n| [format!(r#"["push",["pipeline",0,["square"],[{n}]]]"#), format!(r#"["pull",{n}]"#)])
        .collect();
    let mut batch = Batch::new((), Limits::default(), frames.join("\n"));
    let mut running = Vec::new();
    let mut most = 0;
    loop {
        while let Some(action) = batch.poll() {
            if let Action::Call(call) = action {
                running.push(call.id);
            }
        }
        most = most.max(running.len());
        let Some(call) = running.pop() else { break };
        batch.answer(call, Ok(1.into()));
    }
    assert!(batch.is_done());
    let answer = batch.finish();
    assert_eq!((answer.body.lines().count(), answer.closed), (3_000, None));
    assert!(!answer.body.contains("reject"));
    assert_eq!(most, Limits::default().unanswered_calls);
}

#[test]
fn a_batch_that_is_cut_short_starts_nothing_more() {
    let body =
        "[\"push\",[\"pipeline\",0,[\"never\"],[]]]\n[\"pull\",1]\n[\"push\",[\"pipeline\",0,[\"x\"],[]]]";
    let mut batch = Batch::new((), Limits::default(), body);
    assert!(matches!(batch.poll(), Some(Action::Call(_))));
    batch.session().abort(Error::plain("too late"));
    let answer = batch.finish();
    assert_eq!(answer.body, r#"["abort",["error","Error","too late"]]"#);
    assert_eq!(answer.closed.map(|closed| closed.reason).as_deref(), Some("too late"));
}
