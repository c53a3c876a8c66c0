//! What a client's message, and what an agent says, must be before anything is done with it.

use std::borrow::Cow;

use crate::agent::Output;
use crate::fault::{Fault, FaultKind};
use crate::limits::EngineLimits;
use crate::model::{Message, Part, PartContent, Role, Struct, TaskState, json};

/// Checks a client's message against the bounds, and its media types against those that the agent takes.
///
/// # Errors
/// [`FaultKind::InvalidParams`] that names the field; [`FaultKind::ContentTypeNotSupported`].
pub(super) fn message(message: &Message, limits: &EngineLimits, modes: &[String]) -> Result<(), Fault> {
    let name = |field: &str, text: &str| check_name(field, text, limits.name_bytes);
    name("message.messageId", &message.message_id)?;
    for (field, id) in [("message.contextId", &message.context_id), ("message.taskId", &message.task_id)] {
        if let Some(id) = id {
            name(field, id)?;
        }
    }
    if message.role != Role::User {
        return Err(Fault::invalid("message.role", "must be ROLE_USER: a client speaks as the user"));
    }
    let parts = limits.parts;
    if message.parts.is_empty() || message.parts.len() > parts {
        let description = format!("must have 1 to {parts} parts, not {}", message.parts.len());
        return Err(Fault::invalid("message.parts", description));
    }
    for (at, part) in message.parts.iter().enumerate() {
        check_part(&format!("message.parts[{at}]"), part, limits)?;
        check_media_type(at, part, modes)?;
    }
    for (field, count) in [
        ("message.extensions", message.extensions.len()),
        ("message.referenceTaskIds", message.reference_task_ids.len()),
    ] {
        if count > parts {
            return Err(Fault::invalid(field, format!("must have at most {parts} elements, not {count}")));
        }
    }
    for uri in &message.extensions {
        name("message.extensions", uri)?;
    }
    for id in &message.reference_task_ids {
        name("message.referenceTaskIds", id)?;
    }
    Ok(())
}

/// Checks what an agent says for all that does not depend on where its task stands.
///
/// # Errors
/// Why it is refused.
pub(super) fn output(output: &Output, limits: &EngineLimits) -> Result<(), Cow<'static, str>> {
    let (bytes, most) = (output.approximate_size(), limits.update_bytes);
    if bytes > most {
        let why = format!("it has about {bytes} bytes, and at most {most} are allowed: send it in chunks");
        return Err(why.into());
    }
    let no_state = TaskState::Unspecified;
    let (parts, metadata) = match output {
        Output::Status { status, .. } if status.state == no_state => {
            return Err(format!("no task becomes {no_state}").into());
        }
        Output::Artifact(chunk) if chunk.artifact.artifact_id.is_empty() => {
            return Err("an artifact has no id".into());
        }
        Output::Artifact(chunk) => (Some(&chunk.artifact.parts), [&chunk.artifact.metadata, &chunk.metadata]),
        Output::Status { status, metadata } => match &status.message {
            Some(message) => (Some(&message.parts), [&message.metadata, metadata]),
            None => (None, [&None, metadata]),
        },
        Output::Reply(message) => (Some(&message.parts), [&message.metadata, &None]),
    };
    if parts.is_some_and(Vec::is_empty) {
        return Err("an artifact or message has no part".into());
    }
    let parts = parts.into_iter().flatten();
    let (data, of_parts): (Vec<_>, Vec<_>) = parts.map(|part| (&part.content, &part.metadata)).unzip();
    let data = data.into_iter().filter_map(|content| match content {
        PartContent::Data(value) => Some(value),
        PartContent::Text(_) | PartContent::Raw(_) | PartContent::Url(_) => None,
    });
    let metadata = of_parts.into_iter().chain(metadata).flatten().flat_map(Struct::values);
    // What is deeper could not be read back from the log.
    match data.chain(metadata).all(json::is_shallow) {
        true => Ok(()),
        false => Err("data or metadata is nested too deep".into()),
    }
}

fn check_part(field: &str, part: &Part, limits: &EngineLimits) -> Result<(), Fault> {
    let url = match &part.content {
        PartContent::Url(url) => Some(url),
        PartContent::Text(_) | PartContent::Raw(_) | PartContent::Data(_) => None,
    };
    for (member, text) in
        [("url", url), ("filename", part.filename.as_ref()), ("mediaType", part.media_type.as_ref())]
    {
        if let Some(text) = text
            && text.len() > limits.name_bytes
        {
            return Err(too_long(&format!("{field}.{member}"), text.len(), limits.name_bytes));
        }
    }
    Ok(())
}

/// Files must be of a type that the agent takes; text and data it gets as they are.
fn check_media_type(at: usize, part: &Part, modes: &[String]) -> Result<(), Fault> {
    let (PartContent::Raw(_) | PartContent::Url(_), Some(given)) = (&part.content, &part.media_type) else {
        return Ok(());
    };
    if modes.iter().any(|mode| accepts(mode, given)) {
        return Ok(());
    }
    let message = format!("the agent does not take {given:?}; it takes {}", modes.join(", "));
    Err(Fault::new(FaultKind::ContentTypeNotSupported, message).with("part", at))
}

/// Whether a media type, without its parameters, is this mode: `image/png`, `image/*` or `*/*`.
fn accepts(mode: &str, given: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (mode, given) = (essence(mode), essence(given));
    match mode.strip_suffix("/*") {
        Some("*") => true,
        Some(kind) => given.split_once('/').is_some_and(|(given, _)| given == kind),
        None => mode == given,
    }
}

fn check_name(field: &str, text: &str, bytes: usize) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::invalid(field, "must not be empty"));
    }
    if text.len() > bytes { Err(too_long(field, text.len(), bytes)) } else { Ok(()) }
}

fn too_long(field: &str, given: usize, bytes: usize) -> Fault {
    Fault::invalid(field, format!("must have at most {bytes} bytes, not {given}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Message)) -> Fault {
        let mut given = Message::user("hello");
        change(&mut given);
        message(&given, &EngineLimits::default(), &["text/plain".to_owned()]).unwrap_err()
    }

    #[test]
    fn each_bound_is_refused_with_its_field() {
        type Change = fn(&mut Message);
        let cases: [(&str, Change); 8] = [
            ("message.messageId", |m| m.message_id = "".into()),
            ("message.contextId", |m| m.context_id = Some("x".repeat(513).into())),
            ("message.taskId", |m| m.task_id = Some("".into())),
            ("message.role", |m| m.role = Role::Agent),
            ("message.parts", |m| m.parts.clear()),
            ("message.parts", |m| m.parts = vec![Part::text(""); 101]),
            ("message.parts[0].filename", |m| m.parts[0].filename = Some("x".repeat(513))),
            ("message.extensions", |m| m.extensions = vec!["x".to_owned(); 101]),
        ];
        for (field, change) in cases {
            let fault = refused(change);
            assert_eq!(fault.kind(), FaultKind::InvalidParams, "{field}");
            assert_eq!(fault.violations()[0].field, field);
        }
    }

    #[test]
    fn a_file_of_a_type_that_the_agent_does_not_take_is_refused() {
        let fault = refused(|m| m.parts = vec![Part::raw(vec![1], "image/png")]);
        assert_eq!(fault.kind(), FaultKind::ContentTypeNotSupported);
    }

    #[test]
    fn media_types_match_by_range_and_without_parameters() {
        for (mode, given, expected) in [
            ("image/*", "image/PNG", true),
            ("*/*", "anything/else", true),
            ("text/plain", "text/plain; charset=utf-8", true),
            ("image/*", "imagex/png", false),
            ("text/plain", "text/html", false),
        ] {
            assert_eq!(accepts(mode, given), expected, "{mode} {given}");
        }
    }
}
