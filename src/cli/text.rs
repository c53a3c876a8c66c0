//! A2A's types for people: one `Label: value` a line, contents as blocks, no control characters.

use std::fmt::Write as _;

use crate::model::{
    AgentCard, Artifact, ListTaskPushNotificationConfigsResponse, ListTasksResponse, Message, Part,
    PartContent, Role, Task, TaskPushNotificationConfig, TaskState, TaskStatus,
};

/// One line.
pub(super) fn field(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "{label}: {}", one_line(value));
}

/// What does not fit on a line: its label, the content, and a blank line.
pub(super) fn block(text: &mut String, label: &str, content: &str) {
    let _ = writeln!(text, "{label}:");
    text.push_str(&clean(content));
    end_block(text);
}

/// Ends what was written with a blank line.
pub(super) fn end_block(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push('\n');
}

/// A peer's text without what could steer a terminal, or turn around how others' text beside it reads.
pub(super) fn clean(text: &str) -> String {
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    let harmless = |c: char| (!c.is_control() || matches!(c, '\n' | '\t')) && !turns(c);
    text.chars().map(|c| if harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// The text without the queries of the URLs in it: some carry a token there.
pub(super) fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let query = word.find("://").and_then(|at| Some(at + word[at..].find('?')?));
        match query {
            Some(at) => {
                let end = word[at..]
                    .find(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '`' | '\''))
                    .map_or(word.len(), |end| at + end);
                shown.extend([&word[..=at], "…", &word[end..]]);
            }
            None => shown.push_str(word),
        }
    }
    shown
}

/// A peer's text without what could steer a terminal, on one line.
pub(super) fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

/// Parts as text: texts as they are, data as JSON, files by what they are.
pub(super) fn parts(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match &part.content {
            PartContent::Text(content) => text.push_str(content),
            PartContent::Data(value) => {
                line(&mut text, &serde_json::to_string_pretty(value).unwrap_or_default());
            }
            PartContent::Raw(bytes) => line(&mut text, &file(part, &format!("{} bytes", bytes.len()))),
            PartContent::Url(url) => line(&mut text, &file(part, url)),
        }
    }
    text
}

fn line(text: &mut String, content: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(content);
    text.push('\n');
}

fn file(part: &Part, what: &str) -> String {
    let name = part.filename.as_deref().unwrap_or("unnamed");
    let media_type = part.media_type.as_deref().unwrap_or("unknown type");
    format!("[file {name}, {media_type}, {what}]")
}

pub(super) fn artifact_name(artifact: &Artifact) -> &str {
    artifact.name.as_deref().unwrap_or(&artifact.artifact_id)
}

/// What the next command may need: the ids, and the state where that is known.
pub(super) fn ids(text: &mut String, task_id: &str, context_id: Option<&str>, known: Option<TaskState>) {
    field(text, "Task ID", task_id);
    field(text, "Context ID", context_id.unwrap_or_default());
    if let Some(known) = known {
        state(text, known);
    }
}

pub(super) fn state(text: &mut String, state: TaskState) {
    field(text, "State", state.short_name());
}

/// What the agent says about a state.
pub(super) fn said(text: &mut String, status: &TaskStatus) {
    if let Some(message) = &status.message {
        block(text, "Message", &parts(&message.parts));
    }
}

fn identity(text: &mut String, task: &Task) {
    ids(text, &task.id, task.context_id.as_deref(), Some(task.state()));
    said(text, &task.status);
}

pub(super) fn task(task: &Task) -> String {
    let mut text = String::new();
    identity(&mut text, task);
    for artifact in &task.artifacts {
        block(&mut text, &label("Artifact", artifact_name(artifact)), &parts(&artifact.parts));
    }
    text
}

/// Everything of a task: each part on its own, with what it is.
pub(super) fn details(task: &Task) -> String {
    let mut text = String::new();
    identity(&mut text, task);
    if let Some(since) = &task.status.timestamp {
        field(&mut text, "Since", &since.to_string());
    }
    if let Some(metadata) = &task.metadata {
        block(&mut text, "Metadata", &serde_json::to_string_pretty(metadata).unwrap_or_default());
    }
    for artifact in &task.artifacts {
        field(&mut text, "Artifact ID", &artifact.artifact_id);
        each_part(&mut text, &label("Artifact", artifact_name(artifact)), &artifact.parts);
    }
    text
}

/// A message on its way to the agent.
pub(super) fn sent(message: &Message) -> String {
    let mut text = String::new();
    field(&mut text, "Message ID", &message.message_id);
    each_part(&mut text, "Sent", &message.parts);
    text
}

fn each_part(text: &mut String, what: &str, all: &[Part]) {
    for (number, part) in (1..).zip(all) {
        let kind = match &part.content {
            PartContent::Text(_) => "text",
            PartContent::Data(_) => "data",
            PartContent::Raw(_) | PartContent::Url(_) => "file",
        };
        let media_type =
            part.media_type.as_deref().map_or_else(String::new, |name| format!(", {}", clean(name)));
        let label = format!("{what}, part {number} ({kind}{media_type})").replace(['\n', '\t'], " ");
        block(text, &label, &parts(std::slice::from_ref(part)));
    }
}

/// The messages of a task, oldest first.
pub(super) fn history(task: &Task) -> String {
    let mut text = String::new();
    for message in &task.history {
        block(&mut text, &label("History", role(message)), &parts(&message.parts));
    }
    text
}

pub(super) fn message(message: &Message) -> String {
    let mut text = String::new();
    if let Some(context_id) = &message.context_id {
        field(&mut text, "Context ID", context_id);
    }
    block(&mut text, "Message", &parts(&message.parts));
    text
}

pub(super) fn tasks(page: &ListTasksResponse) -> String {
    let mut text = String::new();
    for task in &page.tasks {
        ids(&mut text, &task.id, task.context_id.as_deref(), Some(task.state()));
        if let Some(since) = &task.status.timestamp {
            field(&mut text, "Since", &since.to_string());
        }
        text.push('\n');
    }
    field(&mut text, "Tasks", &format!("{} of {}", page.tasks.len(), page.total_size));
    if !page.next_page_token.is_empty() {
        field(&mut text, "Next page", &page.next_page_token);
    }
    text
}

/// A push configuration, of whose secrets only is said that they are there.
pub(super) fn push_config(config: &TaskPushNotificationConfig) -> String {
    let mut text = String::new();
    field(&mut text, "Task ID", config.task_id.as_deref().unwrap_or_default());
    field(&mut text, "Config ID", config.id.as_deref().unwrap_or_default());
    field(&mut text, "URL", &config.url);
    if config.token.is_some() {
        field(&mut text, "Token", NOT_SHOWN);
    }
    if let Some(authentication) = &config.authentication {
        field(&mut text, "Auth scheme", &authentication.scheme);
        if authentication.credentials.is_some() {
            field(&mut text, "Auth credentials", NOT_SHOWN);
        }
    }
    text
}

pub(super) fn push_configs(page: &ListTaskPushNotificationConfigsResponse) -> String {
    let mut text = String::new();
    for config in &page.configs {
        text.push_str(&push_config(config));
        text.push('\n');
    }
    field(&mut text, "Configs", &page.configs.len().to_string());
    if let Some(token) = &page.next_page_token {
        field(&mut text, "Next page", token);
    }
    text
}

pub(super) fn card(card: &AgentCard) -> String {
    let mut text = String::new();
    field(&mut text, "Name", &card.name);
    field(&mut text, "Description", &card.description);
    field(&mut text, "Version", &card.version);
    for interface in &card.supported_interfaces {
        let shown =
            format!("{} {} (A2A {})", interface.url, interface.protocol_binding, interface.protocol_version);
        field(&mut text, "Interface", &shown);
    }
    let yes = |flag: Option<bool>| if flag == Some(true) { "yes" } else { "no" };
    field(&mut text, "Streaming", yes(card.capabilities.streaming));
    field(&mut text, "Push notifications", yes(card.capabilities.push_notifications));
    field(&mut text, "Extended card", yes(card.capabilities.extended_agent_card));
    for scheme in card.security_schemes.keys() {
        field(&mut text, "Security scheme", scheme);
    }
    field(&mut text, "Signatures", &format!("{} (not verified)", card.signatures.len()));
    for skill in &card.skills {
        field(&mut text, "Skill", &format!("{}: {}", skill.id, skill.description));
        for example in &skill.examples {
            field(&mut text, "Example", example);
        }
    }
    text
}

pub(super) fn label(kind: &str, name: &str) -> String {
    format!("{kind} {}", one_line(name))
}

fn role(message: &Message) -> &'static str {
    match message.role {
        Role::User => "user",
        Role::Agent => "agent",
    }
}

/// In the place of a secret.
pub(super) const NOT_SHOWN: &str = "set, and not shown";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_their_queries_and_other_text_as_it_is() {
        let shown = without_queries("http://h/a?token=x: no card; what? `-a http://h?k=v` and http://h/b\n");
        assert_eq!(shown, "http://h/a?… no card; what? `-a http://h?…` and http://h/b\n");
    }

    #[test]
    fn nothing_in_a_peers_text_turns_or_breaks_a_line() {
        assert_eq!(one_line("a\nb\u{202e}c\u{2028}d\u{1b}[m"), "a b\u{fffd}c\u{fffd}d\u{fffd}[m");
    }
}
