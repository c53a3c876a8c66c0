//! A2A's service parameters: `List(Parameter)`.

use capnp::struct_list;

use super::capability_capnp::parameter;
use super::codec::{Within, text};
use crate::fault::{Fault, Result};
use crate::model::ServiceParameters;

/// Writes service parameters; `init` makes the list, as `|n| results.init_parameters(n)`, and is not called
/// if there are none.
pub fn encode_parameters<'a>(
    parameters: &ServiceParameters,
    init: impl FnOnce(u32) -> struct_list::Builder<'a, parameter::Owned>,
) {
    if parameters.is_empty() {
        return;
    }
    let pairs = parameters.iter();
    let count = u32::try_from(pairs.len()).expect("there are at most MAX_COUNT");
    let mut list = init(count);
    for (index, (name, value)) in (0..).zip(pairs) {
        let mut pair = list.reborrow().get(index);
        pair.set_name(name);
        pair.set_value(value);
    }
}

/// Reads service parameters; those with other names than A2A's are ignored, as everywhere.
///
/// # Errors
/// [`FaultKind::InvalidParams`](crate::fault::FaultKind::InvalidParams) if there are more than
/// [`ServiceParameters::MAX_COUNT`], of whatever name, or one is too long or not a text.
pub fn decode_parameters(list: struct_list::Reader<'_, parameter::Owned>) -> Result<ServiceParameters> {
    let mut parameters = ServiceParameters::new();
    if list.len() as usize > ServiceParameters::MAX_COUNT {
        let rule = format!("at most {} are allowed", ServiceParameters::MAX_COUNT);
        return Err(Fault::invalid("parameters", rule));
    }
    for (index, pair) in list.iter().enumerate() {
        let name = text("name", pair.get_name()).within_element("parameters", index)?;
        let value = text("value", pair.get_value()).within_element("parameters", index)?;
        parameters.insert(name, value)?;
    }
    Ok(parameters)
}
