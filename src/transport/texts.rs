//! Connections of text frames, with a speaker that does as it is told.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::line::{Held, Line, Speaker};
use super::testing::{RawPeer, local, settle};
use super::{CloseReason, WebSocket, accept_text, code};
use crate::fault::{Fault, FaultKind};
use crate::limits::WireLimits;

/// Says every frame again, and knows a few words.
pub(crate) struct Parrot {
    line: Rc<Line>,
    kept: Vec<Held>,
    alive: Rc<Cell<bool>>,
    heard: Rc<RefCell<usize>>,
}

impl Parrot {
    pub(crate) fn new(line: &Rc<Line>, alive: &Rc<Cell<bool>>) -> Self {
        alive.set(true);
        Self { line: line.clone(), kept: Vec::new(), alive: alive.clone(), heard: Rc::default() }
    }

    fn hear(&mut self, frame: Bytes) -> Result<(), CloseReason> {
        *self.heard.borrow_mut() += 1;
        match &frame[..] {
            b"panic" => panic!("as asked"),
            b"over" => {
                return Err(CloseReason::Closed { code: code::SESSION_OVER, reason: "as asked".into() });
            }
            b"bad" => {
                let fault = Fault::new(FaultKind::InvalidRequest, "é".repeat(100));
                return Err(CloseReason::Refused { code: code::SESSION_OVER, fault });
            }
            b"flood" => (0..100).for_each(|_| self.line.queue(Bytes::from(vec![b'x'; 1 << 10]))),
            frame if frame.starts_with(b"keep") => self.kept.push(self.line.hold(frame.len())?),
            _ => self.line.queue(frame),
        }
        Ok(())
    }
}

impl Future for Parrot {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let frame = match ready!(self.line.poll_frame(cx)) {
            Ok(frame) => frame,
            Err(reason) => return Poll::Ready(reason),
        };
        cx.waker().wake_by_ref();
        match self.hear(frame) {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
    }
}

impl Speaker for Parrot {
    fn last_words(&self, reason: &CloseReason) -> Option<Bytes> {
        Some(Bytes::from(format!("abort: {}", reason.label())))
    }

    fn end(&mut self, _cx: &mut Context<'_>) {
        self.alive.set(false);
    }
}

struct Served {
    line: Rc<Line>,
    alive: Rc<Cell<bool>>,
    ended: JoinHandle<CloseReason>,
    peer: RawPeer,
}

async fn serve(limits: WireLimits) -> Served {
    let (here, there): (DuplexStream, DuplexStream) = tokio::io::duplex(4 << 10);
    let alive = Rc::default();
    let socket = WebSocket::server(here, &[], &limits).await.of_text();
    let (line, driver) = accept_text(socket, None, limits, |line| Parrot::new(line, &alive));
    let ended = tokio::task::spawn_local(driver);
    Served { line, alive, ended, peer: RawPeer::new(there).await }
}

impl Served {
    async fn say(&mut self, text: &str) {
        let _ = self.peer.0.send(Message::Text(text.into())).await;
    }

    async fn hear(&mut self) -> String {
        match self.peer.0.next().await {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            other => panic!("no text frame: {other:?}"),
        }
    }

    /// The texts up to the end, then its code and reason.
    async fn end(&mut self) -> (Vec<String>, u16, String) {
        let mut texts = Vec::new();
        loop {
            match self.peer.0.next().await {
                Some(Ok(Message::Text(text))) => texts.push(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (texts, frame.code.into(), frame.reason.as_str().to_owned());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

#[test]
fn a_text_goes_through_whole_and_in_order() {
    local(true, async {
        let mut served = serve(WireLimits::default()).await;
        let long = "ü".repeat(100_000);
        let texts = ["", "one", &long, "two"];
        for text in texts {
            served.say(text).await;
            assert_eq!(served.hear().await, text);
        }
    });
}

#[test]
fn a_binary_frame_ends_a_connection_of_texts() {
    local(true, async {
        let mut served = serve(WireLimits::default()).await;
        served.peer.send_frame(&b"binary"[..]).await;
        let (texts, code, reason) = served.end().await;
        assert_eq!((texts, code), (vec!["abort: protocol".to_owned()], 1003));
        assert!(reason.contains("send no binary frame"), "{reason}");
        assert!(!served.alive.get());
    });
}

#[test]
fn a_text_that_is_not_utf8_ends_its_connection() {
    local(true, async {
        let mut served = serve(WireLimits::default()).await;
        // A text frame of two bytes, masked with zeros.
        let stream = served.peer.0.get_mut();
        tokio::io::AsyncWriteExt::write_all(stream, &[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28])
            .await
            .expect("sent");
        let (_, code, reason) = served.end().await;
        assert_eq!(code, 1007);
        assert!(reason.contains("must be UTF-8"), "{reason}");
    });
}

#[test]
fn a_text_over_the_bound_ends_its_connection() {
    local(true, async {
        let limits = WireLimits { message_bytes: 1_000, ..WireLimits::default() };
        let mut served = serve(limits).await;
        served.say(&"x".repeat(1_000)).await;
        assert_eq!(served.hear().await.len(), 1_000);
        served.say(&"x".repeat(1_001)).await;
        let (texts, code, _) = served.end().await;
        assert_eq!((texts, code), (vec!["abort: too_big".to_owned()], 1009));
    });
}

#[test]
fn a_session_that_is_over_is_closed_with_its_code_and_a_reason_that_fits() {
    local(true, async {
        let mut served = serve(WireLimits::default()).await;
        served.say("over").await;
        let end = served.end().await;
        assert_eq!(end, (vec!["abort: closed".to_owned()], 3000, "as asked".to_owned()));

        let mut served = serve(WireLimits::default()).await;
        served.say("bad").await;
        let (_, code, reason) = served.end().await;
        assert_eq!((code, reason.as_str()), (3000, &*"é".repeat(61)), "cut at 123 bytes, between characters");
        assert_eq!(served.ended.await.expect("no panic").label(), "protocol");
    });
}

#[test]
fn a_peer_that_takes_nothing_is_not_read_from_and_then_ended() {
    local(true, async {
        let limits = WireLimits {
            message_bytes: 40 << 10,
            queued_messages: 4,
            send_budget_bytes: 8 << 10,
            ..WireLimits::default()
        };
        let mut served = serve(limits).await;
        served.say("flood").await;
        served.say("flood").await;
        settle().await;
        let queued = served.line.queued_bytes();
        assert!((90 << 10..110 << 10).contains(&queued), "one flood only: {queued}");
        assert!(!served.line.may_queue());
        for _ in 0..200 {
            assert_eq!(served.hear().await.len(), 1 << 10);
        }
        assert!(served.line.ending().is_none(), "who takes what is sent may ask on");

        let limits = WireLimits { message_bytes: 10 << 10, ..WireLimits::default() };
        let mut served = serve(limits).await;
        served.say("flood").await;
        let (texts, code, reason) = served.end().await;
        assert_eq!((texts.last().expect("a word").as_str(), code), ("abort: overloaded", 1008));
        assert!(reason.contains("read what is sent"), "{reason}");
    });
}

#[test]
fn frames_in_use_are_bounded() {
    local(true, async {
        let limits = WireLimits { message_bytes: 100, ..WireLimits::default() };
        let mut served = serve(limits).await;
        for _ in 0..4 {
            served.say(&format!("keep{}", "x".repeat(96))).await;
        }
        served.say("still").await;
        assert_eq!(served.hear().await, "still");
        assert_eq!(served.line.held_bytes(), 400);
        served.say("keep").await;
        assert_eq!(served.end().await.1, 1008);
        settle().await;
        assert_eq!(served.line.held_bytes(), 0);
    });
}

#[test]
fn a_panic_ends_one_connection_and_says_so() {
    local(true, async {
        let (mut one, mut other) = (serve(WireLimits::default()).await, serve(WireLimits::default()).await);
        one.say("panic").await;
        assert_eq!(one.end().await, (vec!["abort: panicked".to_owned()], 1011, "internal error".to_owned()));
        assert_eq!(one.ended.await.expect("no panic gets out"), CloseReason::Panicked);
        other.say("fine").await;
        assert_eq!(other.hear().await, "fine");
    });
}

#[test]
fn a_silent_peer_is_pinged_and_then_ended() {
    local(true, async {
        let limits = WireLimits {
            ping_interval: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            ..WireLimits::default()
        };
        let mut served = serve(limits).await;
        let started = Instant::now();
        let ping = served.peer.0.next().await;
        assert!(matches!(ping, Some(Ok(Message::Ping(_)))), "{ping:?}");
        assert_eq!(started.elapsed(), Duration::from_secs(20));
        // The pong goes out with the next read, which never comes. The last second is for the peer's own close.
        let reason = served.ended.await.expect("no panic");
        assert_eq!((reason, started.elapsed()), (CloseReason::Silent, Duration::from_secs(61)));
    });
}

#[test]
fn what_was_said_before_the_line_was_cut_is_heard() {
    local(true, async {
        let mut served = serve(WireLimits::default()).await;
        served.say("keep one").await;
        served.say("keep two").await;
        drop(served.peer);
        assert_eq!(served.ended.await.expect("no panic").label(), "lost");
        assert!(!served.alive.get());
    });
}
