//! The client.
mod authority;
mod credentials;
mod endpoint;
mod event;
pub mod local;
mod observer;
mod position;
mod retry;
mod send_call;

pub use authority::{ContextScope, GrantInfo, GrantPolicy, Identity, ServerInfo, SessionPolicy, TaskRole};
pub use credentials::Credentials;
pub use endpoint::Endpoint;
pub use event::{At, Cursor, TaskEvent};
pub use observer::{Features, Observer};
pub use retry::RetryPolicy;
pub use send_call::SendCall;
