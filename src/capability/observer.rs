//! What the client lets us call, and the right to be called.

use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::{Context, Work};
use crate::authority::{EndCause, StreamPass};
use crate::engine::{Feed, Outlook};
use crate::fault::Fault;
use crate::model::{EndReason, Message, StreamEnd};
use crate::shutdown::Shutdown;
use crate::stream::{Opening, Progress, Sink, drive};

/// The client's own object, as a binding sees it.
pub trait Observer: Sink + 'static {
    /// Says that the agent answered with a message, and that there is no task.
    fn message(&mut self, message: &Message) -> impl Future<Output = Result<(), Fault>>;

    /// Resolves when the observer has failed, if its binding can know it between events: then the stream is over
    /// without waiting for the next one.
    fn failed(&self) -> impl Future<Output = Fault> + use<Self> {
        std::future::pending()
    }

    /// The last call. Queued when first polled, unless the binding wants everything before it handled first; resolves
    /// when the client has answered, or never will.
    fn end(self, end: StreamEnd) -> impl Future<Output = ()>;
}

/// Held by the client: the right to be called. Dropping it ends the calls.
#[derive(Debug)]
pub struct Subscription {
    _detach: oneshot::Sender<Infallible>,
}

/// What is left of the last call of a stream that is over; none once the client has answered.
pub(super) type LastCall = Option<LocalBoxFuture<'static, ()>>;

/// The other side of a [`Subscription`]: resolves when it is dropped.
pub(super) struct Detached(oneshot::Receiver<Infallible>);

impl Subscription {
    pub(super) fn pair() -> (Self, Detached) {
        let (sender, receiver) = oneshot::channel();
        (Self { _detach: sender }, Detached(receiver))
    }
}

impl Detached {
    async fn wait(&mut self) {
        // The sender never sends: the only news is that it is gone.
        let _ = (&mut self.0).await;
    }
}

/// Feeds the observer until the stream is over, for whatever reason comes first, and says why.
pub(super) async fn follow(
    context: &Context,
    pass: StreamPass,
    mut detached: Detached,
    (mut feed, opening): (Feed, Opening),
    mut observer: impl Observer,
) -> LastCall {
    let progress = Progress::after(feed.position());
    let outlook = feed.outlook();
    let failed = observer.failed();
    let end = tokio::select! {
        biased;
        cause = pass.ended() => ended_by(&progress, &cause),
        fault = failed => {
            tracing::info!(reason = %fault, "an observer failed and was dropped");
            progress.end(EndReason::Cut, Some(fault))
        }
        () = detached.wait() => progress.end(EndReason::Detached, None),
        end = drive(&mut feed, &mut observer, &progress, opening) => match end.reason {
            // The process is about to end, and whoever comes back to the next one goes on.
            EndReason::Failed if context.service.engine().has_failed() => {
                progress.end(EndReason::Detached, None)
            }
            _ => end,
        },
        // Behind the drive: what there is to see is seen first.
        () = left_to_the_next(context, outlook, &progress) => progress.end(EndReason::Detached, None),
    };
    drop(feed);
    finish(pass, observer, end)
}

/// Resolves when the server stops and there is nothing more to wait for: nobody works on the task any more, and what
/// there is to see has been sent; or there is no more time.
async fn left_to_the_next(context: &Context, outlook: Outlook, progress: &Progress) {
    context.shutdown.stopping().await;
    let is_over = async {
        while outlook.is_worked_on() {
            sleep(STOP_POLL).await;
        }
        let sent = async {
            while progress.last_seq() < outlook.last_seq() {
                sleep(STOP_POLL).await;
            }
        };
        // An error means that the client does not read. It comes back for the rest, or never.
        let _ = timeout(SEND_GRACE, sent).await;
    };
    tokio::select! {
        () = is_over => {}
        () = context.shutdown.handing_over() => {}
    }
}

/// How often the streams of a stopping server look whether they are over.
const STOP_POLL: Duration = Duration::from_millis(10);
/// What a client has to take the last events of a task, once nobody works on it.
const SEND_GRACE: Duration = Duration::from_secs(1);

/// The end of a stream whose agent answered with a message.
pub(super) async fn deliver(pass: StreamPass, message: &Message, mut observer: impl Observer) -> LastCall {
    let outcome = observer.message(message).await;
    let progress = Progress::default();
    let end = match outcome {
        Ok(()) => progress.end(EndReason::Completed, None),
        Err(fault) => progress.end(EndReason::Cut, Some(fault)),
    };
    finish(pass, observer, end)
}

/// The end of a stream whose authority ended before it began.
pub(super) fn stop(pass: StreamPass, cause: &EndCause, observer: impl Observer) -> LastCall {
    let end = ended_by(&Progress::default(), cause);
    finish(pass, observer, end)
}

/// The end of a stream that never began.
pub(super) fn refuse(pass: StreamPass, fault: Fault, observer: impl Observer) -> LastCall {
    let end = match pass.grant().end_cause() {
        Some(cause) => ended_by(&Progress::default(), &cause),
        None => Progress::default().end(EndReason::Failed, Some(fault)),
    };
    finish(pass, observer, end)
}

/// Begins the last call, then counts the stream as closed: a revoke may be answered as soon as nothing
/// can follow, and must not wait for a client that never answers.
fn finish(pass: StreamPass, observer: impl Observer, end: StreamEnd) -> LastCall {
    let mut last = observer.end(end).boxed_local();
    let queued = last.as_mut().now_or_never();
    drop(pass);
    queued.is_none().then_some(last)
}

fn ended_by(progress: &Progress, cause: &EndCause) -> StreamEnd {
    match cause {
        EndCause::Closed => progress.end(EndReason::Detached, None),
        other => progress.end(EndReason::Revoked, Some(other.fault())),
    }
}

/// Runs a stream beside its connection's other work. It ends with the connection, whose objects are then
/// dropped.
pub(super) fn run(context: &Rc<Context>, work: Work, stream: impl Future<Output = LastCall> + 'static) {
    let live = super::LiveGuard::stream(context);
    let shutdown = context.shutdown.clone();
    // An async block around it would be twice its size.
    tokio::task::spawn_local(stream.map(move |last| {
        drop(live);
        if let Some(last) = last {
            // By itself: a client that never answers should cost this call and not a whole stream.
            tokio::task::spawn_local(wait_for_answer(last, shutdown, work));
        }
    }));
}

/// Waits for the client's answer; a server that stops waits for a moment.
async fn wait_for_answer(mut last: LocalBoxFuture<'static, ()>, shutdown: Shutdown, work: Work) {
    let enough = async {
        shutdown.stopping().await;
        sleep(SEND_GRACE).await;
    };
    tokio::select! {
        () = &mut last => return,
        () = enough => drop(work),
    }
    last.await;
}
