//! A task's numbered events: the parameters of `TaskObserver`'s methods, and the elements of a batch.
//!
//! Whether an event is final is a property of the stream that it is sent on, so it stands beside the event.
//! The message that caused an event is not sent.

use capnp::struct_list;

use super::capability_capnp::task_event;
use super::capability_capnp::task_observer::{on_artifact_update_params, on_status_update_params};
use super::codec::{Decode, Encode, Within, known, readable, required_struct};
use crate::fault::{Fault, Result};
use crate::model::{Event, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, Update};

/// The most events in one call of `onBatch`.
pub const MAX_BATCH_EVENTS: u32 = 64;

/// Writes the parameters of `onStatusUpdate`.
pub fn encode_status_update(
    update: &TaskStatusUpdateEvent,
    seq: u64,
    is_final: bool,
    mut builder: on_status_update_params::Builder<'_>,
) {
    builder.set_seq(seq);
    builder.set_final(is_final);
    update.encode(builder.init_update());
}

/// Writes the parameters of `onArtifactUpdate`.
pub fn encode_artifact_update(
    update: &TaskArtifactUpdateEvent,
    seq: u64,
    is_final: bool,
    mut builder: on_artifact_update_params::Builder<'_>,
) {
    builder.set_seq(seq);
    builder.set_final(is_final);
    update.encode(builder.init_update());
}

/// Writes one element of `onBatch`.
pub fn encode_batched(event: &Event, is_final: bool, mut builder: task_event::Builder<'_>) {
    builder.set_seq(event.seq);
    builder.set_final(is_final);
    match &event.update {
        Update::Status(update) => update.encode(builder.init_status_update()),
        Update::Artifact(update) => update.encode(builder.init_artifact_update()),
    }
}

/// Reads the parameters of `onStatusUpdate`: the event, and whether it is final.
///
/// # Errors
/// As [`Decode::decode`].
pub fn decode_status_update(reader: on_status_update_params::Reader<'_>) -> Result<(Event, bool)> {
    let update = required_struct("update", reader.has_update().then(|| reader.get_update()))?;
    Ok((event(reader.get_seq(), Update::Status(update))?, reader.get_final()))
}

/// Reads the parameters of `onArtifactUpdate`: the event, and whether it is final.
///
/// # Errors
/// As [`Decode::decode`].
pub fn decode_artifact_update(reader: on_artifact_update_params::Reader<'_>) -> Result<(Event, bool)> {
    let update = required_struct("update", reader.has_update().then(|| reader.get_update()))?;
    Ok((event(reader.get_seq(), Update::Artifact(update))?, reader.get_final()))
}

/// Reads one element of `onBatch`: the event, and whether it is final.
///
/// # Errors
/// As [`Decode::decode`].
pub fn decode_batched(reader: task_event::Reader<'_>) -> Result<(Event, bool)> {
    use task_event::Which;
    let update = match known("update", reader.which())? {
        Which::Unset(()) => {
            let description = "needs exactly one of statusUpdate, artifactUpdate; none is given";
            return Err(Fault::invalid("update", description));
        }
        Which::StatusUpdate(update) => {
            let field = "statusUpdate";
            Update::Status(TaskStatusUpdateEvent::decode(readable(field, update)?).within(field)?)
        }
        Which::ArtifactUpdate(update) => {
            let field = "artifactUpdate";
            Update::Artifact(TaskArtifactUpdateEvent::decode(readable(field, update)?).within(field)?)
        }
    };
    Ok((event(reader.get_seq(), update)?, reader.get_final()))
}

/// Reads a whole batch: each event, and whether it is final.
///
/// # Errors
/// As [`Decode::decode`], or if there are more than [`MAX_BATCH_EVENTS`].
pub fn decode_batch(events: struct_list::Reader<'_, task_event::Owned>) -> Result<Vec<(Event, bool)>> {
    if events.len() > MAX_BATCH_EVENTS {
        return Err(Fault::invalid("events", format!("at most {MAX_BATCH_EVENTS} are allowed")));
    }
    let decode = |(index, event)| decode_batched(event).within_element("events", index);
    events.iter().enumerate().map(decode).collect()
}

fn event(seq: u64, update: Update) -> Result<Event> {
    if seq == 0 {
        return Err(Fault::invalid("seq", "must be at least 1"));
    }
    Ok(Event { seq, update, cause: None })
}
