//! The log: frames in segments, written by one thread that makes all frames that wait durable at once.
//!
//! What it writes goes over zeros that it has made durable in a moment when nothing waited: a small write that does
//! not make the file longer is durable sooner, since the file system need not note down the new length.
//!
//! A full disk is waited out: what waits is written when there is room again, and nothing is answered before.
//! Any other error ends the log for good: after a failed `fdatasync` nobody knows what is on the disk, so it is
//! not tried again.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::frame::{FORMAT, FRAME_HEAD, FRAME_TAIL, SEAL, SEGMENT_HEAD, Seal, SegmentHead, finish_frame};
use super::record::Entries;
use super::{Change, LogPoint, Position, Written, segment_path};
use crate::private::{self, sync_dir};
use crate::store::StoreError;

/// What is told when a frame is durable: its changes, the end of the frame, and the ticket it came with.
pub(super) type OnDurable = Box<dyn Fn(Durable) + Send + Sync>;

/// A frame that is durable now.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) ticket: u64,
    pub(super) changes: Vec<Change>,
    pub(super) end: LogPoint,
}

/// A frame on its way to the disk.
struct Waiting {
    entries: Entries,
    ticket: u64,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The log, open for appending and reading.
pub(super) struct Log {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    dir: PathBuf,
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Bytes of each segment.
    sizes: Mutex<BTreeMap<u32, u64>>,
    readers: Mutex<VecDeque<(u32, Arc<File>)>>,
    is_full: AtomicBool,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    closed: bool,
    failed: Option<StoreError>,
}

/// How a log is made and gone on with.
pub(super) struct LogSettings {
    pub(super) dir: PathBuf,
    pub(super) store: [u8; 16],
    pub(super) segment_bytes: u64,
}

impl Log {
    /// Goes on with a log at its end, which [`begin_segment`] or a scan has given.
    pub(super) fn start(
        settings: LogSettings,
        end: LogPoint,
        sizes: BTreeMap<u32, u64>,
        on_durable: OnDurable,
    ) -> io::Result<Self> {
        let path = segment_path(&settings.dir, end.segment);
        let file = File::options().write(true).open(path)?;
        // What a torn tail leaves, and a seal that is not needed any more.
        file.set_len(u64::from(end.offset))?;
        // Frames that are whole but were not durable yet are, from here on, seen.
        file.sync_all()?;
        let shared = Arc::new(Shared {
            dir: settings.dir.clone(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            sizes: Mutex::new(sizes),
            readers: Mutex::default(),
            is_full: AtomicBool::new(false),
            written: Mutex::default(),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            settings,
            file,
            end,
            durable: end.frame - 1,
            zeroed: 0,
            zeros: vec![0; AHEAD as usize],
            buffer: Vec::new(),
            finished: Vec::new(),
            on_durable,
        };
        writer.seal()?;
        let thread = thread::Builder::new().name("a2a-disk".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)) })
    }

    /// Queues a frame. Frames become durable in the order of the calls. Its entries must have left
    /// [`FRAME_HEAD`] bytes in front.
    pub(super) fn append(
        &self,
        entries: Entries,
        ticket: u64,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (done, receiver) = oneshot::channel();
        let mut queue = self.shared.queue();
        if let Some(failure) = &queue.failed {
            return Err(failure.clone());
        }
        if queue.closed {
            return Err(StoreError::failed("the store is closed"));
        }
        queue.waiting.push_back(Waiting { entries, ticket, done });
        drop(queue);
        self.shared.arrived.notify_one();
        Ok(receiver)
    }

    /// Whether frames are still taken.
    ///
    /// # Errors
    /// What has failed, or that it is closed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let queue = self.shared.queue();
        match &queue.failed {
            Some(failure) => Err(failure.clone()),
            None if queue.closed => Err(StoreError::failed("the store is closed")),
            None => Ok(()),
        }
    }

    /// Takes no more frames, as something else has failed for good. What waits is still written.
    pub(super) fn give_up(&self, why: &StoreError) {
        let mut queue = self.shared.queue();
        queue.failed.get_or_insert_with(|| why.clone());
    }

    /// The bytes of an entry; none if its segment was collected in the meantime.
    pub(super) fn read(&self, at: Position) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.shared.reader(at.segment)? else { return Ok(None) };
        let mut bytes = vec![0; at.bytes as usize];
        file.read_exact_at(&mut bytes, u64::from(at.offset))?;
        Ok(Some(bytes))
    }

    /// What was written since the start.
    pub(super) fn written(&self) -> Written {
        *self.shared.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what waits cannot be written for want of space.
    pub(super) fn is_full(&self) -> bool {
        self.shared.is_full.load(Ordering::Acquire)
    }

    /// Bytes of each segment, in order. The last one grows.
    pub(super) fn sizes(&self) -> BTreeMap<u32, u64> {
        self.shared.sizes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the oldest segment, of which nothing is needed any more.
    pub(super) fn remove(&self, segment: u32) -> io::Result<()> {
        fs::remove_file(segment_path(&self.shared.dir, segment))?;
        // Before a later one goes: a power loss must not leave a gap between segments.
        sync_dir(&self.shared.dir)?;
        self.shared.sizes.lock().unwrap_or_else(PoisonError::into_inner).remove(&segment);
        let mut readers = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|(number, _)| *number != segment);
        Ok(())
    }

    /// Writes what waits, and ends. Reading goes on.
    ///
    /// # Errors
    /// What has failed, now or before.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.shared.queue().closed = true;
        self.shared.arrived.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the log's thread has a defect");
        }
        self.shared.queue().failed.clone().map_or(Ok(()), Err)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing waits, and more may come.
    fn is_idle(&self) -> bool {
        let queue = self.queue();
        queue.waiting.is_empty() && !queue.closed
    }

    fn count(&self, frames: usize, bytes: usize) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.syncs += 1;
        written.frames += frames as u64;
        written.bytes += bytes as u64;
    }

    fn reader(&self, segment: u32) -> io::Result<Option<Arc<File>>> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = readers.iter().find(|(number, _)| *number == segment) {
            return Ok(Some(Arc::clone(file)));
        }
        let file = match File::open(segment_path(&self.dir, segment)) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if readers.len() >= OPEN_SEGMENTS {
            readers.pop_front();
        }
        readers.push_back((segment, Arc::clone(&file)));
        Ok(Some(file))
    }
}

/// Makes the segment that begins at `start`, durable with its name. Returns it and where its first frame goes.
pub(super) fn begin_segment(settings: &LogSettings, start: LogPoint) -> io::Result<(File, LogPoint)> {
    let path = segment_path(&settings.dir, start.segment);
    let file = private::options().write(true).create(true).truncate(true).open(&path)?;
    let head = SegmentHead {
        format: FORMAT,
        number: start.segment,
        store: settings.store,
        first_frame: start.frame,
        chain: start.chain,
    };
    file.write_all_at(&head.encode(), 0)?;
    file.sync_all()?;
    sync_dir(&settings.dir)?;
    Ok((file, LogPoint { offset: SEGMENT_HEAD as u32, ..start }))
}

/// Where the log of a new store begins.
pub(super) const START: LogPoint = LogPoint { segment: 1, offset: 0, frame: 1, chain: 0 };

/// Segments that are kept open for reading.
const OPEN_SEGMENTS: usize = 64;
/// Bytes that are made durable at once, but for the last frame among them.
const BATCH_BYTES: usize = 8 << 20;
/// Zeros that are written at once.
const AHEAD: u64 = 256 << 10;
/// Zeros that are left when more are written.
const LEAST_AHEAD: u64 = 64 << 10;
/// Bytes of a write that is small.
const SMALL: u64 = 32 << 10;
/// How often a full disk is looked at again.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// What the log's thread works with.
struct Writer {
    shared: Arc<Shared>,
    settings: LogSettings,
    file: File,
    /// Where the next frame goes.
    end: LogPoint,
    /// The last frame that is durable.
    durable: u64,
    /// Up to here the segment was filled with zeros, if that is behind its end.
    zeroed: u64,
    zeros: Vec<u8>,
    /// Frames that are finished and not yet written; they go to `end`.
    buffer: Vec<u8>,
    finished: Vec<(Waiting, LogPoint)>,
    on_durable: OnDurable,
}

impl Writer {
    fn run(&mut self) {
        let mut batch = VecDeque::new();
        loop {
            let mut queue = self.shared.queue();
            while queue.waiting.is_empty() && !queue.closed {
                queue = self.shared.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut batch, &mut queue.waiting);
            drop(queue);
            if batch.is_empty() {
                return self.end();
            }
            let written = self.write(&mut batch).and_then(|bytes| self.prepare(bytes));
            if let Err(error) = written {
                return self.fail(&error, batch);
            }
        }
    }

    /// Fills what comes next with zeros, unless somebody waits. Not after a write of this many bytes, if they are
    /// many: what takes time then is the bytes, and zeros would double them.
    fn prepare(&mut self, written: u64) -> io::Result<()> {
        let end = u64::from(self.end.offset);
        let most = self.settings.segment_bytes.max(end);
        let is_enough = self.zeroed.saturating_sub(end) >= LEAST_AHEAD.min(most - end);
        if is_enough || written > SMALL || !self.shared.is_idle() {
            return Ok(());
        }
        // Not over the seal.
        let from = self.zeroed.max(end + SEAL as u64);
        let to = most.min(end + AHEAD);
        let zeros = &self.zeros[..usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        match self.file.write_all_at(zeros, from) {
            // What is to be written waits for room itself.
            Err(error) if is_no_space(&error) => return Ok(()),
            other => other?,
        }
        self.file.sync_data()?;
        self.zeroed = to;
        Ok(())
    }

    /// Makes a batch durable. Returns its bytes.
    fn write(&mut self, batch: &mut VecDeque<Waiting>) -> io::Result<u64> {
        let mut written = 0;
        // A frame stays in the batch until it has a place: when there is none, whoever waits for it is told.
        while let Some(waiting) = batch.front() {
            let bytes = (waiting.entries.bytes.len() + FRAME_TAIL) as u64;
            if !self.has_room_for(bytes) {
                self.flush()?;
                if !self.has_room_for(bytes) {
                    self.roll()?;
                }
            }
            written += bytes;
            let Some(waiting) = batch.pop_front() else { break };
            self.finish(waiting);
            if self.buffer.len() >= BATCH_BYTES {
                self.flush()?;
            }
        }
        self.flush()?;
        Ok(written)
    }

    /// Whether a frame fits into the segment. One that fits into none has one of its own.
    fn has_room_for(&self, bytes: u64) -> bool {
        let end = u64::from(self.end.offset) + self.buffer.len() as u64;
        let is_empty = end == SEGMENT_HEAD as u64;
        is_empty || end + bytes + SEAL as u64 <= self.settings.segment_bytes
    }

    /// Numbers a frame, chains it, and tells its changes where they stand.
    fn finish(&mut self, mut waiting: Waiting) {
        let before = self.finished.last().map_or(self.end, |(_, end)| *end);
        let frame = &mut waiting.entries.bytes;
        let chain = finish_frame(frame, before.frame, self.durable, before.chain);
        for change in &mut waiting.entries.changes {
            if let Change::Appended { at, .. } | Change::Checkpointed { at, .. } = change {
                *at = Position { segment: before.segment, offset: at.offset + before.offset, ..*at };
            }
        }
        self.buffer.extend_from_slice(frame);
        let offset = u32::try_from(before.offset as usize + frame.len()).unwrap_or(u32::MAX);
        let end = LogPoint { segment: before.segment, offset, frame: before.frame + 1, chain };
        self.finished.push((waiting, end));
    }

    /// Writes what is finished, makes it durable, says so behind it, and answers.
    fn flush(&mut self) -> io::Result<()> {
        let Some((_, end)) = self.finished.last() else { return Ok(()) };
        let end = *end;
        let (file, at) = (&self.file, u64::from(self.end.offset));
        let buffer = &self.buffer;
        waiting_for_room(&self.shared, || file.write_all_at(buffer, at))?;
        self.file.sync_data()?;
        self.shared.count(self.finished.len(), buffer.len());
        self.end = end;
        self.durable = end.frame - 1;
        self.buffer.clear();
        self.seal()?;
        let mut sizes = self.shared.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.insert(end.segment, u64::from(end.offset));
        drop(sizes);
        for (waiting, end) in self.finished.drain(..) {
            let Waiting { entries, ticket, done } = waiting;
            (self.on_durable)(Durable { ticket, changes: entries.changes, end });
            // Whoever asked may have gone.
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    /// Says behind the last frame that it is durable. The next frame goes over it.
    fn seal(&self) -> io::Result<()> {
        let seal = Seal { number: self.durable, chain: self.end.chain }.encode();
        match self.file.write_all_at(&seal, u64::from(self.end.offset)) {
            // It is only there to tell damage from a torn tail.
            Err(error) if is_no_space(&error) => Ok(()),
            other => other,
        }
    }

    fn roll(&mut self) -> io::Result<()> {
        let start = LogPoint { segment: self.end.segment + 1, offset: 0, ..self.end };
        let settings = &self.settings;
        let (file, end) = waiting_for_room(&self.shared, || begin_segment(settings, start))?;
        (self.file, self.end, self.zeroed) = (file, end, 0);
        Ok(())
    }

    /// Nothing more comes. The file ends behind the seal.
    fn end(&mut self) {
        let length = u64::from(self.end.offset) + SEAL as u64;
        let cut = if self.zeroed > length { self.file.set_len(length) } else { Ok(()) };
        if let Err(error) = cut.and_then(|()| self.file.sync_all()) {
            self.fail(&error, VecDeque::new());
        }
    }

    fn fail(&mut self, error: &io::Error, rest: VecDeque<Waiting>) {
        tracing::error!(%error, file = %segment_path(&self.settings.dir, self.end.segment).display(), "the log cannot be written");
        let failure = StoreError::failed(format!("the log cannot be written: {error}"));
        let mut queue = self.shared.queue();
        queue.failed = Some(failure.clone());
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        let finished = self.finished.drain(..).map(|(waiting, _)| waiting);
        for waiting in finished.chain(rest).chain(waiting) {
            let _ = waiting.done.send(Err(failure.clone()));
        }
    }
}

/// Does it again and again while there is no space. Gives up when the log is closed.
fn waiting_for_room<T>(shared: &Shared, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if is_no_space(&error) => {
                if !shared.is_full.swap(true, Ordering::AcqRel) {
                    tracing::warn!("the disk is full: nothing is accepted until there is room");
                }
                let queue = shared.queue();
                if queue.closed {
                    return Err(error);
                }
                drop(shared.arrived.wait_timeout(queue, FULL_RETRY).unwrap_or_else(PoisonError::into_inner));
            }
            other => {
                if shared.is_full.swap(false, Ordering::AcqRel) {
                    tracing::info!("there is room on the disk again");
                }
                return other;
            }
        }
    }
}

/// A full disk, or a quota that is used up.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The log's directory, for those who look at it from outside.
impl Log {
    pub(super) fn dir(&self) -> &Path {
        &self.shared.dir
    }
}

/// The room that every frame's entries leave for its head.
pub(super) fn frame_entries() -> Entries {
    Entries::after(FRAME_HEAD)
}
