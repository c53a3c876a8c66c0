//! The demo agent: shows everything that a task can do. Its skills are described in its card.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;

use crate::agent::{Agent, AgentError, Turn, Updates};
use crate::model::{AgentCapabilities, AgentCard, AgentSkill, Id, Message, Update};

/// Does what the first word of the message says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demo;

/// The most chunks or events of one turn.
const MAX_COUNT: u64 = 10_000_000;
/// The longest pause between two chunks.
const MAX_PACE: Duration = Duration::from_secs(60);
/// How often `long` says that it is still there.
const LONG_PACE: Duration = Duration::from_secs(1);

/// Id, description and example of each skill.
const SKILLS: [(&str, &str, &str); 7] = [
    (
        "stream",
        "Streams an artifact: `stream COUNT PACE`; 10 chunks, 100ms apart, if not said.",
        "stream 20 50ms",
    ),
    ("ask", "Asks for input, and then answers with what it got.", "ask"),
    ("fail", "Fails, with the rest of the message as the reason.", "fail no paper"),
    ("reject", "Refuses the task.", "reject"),
    ("message", "Answers with a plain message, without a task.", "message hello"),
    ("long", "Works until it is canceled.", "long"),
    ("burst", "Sends COUNT events as fast as possible: `burst COUNT`; 1000 if not said.", "burst 20000"),
];

/// What a message asks for.
#[derive(Debug, PartialEq)]
enum Command<'a> {
    Stream { count: u64, pace: Duration },
    Ask,
    Fail(&'a str),
    Reject,
    Message(&'a str),
    Long,
    Burst { count: u64 },
    Talk(&'a str),
}

#[async_trait]
impl Agent for Demo {
    fn card(&self) -> AgentCard {
        let description = "Shows what a task can do. The first word of a message selects the skill; anything else \
                           gets a friendly, streamed answer.";
        let mut card = AgentCard::new("Demo", description, env!("CARGO_PKG_VERSION"));
        card.capabilities = AgentCapabilities { streaming: Some(true), ..AgentCapabilities::default() };
        card.skills = SKILLS
            .into_iter()
            .map(|(id, description, example)| {
                let mut skill = AgentSkill::new(id, id, description);
                skill.examples = vec![example.to_owned()];
                skill
            })
            .collect();
        card
    }

    fn may_reply_with_message(&self) -> bool {
        true
    }

    fn reads_inbox(&self) -> bool {
        true
    }

    fn can_resume(&self) -> bool {
        true
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        let text = turn.message.text().into_owned();
        if is_follow_up(&turn) {
            return answer_follow_up(&text, &updates).await;
        }
        match Command::parse(&text)? {
            Command::Stream { count, pace } => stream(count, pace, &turn, &updates).await,
            Command::Ask => Ok(updates.require_input("What is your name?").await?),
            Command::Fail(reason) => Err(AgentError::new(reason)),
            Command::Reject => Ok(updates.reject("I would rather not.").await?),
            Command::Message(text) => Ok(updates.reply(Message::agent(text)).await?),
            Command::Long => work_long(turn, &updates).await,
            Command::Burst { count } => burst(count, &turn, &updates).await,
            Command::Talk(text) => talk(text, &turn, &updates).await,
        }
    }
}

impl<'a> Command<'a> {
    fn parse(text: &'a str) -> Result<Self, AgentError> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let or = |otherwise: &'a str| if rest.is_empty() { otherwise } else { rest };
        let mut numbers = rest.split_whitespace();
        Ok(match word {
            "stream" => Self::Stream { count: count(numbers.next(), 10)?, pace: pace(numbers.next())? },
            "burst" => Self::Burst { count: count(numbers.next(), 1_000)? },
            "ask" => Self::Ask,
            "fail" => Self::Fail(or("it was asked to fail")),
            "reject" => Self::Reject,
            "message" => Self::Message(or("Hello!")),
            "long" => Self::Long,
            _ => Self::Talk(text),
        })
    }
}

fn count(word: Option<&str>, otherwise: u64) -> Result<u64, AgentError> {
    let Some(word) = word else { return Ok(otherwise) };
    let count = word.parse().ok().filter(|count| (1..=MAX_COUNT).contains(count));
    count.ok_or_else(|| AgentError::new(format!("expected a count from 1 to {MAX_COUNT}")))
}

/// `50ms`, `2s`, or a bare number of milliseconds.
fn pace(word: Option<&str>) -> Result<Duration, AgentError> {
    let Some(word) = word else { return Ok(Duration::from_millis(100)) };
    let (number, unit) = match word.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => word.strip_suffix('s').map_or((word, 1), |number| (number, 1_000)),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let pace = millis.map(Duration::from_millis).filter(|pace| *pace <= MAX_PACE);
    pace.ok_or_else(|| AgentError::new("expected a pace of at most 60s, such as 50ms or 2s"))
}

/// Whether the task was opened by another message than this turn's.
fn is_follow_up(turn: &Turn) -> bool {
    let first = turn.history().first();
    first.is_some_and(|first| first.message_id != turn.message.message_id)
}

/// How many pieces of an artifact are there already: a resumed turn goes on behind them.
fn made(turn: &Turn, artifact: &Id) -> u64 {
    let artifact = turn.task.as_ref().and_then(|task| task.artifact(artifact));
    artifact.map_or(0, |artifact| artifact.parts.len() as u64)
}

async fn stream(count: u64, pace: Duration, turn: &Turn, updates: &Updates) -> Result<(), AgentError> {
    let id = Id::from("stream");
    let made = made(turn, &id);
    if made == 0 {
        updates.working().await?;
    }
    for n in made + 1..=count {
        if n > 1 && !pace.is_zero() {
            tokio::select! {
                () = turn.cancellation.cancelled() => return Ok(()),
                () = tokio::time::sleep(pace) => {}
            }
        }
        updates.chunk(id.clone(), format!("chunk {n} of {count}\n"), n > 1, n == count).await?;
    }
    Ok(updates.complete().await?)
}

/// As `stream` without a pace, and with texts that cost nothing to make.
async fn burst(count: u64, turn: &Turn, updates: &Updates) -> Result<(), AgentError> {
    let id = Id::from("burst");
    for n in made(turn, &id) + 1..=count {
        updates.chunk(id.clone(), "0123456789abcdef", n > 1, n == count).await?;
    }
    Ok(updates.complete().await?)
}

async fn work_long(mut turn: Turn, updates: &Updates) -> Result<(), AgentError> {
    let answered = heard(&turn);
    for _ in 0..answered {
        turn.inbox.try_next();
    }
    if turn.resumed {
        updates.progress("back after a restart; working until you cancel me").await?;
    } else {
        updates.progress("working until you cancel me").await?;
    }
    for seconds in 1_u64.. {
        tokio::select! {
            () = turn.cancellation.cancelled() => break,
            Some(message) = turn.inbox.next() => {
                updates.progress(format!("{HEARD}{}", message.text())).await?;
            }
            () = tokio::time::sleep(LONG_PACE) => {
                updates.progress(format!("still working, {seconds} s so far")).await?;
            }
        }
    }
    Ok(())
}

/// How many messages of its inbox a resumed turn has answered already.
fn heard(turn: &Turn) -> usize {
    let said = turn.past.iter().filter_map(|event| match &event.update {
        Update::Status(update) => update.status.message.as_ref(),
        Update::Artifact(_) => None,
    });
    said.filter(|message| message.text().starts_with(HEARD)).count()
}

/// How an answer to a message in the inbox begins.
const HEARD: &str = "I heard you: ";

async fn answer_follow_up(text: &str, updates: &Updates) -> Result<(), AgentError> {
    updates.text("answer", format!("You said: {text}")).await?;
    Ok(updates.complete().await?)
}

async fn talk(text: &str, turn: &Turn, updates: &Updates) -> Result<(), AgentError> {
    let id = Id::from("answer");
    let made = made(turn, &id);
    if made == 0 {
        updates.working().await?;
    }
    let mut answer = String::from("Hello! ");
    if !text.is_empty() {
        let _ = write!(answer, "You said: {text}. ");
    }
    answer.push_str("Try: stream 20 50ms, ask, fail, message hello, long, burst 1000.");
    let skipped = usize::try_from(made).unwrap_or(usize::MAX);
    let mut words = answer.split_inclusive(' ').skip(skipped).peekable();
    let mut append = made > 0;
    while let Some(word) = words.next() {
        updates.chunk(id.clone(), word, append, words.peek().is_none()).await?;
        append = true;
    }
    Ok(updates.complete().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_selects_the_skill() {
        let stream = |count, millis| Command::Stream { count, pace: Duration::from_millis(millis) };
        for (text, expected) in [
            ("stream", stream(10, 100)),
            (" stream 20  50ms ", stream(20, 50)),
            ("stream 3 2s", stream(3, 2_000)),
            ("stream 3 0", stream(3, 0)),
            ("burst 7", Command::Burst { count: 7 }),
            ("fail no paper", Command::Fail("no paper")),
            ("message", Command::Message("Hello!")),
            ("streaming", Command::Talk("streaming")),
            ("", Command::Talk("")),
        ] {
            assert_eq!(Command::parse(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn counts_and_paces_out_of_range_are_refused() {
        for text in
            ["stream 0", "stream -1", "stream 99999999999", "stream 1 61s", "stream 1 fast", "burst x"]
        {
            assert!(Command::parse(text).is_err(), "{text}");
        }
    }
}
