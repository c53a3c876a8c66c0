//! The Cap'n Proto form of the model and of the capability interfaces.
//!
//! The generated modules are public: a program may speak the schema itself.
#![expect(missing_docs, reason = "generated code is documented in the schema")]

capnp::generated_code!(pub mod a2a_capnp);
capnp::generated_code!(pub mod capability_capnp);
