//! Codecs between the model and the wire forms. File names mirror `model/`.

pub mod capnp;
