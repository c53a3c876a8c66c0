//! What every call of this binding does: read parameters, answer with a result or a typed error.

use std::rc::Rc;

use capnp::capability::FromClientHook;
use capnp::struct_list;
use capnp::traits::OwnedStruct;

use crate::capability::{SendOptions, Session};
use crate::fault::{Fault, Result};
use crate::model::ServiceParameters;
use crate::operations::Caller;
use crate::wire::capnp::capability_capnp::{a2a_error, parameter, send_options};
use crate::wire::capnp::{Decode, Encode as _, decode_parameters, malformed};

type Pointer<T> = capnp::Result<T>;

/// One call of an A2A operation: under whose authority, and what the reply says of the extensions.
pub(super) struct Call {
    pub(super) session: Rc<Session>,
    pub(super) caller: Caller,
    pub(super) activated: ServiceParameters,
}

impl Call {
    /// Reads a call's service parameters and settles version and extensions.
    pub(super) fn open(
        session: &Rc<Session>,
        parameters: Pointer<struct_list::Reader<'_, parameter::Owned>>,
    ) -> Result<Self> {
        let caller = session.caller(self::parameters(parameters)?);
        let activated = session.service().negotiate(&caller)?;
        Ok(Self { session: Rc::clone(session), caller, activated })
    }
}

/// The parameters of a call as a whole.
pub(super) fn params<T>(params: Pointer<T>) -> Result<T> {
    params.map_err(|error| malformed(&error))
}

/// A call's service parameters.
pub(super) fn parameters(
    list: Pointer<struct_list::Reader<'_, parameter::Owned>>,
) -> Result<ServiceParameters> {
    decode_parameters(params(list)?)
}

/// A struct among a call's parameters.
pub(super) fn read<'a, T: Decode>(reader: Pointer<<T::Owned as OwnedStruct>::Reader<'a>>) -> Result<T> {
    T::decode(params(reader)?)
}

/// An optional text among a call's parameters: the empty one is none.
pub(super) fn text<'a>(field: &str, text: Pointer<capnp::text::Reader<'a>>) -> Result<Option<&'a str>> {
    let text = params(text)?.to_str().map_err(|_| Fault::invalid(field, "is not UTF-8"))?;
    Ok((!text.is_empty()).then_some(text))
}

/// A capability among a call's parameters.
pub(super) fn capability<C: FromClientHook>(field: &str, client: Pointer<C>) -> Result<C> {
    client.map_err(|_| Fault::invalid(field, "is required: pass an object of yours"))
}

/// How a send differs from a plain one.
pub(super) fn options(options: Pointer<send_options::Reader<'_>>) -> Result<SendOptions> {
    let options = params(options)?;
    let limit = std::time::Duration::from_millis(options.get_turn_timeout_ms().into());
    Ok(SendOptions {
        cancel_on_drop: options.get_cancel_on_drop(),
        turn_timeout: (!limit.is_zero()).then_some(limit),
    })
}

/// Writes a typed error into the results. Defects are logged with their cause; the caller learns only that
/// there is one.
pub(super) fn fail(fault: &Fault, error: a2a_error::Builder<'_>) {
    if let Some(cause) = fault.cause() {
        tracing::error!(%fault, %cause, "a call failed by a defect");
    }
    fault.encode(error);
}

/// Names of permissions, for the wire.
pub(super) fn permissions<'a>(
    permissions: crate::authority::Permissions,
    init: impl FnOnce(u32) -> capnp::text_list::Builder<'a>,
) {
    let count = permissions.iter().count();
    let mut list = init(u32::try_from(count).expect("there are few permissions"));
    for (index, permission) in (0..).zip(permissions.iter()) {
        list.set(index, permission.name());
    }
}
