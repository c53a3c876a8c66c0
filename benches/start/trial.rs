//! One start of a server, until it has answered.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::contenders::Contender;
use crate::plan::Plan;

/// What one start has shown.
pub(crate) struct Trial {
    pub(crate) first_answer: Duration,
    pub(crate) resident_bytes: u64,
}

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server, asks it, and ends it.
pub(crate) fn run(contender: &Contender, plan: Plan) -> Outcome<Trial> {
    // Free when it was asked for; nobody else is here to take it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (path, media_type, body) = &contender.request;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nA2A-Version: 1.0\r\n\
         Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = Instant::now();
    let mut command = (contender.start)(address.port());
    let server = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let answer = loop {
        if let Ok(answer) = ask(address, &request) {
            break answer;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} did not answer", contender.name).into());
        }
        thread::sleep(Duration::from_micros(500));
    };
    let first_answer = begun.elapsed();
    if !answer.contains("TASK_STATE_COMPLETED") {
        return Err(format!("{} answered {answer}", contender.name).into());
    }
    thread::sleep(if plan.quick { Duration::ZERO } else { Duration::from_secs(2) });
    Ok(Trial { first_answer, resident_bytes: server.resident_bytes()? })
}

fn ask(address: SocketAddr, request: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A process that ends with this value.
struct Running(Child);

impl Running {
    fn resident_bytes(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
