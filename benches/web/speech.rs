//! A connection that says and hears frames as text.

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::Outcome;

/// The connection, and how many calls were made on it.
pub(crate) struct Speech {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Both sides count the calls.
    pub(crate) calls: u64,
}

/// Where a server at this address speaks Cap'n Web.
pub(crate) fn url(address: &str) -> String {
    format!("ws://{address}/capnweb")
}

/// The call that gave the session.
pub(crate) const SESSION: u64 = 1;

impl Speech {
    /// Opens a connection and asks for a session, which is the first call.
    pub(crate) async fn open(address: &str, key: &str) -> Outcome<Self> {
        let (socket, _) = tokio_tungstenite::connect_async(url(address)).await?;
        let mut speech = Self { socket, calls: SESSION };
        speech.say(format!(r#"["push",["pipeline",0,["authenticate"],["{key}"]]]"#)).await?;
        Ok(speech)
    }

    /// Queues a call of the session and the wish for its answer.
    pub(crate) async fn call(&mut self, method: &str) -> Outcome<()> {
        self.calls += 1;
        self.say(format!(r#"["push",["pipeline",{SESSION},["{method}"],[]]]"#)).await?;
        self.say(format!(r#"["pull",{}]"#, self.calls)).await
    }

    /// Gives an answer back.
    pub(crate) async fn release(&mut self, answer: &str) -> Outcome<()> {
        self.say(format!(r#"["release",{answer},1]"#)).await
    }

    async fn say(&mut self, frame: String) -> Outcome<()> {
        Ok(self.socket.feed(Message::text(frame)).await?)
    }

    pub(crate) async fn flush(&mut self) -> Outcome<()> {
        Ok(self.socket.flush().await?)
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Outcome<Utf8Bytes> {
        loop {
            if let Some(frame) = text(self.socket.next().await)? {
                return Ok(frame);
            }
        }
    }

    /// The next frame, if it is there.
    pub(crate) fn heard(&mut self) -> Outcome<Option<Utf8Bytes>> {
        loop {
            let Some(message) = self.socket.next().now_or_never() else { return Ok(None) };
            if let Some(frame) = text(message)? {
                return Ok(Some(frame));
            }
        }
    }
}

fn text(message: Option<Result<Message, Error>>) -> Outcome<Option<Utf8Bytes>> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(other)) => Err(format!("the server said {other:?}").into()),
        Some(Err(error)) => Err(error.into()),
        None => Err("the server hung up".into()),
    }
}

/// The number of the call that a frame answers.
pub(crate) fn answered(frame: &str) -> Outcome<&str> {
    let rest = frame.strip_prefix(r#"["resolve","#).and_then(|rest| rest.split_once(','));
    rest.map(|(number, _)| number).ok_or_else(|| format!("no answer: {frame}").into())
}
