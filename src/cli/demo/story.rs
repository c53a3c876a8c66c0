//! The three chapters: one flight, a cut line, a shared task.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{Figures, Stage, failed, ms};
use crate::auth::ApiKey;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::client::local::Connection;
use crate::client::{
    At, Client, ClientNotice, Credentials, Cursor, Endpoint, GrantPolicy, Observer, RetryPolicy, TaskRole,
};
use crate::fault::{Fault, FaultKind, Result};
use crate::limits::WireLimits;
use crate::model::{GetTaskRequest, Id, TaskStatusUpdateEvent};

pub(super) async fn tell(
    stage: &Stage,
    figures: &mut Figures,
    output: &mut Output,
) -> std::result::Result<(), CliError> {
    let delay = figures.one_way_delay_ms;
    say(
        output,
        &format!(
            "A server on {}, and a line to it that we delay by {delay} ms each way.",
            stage.server.local_addr()
        ),
    )?;
    one_flight(stage, figures).await.map_err(|fault| failed(&fault))?;
    let Figures {
        round_trip_ms: trip,
        one_flight_ms: flight,
        first_event_ms: first,
        one_by_one_ms: slow,
        ..
    } = figures;
    say(output, "\n1. Calls do not wait for each other")?;
    say(output, &format!("   one round trip                      {trip:>7.1} ms"))?;
    say(
        output,
        &format!(
            "   authenticate, send, get: together   {flight:>7.1} ms = {:.1} round trips",
            figures.one_flight_round_trips
        ),
    )?;
    say(output, &format!("   the task's first event came after   {first:>7.1} ms"))?;
    say(
        output,
        &format!(
            "   the same calls, one by one          {slow:>7.1} ms = {:.1} round trips",
            figures.one_by_one_round_trips
        ),
    )?;

    say(output, "\n2. A stream outlives its line")?;
    cut(stage, figures, output).await?;
    say(output, "\n3. A task in somebody else's hands")?;
    share(stage, figures, output).await
}

/// Tells of the task's first event, once.
struct First(Option<oneshot::Sender<Instant>>);

impl Observer for First {
    async fn on_status_update(&mut self, _: TaskStatusUpdateEvent, _: At) -> Result<()> {
        if let Some(first) = self.0.take() {
            // Nobody may wait for it any more.
            let _ = first.send(Instant::now());
        }
        Ok(())
    }
}

/// The best of a few tries each: what else the machine does is not the line's fault.
async fn one_flight(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let endpoint: Endpoint = stage.line.address().to_string().parse()?;
    let credentials = Credentials::api_key(stage.alice.expose());
    let connection = Connection::open(&endpoint, WireLimits::default(), PATIENCE).await?;
    connection.info().await?;
    let (mut trip, mut flight, mut event, mut slow) =
        (Duration::MAX, Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..TRIES {
        let begun = Instant::now();
        connection.info().await?;
        trip = trip.min(begun.elapsed());

        let (first, came) = oneshot::channel();
        let begun = Instant::now();
        let session = connection.authenticate(&credentials);
        let started = session.send_streaming("stream 3 0", First(Some(first)));
        started.task.get(None).await?;
        flight = flight.min(begun.elapsed());
        let came = came.await.map_err(|_| Fault::internal("no event came"))?;
        event = event.min(came.saturating_duration_since(begun));

        let begun = Instant::now();
        let session = connection.authenticate(&credentials);
        session.ready().await?;
        let started = session.send_streaming("stream 3 0", First(None));
        started.ready().await?;
        started.task.get(None).await?;
        slow = slow.min(begun.elapsed());
    }
    (figures.round_trip_ms, figures.one_flight_ms) = (ms(trip), ms(flight));
    (figures.first_event_ms, figures.one_by_one_ms) = (ms(event), ms(slow));
    figures.one_flight_round_trips = trips(figures.one_flight_ms, figures.round_trip_ms);
    figures.one_by_one_round_trips = trips(figures.one_by_one_ms, figures.round_trip_ms);
    Ok(())
}

fn trips(time: f64, round_trip: f64) -> f64 {
    (time / round_trip.max(0.01) * 10.0).round() / 10.0
}

/// A client over the slow line, and what it is told of the line.
async fn client(stage: &Stage, key: &ApiKey) -> Result<(Client, mpsc::UnboundedReceiver<ClientNotice>)> {
    let (told, notices) = mpsc::unbounded_channel();
    let retry = RetryPolicy::default().first_wait(Duration::from_millis(100));
    let client = Client::builder(stage.line.address().to_string())
        .credentials(Credentials::api_key(key.expose()))
        .retry(retry)
        .on_event(move |notice| {
            let _ = told.send(notice);
        });
    Ok((client.connect().await?, notices))
}

async fn cut(stage: &Stage, figures: &mut Figures, output: &mut Output) -> std::result::Result<(), CliError> {
    let wrong = |fault: Fault| failed(&fault);
    let (alice, mut notices) = client(stage, &stage.alice).await.map_err(wrong)?;
    let mut stream = alice.stream("stream 40 25ms");
    say_part(output, "   ")?;
    let (mut seen, mut cut_at) = (0, None);
    while let Some(event) = stream.next().await {
        let event = event.map_err(wrong)?;
        // A snapshot repeats what came before; every other event has the next number.
        if event.seq <= seen {
            continue;
        }
        if event.seq != seen + 1 {
            let message = format!("event {} came after {seen}", event.seq);
            return Err(failed(&Fault::internal(message)));
        }
        seen = event.seq;
        if let Ok(ClientNotice::Resumed { after, .. }) = resumed(&mut notices) {
            let time: Duration = cut_at.map_or(Duration::ZERO, |at: Instant| at.elapsed());
            figures.resumed_after_ms = ms(time);
            say_part(output, &format!("] resumed after event {after}, {} ms later\n   [", time.as_millis()))?;
        }
        say_part(output, if seen == 1 { "[." } else { "." })?;
        if seen == CUT_AT && cut_at.is_none() {
            say_part(output, " the line is cut ")?;
            figures.cut_after = seen;
            stage.line.cut();
            cut_at = Some(Instant::now());
        }
    }
    figures.events = seen;
    say(output, &format!("]\n   {seen} events, each of them once and in order"))?;
    alice.close().await;
    Ok(())
}

/// The notice of a resumption, if there is one yet.
fn resumed(
    notices: &mut mpsc::UnboundedReceiver<ClientNotice>,
) -> std::result::Result<ClientNotice, mpsc::error::TryRecvError> {
    loop {
        match notices.try_recv()? {
            notice @ ClientNotice::Resumed { .. } => return Ok(notice),
            _ => continue,
        }
    }
}

async fn share(
    stage: &Stage,
    figures: &mut Figures,
    output: &mut Output,
) -> std::result::Result<(), CliError> {
    let wrong = |fault: Fault| failed(&fault);
    let (alice, _alices) = client(stage, &stage.alice).await.map_err(wrong)?;
    let (bob, _bobs) = client(stage, &stage.bob).await.map_err(wrong)?;
    let mut stream = alice.stream("long");
    let first = stream.next().await.transpose().map_err(wrong)?;
    let id: Id = first
        .and_then(|event| event.task_id().map(Into::into))
        .ok_or_else(|| wrong(Fault::internal("no task")))?;

    let by_id = refused(bob.get_task(GetTaskRequest::new(id.clone())).await, FaultKind::TaskNotFound)?;
    say(output, &format!("   bob knows only the id of alice's task:  {by_id}"))?;
    let shared =
        alice.task(id).share(TaskRole::Observe, GrantPolicy::labelled("for bob")).await.map_err(wrong)?;
    let his = bob.claim(shared.secret.expose()).await.map_err(wrong)?;
    let state = his.get(Some(0)).await.map_err(wrong)?.state();
    say(output, &format!("   alice shares it, to be looked at:       bob sees that it is {state}"))?;
    let mut looking = his.subscribe(Cursor::Snapshot);
    looking.next().await.transpose().map_err(wrong)?;
    figures.beyond_the_role = refused(his.cancel().await, FaultKind::Forbidden)?;
    say(output, &format!("   bob tries to cancel it:                 {}", figures.beyond_the_role))?;

    shared.grant.revoke().await.map_err(wrong)?;
    let end = loop {
        match looking.next().await {
            Some(Ok(_)) => {}
            Some(Err(fault)) => break fault,
            None => return Err(wrong(Fault::internal("bob's stream just ended"))),
        }
    };
    figures.after_revocation = refused(Err::<(), _>(end), FaultKind::Revoked)?;
    say(output, &format!("   alice takes it back; bob's stream ends: {}", figures.after_revocation))?;
    alice.close().await;
    bob.close().await;
    Ok(())
}

/// The name of the refusal that was expected.
fn refused<T>(answer: Result<T>, expected: FaultKind) -> std::result::Result<String, CliError> {
    match answer {
        Err(fault) if fault.kind() == expected => Ok(expected.reason().to_owned()),
        Err(fault) => Err(failed(&fault)),
        Ok(_) => Err(failed(&Fault::internal("what should be refused was not"))),
    }
}

fn say(output: &mut Output, text: &str) -> std::result::Result<(), CliError> {
    say_part(output, &format!("{text}\n"))
}

/// Nothing for machines: they get the figures.
fn say_part(output: &mut Output, text: &str) -> std::result::Result<(), CliError> {
    if output.is_json() { Ok(()) } else { Ok(output.raw(text)?) }
}

/// How often each figure is taken.
const TRIES: usize = 3;

/// The event after which the line is cut.
const CUT_AT: u64 = 15;

const PATIENCE: Duration = Duration::from_secs(10);
