//! What the catalog's tables hold under their keys. Shapes are those of the log's records.

use std::collections::BTreeMap;

use super::CatalogError;
use crate::model::{Id, TaskState, Timestamp};
use crate::store::embedded::bytes::{Reader, put_bytes, put_i64, put_number};
use crate::store::embedded::record::{self, BadRecord};
use crate::store::embedded::{LogPoint, Position};
use crate::store::{Remembered, SendDigest, SendKey, TaskRow};

/// The version of everything in the tables: keys, values and what they mean.
pub(super) const FORMAT: u8 = 1;

/// What a task needs to be found, apart from its chunks and webhooks.
///
/// As bytes: 1, then a byte of flags (1: a row, 2: a checkpoint, 4: webhooks), the cut, the lowest chunk, the row
/// (task, context, agent, owner, state, status time, last number, generation, creation time) and the checkpoint
/// (number, segment, offset, length).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The row; none while the log is replayed and only later entries are known to belong to a task.
    pub(super) row: Option<TaskRow>,
    /// The oldest number that retention has left; 1 if it has taken none.
    pub(super) cut: u64,
    /// The first number of the lowest chunk.
    pub(super) lowest: u64,
    /// The latest checkpoint: its number and its entry.
    pub(super) checkpoint: Option<(u64, Position)>,
    /// Whether there may be webhooks.
    pub(super) hooked: bool,
}

impl Kept {
    pub(super) const NOTHING: Self =
        Self { row: None, cut: 1, lowest: u64::MAX, checkpoint: None, hooked: false };

    pub(super) fn last_seq(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.last_seq)
    }

    /// The oldest number that is kept.
    pub(super) fn oldest(&self) -> u64 {
        self.cut.max(self.lowest).min(self.last_seq()).max(1)
    }

    /// Whether the task is finished and has more than its last event.
    pub(super) fn is_whole(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.state.is_terminal() && self.oldest() < row.last_seq)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(RECORD);
        out.push(flag(self.row.is_some(), 1) | flag(self.checkpoint.is_some(), 2) | flag(self.hooked, 4));
        put_number(out, self.cut);
        put_number(out, self.lowest);
        if let Some(row) = &self.row {
            for id in [&row.id, &row.context, &row.agent, &row.owner] {
                put_bytes(out, id.as_bytes());
            }
            out.push(row.state as u8);
            put_i64(out, row.status_timestamp.unix_nanos());
            put_numbers(out, row);
        }
        if let Some((seq, at)) = self.checkpoint {
            put_number(out, seq);
            put_position(out, at);
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader(bytes);
        if reader.byte()? != RECORD {
            return Err(BadRecord("a task's record is of an unknown version"));
        }
        let flags = reader.byte()?;
        let (cut, lowest) = (reader.number()?, reader.number()?);
        let row = if flags & 1 == 0 { None } else { Some(read_row(&mut reader)?) };
        let checkpoint =
            if flags & 2 == 0 { None } else { Some((reader.number()?, read_position(&mut reader)?)) };
        reader.end()?;
        Ok(Self { row, cut, lowest, checkpoint, hooked: flags & 4 != 0 })
    }
}

fn read_row(reader: &mut Reader<'_>) -> Result<TaskRow, BadRecord> {
    Ok(TaskRow {
        id: reader.id()?,
        context: reader.id()?,
        agent: reader.id()?,
        owner: reader.id()?,
        state: record::state(reader.byte()?)?,
        status_timestamp: Timestamp::from_unix_nanos(reader.i64()?),
        last_seq: reader.number()?,
        generation: reader.number()?,
        created: Timestamp::from_unix_nanos(reader.i64()?),
    })
}

fn put_numbers(out: &mut Vec<u8>, row: &TaskRow) {
    put_number(out, row.last_seq);
    put_number(out, row.generation);
    put_i64(out, row.created.unix_nanos());
}

/// The value of a list's entry: what its key and its scope do not say. Last number, generation, creation time,
/// and in an owner's list the conversation.
pub(super) fn put_listed(out: &mut Vec<u8>, row: &TaskRow, with_context: bool) {
    put_numbers(out, row);
    if with_context {
        put_bytes(out, row.context.as_bytes());
    }
}

/// What a list's entry is put together from.
pub(super) struct Listed<'a> {
    pub(super) agent: &'a Id,
    pub(super) owner: &'a Id,
    /// The conversation, if the list is of one.
    pub(super) context: Option<&'a Id>,
    pub(super) state: TaskState,
}

impl Listed<'_> {
    pub(super) fn read(&self, place: (Timestamp, Id), value: &[u8]) -> Result<TaskRow, BadRecord> {
        let mut reader = Reader(value);
        let (last_seq, generation) = (reader.number()?, reader.number()?);
        let created = Timestamp::from_unix_nanos(reader.i64()?);
        let context = match self.context {
            Some(context) => context.clone(),
            None => reader.id()?,
        };
        reader.end()?;
        Ok(TaskRow {
            id: place.1,
            context,
            agent: self.agent.clone(),
            owner: self.owner.clone(),
            state: self.state,
            status_timestamp: place.0,
            last_seq,
            generation,
            created,
        })
    }
}

pub(super) fn put_position(out: &mut Vec<u8>, at: Position) {
    for number in [at.segment, at.offset, at.bytes] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn read_position(reader: &mut Reader<'_>) -> Result<Position, BadRecord> {
    let mut number = || reader.array().map(u32::from_le_bytes);
    Ok(Position { segment: number()?, offset: number()?, bytes: number()? })
}

pub(super) fn position(value: &[u8]) -> Result<Position, BadRecord> {
    let mut reader = Reader(value);
    let position = read_position(&mut reader)?;
    reader.end()?;
    Ok(position)
}

/// How many tasks of a scope are in each state.
///
/// As bytes: the number of the flush that wrote it, then eight counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Which flush wrote it: so that nobody adds what is in it already.
    pub(super) flush: u64,
    /// In the order of [`TaskState::ALL`].
    pub(super) states: [u64; STATES],
}

pub(super) const STATES: usize = TaskState::ALL.len();

impl Counts {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.flush);
        self.states.iter().for_each(|count| put_number(out, *count));
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader(value);
        let mut counts = Self { flush: reader.number()?, states: [0; STATES] };
        for count in &mut counts.states {
            *count = reader.number()?;
        }
        reader.end()?;
        Ok(counts)
    }

    /// With the changes of a flush, unless they are in it.
    pub(super) fn with(mut self, flush: u64, changes: &[i64; STATES]) -> Self {
        if self.flush < flush {
            self.flush = flush;
            for (count, change) in self.states.iter_mut().zip(changes) {
                *count = count.saturating_add_signed(*change);
            }
        }
        self
    }
}

/// The value of an answer: digest, expiry, answer.
pub(super) fn put_remembered(out: &mut Vec<u8>, answer: &Remembered) -> Result<(), CatalogError> {
    out.extend_from_slice(&answer.digest.0);
    put_i64(out, answer.expires.unix_nanos());
    record::put_answer(out, &answer.answer).map_err(CatalogError::Io)
}

pub(super) fn remembered(key: SendKey, value: &[u8]) -> Result<Remembered, BadRecord> {
    let mut reader = Reader(value);
    let digest = SendDigest(reader.array()?);
    let expires = Timestamp::from_unix_nanos(reader.i64()?);
    let answer = record::answer(&mut reader)?;
    reader.end()?;
    Ok(Remembered { key, digest, answer, expires })
}

/// Up to where the tables are complete. Written with every flush, as one with what it flushes.
///
/// As bytes: the format, the number of the flush, the point (segment, offset, frame, chain), the count of
/// segments and for each its number and the bytes in it that are still pointed at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flush: u64,
    pub(super) upto: LogPoint,
    pub(super) live: BTreeMap<u32, u64>,
}

impl Head {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        put_number(out, self.flush);
        let LogPoint { segment, offset, frame, chain } = self.upto;
        for number in [u64::from(segment), u64::from(offset), frame, u64::from(chain)] {
            put_number(out, number);
        }
        put_number(out, self.live.len() as u64);
        for (segment, bytes) in &self.live {
            put_number(out, u64::from(*segment));
            put_number(out, *bytes);
        }
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader(value);
        if reader.byte()? != FORMAT {
            return Err(BadRecord("it is of another version"));
        }
        let flush = reader.number()?;
        let short = |number: u64| u32::try_from(number).map_err(|_| BadRecord("a number is too great"));
        let upto = LogPoint {
            segment: short(reader.number()?)?,
            offset: short(reader.number()?)?,
            frame: reader.number()?,
            chain: short(reader.number()?)?,
        };
        let mut live = BTreeMap::new();
        for _ in 0..reader.number()? {
            live.insert(short(reader.number()?)?, reader.number()?);
        }
        reader.end()?;
        Ok(Self { flush, upto, live })
    }
}

const RECORD: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> TaskRow {
        TaskRow {
            id: "task".into(),
            context: "context".into(),
            agent: "agent".into(),
            owner: "ann".into(),
            state: TaskState::InputRequired,
            status_timestamp: Timestamp::from_unix_nanos(-7),
            last_seq: 300,
            generation: 5,
            created: Timestamp::from_unix_nanos(-9),
        }
    }

    const AT: Position = Position { segment: 1, offset: 2, bytes: u32::MAX };

    #[test]
    fn what_is_kept_of_a_task_comes_back_and_is_never_taken_when_cut_short() {
        let whole = Kept { row: Some(row()), cut: 2, lowest: 1, checkpoint: Some((9, AT)), hooked: true };
        for kept in [whole, Kept::NOTHING] {
            let mut out = Vec::new();
            kept.put(&mut out);
            assert_eq!(Kept::read(&out), Ok(kept));
            for length in 0..out.len() {
                assert!(Kept::read(&out[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn the_format_of_a_task_is_what_it_was() {
        let kept = Kept { row: Some(row()), cut: 2, lowest: 1, checkpoint: Some((9, AT)), hooked: true };
        let mut out = Vec::new();
        kept.put(&mut out);
        let golden: &[u8] = b"\x01\x07\x02\x01\x04task\x07context\x05agent\x03ann\x06\
            \xf9\xff\xff\xff\xff\xff\xff\xff\xac\x02\x05\xf7\xff\xff\xff\xff\xff\xff\xff\
            \x09\x01\0\0\0\x02\0\0\0\xff\xff\xff\xff";
        assert_eq!(out, golden);
    }

    #[test]
    fn a_head_of_another_version_is_refused() {
        let head = Head {
            flush: 3,
            upto: LogPoint { segment: 1, offset: 2, frame: 3, chain: u32::MAX },
            live: [(1, 10), (2, 20)].into(),
        };
        let mut out = Vec::new();
        head.put(&mut out);
        assert_eq!(Head::read(&out), Ok(head));
        out[0] = FORMAT + 1;
        assert!(Head::read(&out).is_err());
    }

    #[test]
    fn counts_take_a_flush_once() {
        let counts = Counts { flush: 4, states: [5; STATES] };
        let mut out = Vec::new();
        counts.put(&mut out);
        assert_eq!(Counts::read(&out), Ok(counts));
        assert_eq!(counts.with(5, &[-1; STATES]).states, [4; STATES]);
        assert_eq!(counts.with(4, &[-1; STATES]).states, [5; STATES]);
    }
}
