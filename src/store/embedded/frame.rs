//! Frames: one commit each, numbered, chained and checksummed; and seals, which say how far the log is durable.
//!
//! With numbers in little-endian order:
//!
//! ```text
//! segment  "A2AWCLOG" | format u32 | number u32 | store id [u8; 16] | first frame u64 | chain u32 | crc u32
//! frame    FF 41 46 FE | kind u32 | length u32 | number u64 | durable u64 | chain u32 | crc u32 of the head
//!          | entries (length bytes) | crc u32 of head and entries
//! seal     FF 41 53 FE | number u64 | chain u32 | crc u32
//! zeros    that are written over, behind the seal of the last segment
//! ```
//!
//! A frame's `chain` is the checksum of the frame before it, so that frames cannot be lost, repeated or taken
//! from elsewhere without notice. `durable` is the last frame that was durable when this one was written; a seal
//! says the same behind the last frame, where the next frame overwrites it. Both are written only after the
//! `fdatasync` that they speak of. So an unreadable frame is torn if nothing says that it was durable: then it
//! was never answered and is cut off. Otherwise it is damaged, and the store refuses to start.
//!
//! No text can hold a mark, since FF and FE never occur in UTF-8.

/// The version of everything that is written to disk.
pub(super) const FORMAT: u32 = 1;
/// Bytes of a segment before its first frame.
pub(super) const SEGMENT_HEAD: usize = 48;
/// Bytes of a frame before its entries.
pub(super) const FRAME_HEAD: usize = 36;
/// Bytes of a frame after its entries.
pub(super) const FRAME_TAIL: usize = 4;
/// Bytes of a seal.
pub(super) const SEAL: usize = 20;

const SEGMENT_MARK: [u8; 8] = *b"A2AWCLOG";
const FRAME_MARK: [u8; 4] = [0xFF, b'A', b'F', 0xFE];
const SEAL_MARK: [u8; 4] = [0xFF, b'A', b'S', 0xFE];

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) format: u32,
    pub(super) number: u32,
    pub(super) store: [u8; 16],
    /// The number of its first frame.
    pub(super) first_frame: u64,
    /// The checksum that its first frame is chained to.
    pub(super) chain: u32,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEAD] {
        let mut bytes = [0; SEGMENT_HEAD];
        bytes[..8].copy_from_slice(&SEGMENT_MARK);
        bytes[8..12].copy_from_slice(&self.format.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store);
        bytes[32..40].copy_from_slice(&self.first_frame.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.chain.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None if these bytes are no such head.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEAD] = bytes.first_chunk()?;
        if bytes[..8] != SEGMENT_MARK || crc32fast::hash(&bytes[..44]) != u32_at(bytes, 44) {
            return None;
        }
        Some(Self {
            format: u32_at(bytes, 8),
            number: u32_at(bytes, 12),
            store: bytes[16..32].try_into().ok()?,
            first_frame: u64_at(bytes, 32),
            chain: u32_at(bytes, 40),
        })
    }
}

/// What a frame's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of its entries.
    pub(super) length: u32,
    pub(super) number: u64,
    /// The last frame that was durable when this one was written.
    pub(super) durable: u64,
    pub(super) chain: u32,
}

impl FrameHead {
    /// None if these bytes are no such head. Says nothing about the entries.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FRAME_HEAD] = bytes.first_chunk()?;
        if bytes[..4] != FRAME_MARK || crc32fast::hash(&bytes[..32]) != u32_at(bytes, 32) {
            return None;
        }
        Some(Self {
            length: u32_at(bytes, 8),
            number: u64_at(bytes, 12),
            durable: u64_at(bytes, 20),
            chain: u32_at(bytes, 28),
        })
    }
}

/// Completes a frame whose entries stand after [`FRAME_HEAD`] empty bytes. Returns the checksum that the
/// next frame is chained to.
pub(super) fn finish_frame(frame: &mut Vec<u8>, number: u64, durable: u64, chain: u32) -> u32 {
    let length = u32::try_from(frame.len() - FRAME_HEAD).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&FRAME_MARK);
    frame[4..8].copy_from_slice(&KIND.to_le_bytes());
    frame[8..12].copy_from_slice(&length.to_le_bytes());
    frame[12..20].copy_from_slice(&number.to_le_bytes());
    frame[20..28].copy_from_slice(&durable.to_le_bytes());
    frame[28..32].copy_from_slice(&chain.to_le_bytes());
    let sum = crc32fast::hash(&frame[..32]);
    frame[32..FRAME_HEAD].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32fast::hash(frame);
    frame.extend_from_slice(&sum.to_le_bytes());
    sum
}

/// A whole frame at the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) head: FrameHead,
    pub(super) entries: &'a [u8],
    /// What the next frame is chained to.
    pub(super) sum: u32,
}

impl<'a> Frame<'a> {
    /// None if no whole, undamaged frame stands there.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let head = FrameHead::decode(bytes)?;
        let end = FRAME_HEAD.checked_add(head.length as usize)?;
        let (checked, rest) = bytes.split_at_checked(end)?;
        let sum = u32::from_le_bytes(*rest.first_chunk()?);
        (crc32fast::hash(checked) == sum).then_some(Self { head, entries: &checked[FRAME_HEAD..], sum })
    }

    /// Bytes of the whole frame.
    pub(super) fn bytes(&self) -> usize {
        FRAME_HEAD + self.entries.len() + FRAME_TAIL
    }
}

/// Says that a frame, and all before it, are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) number: u64,
    pub(super) chain: u32,
}

impl Seal {
    pub(super) fn encode(&self) -> [u8; SEAL] {
        let mut bytes = [0; SEAL];
        bytes[..4].copy_from_slice(&SEAL_MARK);
        bytes[4..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.chain.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEAL] = bytes.first_chunk()?;
        let is_one = bytes[..4] == SEAL_MARK && crc32fast::hash(&bytes[..16]) == u32_at(bytes, 16);
        is_one.then(|| Self { number: u64_at(bytes, 4), chain: u32_at(bytes, 12) })
    }
}

/// The last frame that anything in these bytes says to be durable; 0 if nothing does. Looks at every place
/// where a mark stands.
pub(super) fn durable_by(bytes: &[u8]) -> u64 {
    let marks = bytes.windows(4).enumerate().filter(|(_, mark)| mark[0] == 0xFF && mark[3] == 0xFE);
    let said = marks.map(|(at, _)| {
        let head = FrameHead::decode(&bytes[at..]).map(|head| head.durable);
        head.or_else(|| Seal::decode(&bytes[at..]).map(|seal| seal.number)).unwrap_or(0)
    });
    said.max().unwrap_or(0)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

/// The only kind of frame so far.
const KIND: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, durable: u64) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEAD];
        frame.extend_from_slice(b"some entries");
        finish_frame(&mut frame, number, durable, 7);
        frame
    }

    #[test]
    fn a_frame_comes_back() {
        let bytes = frame(5, 3);
        let frame = Frame::decode(&bytes).unwrap();
        assert_eq!(frame.head, FrameHead { length: 12, number: 5, durable: 3, chain: 7 });
        assert_eq!((frame.entries, frame.bytes()), (&b"some entries"[..], bytes.len()));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let bytes = frame(5, 3);
        let seal = Seal { number: 9, chain: 1 }.encode();
        let head = SegmentHead { format: 1, number: 2, store: [3; 16], first_frame: 4, chain: 5 };
        assert_eq!(SegmentHead::decode(&head.encode()), Some(head));
        for bit in 0..bytes.len() * 8 {
            let flipped = |mut bytes: Vec<u8>| {
                bytes.get_mut(bit / 8).map(|byte| *byte ^= 1 << (bit % 8))?;
                Some(bytes)
            };
            assert!(Frame::decode(&flipped(bytes.clone()).unwrap()).is_none(), "{bit}");
            assert!(flipped(seal.to_vec()).is_none_or(|seal| Seal::decode(&seal).is_none()), "{bit}");
            let head = flipped(head.encode().to_vec());
            assert!(head.is_none_or(|head| SegmentHead::decode(&head).is_none()), "{bit}");
        }
        for length in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn what_was_durable_is_found_behind_damage() {
        let mut bytes = frame(5, 3);
        bytes[50] ^= 1;
        assert_eq!(durable_by(&bytes), 3);
        bytes.extend_from_slice(&frame(6, 5));
        assert_eq!(durable_by(&bytes), 5);
        bytes.extend_from_slice(&Seal { number: 6, chain: 0 }.encode());
        assert_eq!(durable_by(&bytes), 6);
        bytes.truncate(bytes.len() - 1);
        assert_eq!(durable_by(&bytes), 5);
        assert_eq!(durable_by(b"nothing at all"), 0);
    }
}
