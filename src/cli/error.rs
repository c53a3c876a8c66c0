//! How a command fails: the error envelope, its codes, and the exit codes (a2a-cli 0.2, 11.4, 11.6, D).

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::fault::{Fault, FaultKind};

/// Exit codes.
pub(super) mod exit {
    /// The tool did its job, whatever the agent decided.
    pub(in super::super) const SUCCESS: u8 = 0;
    /// It could not.
    pub(in super::super) const FAILURE: u8 = 1;
    /// Its arguments make no sense.
    pub(in super::super) const USAGE: u8 = 2;
    /// The agent or its card could not be reached.
    pub(in super::super) const UNREACHABLE: u8 = 3;
    /// Credentials are missing or were rejected.
    pub(in super::super) const CREDENTIALS: u8 = 4;
    /// `--timeout` expired.
    pub(in super::super) const TIMEOUT: u8 = 5;
    /// Ctrl-C, as shells have it.
    pub(in super::super) const INTERRUPTED: u8 = 130;
}

/// Why a command did not do its job.
#[derive(Debug)]
pub(super) enum CliError {
    /// Something to report.
    Failed(Box<Failure>),
    /// What it wrote to has gone.
    Pipe(io::Error),
    /// Ctrl-C; what is to be said is said.
    Interrupted,
    /// What is wrong stands in the result; only the exit code is left to give.
    Said(u8),
}

/// One failure, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    /// A2A's name of the error, or the tool's.
    pub(super) code: String,
    /// For a person.
    pub(super) message: String,
    /// What to do next.
    pub(super) hint: Option<String>,
    /// The code that the server gave.
    pub(super) a2a_code: Option<i32>,
    #[serde(skip)]
    pub(super) exit: u8,
}

impl Failure {
    /// Whether it says nothing about the task, nor about whether it can be asked for.
    pub(super) fn is_of_the_stream(&self) -> bool {
        const OTHER: &[&str] = &["TaskNotFoundError", "VersionNotSupportedError", "InvalidParamsError"];
        self.exit == exit::FAILURE
            && self.a2a_code.is_some()
            && !OTHER.contains(&self.code.as_str())
            && !self.code.ends_with("_REVOKED")
    }
}

impl CliError {
    fn local(code: &str, exit: u8, message: impl Into<String>) -> Self {
        let failure =
            Failure { code: code.to_owned(), message: message.into(), hint: None, a2a_code: None, exit };
        Self::Failed(Box::new(failure))
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        // The argument parser says of itself what kind of message its messages are.
        let message = message.into();
        let message = message.strip_prefix("error: ").unwrap_or(&message).trim_end();
        Self::local("A2ACLI_ERR_USAGE", exit::USAGE, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::local("A2ACLI_ERR_INTERNAL", exit::FAILURE, message)
    }

    pub(super) fn card_not_found(message: impl Into<String>) -> Self {
        Self::local("A2ACLI_ERR_CARD_NOT_FOUND", exit::UNREACHABLE, message)
            .hint("--agent-card takes a host, the URL of a card, or a card in a file")
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::local("A2ACLI_ERR_UNREACHABLE", exit::UNREACHABLE, message)
    }

    /// What A2A names itself, found out without asking the server.
    pub(super) fn protocol(name: &str, message: impl Into<String>) -> Self {
        Self::local(name, exit::FAILURE, message)
    }

    pub(super) fn card_invalid(message: impl Into<String>) -> Self {
        Self::local("A2ACLI_ERR_CARD_INVALID", exit::FAILURE, message)
    }

    /// The store cannot be used as it is. Nothing that the arguments say is wrong with themselves, but others
    /// may help.
    pub(super) fn store(message: impl Into<String>) -> Self {
        Self::local("A2A_WEBCAP_ERR_STORE", exit::USAGE, message)
    }

    /// The store failed while it was in use.
    pub(super) fn store_failed(message: impl Into<String>) -> Self {
        Self::local("A2A_WEBCAP_ERR_STORE_FAILED", exit::FAILURE, message)
    }

    pub(super) fn timeout(after: Duration) -> Self {
        let message = format!("nothing came of it within {after:?}");
        Self::local("A2ACLI_ERR_TIMEOUT", exit::TIMEOUT, message)
    }

    /// What the client library reports. `authenticated`: whether there were credentials to show.
    pub(super) fn from_fault(fault: &Fault, authenticated: bool) -> Self {
        let kind = fault.kind();
        let (code, exit) = match kind {
            FaultKind::Disconnected => ("A2ACLI_ERR_UNREACHABLE".to_owned(), exit::UNREACHABLE),
            FaultKind::Unauthenticated if authenticated => {
                ("A2ACLI_ERR_AUTH_FAILED".to_owned(), exit::CREDENTIALS)
            }
            FaultKind::Unauthenticated => ("A2ACLI_ERR_CREDENTIALS_MISSING".to_owned(), exit::CREDENTIALS),
            other => (name(other), exit::FAILURE),
        };
        let a2a_code = (kind != FaultKind::Disconnected).then(|| kind.code());
        let hint = hint(kind, authenticated).map(str::to_owned).or_else(|| gap_hint(fault));
        Self::Failed(Box::new(Failure { code, message: fault.message().to_owned(), hint, a2a_code, exit }))
    }

    /// Points to the tool's own log, where the protocol refused something.
    pub(super) fn or_debug(mut self) -> Self {
        if let Self::Failed(failure) = &mut self
            && failure.a2a_code.is_some()
        {
            let more = "--debug shows the protocol error; no new task was started";
            failure.hint =
                Some(failure.hint.take().map_or_else(|| more.to_owned(), |hint| format!("{hint}; {more}")));
        }
        self
    }

    /// Says what to do next.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.hint = Some(hint.into());
        }
        self
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error)
    }
}

/// A2A's name of an error: `TASK_NOT_FOUND` is its TaskNotFoundError. What A2A does not name has a prefix of
/// our own.
fn name(kind: FaultKind) -> String {
    if kind.row().domain == crate::fault::A2A_DOMAIN {
        return format!("{}Error", camel(kind.reason()));
    }
    match kind {
        FaultKind::ParseError => "JSONParseError".to_owned(),
        FaultKind::InvalidRequest
        | FaultKind::MethodNotFound
        | FaultKind::InvalidParams
        | FaultKind::Internal => {
            format!("{}Error", camel(kind.reason()))
        }
        _ => format!("A2A_WEBCAP_ERR_{}", kind.reason()),
    }
}

fn camel(reason: &str) -> String {
    let capitalized = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_owned() + &rest.to_ascii_lowercase()
    };
    reason.split('_').map(capitalized).collect()
}

/// Where to go on when retention has taken the events that were asked for.
fn gap_hint(fault: &Fault) -> Option<String> {
    let whole = "`a2a-webcap task get ID` shows the whole task";
    let oldest = fault.metadata().get("oldest").and_then(|oldest| oldest.parse::<u64>().ok());
    (fault.kind() == FaultKind::Gap).then(|| match oldest {
        Some(oldest) => {
            let after = oldest.saturating_sub(1);
            format!("{whole}; the oldest event that is kept is {oldest}: --after {after} begins with it")
        }
        None => whole.to_owned(),
    })
}

fn hint(kind: FaultKind, authenticated: bool) -> Option<&'static str> {
    match kind {
        FaultKind::Disconnected => {
            Some("start a server with `a2a-webcap serve`, or name one with --agent-card")
        }
        FaultKind::Unauthenticated if authenticated => {
            Some("check the key given with --api-key or A2ACLI_API_KEY")
        }
        FaultKind::Unauthenticated => Some("give a key with --api-key, or in A2ACLI_API_KEY"),
        FaultKind::TaskNotFound => {
            Some("`a2a-webcap task list` shows your tasks; --debug shows what was sent")
        }
        FaultKind::PushNotificationNotSupported => Some(INSTEAD_OF_PUSH),
        FaultKind::UnsupportedOperation => Some("`a2a-webcap card get` shows what the agent can do"),
        _ => None,
    }
}

/// What to do where push notifications are not sent.
pub(super) const INSTEAD_OF_PUSH: &str =
    "`a2a-webcap task subscribe ID` follows a task, over a lost line too";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_errors_have_a2as_names_and_ours_a_prefix() {
        for (kind, expected) in [
            (FaultKind::TaskNotFound, "TaskNotFoundError"),
            (FaultKind::PushNotificationNotSupported, "PushNotificationNotSupportedError"),
            (FaultKind::ParseError, "JSONParseError"),
            (FaultKind::InvalidParams, "InvalidParamsError"),
            (FaultKind::Revoked, "A2A_WEBCAP_ERR_REVOKED"),
        ] {
            assert_eq!(name(kind), expected);
        }
    }

    #[test]
    fn exit_codes_agree_with_the_errors() {
        let told = |kind, authenticated| match CliError::from_fault(&Fault::from(kind), authenticated) {
            CliError::Failed(failure) => (failure.code.clone(), failure.exit, failure.a2a_code),
            other => panic!("{other:?}"),
        };
        let code = |kind, authenticated| told(kind, authenticated).1;
        assert_eq!(told(FaultKind::Disconnected, true), ("A2ACLI_ERR_UNREACHABLE".to_owned(), 3, None));
        assert_eq!(told(FaultKind::Unauthenticated, true).0, "A2ACLI_ERR_AUTH_FAILED");
        assert_eq!(told(FaultKind::Unauthenticated, false).0, "A2ACLI_ERR_CREDENTIALS_MISSING");
        assert_eq!(code(FaultKind::Unauthenticated, false), 4);
        assert_eq!(told(FaultKind::TaskNotFound, true), ("TaskNotFoundError".to_owned(), 1, Some(-32001)));
    }
}
