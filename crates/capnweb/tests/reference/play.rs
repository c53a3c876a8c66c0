//! Plays scripts against a server, many at a time.

use serde_json::Value;

use crate::client::{Client, Said};
use crate::script::Act;

/// A server with the test service, at the other end of any number of sessions.
pub(crate) trait Peer {
    /// Gives frames to sessions (one that was not heard of before begins), lets the server do all it can,
    /// and returns what it said in each, in the same order.
    fn round(&mut self, said: &[(u64, Vec<String>)]) -> Vec<Heard>;
    /// These sessions are over.
    fn forget(&mut self, sessions: &[u64]);
}

/// What a server said in one session, and how much it keeps for it now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) frames: Vec<String>,
    pub(crate) ended: bool,
    pub(crate) exports: usize,
    pub(crate) imports: usize,
}

/// How a script went.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// For every wait, what was sent before it.
    pub(crate) sent: Vec<Vec<String>>,
    pub(crate) said: Vec<Said>,
    /// What the server keeps when the client has given everything back.
    pub(crate) exports: usize,
    pub(crate) imports: usize,
}

/// Rounds in which a client gives back what it has, and what it gets in answer to that.
const FAREWELLS: usize = 3;

struct Playing<'a> {
    id: u64,
    steps: Vec<&'a [Act]>,
    client: Client,
    outcome: Outcome,
    ended: bool,
}

/// Plays all scripts at once, step by step.
pub(crate) fn play(scripts: &[Vec<Act>], peer: &mut dyn Peer) -> Vec<Outcome> {
    let mut playing: Vec<Playing<'_>> = (0_u64..)
        .zip(scripts)
        .map(|(id, script)| Playing {
            id,
            steps: script.split(|act| *act == Act::Wait).filter(|step| !step.is_empty()).collect(),
            client: Client::default(),
            outcome: Outcome::default(),
            ended: false,
        })
        .collect();
    let rounds = playing.iter().map(|one| one.steps.len()).max().unwrap_or(0);
    for step in 0..rounds {
        round(&mut playing, peer, |one| {
            let mut frames = one.client.owed();
            frames.extend(one.steps.get(step)?.iter().flat_map(|act| one.client.frames(act)));
            Some(frames)
        });
    }
    for _ in 0..FAREWELLS {
        round(&mut playing, peer, |one| Some(one.client.farewell()));
    }
    peer.forget(&playing.iter().map(|one| one.id).collect::<Vec<_>>());
    playing.into_iter().map(|one| one.outcome).collect()
}

fn round(
    playing: &mut [Playing<'_>],
    peer: &mut dyn Peer,
    mut frames: impl FnMut(&mut Playing<'_>) -> Option<Vec<String>>,
) {
    let mut said: Vec<(u64, Vec<String>)> = Vec::new();
    let mut who: Vec<&mut Playing<'_>> = Vec::new();
    for one in playing.iter_mut().filter(|one| !one.ended) {
        if let Some(frames) = frames(one) {
            said.push((one.id, frames));
            who.push(one);
        }
    }
    let heard = peer.round(&said);
    for ((one, (_, frames)), heard) in who.into_iter().zip(said).zip(heard) {
        one.outcome.sent.push(frames);
        one.outcome.said.push(one.client.hear(&heard.frames, heard.ended));
        one.outcome.exports = heard.exports;
        one.outcome.imports = heard.imports;
        one.ended = heard.ended;
    }
}

/// The first thing that two servers did differently, as text; nothing if they are one.
pub(crate) fn difference(ours: &Outcome, theirs: &Outcome) -> Option<String> {
    for (step, (our, their)) in ours.said.iter().zip(&theirs.said).enumerate() {
        if our != their {
            return Some(format!(
                "step {step}\nsent:\n  {}\nours:\n  {}\ntheirs:\n  {}",
                ours.sent[step].join("\n  "),
                shown(our),
                shown(their)
            ));
        }
    }
    if ours.said.len() != theirs.said.len() {
        return Some(format!("{} steps, and {} of theirs", ours.said.len(), theirs.said.len()));
    }
    None
}

fn shown(said: &Said) -> String {
    let mut lines = said.frames.clone();
    lines.extend(
        said.calls
            .iter()
            .filter(|(_, calls)| calls.len() > 1)
            .map(|(target, calls)| format!("in order on {target}: {}", Value::from(calls.clone()))),
    );
    lines.push(if said.ended { "ended".to_owned() } else { "alive".to_owned() });
    lines.join("\n  ")
}
