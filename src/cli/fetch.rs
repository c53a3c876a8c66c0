//! Agent cards: from a host, a URL or a file, and which of the places that they name this tool can talk to.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{ACCEPT, HOST, LOCATION};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::error::CliError;
use crate::client::{Binding, Endpoint};
use crate::model::{AgentCard, AgentInterface};
use crate::private;
use crate::server::{CAPNP_BINDING, CAPNWEB_BINDING};
use crate::service::Agents;

/// A card, and how it was written.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) card: AgentCard,
    /// The whole document, with what this version does not know.
    pub(super) document: Value,
}

/// What `--agent-card` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A card in a file.
    File(PathBuf),
    /// A card at a URL: where, and its path.
    Url(Endpoint, String),
    /// The WebSocket of an agent itself, without a card.
    Socket(Endpoint),
}

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        if let Some(path) = file(text) {
            return Ok(Self::File(path));
        }
        let endpoint =
            |text: &str| text.parse().map_err(|fault: crate::fault::Fault| CliError::usage(fault.message()));
        let start = text.find("://").map_or(0, |at| at + 3);
        if text.starts_with("ws") && start > 0 {
            return endpoint(text).map(Self::Socket);
        }
        let (origin, path) = match text[start..].find('/') {
            Some(at) => text.split_at(start + at),
            None => (text, ""),
        };
        let harmless = path.chars().all(|c| c.is_ascii_graphic() && c != '#');
        if !harmless || text.len() > Endpoint::MAX_BYTES {
            return Err(CliError::usage(
                "--agent-card: the path of a URL has characters that it cannot have",
            ));
        }
        // Ours names the place where its socket is; its card is where all cards are.
        let path = if matches!(path, "" | "/") || Binding::ALL.iter().any(|binding| binding.path() == path) {
            WELL_KNOWN
        } else {
            path
        };
        Ok(Self::Url(endpoint(origin)?, path.to_owned()))
    }

    /// Whether the card is public, and where.
    pub(super) async fn card(&self, timeout: Duration) -> Result<Option<Found>, CliError> {
        let (bytes, place) = match self {
            Self::Socket(_) => return Ok(None),
            Self::File(path) => {
                let place = path.display().to_string();
                let read = File::open(path).and_then(|file| private::read_at_most(file, LARGEST_CARD));
                (read.map_err(|error| CliError::card_not_found(format!("{place}: {error}")))?, place)
            }
            Self::Url(endpoint, path) => {
                let place = format!("{}{path}", endpoint.origin());
                let fetched = tokio::time::timeout(timeout, find(endpoint, path)).await;
                (fetched.map_err(|_| CliError::timeout(timeout))??, place)
            }
        };
        read(&bytes, &place).map(Some)
    }
}

fn read(bytes: &[u8], place: &str) -> Result<Found, CliError> {
    let invalid = |why: &str| CliError::card_invalid(format!("{place}: {why}"));
    let card = crate::model::json::from_slice(bytes).map_err(|fault| invalid(fault.message()))?;
    let document = serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))?;
    Ok(Found { card, document })
}

/// A URL is used as it is. Where nothing is there, it may be that of an agent beside others, whose card is below it.
async fn find(endpoint: &Endpoint, path: &str) -> Result<Vec<u8>, CliError> {
    let absent = match fetch(endpoint, path).await? {
        Ok(card) => return Ok(card),
        Err(absent) => absent,
    };
    let name = path.trim_matches('/');
    if Agents::check_name(name).is_err() {
        return Err(absent);
    }
    fetch(endpoint, &format!("/{name}{WELL_KNOWN}")).await?.map_err(|_| absent)
}

/// What is at a path; inside, that nothing is.
async fn fetch(endpoint: &Endpoint, path: &str) -> Result<Result<Vec<u8>, CliError>, CliError> {
    let place = format!("{}{path}", endpoint.origin());
    let unreachable = |why: String| {
        CliError::unreachable(format!("cannot get the agent card {place}: {why}"))
            .hint("start a server with `a2a-webcap serve`, or name one with --agent-card")
    };
    if endpoint.is_secure() {
        let error = unreachable("TLS is not in this version".to_owned());
        return Err(error.hint("use http:// or ws://, over a tunnel if need be"));
    }
    let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await;
    let stream = TokioIo::new(stream.map_err(|error| unreachable(error.to_string()))?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(HOST, endpoint.authority()).header(ACCEPT, "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| CliError::usage(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))?;
    let status = response.status();
    if status != StatusCode::OK {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let to = to.map_or_else(String::new, |to| format!(", which points to {}", super::text::one_line(to)));
        let absent = format!("{place}: there is no card: HTTP {}{to}", status.as_u16());
        return Ok(Err(CliError::card_not_found(absent)));
    }
    let body = Limited::new(response.into_body(), usize::try_from(LARGEST_CARD).unwrap_or(usize::MAX));
    let body = body.collect().await.map_err(|error| CliError::card_invalid(format!("{place}: {error}")))?;
    connection.abort();
    Ok(Ok(body.to_bytes().to_vec()))
}

/// The path, if the reference is one.
fn file(reference: &str) -> Option<PathBuf> {
    if let Some(path) = reference.strip_prefix("file://") {
        return Some(PathBuf::from(path));
    }
    let path =
        reference.starts_with(['/', '.']) || (!reference.contains("://") && reference.ends_with(".json"));
    path.then(|| PathBuf::from(reference))
}

/// The bindings that this tool speaks, by their URIs.
const SPOKEN: [(&str, Binding); 2] =
    [(CAPNP_BINDING, Binding::CapnProto), (CAPNWEB_BINDING, Binding::CapnWeb)];

/// How an interface is spoken to, if this tool can.
pub(super) fn spoken(interface: &AgentInterface) -> Option<Binding> {
    SPOKEN.iter().find(|(uri, _)| *uri == interface.protocol_binding).map(|(_, binding)| *binding)
}

/// The interface to talk to: the first that the caller prefers, else the first of the card, of those that this tool
/// speaks.
pub(super) fn choose<'a>(card: &'a AgentCard, preferred: &[String]) -> Result<&'a AgentInterface, CliError> {
    let offered = &card.supported_interfaces;
    let fits = |interface: &&AgentInterface| {
        spoken(interface).is_some() && interface.protocol_version.starts_with("1.")
    };
    let wanted = preferred.iter().map(|name| binding(name));
    let mut wanted =
        wanted.flat_map(|binding| offered.iter().filter(move |one| one.protocol_binding == binding));
    if let Some(interface) = wanted.find(fits).or_else(|| offered.iter().find(fits)) {
        return Ok(interface);
    }
    let ours = offered.iter().filter(|one| spoken(one).is_some());
    let versions: Vec<_> = ours.map(|one| one.protocol_version.as_str()).collect();
    if !versions.is_empty() {
        let message = format!("the agent speaks A2A {}, and this tool 1.0", versions.join(", "));
        return Err(CliError::protocol("VersionNotSupportedError", message));
    }
    let offered: Vec<_> = offered.iter().map(|one| one.protocol_binding.as_str()).collect();
    let message = format!(
        "the agent offers the bindings {}, and this tool speaks none of them yet: it speaks {}",
        offered.join(", "),
        SPOKEN.map(|(uri, _)| uri).join(" and ")
    );
    Err(CliError::internal(message).hint("talk to an agent that `a2a-webcap serve` serves"))
}

/// The binding that a name of `--transport` means.
pub(super) fn binding(name: &str) -> &str {
    match name.to_ascii_lowercase().as_str() {
        "capnp" => CAPNP_BINDING,
        "capnweb" => CAPNWEB_BINDING,
        "jsonrpc" | "json-rpc" => "JSONRPC",
        "grpc" => "GRPC",
        "http+json" | "http-json" | "rest" => "HTTP+JSON",
        _ => name,
    }
}

const WELL_KNOWN: &str = "/.well-known/agent-card.json";
const LARGEST_CARD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::interface;

    fn card(interfaces: Vec<AgentInterface>) -> AgentCard {
        let mut card = AgentCard::new("a", "b", "1");
        card.supported_interfaces = interfaces;
        card
    }

    #[test]
    fn paths_are_told_from_addresses() {
        for path in ["file:///tmp/card.json", "/tmp/card", "./card", "../card.json", "card.json"] {
            assert!(matches!(Reference::parse(path), Ok(Reference::File(_))), "{path}");
        }
        for address in ["localhost:8420", "http://h/.well-known/agent-card.json", "127.0.0.1"] {
            assert!(matches!(Reference::parse(address), Ok(Reference::Url(..))), "{address}");
        }
        assert!(matches!(Reference::parse("ws://h:1/capnp"), Ok(Reference::Socket(_))));
    }

    #[test]
    fn a_host_has_its_card_at_the_well_known_path_and_a_url_is_used_as_it_is() {
        let path = |text: &str| match Reference::parse(text) {
            Ok(Reference::Url(_, path)) => path,
            other => panic!("{other:?}"),
        };
        for text in ["h", "h:8420", "http://h", "http://h/", "http://h:1/capnp"] {
            assert_eq!(path(text), WELL_KNOWN, "{text}");
        }
        assert_eq!(path("http://h/cards/a.json?x=1"), "/cards/a.json?x=1");
    }

    #[test]
    fn the_cards_order_decides_until_the_caller_prefers_another() {
        let first = interface("http://h/1".to_owned(), CAPNP_BINDING, "");
        let rest = interface("http://h/2".to_owned(), "JSONRPC", "");
        let card = card(vec![rest, first]);
        for preferred in [vec![], vec!["grpc".to_owned()], vec!["jsonrpc".to_owned(), "capnp".to_owned()]] {
            assert_eq!(choose(&card, &preferred).unwrap().url, "http://h/1", "{preferred:?}");
        }
    }

    #[test]
    fn of_two_spoken_bindings_the_callers_wins_over_the_cards_order() {
        let at = |path, binding| interface(format!("http://h/{path}"), binding, "");
        let card = card(vec![at("capnp", CAPNP_BINDING), at("capnweb", CAPNWEB_BINDING)]);
        for (preferred, path, binding) in [
            (vec![], "capnp", Binding::CapnProto),
            (vec!["capnweb".to_owned()], "capnweb", Binding::CapnWeb),
            (vec!["grpc".to_owned(), "CapnWeb".to_owned(), "capnp".to_owned()], "capnweb", Binding::CapnWeb),
        ] {
            let chosen = choose(&card, &preferred).unwrap();
            assert_eq!(chosen.url, format!("http://h/{path}"), "{preferred:?}");
            assert_eq!(spoken(chosen), Some(binding), "{preferred:?}");
        }
    }

    #[test]
    fn an_agent_without_a_binding_of_ours_is_refused_with_the_names_of_its_own() {
        let card = card(vec![interface("http://h/1".to_owned(), "JSONRPC", "")]);
        let Err(CliError::Failed(failure)) = choose(&card, &[]) else { panic!() };
        assert_eq!((failure.code.as_str(), failure.exit), ("A2ACLI_ERR_INTERNAL", 1));
        assert!(failure.message.contains("JSONRPC"), "{}", failure.message);
        for (uri, _) in SPOKEN {
            assert!(failure.message.contains(uri), "{}", failure.message);
        }
    }

    #[test]
    fn an_agent_of_another_major_version_is_refused_and_not_downgraded_to() {
        let mut old = interface("http://h/1".to_owned(), CAPNP_BINDING, "");
        old.protocol_version = "0.3".to_owned();
        let card = card(vec![old]);
        let Err(CliError::Failed(failure)) = choose(&card, &[]) else { panic!() };
        assert_eq!(failure.code, "VersionNotSupportedError");
    }
}
