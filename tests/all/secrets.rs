//! Secrets, planted wherever somebody might put one: none of them shows in a log, an error, an answer or a metric.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use a2a_webcap::auth::{ApiKey, KeyEntry, KeyRing, SecretDigest};
use a2a_webcap::client::{Client, Credentials, GrantPolicy, TaskRole};
use a2a_webcap::clock::Clock;
use a2a_webcap::model::{Message, SendMessageResponse, ServiceParameters, TaskState, Timestamp};
use serde_json::{Value, json};

use crate::cli::{Scratch, json as document, program};
use crate::evidence::{Evidence, exchange};
use crate::process::{Served, WORDS, ask, files};
use crate::web::Web;
use crate::world::{soon, until};

/// The secrets of a run, with what each of them is.
#[derive(Default)]
struct Plants(Vec<(String, String)>);

impl Plants {
    /// A fresh one, of 48 characters that need no escaping anywhere.
    fn new_secret(&mut self, what: &str) -> String {
        let secret = ApiKey::generate().unwrap().expose()[4..].to_owned();
        self.keep(what, secret)
    }

    fn keep(&mut self, what: &str, secret: String) -> String {
        self.0.push((what.to_owned(), secret.clone()));
        secret
    }
}

/// A server that is watched, and what is planted in it.
struct Garden {
    served: Served,
    _agent: Scratch,
    /// The key of whoever may come in.
    key: String,
    plants: Plants,
    evidence: Evidence,
}

/// Prints what it can see, as a program that crashes might: its environment, and all that it is told.
const AGENT: &str = r#"
env >&2
card
echo "garbage before anything: $SERVICE_TOKEN"
while next; do
  env >&2
  printf '%s\n' "$line" | tr -d '\n' | head -c 100 >&2; echo >&2
  case $text in
    env*) env | grep TOKEN; chunk "$task" ok; status "$task" COMPLETED;;
    die*) echo "Traceback: $SERVICE_TOKEN" >&2; exit 3;;
    *) status "$task" COMPLETED;;
  esac
done
"#;

impl Garden {
    async fn new(format: &str) -> Self {
        let mut plants = Plants::default();
        let key = plants.new_secret("the development key");
        let (token, headers) = (plants.new_secret("an agent's token"), plants.new_secret("OTLP headers"));
        let api_key = plants.new_secret("a client's API key");
        let (scratch, directory) = files(&[("agent.sh", &format!("#!/bin/sh\n{WORDS}{AGENT}"))]);
        let agent = format!("jsonl:{}", directory.join("agent.sh").display());
        let headers = format!("authorization=Bearer%20{headers}");
        let served = Served::start_in(
            &agent,
            &[],
            &[
                ("A2A_WEBCAP_LOG", "trace"),
                ("A2A_WEBCAP_LOG_FORMAT", format),
                ("A2A_WEBCAP_DEV_KEY", &key),
                ("A2ACLI_API_KEY", &api_key),
                ("SERVICE_TOKEN", &token),
                ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
                ("RUST_BACKTRACE", "0"),
            ],
        )
        .await;
        assert!(!served.url().is_empty(), "{}", served.log());
        Self { served, _agent: scratch, key, plants, evidence: Evidence::default() }
    }

    /// Runs a command as a client, with these variables; what it says is evidence.
    async fn run(&mut self, what: &str, line: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = program();
        command.args(line).args(["--debug", "--verbose"]).env("A2A_WEBCAP_LOG", "trace");
        command.env("A2A_WEBCAP_STATE_DIR", "/nonexistent").env("A2ACLI_AGENT_CARD", self.served.url());
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        let output = soon(what, command.output()).await.unwrap();
        self.evidence.add_output(what, &output);
        output
    }

    /// Sends with a key until it is let in, or no more: the server looks at its keys twice a second.
    async fn run_until(&mut self, let_in: bool, what: &str, key: &str) {
        let mut tries = 0;
        loop {
            let output = self.run(what, &["send", "hi"], &[("A2ACLI_API_KEY", key)]).await;
            if output.status.success() == let_in {
                return;
            }
            tries += 1;
            assert!(tries < 100, "{what}: {output:?}");
        }
    }

    /// A request that is answered, with lines of its head.
    async fn request(&mut self, what: &str, first: &str, fields: &str, body: &str) {
        let host = if fields.contains("Host:") { "" } else { "Host: HOST\r\n" };
        let length = body.len();
        let request = format!(
            "{first} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        );
        let answer = exchange(self.served.url(), request.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 "), "{what}: {}", String::from_utf8_lossy(&answer));
        self.evidence.add(what, answer);
    }

    async fn web(&self) -> Web {
        let url = self.served.url().replace("http://", "ws://") + "/capnweb";
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Web { socket, pushed: 0, heard: 0 }
    }

    async fn client(&self) -> Client {
        let client = Client::builder(self.served.url()).credentials(Credentials::api_key(&*self.key));
        client.connect().await.unwrap()
    }
}

async fn plant_keys(garden: &mut Garden) {
    let state = garden.served.state.0.display().to_string();
    let made = async |name: &str| {
        let mut command = program();
        command.args(["key", "create", name, "-o", "json"]).env("A2A_WEBCAP_STATE_DIR", &state);
        let made = document(&soon("a key", command.output()).await.unwrap());
        let text = |member: &str| made[member].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        (text("id"), text("key"))
    };
    let valid = garden.plants.keep("a valid key", made("valid").await.1);
    let (id, revoked) = made("revoked").await;
    let revoked = garden.plants.keep("a revoked key", revoked);
    garden.run_until(true, "a send with a new key", &valid).await;
    let mut command = program();
    command.args(["key", "revoke", &id]).env("A2A_WEBCAP_STATE_DIR", &state);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    garden.evidence.add_output("key revoke", &output);
    garden.run_until(false, "a send with a revoked key", &revoked).await;

    let made = ApiKey::generate().unwrap().expose().to_owned();
    let mistyped = format!("{}{}", &made[..made.len() - 1], if made.ends_with('A') { 'B' } else { 'A' });
    let truncated = ApiKey::generate().unwrap().expose()[..40].to_owned();
    let long = garden.plants.new_secret("an overlong key").repeat(200);
    for (what, key) in [("a mistyped key", mistyped), ("a truncated key", truncated)] {
        let key = garden.plants.keep(what, key);
        garden.run(what, &["send", "hi"], &[("A2ACLI_API_KEY", &key)]).await;
        garden.run(what, &["send", "hi", "--api-key", &key, "-o", "json"], &[]).await;
    }
    garden.run("an overlong key", &["send", "hi"], &[("A2ACLI_API_KEY", &long)]).await;
    for what in ["an unknown key", "an unknown bearer token"] {
        let secret = garden.plants.new_secret(what);
        let name = if what.contains("bearer") { "A2ACLI_BEARER" } else { "A2ACLI_API_KEY" };
        garden.run(what, &["task", "list"], &[(name, &secret)]).await;
        garden.run("config show", &["config", "show"], &[(name, &secret)]).await;
    }
}

async fn plant_flags_and_addresses(garden: &mut Garden) {
    let secret = garden.plants.new_secret("a service parameter");
    let key = garden.key.clone();
    let own = [("A2ACLI_API_KEY", &*key)];
    let parameter = format!("authorization:Bearer {secret}");
    garden.run("a service parameter", &["send", "hi", "--svc-param", &parameter], &own).await;
    let host = garden.served.url().trim_start_matches("http://").to_owned();
    let secret = garden.plants.new_secret("a password in an address");
    for address in [
        format!("http://user:{secret}@{host}"),
        format!("ws://user:{secret}@{host}/capnp"),
        format!("http://{host}/?token={secret}"),
        format!("user:{secret}@{host}"),
    ] {
        garden.run("an address with a password", &["send", "hi", "-a", &address], &own).await;
        garden.run("an address with a password", &["card", "get", "-a", &address, "-o", "json"], &own).await;
    }
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let secret = garden.plants.new_secret("a password in a card");
    let card = garden.run("card get", &["card", "get", "-o", "json"], &own).await;
    let mut card = document(&card);
    card["supportedInterfaces"][0]["url"] = format!("ws://user:{secret}@{host}/capnp").into();
    let path = scratch.0.join("card.json");
    std::fs::write(&path, card.to_string()).unwrap();
    garden.run("a card with a password", &["send", "hi", "-a", path.to_str().unwrap()], &own).await;
    let secret = garden.plants.new_secret("a .env file");
    let path = scratch.0.join("options.env");
    for text in
        [format!("A2ACLI_API_KEY={secret}\n"), format!("A2ACLI_NONSENSE={secret}\n"), format!("{secret}\n")]
    {
        std::fs::write(&path, text).unwrap();
        garden.run("a .env file", &["--config", path.to_str().unwrap(), "send", "hi"], &[]).await;
    }
}

/// What a receiver of push notifications would know the agent by, for an agent that sends them and one that does not.
async fn plant_push_configs(garden: &mut Garden) {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let key = garden.key.clone();
    let own = ("A2ACLI_API_KEY", &*key);
    let mut card = document(&garden.run("card get", &["card", "get", "-o", "json"], &[own]).await);
    card["capabilities"]["pushNotifications"] = true.into();
    let path = scratch.0.join("card.json");
    std::fs::write(&path, card.to_string()).unwrap();
    let token = garden.plants.new_secret("the token of a push configuration");
    let credentials = garden.plants.new_secret("the credentials of a push configuration");
    let line = ["task", "push-config", "create", "t", "--url", "https://receiver.example"];
    let scheme = ["--auth-scheme", "Bearer"];
    let said = ["--token", &*token, "--auth-credentials", &*credentials];
    let variables = [own, ("A2ACLI_TOKEN", &*token), ("A2ACLI_AUTH_CREDENTIALS", &*credentials)];
    let url = garden.served.url().to_owned();
    for agent in [path.to_str().unwrap(), &url] {
        for transport in ["capnp", "capnweb"] {
            let at = ["-a", agent, "--transport", transport];
            let what = "push-config create";
            for format in ["json", "text"] {
                let common = [&line[..], &at, &["-o", format]].concat();
                garden.run(what, &[&common[..], &scheme, &said].concat(), &[own]).await;
                garden.run(what, &[&common[..], &scheme].concat(), &variables).await;
                garden.run(what, &common, &variables).await;
                garden.run(what, &[&common[..], &["--help"]].concat(), &variables).await;
            }
        }
    }
}

/// Key files and settings that hold a key where something else belongs.
async fn plant_settings(garden: &mut Garden) {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("settings.toml");
    let path = file.to_str().unwrap();
    let secret = garden.plants.new_secret("a setting");
    for text in [
        format!("keys = \"{secret}\"\n"),
        format!("[[keys]]\nsubject = \"me\"\nkey = \"{secret}\"\n"),
        format!("[[keys]]\nsubject = \"me\"\nsha256 = \"{secret}\"\n"),
        format!("[[keys]]\nsubject = \"me\"\nsha256 = [\"{secret}\"]\n"),
        format!("api-key = \"{secret}\"\n"),
        format!("keys = [\n\"{secret}\n"),
        format!("[agents.one]\nrun = \"demo\"\nkeys = \"{secret}\"\n"),
        format!("[agents.one]\nrun = \"demo\"\nkeys = [\"{secret}\"]\n"),
        format!("[[agents.one.keys]]\nsubject = \"me\"\nsha256 = [\"{secret}\"]\n"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let output = garden.run("serve --check", &["serve", "--check", "--config", path], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{text}{output:?}");
        garden.run("doctor", &["doctor", "--config", path], &[]).await;
        garden.run("config show", &["config", "show", "--config", path], &[]).await;
    }
    let secret = garden.plants.new_secret("an environment variable of the server");
    garden.run("serve --check", &["serve", "--check"], &[("A2A_WEBCAP_KEYS", &secret)]).await;
    garden.run("serve --check", &["serve", "--check"], &[("A2A_WEBCAP_AGENTS__ONE__KEYS", &secret)]).await;
    garden.run("serve --check", &["serve", "--check", "--set", &format!("keys={secret}")], &[]).await;
    let secret = garden.plants.new_secret("a development key that is too short or mistyped");
    for wrong in [format!("a2a_{}", &secret[..30]), secret[..20].to_owned()] {
        garden.run("serve", &["serve", "--listen", "127.0.0.1:0"], &[("A2A_WEBCAP_DEV_KEY", &wrong)]).await;
        std::fs::write(scratch.0.join("dev-key"), &wrong).unwrap();
        private(&scratch.0.join("dev-key"));
        let state = scratch.0.display().to_string();
        garden.run("a dev-key file", &["send", "hi"], &[("A2A_WEBCAP_STATE_DIR", &state)]).await;
    }
    let secret = garden.plants.new_secret("a broken keys.json");
    let keys = garden.served.state.0.join("keys.json");
    let mut before = 0;
    for text in [
        format!("\"{secret}\""),
        format!("[{{\"subject\": \"me\", \"{secret}\": 1}}]"),
        format!("[{{\"subject\": \"me\", \"sha256\": \"{secret}\"}}]"),
        format!("[{{\"subject\": \"me\", \"sha256\": \"\", \"expires\": \"{secret}\"}}]"),
        format!("[{secret}"),
    ] {
        std::fs::write(&keys, &text).unwrap();
        private(&keys);
        let told = |garden: &Garden| garden.served.log().matches("the changed keys cannot be").count();
        until("the server has looked at its keys", || told(garden) > before).await;
        before = told(garden);
        let state = garden.served.state.0.display().to_string();
        garden.run("key list", &["key", "list"], &[("A2A_WEBCAP_STATE_DIR", &state)]).await;
    }
    let entry = KeyEntry { sha256: secret.clone(), ..KeyEntry::new("me", SecretDigest::of("x")) };
    let error = KeyRing::new(&[entry]).unwrap_err();
    garden.evidence.add("a key ring's error", format!("{error} {error:?}"));
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn plant_http(garden: &mut Garden) {
    const UPGRADE: &str =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for field in [
        "Authorization: Bearer SECRET",
        "Authorization: Digest username=\"x\", response=\"SECRET\"",
        "Proxy-Authorization: Bearer SECRET",
        "X-Api-Key: SECRET",
        "Cookie: session=SECRET",
        "Referer: http://a.example/?token=SECRET",
        "User-Agent: SECRET",
        "A2A-Extensions: SECRET",
        "Sec-WebSocket-Protocol: bearer.SECRET",
        "Forwarded: for=SECRET",
        "Host: user:SECRET@evil.example",
        "Host: HOST\r\nOrigin: http://user:SECRET@evil.example",
    ] {
        let secret = garden.plants.new_secret(field);
        let fields = field.replace("SECRET", &secret) + "\r\n";
        for first in [
            "GET /.well-known/agent-card.json",
            "GET /metrics",
            "GET /nothing",
            "DELETE /capnweb",
            "POST /capnweb",
        ] {
            garden.request(field, first, &fields, "").await;
        }
        for path in ["/capnp", "/capnweb"] {
            let fields = format!("{fields}{UPGRADE}");
            garden
                .request(
                    field,
                    &format!("GET {path}"),
                    &fields.replace("Upgrade:", "Connection: Upgrade\r\nUpgrade:"),
                    "",
                )
                .await;
        }
    }
    for first in [
        "GET /?access_token=SECRET",
        "GET /metrics?api_key=SECRET",
        "GET /SECRET",
        "GET http://user:SECRET@HOST/metrics",
        "GET http://user:SECRET@evil.example/",
        "SECRET /",
    ] {
        let secret = garden.plants.new_secret(first);
        garden.request(first, &first.replace("SECRET", &secret), "Host: HOST\r\n", "").await;
    }
    for body in [
        r#"{"password": "SECRET"}"#,
        r#"["push",["pipeline",0,["authenticate"],["SECRET"]]]"#,
        r#"["push",["pipeline",0,["claim"],[{"password":"SECRET"}]]]"#,
        r#"["push",["pipeline",0,["SECRET"],[]]"#,
        r#"["SECRET"]"#,
    ] {
        let secret = garden.plants.new_secret(body);
        garden
            .request(body, "POST /capnweb", "Content-Type: text/plain\r\n", &body.replace("SECRET", &secret))
            .await;
    }
}

async fn plant_frames(garden: &mut Garden) {
    for (method, arguments) in [
        ("authenticate", json!(["SECRET"])),
        ("authenticate", json!([{ "scheme": "basic", "credentials": "SECRET" }])),
        ("authenticate", json!([{ "scheme": "SECRET", "credentials": 1 }])),
        ("authenticate", json!([{ "password": "SECRET" }])),
        ("authenticate", json!([{ "credentials": ["SECRET"] }])),
        ("authenticate", json!([[["SECRET"]]])),
        (
            "authenticate",
            json!([{ "scheme": "bearer", "credentials": "x", "parameters": { "authorization": "SECRET" } }]),
        ),
        ("claim", json!(["SECRET"])),
        ("claim", json!([{ "secret": "SECRET" }])),
        ("claim", json!(["a2ashare_SECRET", { "authorization": "SECRET" }])),
        ("getAgentCard", json!([{ "token": "SECRET" }])),
    ] {
        let name = format!("{method} {arguments}");
        let secret = garden.plants.new_secret(&name);
        let arguments: Value =
            serde_json::from_str(&arguments.to_string().replace("SECRET", &secret)).unwrap();
        let mut web = garden.web().await;
        let id = web.push(0, method, arguments).await;
        web.pull(id).await;
        // An answer, or the end of the session.
        let answer = web.frame().await;
        garden.evidence.add(name, answer.to_string());
    }
    for frame in [r#"{"password": "SECRET"}"#, r#"["push",["pipeline",0,["claim"],["SECRET"]]"#, "SECRET"] {
        let secret = garden.plants.new_secret(frame);
        let mut web = garden.web().await;
        web.text(&frame.replace("SECRET", &secret)).await;
        garden.evidence.add(frame, format!("{:?}", web.end().await));
    }
}

async fn plant_shares(garden: &mut Garden) {
    let client = garden.client().await;
    let SendMessageResponse::Task(task) = client.send("quick").await.unwrap() else { panic!("a task") };
    let task = client.task(task.id);
    let share = async |expires: Option<Timestamp>| {
        let policy = GrantPolicy { expires, keep_on_drop: true, ..GrantPolicy::default() };
        task.share(TaskRole::Observe, policy).await.unwrap()
    };
    let now = Clock::system().now();
    let soon_over = now.saturating_add(Duration::from_millis(100));
    let (used, expired, revoked) = (share(None).await, share(Some(soon_over)).await, share(None).await);
    garden.evidence.add("Debug of a share", format!("{:?}", used.secret));
    revoked.grant.revoke().await.unwrap();
    let wrong = format!("a2ashare_{}", garden.plants.new_secret("a secret of no share"));
    for (what, secret) in [
        ("a used secret", used.secret.expose().to_owned()),
        ("an expired secret", expired.secret.expose().to_owned()),
        ("a revoked secret", revoked.secret.expose().to_owned()),
        ("a wrong secret", wrong),
    ] {
        let secret = garden.plants.keep(what, secret);
        if what.starts_with("an expired") {
            tokio::time::sleep(Duration::from_millis(110)).await;
        }
        for _ in 0..2 {
            garden.run(what, &["claim", &secret], &[]).await;
            garden.run(what, &["claim", &secret, "-o", "json"], &[]).await;
        }
        let fault = garden.client().await.claim(secret).await.err().unwrap();
        garden.evidence.add(what, format!("{fault} {fault:?}"));
    }
    client.close().await;
}

/// What agents are told is theirs and their caller's; the log and the numbers have none of it.
async fn plant_messages(garden: &mut Garden) {
    let client = garden.client().await;
    for place in ["a message's text", "a message's metadata", "a message's id"] {
        let secret = garden.plants.new_secret(place);
        let mut message =
            Message::user(if place.ends_with("text") { format!("pass {secret}") } else { "x".to_owned() });
        if place.ends_with("metadata") {
            message.metadata = serde_json::from_value(json!({ "password": secret })).unwrap();
        }
        if place.ends_with("id") {
            message.message_id = secret.as_str().into();
        }
        // The agent prints the beginning of what it is told on its stderr, which is no place for it; the rest is cut.
        ask(&client, message).await;
    }
    ask(&client, Message::user("env")).await;
    let died = ask(&client, Message::user("die")).await;
    assert_eq!(died.state(), TaskState::Failed);
    garden.evidence.add("the failure of a task", format!("{died:?}"));
    client.close().await;
}

/// Whoever prints a value of ours while looking for a fault prints no secret.
fn plant_debug(garden: &mut Garden) {
    let secret = garden.plants.new_secret("Debug of public types");
    let builder = Client::builder("http://localhost:1").credentials(Credentials::bearer(&*secret));
    let key = ApiKey::parse(&secret).unwrap();
    let mut parameters = ServiceParameters::new();
    parameters.insert("A2A-Extensions", &secret).unwrap();
    parameters.insert("authorization", &secret).unwrap();
    let shown = [
        format!("{:?}", Credentials::api_key(&*secret)),
        format!("{:?}", a2a_webcap::auth::Credentials::bearer(&*secret)),
        format!("{:?} {:?}", key, key.entry("me")),
        format!("{:?}", KeyRing::new(&[key.entry("me")]).unwrap()),
        format!("{parameters:?}"),
        format!("{:?}", a2a_webcap::Server::builder().api_key("me", &secret)),
        format!(
            "{:?}",
            "http://user:x@localhost".replace('x', &secret).parse::<a2a_webcap::client::Endpoint>()
        ),
    ];
    drop(builder);
    garden.evidence.add("Debug of public types", shown.join("\n"));
}

#[tokio::test]
async fn no_secret_shows_in_a_log_an_error_an_answer_or_a_metric() {
    for format in ["json", "text"] {
        let mut garden = Garden::new(format).await;
        plant_keys(&mut garden).await;
        plant_flags_and_addresses(&mut garden).await;
        plant_push_configs(&mut garden).await;
        plant_http(&mut garden).await;
        plant_frames(&mut garden).await;
        plant_shares(&mut garden).await;
        plant_messages(&mut garden).await;
        plant_settings(&mut garden).await;
        plant_debug(&mut garden);
        garden.request("the metrics", "GET /metrics", "", "").await;
        let Garden { mut served, plants, mut evidence, .. } = garden;
        served.signal("-TERM");
        assert!(soon("it stops", served.child.wait()).await.unwrap().success());
        let log = served.log();
        // What must be there, or else nothing was looked at.
        for word in [
            "a request from elsewhere was refused",
            "connection closed",
            "[secret]",
            "SERVICE_TOKEN=",
            "the changed keys",
        ] {
            assert!(log.contains(word), "{format}: no {word} in the log");
        }
        assert!(!log.contains("A2A_WEBCAP_DEV_KEY") && !log.contains("A2ACLI_API"), "of the server's own");
        evidence.add("the server's log", log);
        evidence.add("what the server printed", std::fs::read(served.state.0.join("out")).unwrap());
        let leaks = evidence.leaks(&plants.0);
        assert!(leaks.is_empty(), "{format}: {} leaks\n{}", leaks.len(), leaks.join("\n\n"));
        println!("{format}: {} secrets planted", plants.0.len());
        assert!(plants.0.len() >= 30, "{}", plants.0.len());
    }
}
