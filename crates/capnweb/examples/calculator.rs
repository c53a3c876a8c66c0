//! A calculator, served and called: both ends of a session in one process, and no socket.
//!
//! `cargo run -p capnweb-session --example calculator`

use capnweb::{Action, Call, Error, Limits, Refused, Session, Value};

/// What the server hands out.
#[derive(Debug, Clone, Copy)]
enum Object {
    /// The main object: `login(name)` gives a calculator.
    Door,
    /// `add(a, b)`, and `count(upTo, callback)`, which calls back once for every number.
    Calculator,
}

fn main() -> Result<(), Refused> {
    let mut server = Session::new(Object::Door, Limits::default());
    let mut client = Session::new(Object::Door, Limits::default());

    // Three calls, of which the later ones need what the earlier ones give: they leave together.
    let calculator = client.push(&client.main(), &["login"], &["ada".into()])?;
    let three = client.call(&calculator, &["add"], &[1.into(), 2.into()])?;
    let eight = client.call(&calculator, &["add"], &[three.result().clone().into(), 5.into()])?;
    // The door stands for the callback here: any object can be passed, and called.
    let callback = client.local(Object::Door).into();
    let counted = client.call(&calculator, &["count"], &[2.into(), callback])?;

    while pump("client", &mut client, &mut server) | pump("server", &mut server, &mut client) {}
    drop((three, eight, counted, calculator));
    while pump("client", &mut client, &mut server) | pump("server", &mut server, &mut client) {}
    Ok(())
}

/// Does what one end wants done, and says whether there was anything.
fn pump(name: &str, end: &mut Session<Object>, peer: &mut Session<Object>) -> bool {
    let mut busy = false;
    while let Some(action) = end.poll() {
        busy = true;
        match action {
            Action::Send(frame) => {
                say(&format!("{name} > {frame}"));
                end.flushed(frame.len());
                peer.receive(&frame);
            }
            Action::Call(call) => serve(end, call),
            Action::Answered { question, result } => {
                say(&format!("{name}: {question:?} is {}", shown(&result)))
            }
            Action::Dropped(object) => say(&format!("{name}: nobody holds the {object:?} any more")),
            Action::Closed(closed) => say(&format!("{name}: over, {}", closed.reason)),
            Action::Cancel(_) | Action::Write(_) => {}
        }
    }
    busy
}

/// Answers a call. A server that has to wait would keep `call.id` and answer later.
fn serve(end: &mut Session<Object>, call: Call<Object>) {
    let method = call.path.first().and_then(|key| key.as_name());
    let result = match (*call.target, method, call.arguments.as_deref()) {
        (Object::Door, Some("login"), Some([Value::String(_)])) => Ok(end.local(Object::Calculator).into()),
        (Object::Door, None, Some([Value::Number(_)])) => Ok(Value::Undefined),
        (Object::Calculator, Some("add"), Some([Value::Number(a), Value::Number(b)])) => Ok((a + b).into()),
        (Object::Calculator, Some("count"), Some([Value::Number(up_to), Value::Remote(callback)])) => {
            let mut number = 0.0;
            while number < *up_to {
                number += 1.0;
                // Should it be full of unanswered calls, the caller is told.
                if let Err(refused) = end.stream(callback, &[], &[number.into()]) {
                    return end.answer(call.id, Err(refused.into()));
                }
            }
            Ok(Value::Undefined)
        }
        _ => Err(Error::not_a_function(&call.path)),
    };
    drop(call.arguments);
    end.answer(call.id, result);
}

fn shown(result: &Result<Value<Object>, Error>) -> String {
    match result {
        Ok(Value::Number(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[expect(clippy::print_stdout, reason = "an example that is run to be read")]
fn say(line: &str) {
    println!("{line}");
}
