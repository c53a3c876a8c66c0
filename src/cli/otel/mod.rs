//! Spans to a collector, where the environment names one: OpenTelemetry's own variables, and no settings beside them.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod export;

#[cfg(not(feature = "otlp"))]
pub(super) use absent::Exporting;
#[cfg(feature = "otlp")]
pub(super) use export::Exporting;

use std::time::Duration;

use super::Command;
use super::error::CliError;
use super::output::Output;

/// Begins to export spans, if a collector is named. A server with wrong variables does not start; a command goes on
/// without.
pub(super) fn start(command: &Command, output: &mut Output) -> Result<Exporting, CliError> {
    let serving = match command {
        Command::Serve(_) => true,
        Command::Send(_) | Command::Task(_) | Command::Card(_) | Command::Share(_) | Command::Claim(_) => {
            false
        }
        Command::Demo(_) | Command::Bench(_) => false,
        // These talk to nobody.
        _ => return Ok(Exporting::none()),
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match Collector::read(variable).and_then(|collector| Exporting::start(collector, serving)) {
        Ok(exporting) => Ok(exporting),
        Err(why) if serving => Err(CliError::usage(why)),
        Err(why) => {
            output.remark(&format!("no spans are exported: {why}"));
            Ok(Exporting::none())
        }
    }
}

/// Where spans go.
#[derive(Debug, PartialEq, Eq)]
struct Collector {
    url: String,
    timeout: Duration,
}

impl Collector {
    /// The collector that the environment names, if it does.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| variable(name).map(|value| (name, value)))
        };
        let off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if off || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none") {
            return Ok(None);
        }
        let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let Some((name, value)) = first(named) else { return Ok(None) };
        let url = match name == named[0] {
            true => value,
            false => format!("{}/v1/traces", value.trim_end_matches('/')),
        };
        check(&url).map_err(|why| format!("{name}: {why}"))?;
        let protocols = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
        if let Some((name, protocol)) = first(protocols)
            && protocol != SPOKEN
        {
            return Err(format!("{name}: only {SPOKEN} is spoken here, at port 4318 of most collectors"));
        }
        let timeout = first(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        let millis = match timeout {
            None => USUAL_TIMEOUT_MS,
            Some((name, value)) => {
                let millis = value.parse().ok().filter(|millis| (1..=LONGEST_TIMEOUT_MS).contains(millis));
                millis
                    .ok_or_else(|| format!("{name}: must be from 1 to {LONGEST_TIMEOUT_MS} milliseconds"))?
            }
        };
        Ok(Some(Self { url, timeout: Duration::from_millis(millis) }))
    }
}

/// Whether this program can talk to what is there. Says nothing of the value, which may hold a secret.
fn check(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("must be a URL such as http://127.0.0.1:4318")?;
    if scheme.eq_ignore_ascii_case("https") {
        return Err(
            "TLS is not in this version: name a collector at http://, on this machine or behind a tunnel",
        );
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("must begin with http://");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds credentials: give them in OTEL_EXPORTER_OTLP_HEADERS");
    }
    if authority.is_empty() { Err("names no host") } else { Ok(()) }
}

const SPOKEN: &str = "http/protobuf";
const USUAL_TIMEOUT_MS: u64 = 10_000;
const LONGEST_TIMEOUT_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Collector>, String> {
        let variable = |asked: &str| {
            variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
        };
        Collector::read(variable)
    }

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        assert_eq!(read(&[("OTEL_SERVICE_NAME", "x")]), Ok(None));
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318");
        assert_eq!(read(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let url = |read: Result<Option<Collector>, String>| read.unwrap().unwrap().url;
        assert_eq!(url(read(&[endpoint])), "http://h:4318/v1/traces");
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other/x");
        assert_eq!(url(read(&[endpoint, of_traces])), "http://other/x");
    }

    #[test]
    fn what_cannot_be_spoken_is_refused_with_what_to_do_and_without_the_value() {
        for (name, value, hint) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://hush:4318", "TLS is not in this version"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "hush:4317", "such as http://127.0.0.1:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://hush", "begin with http://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http:///hush", "names no host"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:hush@h", "OTEL_EXPORTER_OTLP_HEADERS"),
        ] {
            let why = read(&[(name, value)]).unwrap_err();
            assert!(why.starts_with(name) && why.contains(hint) && !why.contains("hush"), "{why}");
        }
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h");
        let why = read(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(why.contains("only http/protobuf"), "{why}");
        let why = read(&[endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]).unwrap_err();
        assert!(why.contains("from 1 to 60000"), "{why}");
    }
}
