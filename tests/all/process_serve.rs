//! Servers with programs as agents: their start, their readiness and their end.

use std::time::{Duration, Instant};

use a2a_webcap::model::{Message, TaskState};
use serde_json::json;

use crate::process::{Served, WORDS, answer, ask, files};
use crate::web::{Web, message};
use crate::world::{ALICE, soon, until};

const ECHO: &str = "card\nwhile next; do chunk \"$task\" \"$text\"; status \"$task\" COMPLETED; done\n";

#[tokio::test]
async fn ak_i01_servers_choose_free_ports_and_a_port_in_use_is_refused_and_leaves_no_program() {
    let (_scratch, directory) =
        files(&[("agent.sh", &format!("#!/bin/sh\n{WORDS}\necho $$ >> ids\n{ECHO}"))]);
    let script = format!("cd {} && exec ./agent.sh", directory.display());
    let (_other, start) = files(&[("start.sh", &format!("#!/bin/sh\n{script}\n"))]);
    let agent = format!("jsonl:{}", start.join("start.sh").display());
    let memory = ["--store", "memory"];
    let (one, two) =
        futures::future::join(Served::start(&agent, &memory), Served::start(&agent, &memory)).await;
    assert_ne!(one.url(), two.url());
    for served in [&one, &two] {
        assert_eq!(answer(&ask(&served.client().await, Message::user("x")).await), "x");
    }
    let taken = one.url().trim_start_matches("http://").to_owned();
    let mut third = crate::cli::program();
    third
        .args(["serve", "--listen", &taken, "--agent", &agent, "--store", "memory"])
        .env("A2A_WEBCAP_STATE_DIR", &one.state.0);
    let refused = soon("it is refused", third.output()).await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot listen"));
    let ids = std::fs::read_to_string(directory.join("ids")).unwrap();
    let ids: Vec<_> = ids.lines().collect();
    assert_eq!(ids.len(), 3);
    crate::process::is_gone(ids[2]).await;
}

#[tokio::test]
async fn ak_i02_a_server_listens_only_when_its_agents_program_is_ready() {
    let (_scratch, directory) = files(&[("slow.sh", &format!("#!/bin/sh\n{WORDS}\nsleep 1\n{ECHO}"))]);
    let began = Instant::now();
    let served =
        Served::start(&format!("jsonl:{}", directory.join("slow.sh").display()), &["--store", "memory"])
            .await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    let task = ask(&served.client().await, Message::user("at once")).await;
    assert_eq!((task.state(), answer(&task).as_str()), (TaskState::Completed, "at once"));
}

#[tokio::test]
async fn ak_i03_a_server_that_is_told_to_stop_ends_its_programs_in_order_and_exits_with_0() {
    let (_scratch, directory) = files(&[]);
    let body = "card\nwhile next; do status \"$task\" WORKING; chunk \"$task\" $$; done\necho over > over\n";
    let script = format!("#!/bin/sh\n{WORDS}\ncd {}\n{body}", directory.display());
    std::fs::write(directory.join("agent.sh"), script).unwrap();
    let mut served =
        Served::start(&format!("jsonl:sh {}", directory.join("agent.sh").display()), &["--store", "memory"])
            .await;
    let mut stream = served.client().await.stream("go");
    let id = loop {
        let event = soon("an event", stream.next()).await.unwrap().unwrap();
        if let Some(id) = event.artifact_text() {
            break id.into_owned();
        }
    };
    assert!(crate::process::is_alive(&id));
    served.signal("-TERM");
    let status = soon("it ends", served.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", served.log());
    assert!(!crate::process::is_alive(&id), "it has ended before its server");
    assert!(directory.join("over").exists(), "by itself, since its input ended");
}

#[tokio::test]
async fn ak_i03_what_was_asked_of_a_server_before_it_was_told_to_stop_is_answered_and_no_more_is_taken() {
    let (_scratch, directory) = files(&[]);
    let body =
        format!("cd {} && touch asked.$$ && until [ -e go ]; do sleep 0.02; done; cat", directory.display());
    std::fs::write(directory.join("agent.sh"), body).unwrap();
    let agent = format!("exec:sh {}", directory.join("agent.sh").display());
    let mut served = Served::start(&agent, &["--store", "memory"]).await;
    let mut web = Web::dial(served.url()).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.push(session, "sendMessage", json!([message("the last words")])).await;
    web.pull(sent).await;
    let other = served.client().await;
    let same = async { ask(&other, Message::user("and mine")).await };
    let stopping = async {
        let asked = || std::fs::read_dir(&directory).unwrap().count() == 1 + 2;
        until("the program has been asked twice", asked).await;
        served.signal("-TERM");
        until("nobody is let in any more", || std::net::TcpStream::connect(address(&served)).is_err()).await;
        std::fs::write(directory.join("go"), "").unwrap();
        web.answer(sent).await.expect("it is answered")
    };
    let (task, answer) = futures::future::join(same, stopping).await;
    assert_eq!(answer["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{answer}");
    assert_eq!(crate::process::answer(&task), "and mine");
    assert_eq!(soon("it ends", served.child.wait()).await.unwrap().code(), Some(0), "{}", served.log());
}

fn address(served: &Served) -> &str {
    served.url().trim_start_matches("http://")
}

#[tokio::test]
async fn what_serve_says_of_its_agent_holds_none_of_its_arguments() {
    let mut served = Served::start("exec:printf %s my-secret-token", &["--store", "memory"]).await;
    served.signal("-TERM");
    soon("it ends", served.child.wait()).await.unwrap();
    let printed = std::fs::read_to_string(served.state.0.join("out")).unwrap() + &served.log();
    assert!(printed.contains("Agent: printf (exec)") && !printed.contains("my-secret-token"), "{printed}");
}
