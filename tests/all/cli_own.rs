//! The commands that are this tool's own: keys, shares, settings.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::cli::{Scratch, err, json, out, program, run, serve};
use crate::world::{ALICE, BOB, World, soon};

#[tokio::test]
async fn cli_a_made_key_opens_a_running_server_until_it_is_revoked() {
    let state = Scratch::new();
    let (_server, printed) = serve(&state).await;
    let url = printed[0].strip_prefix("Listening: ").unwrap().to_owned();
    let key_command = async |line: &[&str]| {
        let mut command = program();
        command.arg("key").args(line).env("A2A_WEBCAP_STATE_DIR", &state.0);
        soon("it ends", command.output()).await.unwrap()
    };
    let made =
        key_command(&["create", "bob", "--label", "laptop", "--permissions", "read,send", "-o", "json"])
            .await;
    let key = json(&made)["key"].as_str().unwrap().to_owned();
    assert!(!err(&made).contains(&key));
    let file = state.0.join("keys.json");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&key), "the file has only the digest");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let listed = key_command(&["list"]).await;
    assert!(out(&listed).contains("Label: laptop") && !out(&listed).contains(&key), "{}", out(&listed));

    let code = async || {
        let mut command = program();
        command.args(["send", "hi", "-a", &url]).env("A2ACLI_API_KEY", &key);
        soon("it ends", command.output()).await.unwrap().status.code()
    };
    let becomes = async |wanted: i32| {
        let changing = async {
            while code().await != Some(wanted) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        soon("the server reads the keys", changing).await;
    };
    becomes(0).await;
    assert_eq!(key_command(&["revoke", "laptop"]).await.status.code(), Some(0));
    becomes(4).await;
    assert_eq!(key_command(&["revoke", "laptop"]).await.status.code(), Some(2), "it is gone");
}

#[cfg(unix)]
#[tokio::test]
async fn cli_a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let state = Scratch::new();
    std::fs::create_dir_all(&state.0).unwrap();
    let file = state.0.join("keys.json");
    std::fs::write(&file, "[]").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = program();
    command.args(["key", "list"]).env("A2A_WEBCAP_STATE_DIR", &state.0);
    let refused = soon("it ends", command.output()).await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("chmod 600 "), "{}", err(&refused));
}

#[tokio::test]
async fn cli_a_shared_task_is_seen_until_its_owner_ends_the_share() {
    let world = World::demo().await;
    let started = json(&run(&world, &["send", "--async", "-o", "json", "long"]).await);
    let id = started["task"]["id"].as_str().unwrap();
    let mut share = program();
    share.args(["share", id, "-a", &world.url(), "-o", "json"]).env("A2ACLI_API_KEY", ALICE);
    let mut share = share.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(share.stdout.take().unwrap()).lines();
    let line = soon("the secret", lines.next_line()).await.unwrap().unwrap();
    let secret =
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["secret"].as_str().unwrap().to_owned();

    let claim = async |flags: &[&str], secret: &str| {
        let mut command = program();
        command.args(["claim", "-", "-a", &world.url()]).args(flags).env("A2ACLI_API_KEY", BOB);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(secret.as_bytes()).await.unwrap();
        child
    };
    let follower = claim(&["--follow"], &secret).await;
    let mut followed = follower;
    let mut shown = BufReader::new(followed.stdout.take().unwrap()).lines();
    let first = soon("a field", shown.next_line()).await.unwrap().unwrap();
    assert_eq!(first, format!("Task ID: {id}"));
    let mut seen = BufReader::new(followed.stderr.take().unwrap()).lines();
    let again = soon("it ends", claim(&[], &secret).await.wait_with_output()).await.unwrap();
    assert_eq!(again.status.code(), Some(4), "a secret works once: {}", err(&again));

    let pid = share.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(soon("the share ends", share.wait()).await.unwrap().success());
    let mut last = String::new();
    while let Some(line) = soon("a remark", seen.next_line()).await.unwrap() {
        last = line;
    }
    assert!(soon("it ends", followed.wait()).await.unwrap().code() == Some(1), "{last}");
    assert_eq!(world.counts().turns, 1, "the task itself goes on");
}

#[tokio::test]
async fn cli_serve_check_says_what_is_wrong_and_which_key_was_meant() {
    let state = Scratch::new();
    std::fs::create_dir_all(&state.0).unwrap();
    let file = state.0.join("a2a.toml");
    let check = async |text: &str, line: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut command = program();
        command.args(["serve", "--check", "-o", "json", "--config"]).arg(&file).args(line);
        command.env("A2A_WEBCAP_STATE_DIR", &state.0);
        let output = soon("it ends", command.output()).await.unwrap();
        (output.status.code(), json(&output))
    };
    let (code, sound) = check("agent = \"echo\"\n", &["--set", "limits.net.connections=9"]).await;
    assert_eq!((code, &sound["sound"], &sound["agent"]), (Some(0), &true.into(), &"echo".into()));
    for (text, line, expected) in [
        ("lisen = \"127.0.0.1:1\"\n", &[][..], "did you mean `listen`?"),
        ("", &["--set", "limits.net.conections=9"][..], "did you mean `limits.net.connections`?"),
        ("agent = \"nobody\"\n", &[][..], "there is no agent called"),
        ("listen = \"0.0.0.0:1\"\n", &[][..], "--insecure-plaintext"),
        ("workers = \"many\"\n", &[][..], "workers"),
    ] {
        let (code, told) = check(text, line).await;
        let message = told["error"]["message"].as_str().unwrap();
        assert!(code == Some(2) && message.contains(expected), "{text}{line:?}: {told}");
    }
    assert!(!state.0.join("store").exists() && !state.0.join("dev-key").exists(), "it changes nothing");
}

#[tokio::test]
async fn cli_config_show_says_where_each_setting_of_the_server_is_from() {
    let state = Scratch::new();
    std::fs::create_dir_all(&state.0).unwrap();
    let file = state.0.join("a2a.toml");
    let digest = "0".repeat(64);
    std::fs::write(&file, format!("agent = \"echo\"\n[[keys]]\nsubject = \"bob\"\nsha256 = \"{digest}\"\n"))
        .unwrap();
    let mut command = program();
    command.args(["config", "show", "--config"]).arg(&file).env("A2A_WEBCAP_LIMITS__NET__CONNECTIONS", "7");
    let shown = soon("it ends", command.output()).await.unwrap();
    let text = out(&shown);
    let from_file = format!("agent: echo (file {})\n", file.display());
    assert!(text.contains(&from_file), "{text}{}", err(&shown));
    let from_environment = "limits.net.connections: 7 (environment A2A_WEBCAP_LIMITS__NET__CONNECTIONS)\n";
    assert!(text.contains(from_environment), "{text}");
    assert!(text.contains("workers: 0 (default)\n") && !text.contains(&digest), "{text}");
}

#[tokio::test]
async fn cli_the_demo_ends_well_within_ten_seconds_and_its_figures_are_those_of_pipelining() {
    let begun = std::time::Instant::now();
    let output = soon("the demo ends", program().args(["demo", "--json"]).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    let figures = json(&output);
    let number = |name: &str| figures[name].as_f64().unwrap();
    assert!(number("oneFlightRoundTrips") < 2.0 && number("oneByOneRoundTrips") > 2.5, "{figures}");
    assert!(number("firstEventMs") < 2.0 * number("roundTripMs"), "{figures}");
    assert!(number("events") > 40.0 && number("cutAfter") < number("events"), "{figures}");
    assert_eq!(
        (&figures["beyondTheRole"], &figures["afterRevocation"]),
        (&"FORBIDDEN".into(), &"REVOKED".into())
    );
    assert_eq!(err(&output), "");
}

#[tokio::test]
async fn cli_the_demo_tells_its_story_in_plain_text() {
    let output = soon("the demo ends", program().args(["demo", "--delay", "5ms"]).output()).await.unwrap();
    let told = out(&output);
    for said in
        ["1. Calls do not wait", "the line is cut", "each of them once", "REVOKED", "a2a-webcap serve"]
    {
        assert!(told.contains(said), "{said}: {told}{}", err(&output));
    }
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[tokio::test]
async fn cli_bench_counts_calls_and_events() {
    let world = World::demo().await;
    let line = ["bench", "--time", "100ms", "--concurrency", "4", "--message", "burst 50", "-o", "json"];
    let output = run(&world, &line).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    let figures = json(&output);
    assert!(
        figures["oneByOne"]["calls"].as_u64() > Some(0) && figures["together"]["calls"].as_u64() > Some(3)
    );
    assert!(figures["stream"]["events"].as_u64() >= Some(50), "{figures}");
}
