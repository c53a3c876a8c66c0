//! How a stream ends: the parameters of `TaskObserver.onEnd`.

use super::capability_capnp::{self, task_observer::on_end_params};
use super::codec::{Decode, Encode, known, missing, readable};
use super::fault::decode_fault;
use crate::fault::Result;
use crate::model::{EndReason, StreamEnd};

impl From<EndReason> for capability_capnp::EndReason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Completed => Self::Completed,
            EndReason::Interrupted => Self::Interrupted,
            EndReason::Detached => Self::Detached,
            EndReason::Revoked => Self::Revoked,
            EndReason::Cut => Self::Cut,
            EndReason::Gap => Self::Gap,
            EndReason::Failed => Self::Failed,
        }
    }
}

impl Encode for StreamEnd {
    type Owned = on_end_params::Owned;

    fn encode(&self, mut builder: on_end_params::Builder<'_>) {
        builder.set_reason(self.reason.into());
        builder.set_last_seq(self.last_seq);
        if let Some(fault) = &self.fault {
            fault.encode(builder.init_error());
        }
    }
}

impl Decode for StreamEnd {
    type Owned = on_end_params::Owned;

    fn decode(reader: on_end_params::Reader<'_>) -> Result<Self> {
        use capability_capnp::EndReason as Wire;
        let reason = match known("reason", reader.get_reason())? {
            Wire::Unset => return Err(missing("reason")),
            Wire::Completed => EndReason::Completed,
            Wire::Interrupted => EndReason::Interrupted,
            Wire::Detached => EndReason::Detached,
            Wire::Revoked => EndReason::Revoked,
            Wire::Cut => EndReason::Cut,
            Wire::Gap => EndReason::Gap,
            Wire::Failed => EndReason::Failed,
        };
        let error = reader.has_error().then(|| readable("error", reader.get_error())).transpose()?;
        Ok(Self { reason, last_seq: reader.get_last_seq(), fault: error.map(decode_fault) })
    }
}
