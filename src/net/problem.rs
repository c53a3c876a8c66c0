//! Answers, and those that are not what was asked for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::origin::Foreign;

pub(super) type Answer = Response<Full<Bytes>>;

/// An answer that is not what was asked for, in the shape of `google.rpc.Status`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    word: &'static str,
    message: &'static str,
    fields: Vec<(HeaderName, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, word: &'static str, message: &'static str) -> Self {
        Self { status, word, message, fields: Vec::new() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such path; see /.well-known/agent-card.json")
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = "this path does not take that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).with(header::ALLOW, allow)
    }

    pub(super) fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }

    pub(super) fn unavailable(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
            .with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    pub(super) fn overloaded() -> Self {
        Self::unavailable("the server has too many requests to answer; ask again later")
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The body: `{"error":{"code":404,"status":"NOT_FOUND","message":"..."}}`.
    pub(super) fn body(&self) -> serde_json::Value {
        let error = serde_json::json!({
            "code": self.status.as_u16(),
            "status": self.word,
            "message": self.message,
        });
        serde_json::json!({ "error": error })
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut answer = json(self.status, &self.body());
        for (name, value) in self.fields {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

impl From<Foreign> for Problem {
    fn from(foreign: Foreign) -> Self {
        let (status, word, message) = match foreign {
            Foreign::NoHost => return Self::bad_request("one Host field with a host name is required"),
            Foreign::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "FAILED_PRECONDITION",
                "this server does not go by the name in Host: add it to `allowed-hosts`, or set `public-url`",
            ),
            Foreign::Origin => (
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                "pages of this Origin may not call this server: add it to `allowed-origins`",
            ),
        };
        Self::new(status, word, message)
    }
}

pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What a refused peer is asked to wait.
pub(super) const RETRY_AFTER_SECONDS: &str = "5";
