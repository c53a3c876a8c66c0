//! How a client wants to be spoken to on an object: in which version of A2A, with which service parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::reply::{self, Value};
use crate::fault::{Fault, Result};
use crate::model::ServiceParameters;
use crate::model::json::from_value;
use crate::wire::v0_3::{self, ToV03};

/// The versions of A2A that values can have here; the first where the client names none.
pub(super) const VERSIONS: &[&str] = &["1.0", v0_3::VERSION];

/// The version and the service parameters of every call on an object. What an object gives out speaks as it does.
#[derive(Clone, Debug, Default)]
pub(super) struct Voice {
    /// Whether values have the shapes of A2A 0.3.
    is_old: bool,
    /// Without the version, which only this binding needs to know.
    parameters: ServiceParameters,
}

/// What a client may say about it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wishes {
    version: Option<String>,
    extensions: Option<Vec<String>>,
    parameters: Option<BTreeMap<String, String>>,
}

impl Voice {
    /// This voice, but for what `wishes` names: `version`, `extensions` and other `parameters` by their names.
    pub(super) fn with(&self, wishes: Json) -> Result<Self> {
        let Wishes { version, extensions, parameters } = from_value(wishes)?;
        let mut said = self.parameters.clone();
        let named = parameters.unwrap_or_default();
        // Every name, known or not, counts against the bound.
        if named.len() > ServiceParameters::MAX_COUNT {
            let rule = format!("at most {} are allowed", ServiceParameters::MAX_COUNT);
            return Err(Fault::invalid("parameters", rule));
        }
        for (name, value) in &named {
            said.insert(name, value)?;
        }
        if let Some(uris) = extensions {
            said.insert(ServiceParameters::EXTENSIONS, &list(&uris)?)?;
        }
        if let Some(version) = version {
            said.insert(ServiceParameters::VERSION, &version)?;
        }
        said.check_version(VERSIONS)?;
        let asked = said.get(ServiceParameters::VERSION).filter(|asked| !asked.trim().is_empty());
        let is_old = match asked {
            Some(_) => said.check_version(&[v0_3::VERSION]).is_ok(),
            None => self.is_old,
        };
        let others = said.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(ServiceParameters::VERSION));
        let parameters = ServiceParameters::from_pairs(others)?;
        Ok(Self { is_old, parameters })
    }

    /// Whether values have the shapes of A2A 0.3.
    pub(super) fn is_old(&self) -> bool {
        self.is_old
    }

    /// The version, as clients name it.
    pub(super) fn version(&self) -> &'static str {
        if self.is_old { v0_3::VERSION } else { VERSIONS[0] }
    }

    /// The service parameters of a call.
    pub(super) fn parameters(&self) -> ServiceParameters {
        self.parameters.clone()
    }

    /// A value of the model in the JSON of this version.
    pub(super) fn value(&self, shown: &(impl Serialize + ToV03)) -> Result<Value> {
        if self.is_old { reply::value(&shown.v0_3()) } else { reply::value(shown) }
    }
}

/// As `A2A-Extensions` has them.
fn list(uris: &[String]) -> Result<String> {
    match uris.iter().position(|uri| uri.trim().is_empty() || uri.contains(',')) {
        Some(index) => Err(Fault::invalid(format!("extensions[{index}]"), "must be the URI of an extension")),
        None => Ok(uris.join(",")),
    }
}
