//! Reads the log from its first segment to its last, checks all of it, and finds where it ends.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;

use super::frame::{Frame, FrameHead, SEAL, SEGMENT_HEAD, Seal, SegmentHead, durable_by};
use super::home::{OpenError, at};
use super::{LogPoint, segment_path};

/// The log as it was found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Its segments in order, without one that was never begun.
    pub(super) segments: Vec<Checked>,
    /// A last segment that holds nothing, not even its own head.
    pub(super) unbegun: Option<u32>,
}

/// A segment that is whole, but for a torn tail where it is the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) head: SegmentHead,
    /// Where it ends: after its last whole frame.
    pub(super) end: LogPoint,
    /// Bytes after that which are neither a seal nor the zeros behind it: a frame that was never answered.
    pub(super) torn: u64,
}

impl Scan {
    /// Where the log ends.
    pub(super) fn end(&self) -> Option<LogPoint> {
        self.segments.last().map(|last| last.end)
    }

    pub(super) fn torn(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.torn)
    }

    /// Frames and bytes of all segments.
    pub(super) fn size(&self) -> (u64, u64) {
        let frames = self.segments.iter().map(|segment| segment.end.frame - segment.head.first_frame);
        (frames.sum(), self.segments.iter().map(|segment| u64::from(segment.end.offset)).sum())
    }
}

/// Checks every byte of the log in this directory. `durable` is the last frame that is known from elsewhere to
/// have been durable.
pub(super) fn scan(log: &Path, store: &[u8; 16], durable: u64) -> Result<Scan, OpenError> {
    let numbers = segment_numbers(log)?;
    let checks = check_all(log, &numbers)?;
    let mut segments: Vec<Checked> = Vec::with_capacity(numbers.len());
    let mut unbegun = None;
    for (at, (number, check)) in numbers.iter().copied().zip(checks).enumerate() {
        let is_last = at + 1 == numbers.len();
        let damaged = |offset: u64, why: &str| damage(log, number, offset, why);
        let is_ours =
            |found: &Found| found.checked.head.number == number && found.checked.head.store == *store;
        let found = match check {
            Some(found) if is_ours(&found) => found,
            // Its head is made durable before anything else is written to it. Until then a power loss can leave
            // there what the disk held before, even the head of another segment.
            check if is_last && at > 0 && check.as_ref().is_none_or(|found| found.is_bare) => {
                unbegun = Some(number);
                break;
            }
            Some(_) => return Err(damaged(0, "the segment belongs to another store or another place")),
            None => return Err(damaged(0, "the head of a segment cannot be read")),
        };
        if let Some(before) = segments.last() {
            let head = &found.checked.head;
            if (head.first_frame, head.chain) != (before.end.frame, before.end.chain) {
                let why = "what was durable cannot be read from here on";
                return Err(damage(log, before.head.number, u64::from(before.end.offset), why));
            }
            if number != before.head.number + 1 {
                return Err(damaged(0, "the segment before this one is missing"));
            }
        }
        let durable = durable.max(found.durable);
        if is_last && durable >= found.checked.end.frame {
            let why = "what was durable cannot be read from here on";
            return Err(damaged(u64::from(found.checked.end.offset), why));
        }
        segments.push(found.checked);
    }
    if let (Some(_), Some(last)) = (unbegun, segments.last())
        && durable >= last.end.frame
    {
        let why = "what was durable cannot be read from here on";
        return Err(damage(log, last.head.number, u64::from(last.end.offset), why));
    }
    Ok(Scan { segments, unbegun })
}

/// Shows every frame from a point on, with where it stands.
pub(super) fn replay<E: From<OpenError>>(
    log: &Path,
    scan: &Scan,
    from: LogPoint,
    mut visit: impl FnMut(Frame<'_>, LogPoint) -> Result<(), E>,
) -> Result<(), E> {
    let later = scan.segments.iter().filter(|segment| segment.end.frame > from.frame);
    for segment in later {
        let file = segment_path(log, segment.head.number);
        let bytes = read_now(&file).map_err(at(&file))?;
        walk(&bytes, &segment.head, |frame, point| {
            if point.frame >= from.frame && point.frame < segment.end.frame {
                visit(frame, point)
            } else {
                Ok(())
            }
        })?;
    }
    Ok(())
}

/// Shows every frame of one segment, and returns where it ends.
pub(super) fn frames<E: From<OpenError>>(
    log: &Path,
    number: u32,
    mut visit: impl FnMut(Frame<'_>, LogPoint) -> Result<(), E>,
) -> Result<LogPoint, E> {
    let file = segment_path(log, number);
    let bytes = read_now(&file).map_err(at(&file))?;
    let head = SegmentHead::decode(&bytes);
    let head = head.ok_or_else(|| damage(log, number, 0, "the head of a segment cannot be read"))?;
    walk(&bytes, &head, &mut visit)
}

/// The numbers of the segments in a directory, in order.
pub(super) fn segment_numbers(log: &Path) -> Result<Vec<u32>, OpenError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(log).map_err(at(log))? {
        let name = entry.map_err(at(log))?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|name| name.parse().ok());
        numbers.extend::<Option<u32>>(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What is in a file now.
fn read_now(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_from(&mut File::open(file)?, 0, &mut bytes)?;
    Ok(bytes)
}

/// Reads what is in a file now from a place on. What is appended meanwhile is left out.
fn read_from(file: &mut (impl Read + Seek), at: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?.saturating_sub(at);
    file.seek(SeekFrom::Start(at))?;
    bytes.reserve_exact(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(bytes).map(drop)
}

/// A segment as it is now, while a server writes to it or not.
pub(super) struct Segment {
    pub(super) bytes: Vec<u8>,
    /// None if it cannot be read.
    pub(super) head: Option<SegmentHead>,
    /// After its last whole frame, if it has a head.
    pub(super) end: LogPoint,
    /// The last frame that anything behind that says to be durable.
    pub(super) durable: u64,
}

impl Segment {
    /// Reads it.
    pub(super) fn read(file: &mut (impl Read + Seek)) -> io::Result<Self> {
        let mut bytes = Vec::new();
        read_from(file, 0, &mut bytes)?;
        let mut segment = Self::of(bytes);
        // A server may have written one frame behind where this read, and the next one before it.
        while segment.head.is_some() && segment.durable >= segment.end.frame {
            let (mut bytes, before) = (segment.bytes, segment.end);
            bytes.truncate(before.offset as usize);
            read_from(file, u64::from(before.offset), &mut bytes)?;
            segment = Self::of(bytes);
            if segment.end == before {
                break;
            }
        }
        Ok(segment)
    }

    fn of(bytes: Vec<u8>) -> Self {
        let Some(head) = SegmentHead::decode(&bytes) else {
            return Self { bytes, head: None, end: LogPoint::default(), durable: 0 };
        };
        let Ok(end) = walk(&bytes, &head, |_, _| Ok::<_, Infallible>(()));
        let durable = durable_by(&bytes[end.offset as usize..]);
        Self { bytes, head: Some(head), end, durable }
    }
}

struct Found {
    checked: Checked,
    /// Whether it holds nothing but its head.
    is_bare: bool,
    /// The last frame that the bytes after the last whole frame say to be durable.
    durable: u64,
}

/// Several at a time, as checksums are faster than one thread reads.
fn check_all(log: &Path, numbers: &[u32]) -> Result<Vec<Option<Found>>, OpenError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    let share = numbers.len().div_ceil(threads).max(1);
    let checks = thread::scope(|scope| {
        let running: Vec<_> = numbers
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().map(|number| check(log, *number)).collect::<Vec<_>>()))
            .collect();
        running.into_iter().map(|share| share.join()).collect::<Vec<_>>()
    });
    let mut all = Vec::with_capacity(numbers.len());
    for share in checks {
        let panicked = || at(log)(std::io::Error::other("a check of the log has a defect"));
        for check in share.map_err(|_| panicked())? {
            all.push(check?);
        }
    }
    Ok(all)
}

/// None if the segment has no head and holds no frame either.
fn check(log: &Path, number: u32) -> Result<Option<Found>, OpenError> {
    let file = segment_path(log, number);
    let segment = File::open(&file).and_then(|mut file| Segment::read(&mut file)).map_err(at(&file))?;
    let (bytes, end) = (&segment.bytes, segment.end);
    let Some(head) = segment.head else {
        let holds_frames = bytes.windows(4).enumerate().any(|(at, mark)| {
            mark[0] == 0xFF && mark[3] == 0xFE && FrameHead::decode(&bytes[at..]).is_some()
        });
        return if holds_frames {
            Err(damage(log, number, 0, "the head of a segment cannot be read"))
        } else {
            Ok(None)
        };
    };
    let rest = &bytes[end.offset as usize..];
    let is_sealed = Seal::decode(rest) == Some(Seal { number: end.frame - 1, chain: end.chain });
    let unread = if is_sealed { &rest[SEAL..] } else { rest };
    let torn = unread.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    let is_bare = bytes.len() == SEGMENT_HEAD;
    Ok(Some(Found { checked: Checked { head, end, torn }, is_bare, durable: segment.durable }))
}

/// Walks over whole frames that follow each other; returns where they end.
fn walk<E>(
    bytes: &[u8],
    head: &SegmentHead,
    mut visit: impl FnMut(Frame<'_>, LogPoint) -> Result<(), E>,
) -> Result<LogPoint, E> {
    let mut point = LogPoint {
        segment: head.number,
        offset: SEGMENT_HEAD as u32,
        frame: head.first_frame,
        chain: head.chain,
    };
    while let Some(frame) = bytes.get(point.offset as usize..).and_then(Frame::decode) {
        if (frame.head.number, frame.head.chain) != (point.frame, point.chain) {
            break;
        }
        visit(frame, point)?;
        point.offset = u32::try_from(point.offset as usize + frame.bytes()).unwrap_or(u32::MAX);
        point.frame += 1;
        point.chain = frame.sum;
    }
    Ok(point)
}

pub(super) fn damage(log: &Path, segment: u32, offset: u64, why: &str) -> OpenError {
    let file: PathBuf = segment_path(log, segment);
    OpenError::Damaged { file, offset, why: why.to_owned() }
}
