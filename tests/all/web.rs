//! A Cap'n Web client that says what it is told to, frame by frame.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::world::{World, soon};

/// One end of a connection, that says what it is told to.
pub(crate) struct Web {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Our calls so far: both sides count.
    pub(crate) pushed: u64,
    /// The server's calls so far.
    pub(crate) heard: u64,
}

/// A call that the server has made.
#[derive(Debug, PartialEq)]
pub(crate) struct Called {
    pub(crate) id: u64,
    pub(crate) target: i64,
    pub(crate) path: Vec<String>,
    pub(crate) arguments: Vec<Value>,
}

impl Web {
    pub(crate) async fn connect(world: &World) -> Self {
        Self::dial(&format!("http://{}", world.server.local_addr())).await
    }

    /// Connects to a server at any address.
    pub(crate) async fn dial(url: &str) -> Self {
        let url = format!("{}/capnweb", url.replacen("http://", "ws://", 1));
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Self { socket, pushed: 0, heard: 0 }
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, frame: &str) {
        let _ = self.socket.send(Message::Text(frame.into())).await;
    }

    /// Calls a method of what is named by a number: of our call, or below zero of an object of the server.
    pub(crate) async fn push(&mut self, target: i64, method: &str, arguments: Value) -> i64 {
        self.pushed += 1;
        self.say(json!(["push", ["pipeline", target, [method], arguments]])).await;
        i64::try_from(self.pushed).unwrap()
    }

    pub(crate) async fn pull(&mut self, id: i64) {
        self.say(json!(["pull", id])).await;
    }

    /// A call and its answer, which is then given back: the objects in it stay.
    pub(crate) async fn ask(&mut self, target: i64, method: &str, arguments: Value) -> Result<Value, Value> {
        let id = self.push(target, method, arguments).await;
        self.pull(id).await;
        let answer = self.answer(id).await;
        self.say(json!(["release", id, 1])).await;
        answer
    }

    /// The session of a key.
    pub(crate) async fn authenticate(&mut self, key: &str) -> i64 {
        self.push(0, "authenticate", json!([key])).await
    }

    pub(crate) async fn frame(&mut self) -> Value {
        loop {
            match soon("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(text.as_str()).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text frame: {other:?}"),
            }
        }
    }

    /// The next call of the server, acknowledged as soon as it is heard. Releases are passed over.
    pub(crate) async fn called(&mut self) -> Called {
        let called = self.called_unanswered().await;
        self.say(json!(["resolve", called.id, ["undefined"]])).await;
        called
    }

    pub(crate) async fn called_unanswered(&mut self) -> Called {
        loop {
            let frame = self.frame().await;
            match (frame[0].as_str(), &frame[1]) {
                (Some("stream"), call) => return self.call(call),
                (Some("release" | "resolve"), _) => {}
                // The writing end of a stream has a number as a call has.
                (Some("pipe"), _) => self.heard += 1,
                _ => panic!("no call: {frame}"),
            }
        }
    }

    pub(crate) fn call(&mut self, call: &Value) -> Called {
        self.heard += 1;
        assert_eq!(call[0], "pipeline", "{call}");
        Called {
            id: self.heard,
            target: call[1].as_i64().unwrap(),
            path: call[2].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect(),
            arguments: call[3].as_array().unwrap().clone(),
        }
    }

    /// The answer to one of our calls. Events that come before are acknowledged.
    pub(crate) async fn answer(&mut self, id: i64) -> Result<Value, Value> {
        loop {
            let frame = self.frame().await;
            match frame[0].as_str() {
                Some("resolve") if frame[1] == id => return Ok(frame[2].clone()),
                Some("reject") if frame[1] == id => return Err(frame[2].clone()),
                Some("stream") => {
                    let called = self.call(&frame[1]);
                    self.say(json!(["resolve", called.id, ["undefined"]])).await;
                }
                Some("release") => {}
                Some("pipe") => self.heard += 1,
                _ => panic!("no answer to {id}: {frame}"),
            }
        }
    }

    /// The last frame and the close frame.
    pub(crate) async fn end(&mut self) -> (Value, u16, String) {
        let mut last = Value::Null;
        loop {
            match soon("the end", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => last = serde_json::from_str(text.as_str()).unwrap(),
                Some(Ok(Message::Close(Some(close)))) => {
                    return (last, close.code.into(), close.reason.as_str().to_owned());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

pub(crate) fn message(text: &str) -> Value {
    json!({ "messageId": text, "role": "ROLE_USER", "parts": [[{ "text": text }]] })
}

pub(crate) fn code(error: &Value) -> (i64, &str) {
    assert_eq!((&error[0], &error[1]), (&json!("error"), &json!("Error")), "{error}");
    (error[4]["code"].as_i64().unwrap(), error[4]["reason"].as_str().unwrap())
}
