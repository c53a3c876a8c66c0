//! Batches of calls, each in one `POST`.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Outcome;
use crate::process::answer;
use crate::speech::{SESSION, answered};

/// Calls in a batch, besides the one that authenticates.
pub(crate) const CALLS: u64 = 64;

/// Each line says for how many milliseconds batches are begun, so many at once. The answer: batches, nanoseconds.
pub(crate) fn run(address: &str, key: &str, at_once: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = request(address, key);
    runtime.block_on(answer("ready", |line| {
        let request = request.as_str();
        async move {
            let time = Duration::from_millis(line.parse()?);
            let begun = Instant::now();
            let counts = try_join_all((0..at_once).map(|_| repeat(address, request, begun, time))).await?;
            Ok(format!("{} {}", counts.iter().sum::<u64>(), begun.elapsed().as_nanos()))
        }
    }))
}

fn request(address: &str, key: &str) -> String {
    let mut frames = vec![format!(r#"["push",["pipeline",0,["authenticate"],["{key}"]]]"#)];
    let calls = SESSION + 1..=SESSION + CALLS;
    frames.extend(calls.clone().map(|_| format!(r#"["push",["pipeline",{SESSION},["whoAmI"],[]]]"#)));
    frames.extend(calls.map(|call| format!(r#"["pull",{call}]"#)));
    let body = frames.join("\n");
    let length = body.len();
    format!("POST /capnweb HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n{body}")
}

async fn repeat(address: &str, request: &str, begun: Instant, time: Duration) -> Outcome<u64> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let mut batches = 0;
    while begun.elapsed() < time {
        stream.get_mut().write_all(request.as_bytes()).await?;
        let body = response(&mut stream).await?;
        let answers = body.lines().map(answered).collect::<Outcome<Vec<_>>>()?;
        if answers.len() as u64 != CALLS {
            return Err(format!("{} answers came, not {CALLS}", answers.len()).into());
        }
        batches += 1;
    }
    Ok(batches)
}

/// The body of the next response, which is whole or comes in chunks.
async fn response(stream: &mut BufReader<TcpStream>) -> Outcome<String> {
    let (mut length, mut is_chunked) = (0, false);
    let status = line(stream).await?;
    if !status.starts_with("HTTP/1.1 200") {
        return Err(format!("the server answered {status}").into());
    }
    loop {
        let header = line(stream).await?.to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(("transfer-encoding", value)) => is_chunked = value.trim() == "chunked",
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if !is_chunked {
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        return Ok(String::from_utf8(body)?);
    }
    loop {
        let size = usize::from_str_radix(&line(stream).await?, 16)?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        line(stream).await?;
        if size == 0 {
            return Ok(String::from_utf8(body)?);
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Outcome<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err("the server hung up".into());
    }
    Ok(line.trim_end().to_owned())
}
