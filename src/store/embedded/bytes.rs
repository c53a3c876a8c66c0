//! The few shapes that records are made of: numbers of variable length, texts and byte strings with their
//! length in front.

use std::sync::Arc;

use super::record::BadRecord;
use crate::model::Id;

/// Appends a number: seven bits a byte, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number of eight bytes.
pub(super) fn put_i64(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends bytes with their length in front.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends what `write` appends, with its length in front, in four bytes.
pub(super) fn put_sized<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads what was put, from the front. Whatever does not fit is a [`BadRecord`], never a panic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadRecord("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BadRecord("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, BadRecord> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, BadRecord> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BadRecord("a number is too long"))
    }

    pub(super) fn i64(&mut self) -> Result<i64, BadRecord> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BadRecord> {
        let length = usize::try_from(self.number()?).map_err(|_| BadRecord("a length is too great"))?;
        self.take(length)
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], BadRecord> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        self.take(length)
    }

    pub(super) fn id(&mut self) -> Result<Id, BadRecord> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| BadRecord("a text is not UTF-8"))?;
        Ok(Arc::from(text))
    }

    pub(super) fn end(self) -> Result<(), BadRecord> {
        if self.0.is_empty() { Ok(()) } else { Err(BadRecord("something follows it")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            let mut reader = Reader(&out);
            assert_eq!(reader.number(), Ok(number));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let mut out = Vec::new();
        put_bytes(&mut out, b"a text");
        for length in 0..out.len() {
            assert!(Reader(&out[..length]).bytes().is_err(), "{length}");
        }
        assert!(Reader(&[0xFF; 11]).number().is_err());
    }
}
