//! No exporter: this program was built without the feature `otlp`.

use super::Collector;
use crate::cli::error::CliError;

/// Nothing is exported.
pub(in super::super) struct Exporting;

impl Exporting {
    pub(super) fn none() -> Self {
        Self
    }

    /// Whoever names a collector waits for spans in vain.
    pub(super) fn start(collector: Option<Collector>, serving: bool) -> Result<Self, String> {
        match collector {
            Some(_) if !serving => {
                Err("this program was built without the feature otlp: build it with --features otlp"
                    .to_owned())
            }
            Some(Collector { url: _, timeout: _ }) => {
                tracing::warn!(
                    "a collector is named in the environment, but this program was built without the feature otlp: no \
                     spans are exported"
                );
                Ok(Self)
            }
            None => Ok(Self),
        }
    }

    /// The command as it is.
    pub(in super::super) async fn around(
        &self,
        _name: Option<&str>,
        command: impl Future<Output = Result<(), CliError>>,
    ) -> Result<(), CliError> {
        command.await
    }
}
