//! Cap'n Proto messages as frames: the standard stream framing (segment table, then the segments),
//! one message in one frame, never packed.

use bytes::Bytes;
use capnp::Word;
use capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions, ReaderSegments};

use super::close::CloseReason;
use crate::limits::WireLimits;

/// A received message in memory of its own, aligned as Cap'n Proto needs it.
#[derive(Debug)]
pub(super) struct Frame {
    /// The whole frame, segment table included.
    words: Box<[Word]>,
    segments: u32,
}

impl Frame {
    /// Checks the segment table against the frame and the bounds, then copies. Nothing is allocated
    /// for a frame that is refused.
    pub(super) fn read(bytes: &[u8], limits: &WireLimits) -> Result<Reader<Self>, CloseReason> {
        let segments = check_table(bytes, limits)?;
        let mut words = Word::allocate_zeroed_vec(bytes.len() / WORD).into_boxed_slice();
        Word::words_to_bytes_mut(&mut words).copy_from_slice(bytes);
        let traversal = words.len().saturating_mul(limits.traversal_factor).max(TRAVERSAL_FLOOR);
        let options =
            ReaderOptions { traversal_limit_in_words: Some(traversal), nesting_limit: limits.nesting };
        Ok(Reader::new(Self { words, segments }, options))
    }

    /// Bytes that the message holds.
    pub(super) fn held(&self) -> usize {
        self.words.len() * WORD
    }
}

impl ReaderSegments for Frame {
    fn get_segment(&self, index: u32) -> Option<&[u8]> {
        let bytes = Word::words_to_bytes(&self.words);
        if self.segments == 1 {
            return if index == 0 { bytes.get(WORD..) } else { None };
        }
        if index >= self.segments {
            return None;
        }
        let mut start = table_bytes(self.segments);
        for before in 0..index {
            start += segment_bytes(bytes, before)?;
        }
        bytes.get(start..start + segment_bytes(bytes, index)?)
    }

    fn len(&self) -> usize {
        self.segments as usize
    }
}

/// How many segments the frame has, if its table is sound.
fn check_table(bytes: &[u8], limits: &WireLimits) -> Result<u32, CloseReason> {
    if bytes.len() > limits.message_bytes {
        return Err(CloseReason::too_big(limits.message_bytes));
    }
    if !bytes.len().is_multiple_of(WORD) {
        return Err(CloseReason::violation("a frame is whole words of 8 bytes"));
    }
    let last =
        word32(bytes, 0).ok_or_else(|| CloseReason::violation("a frame begins with a segment table"))?;
    if last as usize >= limits.segments {
        let message = format!("a message may have {} segments", limits.segments);
        return Err(CloseReason::violation(message));
    }
    let segments = last + 1;
    let mut need = table_bytes(segments);
    for index in 0..segments {
        let size = segment_bytes(bytes, index);
        need = size
            .and_then(|size| need.checked_add(size))
            .ok_or_else(|| CloseReason::violation("a segment table is cut off"))?;
    }
    if need != bytes.len() {
        return Err(CloseReason::violation("the segment table does not add up to the frame"));
    }
    Ok(segments)
}

/// Bytes of the table of this many segments: a count and the sizes, padded to whole words.
fn table_bytes(segments: u32) -> usize {
    (segments as usize / 2 + 1) * WORD
}

fn segment_bytes(bytes: &[u8], index: u32) -> Option<usize> {
    (word32(bytes, 4 + 4 * index as usize)? as usize).checked_mul(WORD)
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// One message as one frame, in one allocation of the exact size.
pub(super) fn write(message: &Builder<HeapAllocator>) -> Bytes {
    let segments = message.get_segments_for_output();
    let table = (segments.len() / 2 + 1) * WORD;
    let mut frame = Vec::with_capacity(table + segments.iter().map(|segment| segment.len()).sum::<usize>());
    frame.extend_from_slice(&wire32(segments.len() - 1));
    for segment in segments.iter() {
        frame.extend_from_slice(&wire32(segment.len() / WORD));
    }
    frame.resize(table, 0);
    for segment in segments.iter() {
        frame.extend_from_slice(segment);
    }
    Bytes::from(frame)
}

fn wire32(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("capnp counts segments and their words in 32 bits").to_le_bytes()
}

/// Bytes of a word.
const WORD: usize = 8;
/// Words that reading even a tiny message may visit: 512 KiB.
const TRAVERSAL_FLOOR: usize = 64 << 10;
