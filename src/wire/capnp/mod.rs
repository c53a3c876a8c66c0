//! The Cap'n Proto form of the model.
//!
//! `schema/a2a.capnp` and `schema/capability.capnp` say what stands where; here is the code for it, one file
//! for each file of `model/`. Writing cannot fail. Reading believes nothing: what JSON requires is
//! required here too, and the [`Fault`](crate::fault::Fault) names the field by its path in JSON names.
//!
//! The generated modules are public: a program may speak the schema itself.

mod broken;
mod card;
mod codec;
mod end;
mod event;
mod fault;
mod message;
mod parameters;
mod push;
mod request;
mod security;
mod task;

pub use broken::Broken;
pub use codec::{Decode, Encode, decode_object, malformed};
pub use event::{
    MAX_BATCH_EVENTS, decode_artifact_update, decode_batch, decode_batched, decode_status_update,
    encode_artifact_update, encode_batched, encode_status_update,
};
pub use fault::{decode_fault, from_exception, to_exception};
pub use parameters::{decode_parameters, encode_parameters};

/// Generated from `schema/a2a.capnp`, which documents it.
#[expect(missing_docs, clippy::unwrap_used, reason = "generated code; the schema is its documentation")]
pub mod a2a_capnp {
    include!(concat!(env!("OUT_DIR"), "/a2a_capnp.rs"));
}

/// Generated from `schema/capability.capnp`, which documents it.
#[expect(
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    clippy::unimplemented,
    reason = "generated code; the schema is its documentation"
)]
pub mod capability_capnp {
    include!(concat!(env!("OUT_DIR"), "/capability_capnp.rs"));
}

#[cfg(test)]
mod tests;
