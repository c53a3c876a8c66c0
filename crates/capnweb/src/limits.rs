//! Every bound of a session, in one place.

/// What a session takes from its peer, and what it keeps for it.
///
/// A peer that goes beyond one of them is refused: by ending the session where the message itself is at fault or the
/// session cannot go on, else by rejecting the one call. Each field says which.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message, both ways. An incoming message that is longer ends the session; an answer that would
    /// be longer is replaced by a rejection. Neither can one message have more copied, out of results that it names:
    /// calls that need more are rejected. Default 16 MiB.
    pub message_bytes: usize,
    /// How deep values may nest in one message, counted as the reference does: an element is one deeper than its
    /// array, an argument one deeper than its call. Deeper ends the session. Default 256, which is the reference's.
    pub depth: usize,
    /// Values in one message: a small text can stand for many. More end the session. Default 1,048,576.
    pub values: usize,
    /// Digits of a big integer, sign included. More end the session. Default 16,384, which is the reference's.
    pub bigint_digits: usize,
    /// Calls, property reads and remaps that one message may ask for. More end the session. Default 10,000.
    pub calls: usize,
    /// Entries that the peer may hold: objects that it was given, and results that it has not released. More end the
    /// session. Default 4,096.
    pub exports: usize,
    /// Objects of the peer that are held here, and calls to it that are not answered. Objects over it end the
    /// session; calls of the host over it are refused. Default 4,096.
    pub imports: usize,
    /// Calls of the peer that run or wait for others. One more is rejected. Default 1,024.
    pub unanswered_calls: usize,
    /// Stream calls of the peer that are not acknowledged, which count neither as calls nor as exports. One more is
    /// rejected. The reference stops at bytes (256 KiB at first), whatever their number: default 8,192.
    pub unanswered_streams: usize,
    /// Calls to the peer that it has not answered. One more is refused to the host. Default 1,024.
    pub unanswered_questions: usize,
    /// Instructions × elements of one `remap`, nested ones included. A remap that needs more is rejected. Default
    /// 10,000.
    pub remap_steps: usize,
    /// Bytes of finished results that the peer has not released, and of arguments of calls that are not answered.
    /// More end the session. What one answer has copied for calls that wait for it takes three quarters of what is
    /// left; those that need more are rejected. Default 64 MiB.
    pub kept_bytes: usize,
    /// Bytes of frames that were made and that the host has not reported as flushed. More end the session. Leave it
    /// finite even where the transport bounds what it was given: one message can settle what a thousand answers wait
    /// for. Such a host reports a frame when it hands it on. Default 32 MiB.
    pub queued_bytes: usize,
    /// Bytes of stream calls to one object of the peer that it has not acknowledged, until
    /// [`Session::window`](crate::Session::window) says that no more should follow. Default 256 KiB.
    pub stream_window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            depth: 256,
            values: 1 << 20,
            bigint_digits: 16_384,
            calls: 10_000,
            exports: 4_096,
            imports: 4_096,
            unanswered_calls: 1_024,
            unanswered_streams: 8_192,
            unanswered_questions: 1_024,
            remap_steps: 10_000,
            kept_bytes: 64 << 20,
            queued_bytes: 32 << 20,
            stream_window: 256 << 10,
        }
    }
}
