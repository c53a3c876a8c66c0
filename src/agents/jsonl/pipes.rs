//! Lines out of a program and into it, each bounded.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::sync::mpsc;

use super::turns::Told;

/// Reads lines, and holds at most one of them.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    most: usize,
    /// Whether the line that is being read was too long, and is not wanted.
    is_skipping: bool,
}

/// What was read.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// The beginning of a line that is longer than it may be; the rest will be skipped.
    TooLong(&'a [u8]),
    /// Nothing more comes. So many bytes of a line without an end were the last.
    End(usize),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R, most: usize) -> Self {
        let reader = BufReader::with_capacity(64 << 10, reader);
        Self { reader, line: Vec::new(), most, is_skipping: false }
    }

    /// The next line.
    pub(super) async fn next(&mut self) -> Line<'_> {
        self.line.clear();
        // What one long line has needed is not held for all that come.
        self.line.shrink_to(256 << 10);
        loop {
            // A program whose output cannot be read has ended its output.
            let available = self.reader.fill_buf().await.unwrap_or_default();
            if available.is_empty() {
                return Line::End(self.line.len());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(available.len(), |at| at + 1);
            let content = &available[..end.unwrap_or(count)];
            if !self.is_skipping {
                let room = (self.most + 1).saturating_sub(self.line.len());
                self.line.extend_from_slice(&content[..content.len().min(room)]);
            }
            self.reader.consume(count);
            if self.line.len() > self.most && !self.is_skipping {
                self.is_skipping = end.is_none();
                return Line::TooLong(&self.line[..self.line.len().min(BEGINNING)]);
            }
            if end.is_some() && !std::mem::take(&mut self.is_skipping) {
                return Line::Whole(self.line.strip_suffix(b"\r").unwrap_or(&self.line));
            }
        }
    }
}

/// Why nothing more can be written.
#[derive(Debug, PartialEq)]
pub(super) enum Unwritten {
    /// The program has closed its input.
    Closed,
    /// The program does not read.
    Stuck,
}

/// Writes lines as they come, those together that are there together. Returns when they cannot be written; ends
/// without a reason when no more can come.
pub(super) async fn write(
    stdin: impl AsyncWrite + Unpin,
    mut lines: mpsc::UnboundedReceiver<Told>,
    timeout: Duration,
) -> Option<Unwritten> {
    let mut stdin = BufWriter::with_capacity(64 << 10, stdin);
    while let Some(first) = lines.recv().await {
        let mut next = Some(first);
        while let Some(told) = next {
            match tokio::time::timeout(timeout, stdin.write_all(&told.line)).await {
                Ok(Ok(())) => next = lines.try_recv().ok(),
                Ok(Err(_)) => return Some(Unwritten::Closed),
                Err(_) => return Some(Unwritten::Stuck),
            }
        }
        match tokio::time::timeout(timeout, stdin.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Some(Unwritten::Closed),
            Err(_) => return Some(Unwritten::Stuck),
        }
    }
    None
}

/// How much of a line that is too long is looked at.
const BEGINNING: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8], most: usize) -> Vec<String> {
        let (mut lines, mut read) = (Lines::new(bytes, most), Vec::new());
        loop {
            match lines.next().await {
                Line::Whole(line) => read.push(format!("={}", String::from_utf8_lossy(line))),
                Line::TooLong(line) => read.push(format!(">{}", line.len())),
                Line::End(half) => {
                    read.push(format!("end {half}"));
                    return read;
                }
            }
        }
    }

    #[tokio::test]
    async fn lines_come_whole_and_half_a_line_does_not() {
        assert_eq!(lines("a\r\n\nb€\nhalf".as_bytes(), 10).await, ["=a", "=", "=b€", "end 4"]);
        assert_eq!(lines(b"", 10).await, ["end 0"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_said_once_and_skipped() {
        assert_eq!(lines(b"0123456789\n01234567890\nc\n", 10).await, ["=0123456789", ">11", "=c", "end 0"]);
        let long = [vec![b'x'; 1 << 20], b"\nafter\n".to_vec()].concat();
        assert_eq!(lines(&long, 100_000).await, [">4096", "=after", "end 0"]);
        assert_eq!(lines(&long[..1 << 20], 100_000).await, [">4096", "end 0"]);
    }
}
