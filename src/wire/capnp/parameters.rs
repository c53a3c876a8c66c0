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

#[cfg(test)]
mod tests {
    use capnp::message::Builder;

    use super::*;
    use crate::fault::FaultKind;
    use crate::wire::capnp::capability_capnp::operations::get_task_params;

    fn written(pairs: &[(&str, &str)]) -> Result<ServiceParameters> {
        let mut message = Builder::new_default();
        let params = message.init_root::<get_task_params::Builder<'_>>();
        let mut list = params.init_parameters(u32::try_from(pairs.len()).unwrap());
        for (index, (name, value)) in (0..).zip(pairs) {
            let mut pair = list.reborrow().get(index);
            pair.set_name(name);
            pair.set_value(value);
        }
        decode_parameters(list.into_reader())
    }

    #[test]
    fn parameters_are_read_as_they_were_written() {
        let pairs = [("A2A-Version", "1.0"), ("traceparent", "00-ab-cd-01")];
        let parameters = ServiceParameters::from_pairs(pairs).unwrap();
        let mut message = Builder::new_default();
        let mut params = message.init_root::<get_task_params::Builder<'_>>();
        encode_parameters(&parameters, |n| params.reborrow().init_parameters(n));
        assert_eq!(decode_parameters(params.get_parameters().unwrap().into_reader()), Ok(parameters));
    }

    #[test]
    fn no_parameters_take_no_space() {
        let mut message = Builder::new_default();
        let mut params = message.init_root::<get_task_params::Builder<'_>>();
        encode_parameters(&ServiceParameters::new(), |n| params.reborrow().init_parameters(n));
        assert!(!params.has_parameters());
    }

    #[test]
    fn parameters_with_names_of_others_are_ignored_but_counted() {
        assert_eq!(written(&[("cookie", "x")]), Ok(ServiceParameters::new()));
        let fault = written(&[("cookie", "x"); ServiceParameters::MAX_COUNT + 1]).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::InvalidParams);
        let long = "x".repeat(ServiceParameters::MAX_VALUE_BYTES + 1);
        assert_eq!(written(&[("a2a-x", &long)]).unwrap_err().kind(), FaultKind::InvalidParams);
    }
}
