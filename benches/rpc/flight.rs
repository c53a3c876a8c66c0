//! From an open WebSocket to the first event, over a long line: in one flight, and step by step.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use a2a_webcap::client::local::Connection;
use a2a_webcap::client::{At, Binding, Credentials, Observer};
use a2a_webcap::fault::Result as Answer;
use a2a_webcap::limits::WireLimits;
use a2a_webcap::model::{SendMessageRequest, TaskStatusUpdateEvent};
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{operations, task_observer};
use capnp::capability::FromClientHook as _;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use crate::bar::Bar;
use crate::plan::Plan;
use crate::process::{Process, SERVER_CORE};
use crate::statistics::Sample;
use crate::wire::KEY;
use crate::{Outcome, proxy, wire};

/// The case.
pub(crate) fn measure(plan: Plan) -> Outcome<bool> {
    let server = Process::start(SERVER_CORE, &["server"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut flight, mut steps) = (Sample::default(), Sample::default());
    LocalSet::new().block_on(&runtime, async {
        let address = proxy::start(server.greeting.clone(), DELAY).await?;
        for _ in 0..plan.pairs {
            flight.add(round_trips(timeout(LATE, in_one_flight(&address)).await??));
            steps.add(round_trips(timeout(LATE, step_by_step(&address)).await??));
        }
        Outcome::Ok(())
    })?;
    println!("from the 101 response to the first event, {} ms each way:", DELAY.as_millis());
    let (one, one_met) = Bar::Ceiling(1.25).judge(flight.median());
    let (each, each_met) = Bar::Floor(2.8).judge(steps.median());
    println!("  bootstrap, authenticate, send, observer in one flight {flight:>24.3} round trips   {one}");
    println!("  the same calls awaited one by one                     {steps:>24.3} round trips   {each}");
    Ok(one_met && each_met)
}

fn round_trips(time: Duration) -> f64 {
    time.as_secs_f64() / (2.0 * DELAY.as_secs_f64())
}

/// With the client's own objects, and nothing awaited.
async fn in_one_flight(address: &str) -> Outcome<Duration> {
    let socket = wire::open(address).await?;
    let begun = Instant::now();
    let (connection, running) = Connection::new(socket, Binding::CapnProto, WireLimits::default());
    spawn_local(running);
    let (first, seen) = First::new();
    let session = connection.authenticate(&Credentials::api_key(KEY));
    let _started = session.send_streaming(TEXT, first);
    Ok(seen.await? - begun)
}

/// With the generated code, as somebody writes it who does not pipeline.
async fn step_by_step(address: &str) -> Outcome<Duration> {
    let socket = wire::open(address).await?;
    let begun = Instant::now();
    let (service, driver) = wire::over(socket);
    spawn_local(driver);
    // The bootstrap object has come when it has answered: `when_resolved` on it never ends in capnp-rpc 0.27.3.
    drop(service.info_request().send().promise.await?);
    let mut call = service.authenticate_request();
    call.get().init_credentials().set_api_key(KEY);
    let session = call.send().promise.await?.get()?.get_session()?;
    let (first, seen) = First::new();
    let mut call = session.cast_to::<operations::Client>().send_streaming_message_request();
    let mut params = call.get();
    SendMessageRequest::text(TEXT).encode(params.reborrow().init_request());
    params.set_observer(capnp_rpc::new_client(first));
    let _started = call.send().promise.await?;
    Ok(seen.await? - begun)
}

/// Sees the first event come.
struct First(Cell<Option<oneshot::Sender<Instant>>>);

impl First {
    fn new() -> (Self, oneshot::Receiver<Instant>) {
        let (sender, seen) = oneshot::channel();
        (Self(Cell::new(Some(sender))), seen)
    }

    fn see(&self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(Instant::now());
        }
    }
}

impl Observer for First {
    async fn on_status_update(&mut self, _: TaskStatusUpdateEvent, _: At) -> Answer<()> {
        self.see();
        Ok(())
    }
}

impl task_observer::Server for First {
    async fn on_status_update(self: Rc<Self>, _: task_observer::OnStatusUpdateParams) -> capnp::Result<()> {
        self.see();
        Ok(())
    }

    async fn on_artifact_update(
        self: Rc<Self>,
        _: task_observer::OnArtifactUpdateParams,
    ) -> capnp::Result<()> {
        Ok(())
    }

    async fn on_end(
        self: Rc<Self>,
        _: task_observer::OnEndParams,
        _: task_observer::OnEndResults,
    ) -> capnp::Result<()> {
        Ok(())
    }
}

/// One way.
const DELAY: Duration = Duration::from_millis(50);
/// When to give up.
const LATE: Duration = Duration::from_secs(10);
/// What is sent.
const TEXT: &str = "burst 6";
