//! The trace of a call reaches an agent that is a program, and what it says in answer.

use a2a_webcap::client::{Client, Credentials};
use a2a_webcap::model::{Message, ServiceParameters, StreamResponse, TaskState};
use serde_json::json;

use crate::process::{Served, answer, ask, exec, files, lines};
use crate::world::{ALICE, soon};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Alice, in a trace.
async fn traced(url: &str) -> Client {
    let pairs = [("traceparent", TRACEPARENT), ("tracestate", "vendor=x")];
    let parameters = ServiceParameters::from_pairs(pairs).unwrap();
    let client = Client::builder(url).credentials(Credentials::api_key(ALICE)).parameters(parameters);
    client.connect().await.unwrap()
}

#[tokio::test]
async fn ak_o01_a_program_of_another_language_is_in_its_callers_trace() {
    let plain = exec("printf '%s %s' \"$TRACEPARENT\" \"$TRACESTATE\"").await;
    let task = ask(&traced(&plain.url()).await, Message::user("go")).await;
    assert_eq!(answer(&task), format!("{TRACEPARENT} vendor=x"));
    let without = ask(&plain.alice().await, Message::user("go")).await;
    assert_eq!(answer(&without), " ", "nobody else's trace");
}

#[tokio::test]
async fn ak_o03_one_trace_goes_through_three_processes() {
    let program = env!("CARGO_BIN_EXE_a2a-webcap");
    let last = Served::start("exec:printenv TRACEPARENT", &["--store", "memory"]).await;
    let script = format!(
        "#!/bin/sh\nexport A2ACLI_API_KEY=\"{ALICE}\"\nexec {program} send -o json -a {} --svc-param \"traceparent:$TRACEPARENT\" hop\n",
        last.url()
    );
    let (_scratch, directory) = files(&[("hop.sh", &script)]);
    let agent = format!("exec:{}", directory.join("hop.sh").display());
    let first = Served::start(&agent, &["--store", "memory"]).await;
    let task = ask(&traced(first.url()).await, Message::user("go")).await;
    assert_eq!(task.state(), TaskState::Completed, "{task:?}");
    let behind: serde_json::Value = serde_json::from_str(&answer(&task)).unwrap();
    assert_eq!(behind["task"]["artifacts"][0]["parts"][0]["text"], format!("{TRACEPARENT}\n"));
    assert_eq!(behind["task"]["artifacts"][0]["metadata"], serde_json::Value::Null);
}

#[tokio::test]
async fn ak_o07_traceparent_and_all_other_metadata_reach_a_program_unharmed() {
    let script = r#"
card
while next; do
  turn=${line#'{"turn":'}; turn=${turn%'}'}
  data "$task" "$turn"
  status "$task" COMPLETED
done
"#;
    let world = lines(script).await;
    let mut said = Message::user("go");
    said.metadata =
        json!({"scalar": 1.5, "list": [null, true], "nested": {"a": {"b": "€"}}}).as_object().cloned();
    let task = ask(&traced(&world.url()).await, said.clone()).await;
    let told = task.artifacts[0].parts[0].as_data().unwrap();
    assert_eq!(told["parameters"]["traceparent"], TRACEPARENT);
    assert_eq!(told["parameters"]["tracestate"], "vendor=x");
    assert_eq!(told["message"]["metadata"].as_object(), said.metadata.as_ref());
}

#[tokio::test]
async fn gc_11_what_a_program_says_carries_the_id_of_the_trace() {
    let script = r#"
card
while next; do
  printf '{"statusUpdate":{"taskId":"%s","status":{"state":"TASK_STATE_WORKING","message":{"parts":[{"text":"hm"}]}},"metadata":{"thought":true}}}\n' "$task"
  chunk "$task" text; status "$task" COMPLETED
done
"#;
    for world in [lines(script).await, exec("cat").await] {
        let mut stream = traced(&world.url()).await.stream("go");
        let mut with_text = 0;
        while let Some(event) = soon("an event", stream.next()).await {
            let (metadata, says) = match event.unwrap().content {
                StreamResponse::StatusUpdate(update) => (update.metadata, update.status.message.is_some()),
                StreamResponse::ArtifactUpdate(update) => (update.metadata, true),
                _ => continue,
            };
            if says {
                with_text += 1;
                assert_eq!(metadata.unwrap()["traceId"], TRACE);
            }
        }
        assert!(with_text > 0);
    }
}
