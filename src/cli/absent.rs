//! Commands of the specification that need what does not stand yet: each says so, and names it.

use super::error::CliError;

/// `conformance`.
pub(super) fn conformance() -> CliError {
    let message = "the A2A TCK needs one of the bindings JSONRPC, GRPC and HTTP+JSON, which this tool does not \
                   speak yet";
    CliError::internal(message).hint("`a2a-webcap card validate` looks at the agent's card")
}

/// `auth login`.
pub(super) fn login() -> CliError {
    let message = "there is no interactive login: OAuth 2.1 is not spoken by this tool yet";
    CliError::internal(message)
        .hint("give a key in A2ACLI_API_KEY; `a2a-webcap key create` makes one for your server")
}
