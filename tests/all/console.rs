//! The console's files as the server gives them out. What they do is tested in a browser, by clients/typescript.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use a2a_webcap::agents::Echo;

use crate::cli::{Scratch, serve_with};
use crate::world::{World, soon};

async fn server() -> World {
    World::of(|builder| builder.agent(Echo)).await
}

/// One request on a line of its own: the head of the answer in lower case, and its body.
async fn ask(world: &World, method: &str, path: &str, fields: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(world.server.local_addr()).await.unwrap();
    let host = if fields.contains("host:") { "" } else { "host: localhost\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon("the end of the answer", stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap().to_ascii_lowercase(), body)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn committed(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/browser").join(name);
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn every_file_of_the_page_is_served_under_its_media_type() {
    let world = server().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/browser");
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let name = name.to_str().unwrap();
        let (head, body) = ask(&world, "GET", &format!("/console/{name}"), "").await;
        assert!(head.starts_with("http/1.1 200 "), "{name}: {head}");
        assert!(body == committed(name), "{name}");
        let media_type = match name.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("what is {other}?"),
        };
        assert_eq!(field(&head, "content-type"), Some(media_type), "{name}");
    }
    let (_, page) = ask(&world, "GET", "/console/?from=somewhere", "").await;
    assert!(page == committed("index.html"));
}

#[tokio::test]
async fn the_page_may_run_and_load_nothing_but_its_own_files() {
    let world = server().await;
    for path in ["/console/", "/console/console.js", "/console/icon.svg", "/console"] {
        let (head, _) = ask(&world, "GET", path, "").await;
        let policy = field(&head, "content-security-policy").unwrap_or_else(|| panic!("{path}: {head}"));
        let directives: Vec<_> = policy.split("; ").collect();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(directives.contains(&directive), "{directive}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(field(&head, name), Some(value), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn a_browser_that_has_a_file_already_is_only_told_so() {
    let world = server().await;
    let (head, _) = ask(&world, "GET", "/console/a2a-webcap.js", "").await;
    let etag = field(&head, "etag").expect("an etag").to_owned();
    let (head, body) =
        ask(&world, "GET", "/console/a2a-webcap.js", &format!("if-none-match: {etag}\r\n")).await;
    assert!(head.starts_with("http/1.1 304 ") && body.is_empty(), "{head}");
    assert_eq!(field(&head, "etag"), Some(&*etag));
    let (head, body) = ask(&world, "GET", "/console/console.js", &format!("if-none-match: {etag}\r\n")).await;
    assert!(head.starts_with("http/1.1 200 ") && !body.is_empty(), "each file has a tag of its own: {head}");
}

#[tokio::test]
async fn the_address_without_its_last_stroke_leads_to_the_page() {
    let world = server().await;
    let (head, body) = ask(&world, "GET", "/console", "").await;
    assert!(head.starts_with("http/1.1 308 ") && body.is_empty(), "{head}");
    assert_eq!(field(&head, "location"), Some("console/"));
}

#[tokio::test]
async fn only_reading_is_taken_and_nothing_else_is_there() {
    let world = server().await;
    let (whole, page) = ask(&world, "GET", "/console/", "").await;
    let (head, body) = ask(&world, "HEAD", "/console/", "").await;
    assert!(head.starts_with("http/1.1 200 ") && body.is_empty(), "{head}");
    assert_eq!(field(&head, "content-length"), Some(&*page.len().to_string()));
    assert_eq!(field(&head, "etag"), field(&whole, "etag"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) = ask(&world, method, "/console/", "content-length: 0\r\n").await;
        assert!(head.starts_with("http/1.1 405 "), "{method}: {head}");
        assert_eq!(field(&head, "allow"), Some("get, head"));
    }
    for path in
        ["/console/nothing", "/console/../Cargo.toml", "/console//", "/consolex", "/console/console.js/"]
    {
        let (head, _) = ask(&world, "GET", path, "").await;
        assert!(head.starts_with("http/1.1 404 "), "{path}: {head}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_the_servers_gets_no_page() {
    let world = server().await;
    let (head, body) = ask(&world, "GET", "/console/", "host: evil.example\r\n").await;
    assert!(head.starts_with("http/1.1 421 "), "{head}");
    assert!(body != committed("index.html"));
}

#[tokio::test]
async fn serve_says_where_the_console_is() {
    let state = Scratch::new();
    let (_server, printed) = serve_with(&state, &["--store", "memory"]).await;
    let address = printed.iter().find_map(|line| line.strip_prefix("Listening: ")).expect("an address");
    assert!(printed.contains(&format!("Console: {address}/console/")), "{printed:?}");
}
