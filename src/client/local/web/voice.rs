//! Service parameters, which over Cap'n Web belong to an object and not to a call.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, json};

use super::stub::Stub;
use super::values::value;
use crate::model::ServiceParameters;

/// An object, and the service parameters that the server has for it.
#[derive(Clone)]
pub(in super::super) struct Voice {
    stub: Stub,
    said: Rc<ServiceParameters>,
    /// Whether it is what every server shows first, on which there can be none.
    is_main: bool,
    /// The same object with the parameters of the call before.
    last: Rc<RefCell<Option<(ServiceParameters, Stub)>>>,
}

impl Voice {
    pub(in super::super) fn new(stub: Stub, said: Rc<ServiceParameters>) -> Self {
        Self { stub, said, is_main: false, last: Rc::default() }
    }

    pub(in super::super) fn main(stub: Stub) -> Self {
        Self { is_main: true, ..Self::new(stub, Rc::default()) }
    }

    /// The object itself.
    pub(in super::super) fn stub(&self) -> &Stub {
        &self.stub
    }

    /// The parameters that an object has which it gives out.
    pub(in super::super) fn said(&self) -> &Rc<ServiceParameters> {
        &self.said
    }

    /// The object on which a call with these parameters is made.
    pub(in super::super) fn with(&self, parameters: &ServiceParameters) -> Stub {
        if *parameters == *self.said {
            return self.stub.clone();
        }
        if let Some((last, stub)) = &*self.last.borrow()
            && last == parameters
        {
            return stub.clone();
        }
        // In the same flight as the call, so it costs no round trip.
        let method = if self.is_main { "authenticate" } else { "withParameters" };
        let stub = self.stub.push(method, &[value(&json!({ "parameters": self.wishes(parameters) }))]);
        self.last.replace(Some((parameters.clone(), stub.clone())));
        stub
    }

    /// What turns the server's parameters into these: it keeps those that are not named.
    fn wishes(&self, parameters: &ServiceParameters) -> Map<String, serde_json::Value> {
        let gone = self.said.iter().filter(|(name, _)| parameters.get(name).is_none());
        let gone = gone.map(|(name, _)| (name, ""));
        parameters.iter().chain(gone).map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }
}
