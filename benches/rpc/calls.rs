//! The client of the cases that call a method again and again.

use std::cell::Cell;
use std::str::FromStr;
use std::time::{Duration, Instant};

use a2a_webcap::model::{Id, SendMessageRequest, SendMessageResponse};
use a2a_webcap::wire::capnp::capability_capnp::{operations, session};
use a2a_webcap::wire::capnp::{Decode as _, Encode as _};
use capnp::capability::FromClientHook as _;
use futures::future::try_join_all;
use tokio::task::LocalSet;

use crate::Outcome;
use crate::process::answer;
use crate::wire::{authenticate, connect};

/// Which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `Session.close` on a session that is closed already: nothing goes in, nothing comes out.
    Null,
    /// `Session.whoAmI`.
    WhoAmI,
    /// `getTask` of a small, finished task.
    Get,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "null" => Ok(Self::Null),
            "who" => Ok(Self::WhoAmI),
            "get" => Ok(Self::Get),
            other => Err(format!("{other} is no method to call")),
        }
    }
}

/// What is called.
#[derive(Clone)]
struct Target {
    kind: Kind,
    operations: operations::Client,
    session: session::Client,
    closed: session::Client,
    task: Id,
}

/// Calls with `window` calls on their way, as long as each line says. The answer to a line: calls,
/// nanoseconds, bytes of a call and of an answer.
pub(crate) fn run(address: &str, kind: &str, window: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (service, passed) = connect(address).await?;
        let target = Target::prepare(kind.parse()?, authenticate(&service)).await?;
        answer("ready", |line| {
            let (target, passed) = (target.clone(), passed.clone());
            async move {
                let time = Duration::from_millis(line.parse()?);
                let before = (passed.sent_bytes.get(), passed.received_bytes.get());
                let calls = Cell::new(0_u64);
                let begun = Instant::now();
                try_join_all((0..window).map(|_| target.repeat(begun + time, &calls))).await?;
                let nanos = begun.elapsed().as_nanos();
                let calls = calls.get();
                let sent = (passed.sent_bytes.get() - before.0) / calls;
                let received = (passed.received_bytes.get() - before.1) / calls;
                Ok(format!("{calls} {nanos} {sent} {received}"))
            }
        })
        .await
    })
}

impl Target {
    async fn prepare(kind: Kind, session: session::Client) -> Outcome<Self> {
        let closed = session.attenuate_request().send().promise.await?.get()?.get_session()?;
        closed.close_request().send().promise.await?;
        let operations: operations::Client = session.clone().cast_to();
        let mut call = operations.send_message_request();
        SendMessageRequest::text("burst 1").encode(call.get().init_request());
        let sent = call.send().promise.await?;
        let response =
            SendMessageResponse::decode(sent.get()?.get_response()?).map_err(|fault| fault.to_string())?;
        let SendMessageResponse::Task(task) = response else { return Err("there is no task".into()) };
        Ok(Self { kind, operations, session, closed, task: task.id })
    }

    async fn repeat(&self, until: Instant, calls: &Cell<u64>) -> Outcome<()> {
        while Instant::now() < until {
            match self.kind {
                Kind::Null => drop(self.closed.close_request().send().promise.await?),
                Kind::WhoAmI => {
                    let answer = self.session.who_am_i_request().send().promise.await?;
                    if answer.get()?.has_error() {
                        return Err("whoAmI failed".into());
                    }
                }
                Kind::Get => {
                    let mut call = self.operations.get_task_request();
                    call.get().init_request().set_id(&self.task);
                    let answer = call.send().promise.await?;
                    if answer.get()?.get_task()?.get_id()?.as_bytes() != self.task.as_bytes() {
                        return Err("getTask gave another task, or none".into());
                    }
                }
            }
            calls.update(|calls| calls + 1);
        }
        Ok(())
    }
}
