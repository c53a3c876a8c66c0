//! Push configurations at a server that keeps them: somebody else's, as ours does not push.

use std::process::{Output, Stdio};
use std::time::Duration;

use a2a_webcap::client::{Client, RetryPolicy};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{Id, Secret, TaskPushNotificationConfig, TaskState};
use serde_json::{Value, json};

use crate::cli::{Scratch, err, json as document, out, program};
use crate::foreign::{Foreign, TASK};
use crate::world::{ALICE, World, soon};

const URL: &str = "https://receiver.example/hook";
const TOKEN: &str = "-token-that-no-output-may-have";
const CREDENTIALS: &str = "-credentials-that-no-output-may-have";

/// A server, and its agent's card in a file.
struct Place {
    foreign: Foreign,
    scratch: Scratch,
}

impl Place {
    async fn new(push: Option<bool>) -> Self {
        let (foreign, scratch) = (Foreign::start(&[TaskState::Working]).await, Scratch::new());
        std::fs::create_dir_all(&scratch.0).unwrap();
        std::fs::write(scratch.0.join("card.json"), foreign.card(push).to_string()).unwrap();
        Self { foreign, scratch }
    }

    async fn run(&self, line: &[&str]) -> Output {
        self.run_with(line, &[]).await
    }

    /// Runs a command of `task push-config` with all that it can say of what it does.
    async fn run_with(&self, line: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = program();
        command.args(["task", "push-config"]).args(line).args(["-a", "./card.json", "--debug", "--verbose"]);
        command.env("A2A_WEBCAP_LOG", "trace").envs(environment.iter().copied());
        command.current_dir(&self.scratch.0).stdin(Stdio::null());
        soon("the command ends", command.output()).await.unwrap()
    }
}

fn shows_a_secret(text: &str) -> bool {
    [TOKEN, CREDENTIALS].iter().any(|secret| text.contains(&secret[1..]))
}

/// What was printed, by a command that told no secret to anybody who reads along.
fn text(output: &Output) -> &str {
    assert!(output.status.success(), "{}{}", out(output), err(output));
    assert!(!shows_a_secret(out(output)) && !shows_a_secret(err(output)), "{}{}", out(output), err(output));
    out(output)
}

fn parsed(output: &Output) -> Value {
    assert!(output.status.success() && !shows_a_secret(err(output)), "{}{}", out(output), err(output));
    document(output)
}

#[tokio::test(flavor = "local")]
async fn cli_push_configs_are_made_shown_listed_and_deleted_as_text_without_their_secrets() {
    let place = Place::new(Some(true)).await;
    let secrets = [("A2ACLI_TOKEN", TOKEN), ("A2ACLI_AUTH_CREDENTIALS", CREDENTIALS)];
    let line = ["create", TASK, "--url", URL, "--id", "one", "--auth-scheme", "Bearer"];
    let one = format!(
        "Task ID: {TASK}\nConfig ID: one\nURL: {URL}\nToken: set, and not shown\nAuth scheme: Bearer\n\
         Auth credentials: set, and not shown\n"
    );
    let created = place.run_with(&line, &secrets).await;
    assert_eq!(text(&created), one);
    for shown in ["Operations.createTaskPushNotificationConfig", r"token = \u2026", r"credentials = \u2026"] {
        assert!(err(&created).contains(shown), "{}", err(&created));
    }
    let kept = place.foreign.configs().remove(0);
    let authentication = kept.authentication.expect("it was sent");
    assert_eq!(kept.token.as_ref().map(Secret::expose), Some(TOKEN));
    assert_eq!(authentication.credentials.as_ref().map(Secret::expose), Some(CREDENTIALS));

    let two = format!("Task ID: {TASK}\nConfig ID: two\nURL: {URL}\n");
    assert_eq!(text(&place.run(&["create", TASK, "--url", URL, "--id", "two"]).await), two);
    assert_eq!(text(&place.run(&["get", TASK, "one"]).await), one);
    assert_eq!(text(&place.run(&["list", TASK]).await), format!("{one}\n{two}\nConfigs: 2\n"));
    let first = place.run(&["list", TASK, "--limit", "1"]).await;
    assert_eq!(text(&first), format!("{one}\nConfigs: 1\nNext page: 1\n"));
    let rest = place.run(&["list", TASK, "--page-size", "1", "--page-token", "1"]).await;
    assert_eq!(text(&rest), format!("{two}\nConfigs: 1\n"));
    assert_eq!(text(&place.run(&["delete", TASK, "one"]).await), "Deleted: one\n");
    assert_eq!(text(&place.run(&["list", TASK]).await), format!("{two}\nConfigs: 1\n"));
}

#[tokio::test(flavor = "local")]
async fn cli_push_configs_in_json_are_the_protocols_own_types_as_they_were_received() {
    let place = Place::new(Some(true)).await;
    let line = ["create", TASK, "--url", URL, "--token", TOKEN, "--auth-scheme", "Bearer"];
    let line = [&line[..], &["--auth-credentials", CREDENTIALS, "-o", "json"]].concat();
    let made = parsed(&place.run(&line).await);
    let expected = json!({
        "taskId": TASK, "id": "made-0", "url": URL, "token": TOKEN,
        "authentication": { "scheme": "Bearer", "credentials": CREDENTIALS },
    });
    assert_eq!(made, expected);
    assert_eq!(parsed(&place.run(&["get", TASK, "made-0", "-o", "json"]).await), expected);
    assert_eq!(parsed(&place.run(&["list", TASK, "-o", "json"]).await), json!({ "configs": [expected] }));
    place.run(&["create", TASK, "--url", URL]).await;
    let page = parsed(&place.run(&["list", TASK, "--limit", "1", "-o", "json"]).await);
    assert_eq!(page, json!({ "configs": [expected], "nextPageToken": "1" }));
    assert_eq!(parsed(&place.run(&["delete", TASK, "made-0", "-o", "json"]).await), json!({}));
}

#[tokio::test(flavor = "local")]
async fn cli_a_push_config_that_is_not_there_is_an_error_of_the_protocol_that_points_to_the_list() {
    let place = Place::new(Some(true)).await;
    for command in ["get", "delete"] {
        let output = place.run(&[command, TASK, "nothing", "-o", "json"]).await;
        let error = &document(&output)["error"];
        assert_eq!((output.status.code(), &error["code"]), (Some(1), &json!("TaskNotFoundError")), "{error}");
        assert_eq!(error["a2aCode"], -32001);
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("task push-config list {TASK}`")), "{hint}");
        let output = place.run(&[command, TASK, "nothing"]).await;
        assert_eq!((output.status.code(), out(&output)), (Some(1), ""));
        assert!(err(&output).contains("error: there is no such configuration\n"), "{}", err(&output));
    }
}

#[tokio::test(flavor = "local")]
async fn cli_an_agent_whose_card_declares_no_push_notifications_hears_nothing() {
    for declared in [None, Some(false)] {
        let place = Place::new(declared).await;
        for line in [
            &["create", TASK, "--url", URL, "--token", TOKEN][..],
            &["get", TASK, "one"],
            &["list", TASK],
            &["delete", TASK, "one"],
        ] {
            let output = place.run(&[line, &["-o", "json"]].concat()).await;
            let error = &document(&output)["error"];
            let refused = json!("PushNotificationNotSupportedError");
            assert_eq!((output.status.code(), &error["code"]), (Some(1), &refused), "{line:?}");
            assert!(!shows_a_secret(err(&output)), "{}", err(&output));
        }
        assert_eq!(place.foreign.lines(), 0);
    }
}

#[tokio::test(flavor = "local")]
async fn cli_an_agent_without_a_card_is_tried_and_ours_says_itself_that_it_does_not_push() {
    let place = Place::new(None).await;
    let list = ["task", "push-config", "list", TASK, "-o", "json", "-a"];
    let listed = program().args(list).arg(place.foreign.url()).output();
    assert_eq!(document(&soon("the command ends", listed).await.unwrap()), json!({}));

    let world = World::demo().await;
    let url = world.url().replace("http://", "ws://") + "/capnp";
    let refused = program().args(list).arg(url).env("A2ACLI_API_KEY", ALICE).output();
    let error = document(&soon("the command ends", refused).await.unwrap());
    let error = &error["error"];
    let told = (error["code"].as_str().unwrap(), error["a2aCode"].as_i64().unwrap());
    assert_eq!(told, ("PushNotificationNotSupportedError", -32003), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("task subscribe"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn cli_credentials_of_a_receiver_need_their_scheme_and_a_variable_set_to_nothing_is_none() {
    let place = Place::new(Some(true)).await;
    let line = ["create", TASK, "--url", URL, "-o", "json"];
    let refused = place.run_with(&line, &[("A2ACLI_AUTH_CREDENTIALS", CREDENTIALS)]).await;
    assert_eq!(document(&refused)["error"]["code"], "A2ACLI_ERR_USAGE");
    assert_eq!((refused.status.code(), place.foreign.lines()), (Some(2), 0));
    assert!(!shows_a_secret(out(&refused)) && !shows_a_secret(err(&refused)), "{}", out(&refused));
    let empty = ["A2ACLI_TOKEN", "A2ACLI_AUTH_SCHEME", "A2ACLI_AUTH_CREDENTIALS"].map(|name| (name, ""));
    let made = parsed(&place.run_with(&line, &empty).await);
    assert_eq!(made, json!({ "taskId": TASK, "id": "made-0", "url": URL }));

    let help = place.run_with(&["create", "--help"], &[("A2ACLI_TOKEN", TOKEN)]).await;
    assert!(text(&help).contains("[env: A2ACLI_TOKEN]"), "{}", out(&help));
}

/// A client that comes back soon.
async fn client(foreign: &Foreign) -> Client {
    let retry = RetryPolicy::default().first_wait(Duration::from_millis(5)).tries(3);
    Client::builder(foreign.url()).retry(retry).connect().await.unwrap()
}

fn config(id: Option<&str>) -> TaskPushNotificationConfig {
    TaskPushNotificationConfig { id: id.map(Id::from), ..TaskPushNotificationConfig::new(URL) }
}

#[tokio::test(flavor = "local")]
async fn a_push_config_whose_answer_is_lost_is_sent_again_only_if_it_has_an_id() {
    let foreign = Foreign::start(&[TaskState::Working]).await;
    let client = client(&foreign).await;
    foreign.cut_the_next_change();
    let lost = soon("an answer", client.create_push_config(TASK, config(None))).await;
    assert_eq!(lost.unwrap_err().kind(), FaultKind::Disconnected);
    assert_eq!(foreign.changes(), [("create", false)]);

    foreign.cut_the_next_change();
    let made = soon("an answer", client.create_push_config(TASK, config(Some("one")))).await.unwrap();
    assert_eq!(made.id.as_deref(), Some("one"));
    assert_eq!(foreign.changes(), [("create", false), ("create", true)]);
    assert_eq!(foreign.configs().len(), 2);
}

#[tokio::test(flavor = "local")]
async fn a_push_config_is_deleted_also_if_the_first_answer_was_lost() {
    let foreign = Foreign::start(&[TaskState::Working]).await;
    let client = client(&foreign).await;
    client.create_push_config(TASK, config(Some("one"))).await.unwrap();
    assert_eq!(client.push_config(TASK, "one").await.unwrap().url, URL);
    foreign.changes();
    foreign.cut_the_next_change();
    soon("an answer", client.delete_push_config(TASK, "one")).await.unwrap();
    assert_eq!(foreign.changes(), [("delete", true), ("delete", false)]);
    let absent = client.delete_push_config(TASK, "one").await.unwrap_err();
    assert_eq!(absent.kind(), FaultKind::TaskNotFound);
}
