//! Several agents from one settings' file, by the program itself.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::cli::{Scratch, err, json, out, program, serve_with};
use crate::process::{WORDS, files, is_alive, is_gone};
use crate::world::soon;

/// Answers each turn with what it is told, and dies of `die`.
const PARROT: &str = "card\nwhile next; do\n[ \"$text\" = die ] && exit 7\nchunk \"$task\" \"squawk $text\"\n\
                      status \"$task\" COMPLETED\ndone\n";

/// A directory with a settings' file, programs and cards.
struct Site {
    _scratch: Scratch,
    dir: PathBuf,
}

impl Site {
    fn new(settings: &str) -> Self {
        let parrot = format!("#!/bin/sh\n{WORDS}\necho $$ > \"$(dirname \"$0\")/parrot.pid\"\n{PARROT}");
        let card = r#"{"name": "Polly", "description": "Repeats.", "version": "3",
            "skills": [{"id": "squawk", "name": "Squawk", "description": "Says it again.", "tags": ["bird"]}]}"#;
        let mute = format!("#!/bin/sh\n{WORDS}\necho $$ > \"$(dirname \"$0\")/mute.pid\"\nexit 3\n");
        let (scratch, dir) = files(&[("parrot.sh", &parrot), ("polly.json", card), ("mute.sh", &mute)]);
        let site = Self { _scratch: scratch, dir };
        site.write(settings);
        site
    }

    /// `HERE` stands for the directory.
    fn write(&self, settings: &str) {
        let text = settings.replace("HERE", self.dir.to_str().unwrap());
        std::fs::write(self.settings(), text).unwrap();
    }

    fn settings(&self) -> PathBuf {
        self.dir.join("a2a.toml")
    }

    fn state(&self) -> Scratch {
        Scratch(self.dir.join("state"))
    }

    /// Runs a command of the server's with these settings.
    async fn command(&self, line: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = program();
        command.args(line).arg("--config").arg(self.settings()).envs(environment.iter().copied());
        command.env("A2A_WEBCAP_STATE_DIR", self.dir.join("state")).stdin(Stdio::null());
        soon("it ends", command.output()).await.unwrap()
    }

    async fn pid(&self, of: &str) -> String {
        std::fs::read_to_string(self.dir.join(of)).unwrap().trim().to_owned()
    }
}

const THREE: &str = "\
store = \"memory\"
default-agent = \"story\"
[agents.story]
run = \"demo\"
[agents.parrot]
run = \"jsonl:HERE/parrot.sh\"
card = \"polly.json\"
[agents.shell]
run = \"exec:cat\"
";

/// Runs a client's command against an agent.
async fn run(site: &Site, agent: &str, line: &[&str], key: Option<&str>) -> Output {
    let mut command = program();
    command.args(line).args(["-a", agent]).stdin(Stdio::null());
    match key {
        Some(key) => command.env("A2ACLI_API_KEY", key),
        None => command.env("A2A_WEBCAP_STATE_DIR", site.dir.join("state")),
    };
    soon("the command ends", command.output()).await.unwrap()
}

async fn served(site: &Site) -> (tokio::process::Child, Vec<String>, String) {
    let settings = site.settings();
    // The scratch of the state is that of the site.
    let state = std::mem::ManuallyDrop::new(site.state());
    let (server, printed) = serve_with(&state, &["--config", settings.to_str().unwrap()]).await;
    let url = printed[0].strip_prefix("Listening: ").unwrap().to_owned();
    (server, printed, url)
}

#[tokio::test]
async fn the_agents_of_a_settings_file_are_listed_at_start_and_each_answers_under_its_name() {
    let site = Site::new(THREE);
    let (_server, printed, url) = served(&site).await;
    let at = printed.iter().position(|line| line.starts_with("Agents")).unwrap();
    assert_eq!(printed[at], format!("Agents, cards at {url}/NAME/.well-known/agent-card.json:"));
    let table = ["  parrot  parrot (jsonl)", "  shell   cat (exec)", "  story   demo, the default"];
    assert_eq!(printed[at + 1..at + 4], table);

    for (path, expected) in
        [("", "You said: hi"), ("/story", "You said: hi"), ("/parrot", "squawk hi"), ("/shell", "hi")]
    {
        let output = run(&site, &format!("{url}{path}"), &["send", "hi"], None).await;
        assert!(out(&output).contains(expected), "{path}: {}{}", out(&output), err(&output));
    }
    let card = json(&run(&site, &format!("{url}/parrot"), &["card", "get", "-o", "json"], None).await);
    assert_eq!((&card["name"], &card["version"]), (&"Polly".into(), &"3".into()));
    assert_eq!(card["skills"][0]["id"], "squawk");
    assert_eq!(card["supportedInterfaces"][0]["tenant"], "parrot");
    let absent = run(&site, &format!("{url}/nobody"), &["card", "get", "-o", "json"], None).await;
    assert_eq!(
        (absent.status.code(), &json(&absent)["error"]["code"]),
        (Some(3), &"A2ACLI_ERR_CARD_NOT_FOUND".into())
    );

    // What is printed as the next command leads to the same agent.
    let asked = run(&site, &format!("{url}/story"), &["send", "ask"], None).await;
    assert!(err(&asked).contains(&format!("a2a-webcap -a {url}/story send --task-id")), "{}", err(&asked));
    let id = out(&asked).lines().next().unwrap().strip_prefix("Task ID: ").unwrap().to_owned();
    let here = run(&site, &format!("{url}/story"), &["task", "get", &id], None).await;
    assert!(out(&here).contains("State: input-required"), "{}", err(&here));
    let elsewhere = run(&site, &format!("{url}/parrot"), &["task", "get", "-o", "json", &id], None).await;
    assert_eq!(json(&elsewhere)["error"]["code"], "TaskNotFoundError");
    let listed = json(&run(&site, &format!("{url}/parrot"), &["task", "list", "-o", "json"], None).await);
    assert_eq!(listed["totalSize"], 1);
}

#[tokio::test]
async fn a_program_that_dies_fails_its_own_tasks_and_the_other_agents_stay_healthy() {
    let site = Site::new(THREE);
    let (_server, _, url) = served(&site).await;
    let first = site.pid("parrot.pid").await;
    let parrot = format!("{url}/parrot");
    let failed = run(&site, &parrot, &["send", "die"], None).await;
    assert!(
        out(&failed).contains("State: failed") && out(&failed).contains("exit code 7"),
        "{}",
        out(&failed)
    );
    for (path, expected) in [("/story", "You said: hi"), ("/shell", "hi"), ("/parrot", "squawk hi")] {
        let output = run(&site, &format!("{url}{path}"), &["send", "hi"], None).await;
        assert!(out(&output).contains(expected), "{path}: {}{}", out(&output), err(&output));
    }
    assert_ne!(site.pid("parrot.pid").await, first, "it was started again");
}

#[tokio::test]
async fn a_program_that_does_not_start_refuses_the_start_by_name_and_leaves_no_other_running() {
    let site = Site::new(&THREE.replace("exec:cat", "jsonl:HERE/mute.sh"));
    let refused = site.command(&["serve", "--listen", "127.0.0.1:0", "-o", "json"], &[]).await;
    let message = json(&refused)["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
    let expected = "agent shell: the agent's program \"mute\" did not introduce itself: ";
    assert!(message.starts_with(expected), "{message}");
    is_gone(&site.pid("parrot.pid").await).await;
    assert!(!is_alive(&site.pid("mute.pid").await));
}

#[tokio::test]
async fn serve_check_says_which_agent_is_wrong_and_with_what() {
    let site = Site::new(THREE);
    let check = async |settings: &str| {
        site.write(settings);
        let output = site.command(&["serve", "--check", "-o", "json"], &[]).await;
        (output.status.code(), json(&output))
    };
    let (code, sound) = check(THREE).await;
    assert_eq!((code, &sound["sound"], &sound["agent"]), (Some(0), &true.into(), &"demo".into()));
    assert_eq!(
        sound["agents"][0],
        serde_json::json!({"name": "parrot", "runs": "parrot (jsonl)", "default": false})
    );
    assert_eq!(
        (&sound["agents"][2]["name"], &sound["agents"][2]["default"]),
        (&"story".into(), &true.into())
    );
    assert!(!site.dir.join("parrot.pid").exists(), "no program was started");
    let shown = site.command(&["serve", "--check"], &[]).await;
    assert!(out(&shown).contains("Agents:\n  parrot  parrot (jsonl)\n"), "{}", out(&shown));

    let digest = "0".repeat(64);
    let name = "must begin with a letter from a to z and have at most 63 of a to z, 0 to 9 and -";
    let card = site.dir.join("bad.json").display().to_string();
    std::fs::write(&card, r#"{"skills": [{"id": "x"}]}"#).unwrap();
    let wrong: &[(String, &str)] = &[
        ("[agents.Support]\nrun = \"demo\"\n".into(), &format!("the agent's name \"Support\" {name}")),
        ("[agents.\"a/b\"]\nrun = \"demo\"\n".into(), &format!("the agent's name \"a/b\" {name}")),
        (
            "[agents.capnp]\nrun = \"demo\"\n".into(),
            "the agent's name \"capnp\" is a path of the server's own: choose another",
        ),
        (
            "[agents.bot]\ncard = \"polly.json\"\n".into(),
            "`agents.bot` does not say what answers: set `agents.bot.run`, such as \"demo\"",
        ),
        (
            "[agents.a]\nrun = \"echo\"\n[agents.b]\nrun = \"demo\"\n".into(),
            "no agent is the default, for callers who name none: choose one of a, b",
        ),
        (
            "default-agent = \"c\"\n[agents.a]\nrun = \"echo\"\n".into(),
            "the default agent \"c\" is none of the agents: a",
        ),
        (
            "agent = \"demo\"\n[agents.default]\nrun = \"echo\"\n".into(),
            "`agents.default` and `agent` are the same one: leave one of them out",
        ),
        (
            "agent = \"demo\"\ndefault-agent = \"a\"\n[agents.a]\nrun = \"echo\"\n".into(),
            "`agent` answers callers who name none, and so does \"a\" of `default-agent`: leave one out, or give the \
             first a name in [agents]",
        ),
        (
            "default-agent = \"a\"\n[agents.a]\nrun = \"exec:no-such-program\"\n[agents.b]\nrun = \"ekko\"\n"
                .into(),
            "agent a: the agent's program \"no-such-program\" is in no directory of PATH: give its path, such as \
             ./no-such-program; agent b: there is no agent called \"ekko\"; there are: echo, demo, exec:COMMAND and \
             jsonl:COMMAND",
        ),
        (
            "[agents.a]\nrun = \"demo\"\ncard = \"bad.json\"\n".into(),
            &format!("agent a: the agent's card {card} cannot be used: skills[0]"),
        ),
        (
            "[agents.a]\nrun = \"demo\"\ncard = \"none.json\"\n".into(),
            "none.json cannot be used: No such file",
        ),
        (
            format!(
                "[agents.a]\nrun = \"demo\"\n[[keys]]\nsubject = \"bob\"\nsha256 = \"{digest}\"\nagents = [\"b\"]\n"
            ),
            "a key of \"bob\" is for the agent \"b\", and there is none",
        ),
        (
            "[agents.a]\nrun = \"demo\"\nkeys = [{ subject = \"bob\", sha256 = \"00\" }]\n".into(),
            "the keys cannot be used: agents.a.keys[0] (subject \"bob\"): sha256 must be 64 hexadecimal digits",
        ),
        (
            format!(
                "[agents.a]\nrun = \"demo\"\nkeys = [{{ subject = \"bob\", sha256 = \"{digest}\", agents = [\"a\"] }}]\n"
            ),
            "`agents.a` has a key that names agents: keys there open a only; put it into `keys` at the top",
        ),
        (
            "[agents.a]\nrun = \"demo\"\nturns = 3\n".into(),
            "there is no setting `agents.a.turns` (in HERE/a2a.toml); did you mean `agents.a.limits.turns`?",
        ),
        (
            "[agents.a]\nrun = \"demo\"\n[agents.a.limits.process]\ngrase = 3\n".into(),
            "did you mean `agents.a.limits.process.grace`?",
        ),
        ("[agents]\na = \"demo\"\n".into(), "agents.a"),
    ];
    for (settings, expected) in wrong {
        let (code, told) = check(settings).await;
        let message = told["error"]["message"].as_str().unwrap();
        let expected = expected.replace("HERE", site.dir.to_str().unwrap());
        assert!(code == Some(2) && message.contains(&expected), "{settings}: {message}");
    }
}

#[tokio::test]
async fn every_setting_of_an_agent_is_shown_with_where_it_is_from() {
    let digest = "0".repeat(64);
    let site = Site::new(&format!(
        "[limits.process]\ngrace = 2.0\n[agents.parrot]\nrun = \"echo\"\ncard = \"polly.json\"\n\
         keys = [{{ subject = \"bob\", sha256 = \"{digest}\" }}]\n[agents.parrot.limits]\nturns = 5\n"
    ));
    let environment = [
        ("A2A_WEBCAP_AGENTS__PARROT__RUN", "demo"),
        ("A2A_WEBCAP_AGENTS__MY_BOT__RUN", "echo"),
        ("A2A_WEBCAP_DEFAULT_AGENT", "my-bot"),
        ("A2A_WEBCAP_LIMITS__PROCESS__RESUMES", "9"),
    ];
    let shown = site.command(&["config", "show"], &environment).await;
    let text = out(&shown);
    let file = format!("file {}", site.settings().display());
    let card = site.dir.join("polly.json").display().to_string();
    for (line, origin) in [
        ("agent: not set", "default"),
        ("default-agent: my-bot", "environment A2A_WEBCAP_DEFAULT_AGENT"),
        ("agents.my-bot.run: echo", "environment A2A_WEBCAP_AGENTS__MY_BOT__RUN"),
        ("agents.parrot.run: demo", "environment A2A_WEBCAP_AGENTS__PARROT__RUN"),
        (&format!("agents.parrot.card: {card}"), &file),
        ("agents.parrot.keys: [{\"subject\":\"bob\"}]", &file),
        ("agents.parrot.limits.turns: 5", &file),
        ("agents.parrot.limits.process.grace: 2.0", &file),
        ("agents.parrot.limits.process.resumes: 9", "environment A2A_WEBCAP_LIMITS__PROCESS__RESUMES"),
        ("agents.my-bot.limits.process.read-timeout: 30.0", "default"),
        ("agents.my-bot.limits.turns: not set", "default"),
    ] {
        assert!(text.contains(&format!("{line} ({origin})\n")), "{line} ({origin}):\n{text}{}", err(&shown));
    }
    assert!(!text.contains(&digest));
    let examined = site.command(&["doctor", "--store", "memory"], &environment).await;
    assert!(out(&examined).contains("agents.parrot.run: demo\n"), "{}", out(&examined));
    assert!(!out(&examined).contains(&digest));

    let set = [
        "serve",
        "--check",
        "-o",
        "json",
        "--set",
        "agents.parrot.run=exec:cat",
        "--set",
        "default-agent=parrot",
    ];
    let checked = json(&site.command(&set, &environment[1..2]).await);
    assert_eq!((&checked["agent"], &checked["keys"]), (&"cat (exec)".into(), &1.into()), "{checked}");
}

#[tokio::test]
async fn cli_a_key_made_for_an_agent_opens_that_one_only() {
    let site = Site::new(THREE);
    let (_server, _, url) = served(&site).await;
    let made = site
        .command(&["key", "create", "bob", "--agent", "parrot", "--agent", "shell", "-o", "json"], &[])
        .await;
    assert_eq!(json(&made)["agents"], serde_json::json!(["parrot", "shell"]), "{}", err(&made));
    let key = json(&made)["key"].as_str().unwrap().to_owned();
    let listed = site.command(&["key", "list"], &[]).await;
    assert!(out(&listed).contains("Agents: parrot, shell\n"), "{}", out(&listed));
    let nobody = site.command(&["key", "create", "bob", "--agent", "nobody"], &[]).await;
    assert_eq!(nobody.status.code(), Some(2));
    assert!(
        err(&nobody)
            .contains("there is no agent \"nobody\" in the settings; there are: parrot, shell, story")
    );

    let parrot = format!("{url}/parrot");
    let reads = async {
        while !run(&site, &parrot, &["send", "hi"], Some(&key)).await.status.success() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon("the server reads the key", reads).await;
    for path in ["", "/story"] {
        let closed = run(&site, &format!("{url}{path}"), &["send", "hi", "-o", "json"], Some(&key)).await;
        let error = &json(&closed)["error"];
        assert_eq!((closed.status.code(), &error["a2aCode"]), (Some(1), &Value::from(-31403)), "{error}");
        assert!(
            error["message"].as_str().unwrap().ends_with("as tenant they open: parrot, shell"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_made_key_of_an_agent_that_has_gone_hinders_no_start_and_opens_nothing() {
    let site = Site::new(THREE);
    let made = site.command(&["key", "create", "bob", "--agent", "shell", "-o", "json"], &[]).await;
    let key = json(&made)["key"].as_str().unwrap().to_owned();
    site.write("store = \"memory\"\n[agents.story]\nrun = \"demo\"\n");
    let (_server, printed, url) = served(&site).await;
    let only = format!("Agent: story (demo), card at {url}/.well-known/agent-card.json");
    assert!(printed.contains(&only), "{printed:?}");
    let closed = run(&site, &url, &["send", "hi"], Some(&key)).await;
    assert_eq!(closed.status.code(), Some(4), "{}", err(&closed));
}

#[tokio::test]
async fn keys_in_an_agents_own_list_open_it_and_no_development_key_is_made_beside_them() {
    let key = "a key of bob's, which an operator has chosen";
    let digest = a2a_webcap::auth::SecretDigest::of(key).to_hex();
    let keys = format!("keys = [{{ subject = \"bob\", sha256 = \"{digest}\" }}]\n");
    let site = Site::new(&THREE.replace("run = \"exec:cat\"\n", &format!("run = \"exec:cat\"\n{keys}")));
    let (_server, _, url) = served(&site).await;
    assert!(!Path::new(&site.dir.join("state/dev-key")).exists());
    let open = run(&site, &format!("{url}/shell"), &["send", "hi"], Some(key)).await;
    assert!(open.status.success(), "{}", err(&open));
    let closed = run(&site, &format!("{url}/story"), &["send", "hi"], Some(key)).await;
    assert_eq!(closed.status.code(), Some(1), "{}", err(&closed));
}

#[tokio::test]
async fn each_agents_program_keeps_to_its_own_bounds() {
    let settings = format!(
        "{THREE}[agents.shell.limits.process]\noutput-bytes = 4\n[agents.wide]\nrun = \"exec:cat\"\n"
    );
    let site = Site::new(&settings);
    let (_server, _, url) = served(&site).await;
    let narrow = run(&site, &format!("{url}/shell"), &["send", "more than that"], None).await;
    assert!(
        out(&narrow).contains("State: failed") && out(&narrow).contains("printed more than 4 bytes"),
        "{}",
        out(&narrow)
    );
    let wide = run(&site, &format!("{url}/wide"), &["send", "more than that"], None).await;
    assert!(
        out(&wide).contains("more than that") && out(&wide).contains("State: completed"),
        "{}",
        out(&wide)
    );
}
