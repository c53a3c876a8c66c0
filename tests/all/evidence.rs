//! What a server and its clients have written while a test ran, and what must not be in it.

use std::collections::HashMap;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::soon;

/// Pieces of what was written, and where.
#[derive(Default)]
pub(crate) struct Evidence(Vec<(String, Vec<u8>)>);

impl Evidence {
    pub(crate) fn add(&mut self, place: impl Into<String>, written: impl Into<Vec<u8>>) {
        self.0.push((place.into(), written.into()));
    }

    /// Both streams of a command.
    pub(crate) fn add_output(&mut self, place: &str, output: &Output) {
        self.add(format!("standard output of {place}"), output.stdout.clone());
        self.add(format!("standard error of {place}"), output.stderr.clone());
    }

    /// Where which of these secrets shows, in any form: as it is, backwards, in base64 or in hexadecimal; a piece is
    /// enough.
    pub(crate) fn leaks(&self, secrets: &[(String, String)]) -> Vec<String> {
        let mut pieces = HashMap::new();
        for (name, secret) in secrets {
            for form in forms(secret) {
                pieces.extend(form.as_bytes().windows(PIECE).map(|piece| (piece.to_vec(), name)));
            }
        }
        let mut found = Vec::new();
        for (place, written) in &self.0 {
            for (at, piece) in written.windows(PIECE).enumerate() {
                if let Some(name) = pieces.get(piece) {
                    let around = &written[at.saturating_sub(200)..written.len().min(at + 100)];
                    found.push(format!("{name} is in {place}: {}", String::from_utf8_lossy(around)));
                    break;
                }
            }
        }
        found
    }
}

/// How much of a secret is as bad as all of it.
const PIECE: usize = 12;

fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), secret.chars().rev().collect(), hex.to_uppercase(), hex];
    // Within something longer, three bytes begin at any of three places.
    for start in 0..3 {
        let text = &secret[start..];
        let text = &text[..text.len() / 3 * 3];
        forms.extend([STANDARD_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(text)]);
    }
    forms
}

/// The answer to one request on a line of its own, for as long as something comes; `HOST` stands for the server's name.
pub(crate) async fn exchange(url: &str, request: &[u8]) -> Vec<u8> {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request: Vec<u8> = match request.windows(4).position(|four| four == b"HOST") {
        Some(at) => [&request[..at], host.as_bytes(), &request[at + 4..]].concat(),
        None => request.to_vec(),
    };
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    soon("the end of the answer", async {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            answer.extend_from_slice(&part[..length]);
            if answer.starts_with(b"HTTP/1.1 101 ") {
                break;
            }
        }
    })
    .await;
    answer
}

#[test]
fn a_secret_is_found_in_every_form_and_a_word_that_is_none_is_not() {
    let secret = "q7Xw-29fLmT0_aZ81kPd".to_owned();
    let secrets = [("the key".to_owned(), secret.clone())];
    let reversed: String = secret.chars().rev().collect();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}"));
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for form in [&secret, &secret[4..16], &reversed, &basic, &hex] {
        let mut evidence = Evidence::default();
        evidence.add("a log", format!("line {form}\n"));
        assert_eq!(evidence.leaks(&secrets).len(), 1, "{form}");
    }
    let mut evidence = Evidence::default();
    evidence.add("a log", format!("line {}\n", &secret[4..15]));
    assert_eq!(evidence.leaks(&secrets), [""; 0]);
}
