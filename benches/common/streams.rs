//! The client of the cases that stream a task's events into an object of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use a2a_webcap::model::SendMessageRequest;
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{EndReason, operations, task_observer};
use capnp::capability::FromClientHook as _;
use futures::future::try_join_all;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::Outcome;
use crate::process::answer;
use crate::wire::{Passed, authenticate, connect};

/// How the observer takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One in each call.
    Each,
    /// Many in one call, when it lags.
    Batch,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "each" => Ok(Self::Each),
            "batch" => Ok(Self::Batch),
            other => Err(format!("{other} is no way to take events")),
        }
    }
}

/// The words that begin such a process; its server's address goes into the second.
pub(crate) fn role<'a>(
    kind: &'a str,
    events: &'a str,
    window: &'a str,
    connections: &'a str,
) -> [&'a str; 6] {
    ["streams", "", kind, events, window, connections]
}

/// Streams of `events` events, `window` of them at once over `connections`. Each line says for how many milliseconds new
/// ones are begun; with 0, each of them once. The answer: streams, nanoseconds, nanoseconds of the first half
/// of the last stream, bytes of an event, bytes sent for one.
pub(crate) fn run(address: &str, kind: &str, events: u64, window: usize, connections: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let kind: Kind = kind.parse()?;
        let mut sources = Vec::new();
        for _ in 0..connections {
            let (service, passed) = connect(address).await?;
            let operations = authenticate(&service).cast_to();
            sources.push(Rc::new(Source {
                operations,
                passed,
                kind,
                events,
                half: Cell::new(Duration::ZERO),
            }));
        }
        answer("ready", |line| measure(sources.clone(), window, line)).await
    })
}

async fn measure(sources: Vec<Rc<Source>>, window: usize, line: String) -> Outcome<String> {
    let time = Duration::from_millis(line.parse()?);
    let before = passed(&sources);
    let streams = Cell::new(0_u64);
    let begun = Instant::now();
    let repeat = async |source: &Source| -> Outcome<()> {
        loop {
            source.stream().await?;
            streams.update(|streams| streams + 1);
            if begun.elapsed() >= time {
                return Ok(());
            }
        }
    };
    try_join_all(sources.iter().cycle().take(window).map(|source| repeat(source))).await?;
    let nanos = begun.elapsed().as_nanos();
    let after = passed(&sources);
    let [sent, received, frames] = [0, 1, 2].map(|at| after[at] - before[at]);
    let half = sources[0].half.get().as_nanos();
    Ok(format!("{} {nanos} {half} {} {} {frames}", streams.get(), sent / frames, received / frames))
}

/// Bytes sent, bytes received, frames received.
fn passed(sources: &[Rc<Source>]) -> [u64; 3] {
    let each = sources.iter().map(|source| &source.passed);
    each.fold([0; 3], |[sent, received, frames], passed| {
        [
            sent + passed.sent_bytes.get(),
            received + passed.received_bytes.get(),
            frames + passed.received.get(),
        ]
    })
}

/// What streams are made with.
struct Source {
    operations: operations::Client,
    passed: Rc<Passed>,
    kind: Kind,
    events: u64,
    half: Cell<Duration>,
}

impl Source {
    /// One stream, to its end; fails unless every event came once, in order.
    async fn stream(&self) -> Outcome<()> {
        // The task is opened, and completed: that makes two.
        let text = format!("burst {}", self.events - 2);
        let (ended, end) = oneshot::channel();
        let begun = Instant::now();
        let observer = Observer {
            seq: Cell::new(0),
            half: self.events / 2,
            half_at: Cell::new(begun),
            ended: Cell::new(Some(ended)),
        };
        let mut call = self.operations.send_streaming_message_request();
        let mut params = call.get();
        SendMessageRequest::text(text).encode(params.reborrow().init_request());
        params.reborrow().init_features().set_on_batch(self.kind == Kind::Batch);
        params.set_observer(capnp_rpc::new_client(observer));
        let started = call.send().promise.await?;
        if started.get()?.has_error() {
            let reason = started.get()?.get_error()?.get_message()?.to_string()?;
            return Err(format!("the send failed: {reason}").into());
        }
        let (seq, half_at) = end.await.map_err(|_| "the stream ended without a word")??;
        if seq != self.events {
            return Err(format!("{seq} events came, not {}", self.events).into());
        }
        self.half.set(half_at - begun);
        Ok(())
    }
}

/// The last number and when it came, or what went wrong.
type Ended = Result<(u64, Instant), String>;

/// Counts what comes.
struct Observer {
    seq: Cell<u64>,
    half: u64,
    half_at: Cell<Instant>,
    ended: Cell<Option<oneshot::Sender<Ended>>>,
}

impl Observer {
    fn event(&self, seq: u64) -> capnp::Result<()> {
        if seq != self.seq.get() + 1 {
            return Err(capnp::Error::failed(format!("event {seq} came after {}", self.seq.get())));
        }
        self.seq.set(seq);
        if seq == self.half {
            self.half_at.set(Instant::now());
        }
        Ok(())
    }
}

impl task_observer::Server for Observer {
    async fn on_status_update(
        self: Rc<Self>,
        params: task_observer::OnStatusUpdateParams,
    ) -> capnp::Result<()> {
        self.event(params.get()?.get_seq())
    }

    async fn on_artifact_update(
        self: Rc<Self>,
        params: task_observer::OnArtifactUpdateParams,
    ) -> capnp::Result<()> {
        self.event(params.get()?.get_seq())
    }

    async fn on_batch(self: Rc<Self>, params: task_observer::OnBatchParams) -> capnp::Result<()> {
        for event in params.get()?.get_events()? {
            self.event(event.get_seq())?;
        }
        Ok(())
    }

    async fn on_end(
        self: Rc<Self>,
        params: task_observer::OnEndParams,
        _: task_observer::OnEndResults,
    ) -> capnp::Result<()> {
        let end = params.get()?;
        let outcome = match end.get_reason()? {
            EndReason::Completed if end.get_last_seq() == self.seq.get() => {
                Ok((self.seq.get(), self.half_at.get()))
            }
            reason => Err(format!(
                "the stream ended with {reason:?} after {}, of which {} came",
                end.get_last_seq(),
                self.seq.get()
            )),
        };
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(outcome);
        }
        Ok(())
    }
}
