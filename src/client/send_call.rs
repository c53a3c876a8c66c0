//! A send, with what the capability binding adds to it.

use std::time::Duration;

use crate::model::{Message, SendMessageConfiguration, SendMessageRequest};

/// A message to send, and how. Made from a [`SendMessageRequest`], a [`Message`] or a text.
#[derive(Clone, Debug, PartialEq)]
pub struct SendCall {
    /// What is sent.
    pub request: SendMessageRequest,
    /// Cancel the task when the last stub of the handle that this send returns is gone, by release or by the
    /// end of its connection. By default the task goes on.
    pub cancel_on_drop: bool,
    /// Fail the agent's turn after this time, rounded up to milliseconds. None: the server's limit, which
    /// this can only narrow.
    pub turn_timeout: Option<Duration>,
}

impl SendCall {
    /// Ties the task to the handle that this send returns.
    #[must_use]
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }

    /// Bounds the agent's turn.
    #[must_use]
    pub fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.turn_timeout = Some(timeout);
        self
    }

    /// Whether the answer should come as soon as there is a task.
    pub(super) fn returns_immediately(&self) -> bool {
        self.request.configuration.as_ref().is_some_and(|configuration| configuration.return_immediately)
    }

    /// How many messages the answered task should have.
    pub(super) fn history_length(&self) -> Option<u32> {
        self.request.configuration.as_ref().and_then(|configuration| configuration.history_length)
    }

    /// Asks for an answer as soon as there is a task, instead of when it stops.
    #[must_use]
    pub fn return_immediately(mut self) -> Self {
        let configuration = self.request.configuration.get_or_insert_with(SendMessageConfiguration::default);
        configuration.return_immediately = true;
        self
    }

    /// In milliseconds; 0 for the server's limit.
    pub(super) fn turn_timeout_ms(&self) -> u32 {
        self.turn_timeout.map_or(0, |timeout| {
            let millis = timeout.as_nanos().div_ceil(1_000_000).max(1);
            u32::try_from(millis).unwrap_or(u32::MAX)
        })
    }
}

impl From<SendMessageRequest> for SendCall {
    fn from(request: SendMessageRequest) -> Self {
        Self { request, cancel_on_drop: false, turn_timeout: None }
    }
}

impl From<Message> for SendCall {
    fn from(message: Message) -> Self {
        SendMessageRequest::from(message).into()
    }
}

impl From<&str> for SendCall {
    fn from(text: &str) -> Self {
        SendMessageRequest::text(text).into()
    }
}

impl From<String> for SendCall {
    fn from(text: String) -> Self {
        SendMessageRequest::text(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_never_rounded_down_to_the_servers_limit() {
        let millis = |timeout| SendCall::from("x").turn_timeout(timeout).turn_timeout_ms();
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1_001)), 2);
        assert_eq!(millis(Duration::MAX), u32::MAX);
        assert_eq!(SendCall::from("x").turn_timeout_ms(), 0);
    }
}
