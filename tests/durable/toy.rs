//! A store that keeps only the numbers of the groups of a known history, with some bytes beside them: enough to
//! be killed, and small enough to be wrong on purpose.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use a2a_webcap::limits::{EngineLimits, Retention};
use a2a_webcap::model::{Event, Id, TaskPushNotificationConfig, TaskState, Timestamp};
use a2a_webcap::store::{
    Checkpoint, Expired, Group, ListFilter, MemoryStore, Page, PageRequest, ReadLimit, Remembered, SendKey,
    Store, StoreError, Stored, TaskRow,
};
use async_trait::async_trait;
use futures::future::{self, BoxFuture, FutureExt as _};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::history::{History, Step};

/// Frames in one file.
const SEGMENT: usize = 16;
/// Groups that a toy can be given.
const MOST: usize = 400;

/// What is wrong with a toy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Vice {
    Nothing,
    /// It acknowledges what it has only written.
    NeverSyncs,
    /// It syncs a new file, but not the directory that the file's name is in.
    ForgetsNames,
    /// It takes every frame that has a length for a whole one.
    Believes,
    /// It acknowledges when a write has failed.
    IgnoresErrors,
}

/// A log of frames: number, length, checksum, as many bytes, which mean nothing but for the number at their end.
pub(crate) struct Toy {
    memory: MemoryStore,
    log: Mutex<Log>,
}

struct Log {
    directory: PathBuf,
    vice: Vice,
    steps: Arc<Vec<Step>>,
    /// Groups that are on the disk.
    held: usize,
    /// What each frame says it is.
    said: Vec<usize>,
    file: Option<File>,
}

impl Toy {
    pub(crate) fn open(directory: &Path, seed: u64, vice: Vice) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        let steps = known(seed);
        let mut log =
            Log { directory: directory.to_owned(), vice, steps, held: 0, said: Vec::new(), file: None };
        log.recover().map_err(|error| error.to_string())?;
        let mut limits = EngineLimits::default();
        limits.memory_finished_tasks = 1 << 20;
        let memory = MemoryStore::new(&limits);
        for said in &log.said {
            let Some(step) = said.checked_sub(1).and_then(|index| log.steps.get(index)) else { continue };
            let done = memory.commit(&step.group).now_or_never().expect("it is ready at once");
            done.map_err(|error| error.to_string())?;
        }
        Ok(Self { memory, log: Mutex::new(log) })
    }
}

/// The groups of a history, which are the same for every toy.
fn known(seed: u64) -> Arc<Vec<Step>> {
    static KNOWN: Mutex<BTreeMap<u64, Arc<Vec<Step>>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().expect("nothing panics under it");
    Arc::clone(known.entry(seed).or_insert_with(|| Arc::new(History::of(seed, MOST).steps)))
}

impl Log {
    fn path(&self, number: usize) -> PathBuf {
        self.directory.join(format!("{:04}.log", number / SEGMENT))
    }

    /// Reads whole frames to the first that is not, cuts off what follows, and begins a new file.
    fn recover(&mut self) -> std::io::Result<()> {
        loop {
            let path = self.path(self.held);
            let Ok(bytes) = fs::read(&path) else { return Ok(()) };
            let (mut at, before) = (0, self.held);
            while let Some(length) = self.frame(&bytes[at..]) {
                at += length;
                // The content ends with the number once more.
                let number = bytes[at - 8..at].try_into().map_or(0, u64::from_le_bytes);
                self.said.push(usize::try_from(number).expect("64 bits"));
                self.held += 1;
            }
            if at < bytes.len() || self.held - before < SEGMENT {
                let file = OpenOptions::new().append(true).open(&path)?;
                file.set_len(at as u64)?;
                file.sync_all()?;
                self.file = Some(file);
                return Ok(());
            }
        }
    }

    /// The length of the frame that this begins with, if it is the next one and whole.
    fn frame(&self, bytes: &[u8]) -> Option<usize> {
        let field = |from: usize| bytes.get(from..from + 8).map(|field| field.try_into().expect("8"));
        let (number, length) = (field(0).map(u64::from_le_bytes)?, field(8).map(u64::from_le_bytes)?);
        let (sum, length) = (field(16).map(u64::from_le_bytes)?, usize::try_from(length).ok()?);
        let content = bytes.get(24..24_usize.checked_add(length)?);
        let is_next = number == self.held as u64 + 1 && self.held < MOST;
        let is_whole = content.is_some_and(|content| checksum(number, content) == sum);
        (is_next && (is_whole || self.vice == Vice::Believes)).then(|| (24 + length).min(bytes.len()))
    }

    fn append(&mut self) -> std::io::Result<()> {
        if self.held.is_multiple_of(SEGMENT) {
            let path = self.path(self.held);
            self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
            if self.vice != Vice::ForgetsNames {
                File::open(&self.directory)?.sync_all()?;
            }
        }
        let number = self.held as u64 + 1;
        let mut dice = Dice::new(number);
        let mut content: Vec<_> = (0..dice.under(3_000)).map(|_| dice.next().to_le_bytes()[0]).collect();
        content.extend(number.to_le_bytes());
        let mut frame = Vec::new();
        frame.extend(number.to_le_bytes());
        frame.extend((content.len() as u64).to_le_bytes());
        frame.extend(checksum(number, &content).to_le_bytes());
        frame.extend(content);
        let mut file = self.file.as_ref().expect("it was opened for the first frame");
        file.write_all(&frame)?;
        if self.vice != Vice::NeverSyncs {
            file.sync_data()?;
        }
        self.held += 1;
        Ok(())
    }
}

fn checksum(number: u64, content: &[u8]) -> u64 {
    content.iter().fold(number ^ 0x5bd1_e995, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(7)
    })
}

#[async_trait]
impl Store for Toy {
    fn describe(&self) -> String {
        "a toy".to_owned()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn commit(&self, group: &Group) -> BoxFuture<'static, Result<(), StoreError>> {
        let mut log = self.log.lock().expect("nothing panics under it");
        if let Err(error) = log.append()
            && log.vice != Vice::IgnoresErrors
        {
            return future::ready(Err(StoreError::failed(error))).boxed();
        }
        self.memory.commit(group)
    }

    fn checkpoint(&self, _: &[Checkpoint]) {}

    async fn read(&self, task: &Id, after: u64, limit: ReadLimit) -> Result<Vec<Arc<Event>>, StoreError> {
        self.memory.read(task, after, limit).await
    }

    async fn load(&self, task: &Id) -> Result<Option<Stored>, StoreError> {
        self.memory.load(task).await
    }

    async fn list(&self, filter: &ListFilter, page: &PageRequest) -> Result<Page, StoreError> {
        self.memory.list(filter, page).await
    }

    async fn remembered(&self, key: &SendKey, now: Timestamp) -> Result<Option<Remembered>, StoreError> {
        self.memory.remembered(key, now).await
    }

    async fn counts(&self) -> Result<BTreeMap<TaskState, u64>, StoreError> {
        self.memory.counts().await
    }

    async fn unfinished(&self, after: Option<&Id>, most: usize) -> Result<Vec<TaskRow>, StoreError> {
        self.memory.unfinished(after, most).await
    }

    async fn expired(
        &self,
        retention: &Retention,
        now: Timestamp,
        most: usize,
    ) -> Result<Expired, StoreError> {
        self.memory.expired(retention, now, most).await
    }

    async fn push_configs(&self, task: &Id) -> Result<Vec<Arc<TaskPushNotificationConfig>>, StoreError> {
        self.memory.push_configs(task).await
    }
}
