//! The card of a process agent: what the program says of itself and what a file beside it says, made whole.

use std::path::Path;

use serde_json::{Value, json};

use super::error::ProcessError;
use super::program::Program;
use crate::model::{AgentCard, Struct, json};

/// What a program or the file beside it may say. The rest is the server's to know.
const MEMBERS: [&str; 9] = [
    "name",
    "description",
    "version",
    "provider",
    "documentationUrl",
    "iconUrl",
    "skills",
    "defaultInputModes",
    "defaultOutputModes",
];

/// The card of a program of which nothing else is known.
pub(in super::super) fn plain(name: &str) -> Struct {
    let description = format!("An agent that runs the program {name}.");
    let value = json!({
        "name": name,
        "description": description,
        "version": "1",
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
    });
    value.as_object().cloned().unwrap_or_default()
}

/// Lays what somebody says of the agent over what is known of it.
pub(in super::super) fn overlay(card: &mut Struct, said: Struct) {
    for (name, value) in said {
        if MEMBERS.contains(&&*name) {
            card.insert(name, value);
        } else if name == "capabilities" {
            // Of these only the extensions are the agent's own.
            let extensions = value.get("extensions").cloned().unwrap_or_else(|| json!([]));
            card.insert(name, json!({ "extensions": extensions }));
        } else {
            tracing::warn!(member = name, "a process agent's card says what only the server knows; left out");
        }
    }
}

/// Makes a card of it.
///
/// # Errors
/// What A2A does not allow, with the place.
pub(in super::super) fn whole(mut card: Struct) -> Result<AgentCard, String> {
    let named = |member: &str| card.get(member).cloned().unwrap_or_default();
    let skill = json!({
        "id": "run", "name": named("name"), "description": named("description"), "tags": ["run"],
    });
    card.entry("skills").or_insert_with(|| json!([skill]));
    // Where the agent is, the server adds.
    card.insert(
        "supportedInterfaces".to_owned(),
        json!([{"url": "-", "protocolBinding": "-", "protocolVersion": "-"}]),
    );
    let capabilities = card.entry("capabilities").or_insert_with(|| json!({}));
    if let Value::Object(capabilities) = capabilities {
        capabilities.insert("streaming".to_owned(), json!(true));
    }
    let mut card: AgentCard =
        json::from_value(Value::Object(card)).map_err(|fault| fault.message().to_owned())?;
    card.supported_interfaces.clear();
    Ok(card)
}

/// What the file beside the program says: of `my_agent.py` that is `my_agent.card.json`. The first file that the
/// command line names and that has one counts.
///
/// # Errors
/// [`ProcessError::CardFile`], if there is a file and it is no card.
pub(in super::super) fn beside(program: &Program) -> Result<Option<Struct>, ProcessError> {
    let Some(path) = program.files().map(|file| file.with_extension("card.json")).find(|path| path.is_file())
    else {
        return Ok(None);
    };
    from_file(&path).map(Some)
}

/// What a file says of an agent.
///
/// # Errors
/// [`ProcessError::CardFile`], if it cannot be read, or is no JSON object.
pub(in super::super) fn from_file(path: &Path) -> Result<Struct, ProcessError> {
    read(path).map_err(|reason| ProcessError::CardFile { path: path.to_owned(), reason })
}

fn read(path: &Path) -> Result<Struct, String> {
    let bytes = path.metadata().map_err(|error| error.to_string())?.len();
    if bytes > CARD_BYTES {
        return Err(format!("it has {bytes} bytes, and at most {CARD_BYTES} are read"));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    json::from_slice(&text).map_err(|fault| fault.message().to_owned())
}

/// The most bytes of a card's file.
const CARD_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: Value) -> Struct {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_program_that_says_nothing_has_a_whole_card() {
        let card = whole(plain("weather")).unwrap();
        assert_eq!((card.name.as_str(), card.skills.len()), ("weather", 1));
        assert_eq!(card.capabilities.streaming, Some(true));
        assert!(card.supported_interfaces.is_empty());
    }

    #[test]
    fn what_is_said_later_counts_and_what_only_the_server_knows_is_left_out() {
        let mut card = plain("weather");
        overlay(
            &mut card,
            said(json!({"name": "Weather", "version": "2", "capabilities": {"pushNotifications": true}})),
        );
        overlay(&mut card, said(json!({"version": "3", "supportedInterfaces": [], "signatures": [1]})));
        let card = whole(card).unwrap();
        assert_eq!((card.name.as_str(), card.version.as_str()), ("Weather", "3"));
        assert_eq!(card.capabilities.push_notifications, None);
        assert!(card.signatures.is_empty());
    }

    #[test]
    fn a_card_that_is_none_is_refused_with_the_place() {
        let mut card = plain("weather");
        overlay(&mut card, said(json!({"skills": [{"id": "x"}]})));
        let refusal = whole(card).unwrap_err();
        assert!(refusal.contains("skills[0]"), "{refusal}");
    }
}
