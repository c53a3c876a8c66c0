//! A server with a store on disk that dies without a word and comes back on its port: what its clients notice.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::client::{Client, ClientNotice, Credentials, Cursor, RetryPolicy, TaskEvent, TaskStream};
use a2a_webcap::model::{ListTasksRequest, StreamResponse, TaskState};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::cli::{Scratch, err, out, program, serve_with};
use crate::doubles::Puppet;
use crate::line::Line;
use crate::party::{Wire, on_wires};
use crate::world::{ALICE, limits, soon, until};

on_wires! {
    sockets: [
        ak_w06_the_command_line_bridges_a_restart_and_says_so_in_two_lines,
        ak_w06_streams_outlive_kill_9_of_a_durable_server,
        ak_w06_a_send_whose_answer_was_lost_in_the_crash_makes_one_task,
    ]
}

/// A server of its own process, whose store outlives it.
struct Durable {
    state: Scratch,
    /// None while it is dead.
    child: Option<Child>,
    address: String,
    key: String,
}

impl Durable {
    async fn start() -> Self {
        let state = Scratch::new();
        let (child, printed) = serve_with(&state, &[]).await;
        let address = printed[0].strip_prefix("Listening: http://").expect("where it listens").to_owned();
        let key = std::fs::read_to_string(state.0.join("dev-key")).unwrap().trim().to_owned();
        Self { state, child: Some(child), address, key }
    }

    /// As `kill -9` does.
    async fn kill(&mut self) {
        let mut child = self.child.take().expect("it lives");
        child.kill().await.unwrap();
    }

    /// On the same port, over the same store. What it printed at start.
    async fn restart(&mut self) -> Vec<String> {
        let (child, printed) = serve_with(&self.state, &["--listen", &self.address]).await;
        self.child = Some(child);
        printed
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that tries often, and what it is told.
    async fn client(&self, wire: Wire, url: String) -> (Client, Arc<Mutex<Vec<ClientNotice>>>) {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        let retry = RetryPolicy::default()
            .first_wait(Duration::from_millis(50))
            .longest_wait(Duration::from_millis(400))
            .tries(200);
        let client = wire
            .client(url)
            .credentials(Credentials::api_key(&self.key))
            .retry(retry)
            .on_event(move |notice| heard.lock().unwrap().push(notice));
        (client.connect().await.unwrap(), notices)
    }
}

async fn next(stream: &mut TaskStream) -> Option<TaskEvent> {
    soon("an event", stream.next()).await.transpose().unwrap()
}

/// What is left of a stream, without a snapshot.
async fn rest(mut stream: TaskStream) -> Vec<TaskEvent> {
    let mut events = Vec::new();
    while let Some(event) = next(&mut stream).await {
        events.extend((event.seq > 0).then_some(event));
    }
    events
}

fn retries(notices: &Mutex<Vec<ClientNotice>>) -> usize {
    let is_retry = |notice: &&ClientNotice| matches!(notice, ClientNotice::Reconnecting { .. });
    notices.lock().unwrap().iter().filter(is_retry).count()
}

async fn ak_w06_streams_outlive_kill_9_of_a_durable_server(wire: Wire) {
    let mut server = Durable::start().await;
    let (client, notices) = server.client(wire, server.url()).await;
    let mut streams: Vec<_> = (0..5).map(|_| client.stream("stream 200 20ms")).collect();
    let mut seen: Vec<Vec<TaskEvent>> = vec![Vec::new(); streams.len()];
    for (stream, seen) in streams.iter_mut().zip(&mut seen) {
        while seen.len() < 10 {
            seen.extend(next(stream).await.filter(|event| event.seq > 0));
        }
    }

    server.kill().await;
    // The port is closed for a while: several tries find nobody.
    until("several tries", || retries(&notices) >= 3).await;
    let printed = server.restart().await;
    assert!(printed.iter().any(|line| line.starts_with("Recovered: 5 tasks resumed")), "{printed:?}");

    assert_eq!(soon("an answer", client.who_am_i()).await.unwrap().subject, "developer");
    for (stream, mut seen) in streams.into_iter().zip(seen) {
        let id = stream.task_id().unwrap().clone();
        seen.extend(rest(stream).await);
        let numbers: Vec<u64> = seen.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>(), "no event is lost or comes twice");
        let last = seen.last().unwrap();
        assert_eq!((last.is_final, last.state()), (true, Some(TaskState::Completed)));
        assert_eq!(seen.iter().filter(|event| event.is_final).count(), 1);
        let pieces = seen.iter().filter_map(TaskEvent::artifact_text).count();
        assert_eq!(pieces, 200, "nor is a piece of what the agent makes");
        // What was seen before the crash is what is on disk.
        assert_eq!(rest(client.subscribe(id.clone(), Cursor::After(0))).await, seen);
        let resumed = |notice: &ClientNotice| matches!(notice, ClientNotice::Resumed { task, after } if *task == id && *after >= 10);
        assert!(notices.lock().unwrap().iter().any(resumed), "{id} is told to go on");
    }
}

async fn ak_w06_a_send_whose_answer_was_lost_in_the_crash_makes_one_task(wire: Wire) {
    let mut server = Durable::start().await;
    let line = Line::to(server.address.parse().unwrap()).await;
    let (client, notices) = server.client(wire, line.url()).await;
    client.who_am_i().await.unwrap();
    line.mute(true);
    let stream = client.stream("burst 3");
    let (witness, _) = server.client(wire, server.url()).await;
    let finished = ListTasksRequest { status: Some(TaskState::Completed), ..ListTasksRequest::default() };
    while soon("an answer", witness.list(finished.clone())).await.unwrap().total_size == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    server.kill().await;
    line.mute(false);
    server.restart().await;
    let events = rest(stream).await;
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap().state(), Some(TaskState::Completed));
    let all = soon("an answer", witness.list(ListTasksRequest::default())).await.unwrap();
    assert_eq!(all.total_size, 1, "the same message is the same task");
    assert!(notices.lock().unwrap().contains(&ClientNotice::Repeated));
}

async fn ak_w06_the_command_line_bridges_a_restart_and_says_so_in_two_lines(wire: Wire) {
    let mut server = Durable::start().await;
    let run = |line: &[&str]| {
        let mut command = program();
        command.args(line).args(["-a", &server.url(), "--transport", &wire.to_string()]);
        command.env("A2ACLI_API_KEY", &server.key).stdin(std::process::Stdio::null());
        command
    };
    let piped = std::process::Stdio::piped;
    let mut sending = run(&["send", "--stream", "-o", "json", "stream 300 20ms"]);
    let mut sending = sending.stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut lines = BufReader::new(sending.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < 20 {
        seen.push(soon("a line", lines.next_line()).await.unwrap().expect("it goes on"));
    }
    let task: serde_json::Value = serde_json::from_str(&seen[0]).unwrap();
    let id = task["task"]["id"].as_str().expect("the task comes first").to_owned();
    let subscribing = run(&["task", "subscribe", &id, "--after", "5", "--stream", "-o", "json"]);
    let (mut subscribing, mut replaying) = (subscribing, run(&["task", "subscribe", &id, "--after", "0"]));
    let mut subscribing = subscribing.stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut followed = BufReader::new(subscribing.stdout.take().unwrap()).lines();
    let mut after_five = vec![soon("a line", followed.next_line()).await.unwrap().expect("it goes on")];

    server.kill().await;
    // Long enough for a try that fails.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    server.restart().await;
    while let Some(line) = soon("a line", lines.next_line()).await.unwrap() {
        seen.push(line);
    }
    while let Some(line) = soon("a line", followed.next_line()).await.unwrap() {
        after_five.push(line);
    }
    for child in [sending, subscribing] {
        let output = soon("it ends", child.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let remarks: Vec<&str> = err(&output).lines().collect();
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].starts_with("connection lost ("), "{remarks:?}");
        let resumed = format!("connected again; task {id} resumed after event ");
        assert!(remarks[1].starts_with(&resumed), "{remarks:?}");
    }
    let replayed = soon("the replay", replaying.args(["--stream", "-o", "json"]).output()).await.unwrap();
    let replayed: Vec<&str> = out(&replayed).lines().collect();
    assert_eq!(seen[1..], replayed[..], "each event once, and in order");
    assert_eq!(after_five, replayed[5..]);
}

#[tokio::test]
async fn a_task_whose_agent_cannot_resume_fails_and_whoever_follows_it_is_told() {
    let state = Scratch::new();
    let start = async |address: &str| {
        let (agent, stage) = Puppet::default().on_stage();
        let short = limits(|limits| limits.net.drain_timeout = Duration::from_millis(50));
        let builder = Server::builder().agent(agent).api_key("alice", ALICE).limits(short);
        let builder = builder.data_dir(&state.0).listen(address).workers(1);
        (builder.start().await.expect("the store is free"), stage)
    };
    let (server, mut stage) = start("127.0.0.1:0").await;
    let address = server.local_addr().to_string();
    let retry = RetryPolicy::default().first_wait(Duration::from_millis(20)).tries(50);
    let client = Client::builder(format!("http://{address}")).credentials(Credentials::api_key(ALICE));
    let client = client.retry(retry).connect().await.unwrap();
    let mut stream = client.stream("go");
    let cue = stage.turn().await;
    cue.works().await;
    while next(&mut stream).await.and_then(|event| event.state()) != Some(TaskState::Working) {}
    soon("the stop", server.stop()).await;
    let (server, _stage) = start(&address).await;
    assert_eq!((server.recovered().resumed, server.recovered().failed), (0, 1));
    let after = stream.last_seq().unwrap();
    let rest = rest(stream).await;
    let StreamResponse::StatusUpdate(last) = &rest[0].content else { panic!("{rest:?}") };
    assert_eq!((rest.len(), rest[0].seq, rest[0].is_final), (1, after + 1, true));
    assert_eq!(last.status.state, TaskState::Failed);
    let reason = last.status.message.as_ref().expect("a reason").text().into_owned();
    assert!(reason.contains("restart"), "{reason}");
    soon("the stop", server.stop()).await;
}
