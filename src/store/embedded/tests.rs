//! The store as a whole: what survives a restart, a cut, a flipped bit and a second process.

use std::sync::Arc;

use super::*;
use crate::model::{TaskState, TaskStatus, TaskStatusUpdateEvent, Update, fresh_id};
use crate::store::conformance::{self, Bench};

/// A directory that is removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("a2a-webcap-{}", fresh_id()));
        Self(dir)
    }

    fn open(&self) -> EmbeddedStore {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<EmbeddedStore, OpenError> {
        EmbeddedStore::open(&self.0, &limits(), &Clock::system())
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(self.0.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn limits() -> StoreLimits {
    StoreLimits { segment_bytes: 64 << 10, reserve_bytes: 0, checkpoint_events: 1, ..StoreLimits::default() }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn seqs(store: &dyn Store, id: &str) -> Vec<u64> {
    let limit = ReadLimit { events: 10_000, bytes: 1 << 24 };
    let events = store.read(&id.into(), 0, limit).await.unwrap();
    events.iter().map(|event| event.seq).collect()
}

/// What a power loss can leave of a segment that was just made: its name, and whatever the disk held there before.
#[tokio::test]
async fn a_last_segment_that_holds_only_the_head_of_another_one_was_never_begun() {
    let place = Place::new();
    let store = place.open();
    conformance::finish(&store, "one").await;
    drop(store);
    let first = place.segments()[0].clone();
    let head = std::fs::read(&first).unwrap()[..frame::SEGMENT_HEAD].to_vec();
    let second = segment_path(&place.0.join("log"), 2);
    std::fs::write(&second, [&head[..], b"x"].concat()).unwrap();
    let refused = place.try_open().unwrap_err().to_string();
    assert!(refused.contains("belongs to another store or another place"), "{refused}");
    std::fs::write(&second, head).unwrap();
    let store = place.open();
    assert_eq!(seqs(&store, "one").await, [1, 2]);
    assert_eq!(place.segments(), [first]);
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_without_a_close() {
    let place = Place::new();
    let store = place.open();
    for id in ["one", "two", "three"] {
        conformance::finish(&store, id).await;
    }
    conformance::delete(&store, "two").await;
    drop(store);
    let store = place.open();
    assert_eq!(store.recovery().frames, 4);
    assert_eq!(store.recovery().truncated_bytes, 0);
    assert_eq!(seqs(&store, "one").await, [1, 2]);
    assert!(store.load(&"two".into()).await.unwrap().is_none());
    conformance::finish(&store, "four").await;
    store.close().await.unwrap();
    let store = place.open();
    assert_eq!(seqs(&store, "three").await, [1, 2]);
    assert_eq!(seqs(&store, "four").await, [1, 2]);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_until_it_is_free() {
    let place = Place::new();
    let store = place.open();
    assert!(matches!(place.try_open(), Err(OpenError::InUse { .. })));
    store.close().await.unwrap();
    assert!(place.try_open().is_ok());
}

#[tokio::test]
async fn a_newer_format_and_a_foreign_directory_are_refused() {
    let place = Place::new();
    drop(place.open());
    let text = format!("a2a-webcap store, format 2\nid {:032x}", 7);
    let sum = crc32fast::hash(text.as_bytes());
    std::fs::write(place.0.join("FORMAT"), format!("{text}\nsum {sum:08x}\n")).unwrap();
    assert!(matches!(place.try_open(), Err(OpenError::NewerFormat { found: 2, known: 1 })));
    std::fs::remove_file(place.0.join("FORMAT")).unwrap();
    std::fs::write(place.0.join("letter.txt"), "dear all").unwrap();
    assert!(matches!(place.try_open(), Err(OpenError::NotAStore { .. })));
}

/// A few groups; the file they are in, and where each ends.
async fn few_groups(place: &Place) -> (PathBuf, Vec<usize>) {
    let store = place.open();
    let file = place.segments().pop().unwrap();
    let end = || usize::try_from(inspect(&place.0).unwrap().bytes).unwrap();
    let mut ends = vec![end()];
    for n in 0..5 {
        conformance::finish(&store, &format!("task {n}")).await;
        ends.push(end());
    }
    (file, ends)
}

#[tokio::test]
async fn a_cut_anywhere_leaves_every_whole_batch_before_it() {
    let place = Place::new();
    let (file, ends) = few_groups(&place).await;
    let whole = std::fs::read(&file).unwrap();
    std::fs::remove_dir_all(place.0.join("catalog")).ok();
    for cut in (ends[0]..whole.len()).step_by(7) {
        let mut torn = whole[..cut].to_vec();
        if cut % 2 == 0 {
            // Torn where it was to go over zeros.
            torn.resize(whole.len() + 10_000, 0);
        }
        std::fs::write(&file, &torn).unwrap();
        let expected = ends[1..].iter().filter(|end| **end <= cut).count();
        let store = place.open();
        for n in 0..5 {
            let there = store.load(&format!("task {n}").into()).await.unwrap().is_some();
            assert_eq!(there, n < expected, "task {n} after a cut at {cut}");
        }
        conformance::finish(&store, "another").await;
        assert_eq!(seqs(&store, "another").await, [1, 2]);
    }
}

#[tokio::test]
async fn a_flipped_bit_in_what_was_durable_is_refused() {
    let place = Place::new();
    let (file, ends) = few_groups(&place).await;
    let mut whole = std::fs::read(&file).unwrap();
    assert_eq!(whole.len(), ends[5] + frame::SEAL);
    whole.resize(whole.len() + 100, 0);
    for at in (0..whole.len()).step_by(3) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&file, &flipped).unwrap();
        match place.try_open() {
            Err(OpenError::Damaged { .. }) => assert!(at < ends[5], "{at}"),
            // The seal itself, or what is to be written over: everything is there.
            Ok(store) => {
                assert!(at >= ends[5], "{at}");
                assert_eq!(seqs(&store, "task 4").await, [1, 2]);
            }
            Err(error) => panic!("{at}: {error}"),
        }
        assert!(at >= ends[5] || std::fs::read(&file).unwrap() == flipped, "nothing was changed");
    }
}

#[tokio::test]
async fn the_log_goes_over_zeros_that_are_no_part_of_it() {
    let place = Place::new();
    let store = place.open();
    conformance::finish(&store, "one").await;
    let file = place.segments().pop().unwrap();
    let zeroed = || std::fs::read(&file).unwrap().len();
    // They are written when nobody waits any more, and a segment is no longer than this.
    let length = usize::try_from(limits().segment_bytes).unwrap();
    let filled = async {
        while zeroed() < length {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), filled).await.expect("zeros behind the end");
    let seen = inspect(&place.0).unwrap();
    assert_eq!((seen.frames, seen.torn_bytes), (1, 0));
    conformance::finish(&store, "two").await;
    assert_eq!(zeroed(), length);
    let copy = Place::new();
    let copied = backup(&place.0, &copy.0).unwrap();
    assert_eq!((copied.frames, copied.bytes), (2, inspect(&place.0).unwrap().bytes));
    store.close().await.unwrap();
    let end = inspect(&place.0).unwrap().bytes;
    assert_eq!(zeroed() as u64, end + frame::SEAL as u64, "what was not needed is given back");
}

/// A file to which a server writes: it has one content when it is read first, and another later.
struct Growing {
    now: std::io::Cursor<Vec<u8>>,
    later: Vec<u8>,
    looks: usize,
}

impl std::io::Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.now.read(buffer)
    }
}

impl std::io::Seek for Growing {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        if matches!(to, std::io::SeekFrom::End(_)) {
            self.looks += 1;
            if self.looks == 2 {
                self.now = std::io::Cursor::new(self.later.clone());
            }
        }
        self.now.seek(to)
    }
}

#[tokio::test]
async fn a_frame_that_is_written_behind_the_reader_is_no_damage() {
    let place = Place::new();
    let (file, ends) = few_groups(&place).await;
    let whole = std::fs::read(&file).unwrap();
    // The fourth came after its place had been read, and the fifth before.
    let mut seen = whole.clone();
    seen[ends[3]..ends[4]].fill(0);
    let growing =
        |later: &[u8]| Growing { now: std::io::Cursor::new(seen.clone()), later: later.to_vec(), looks: 0 };
    let segment = scan::Segment::read(&mut growing(&whole)).unwrap();
    assert_eq!((segment.end.frame, segment.durable), (6, 5));
    assert_eq!(segment.bytes, whole);
    let damaged = scan::Segment::read(&mut growing(&seen)).unwrap();
    assert_eq!((damaged.end.frame, damaged.durable), (4, 5));
}

#[tokio::test]
async fn segments_follow_each_other() {
    let place = Place::new();
    let store = place.open();
    for n in 0..600 {
        conformance::finish(&store, &format!("task {n}")).await;
    }
    assert!(place.segments().len() > 2, "{:?}", place.segments());
    drop(store);
    let store = place.open();
    for n in 0..600 {
        assert_eq!(seqs(&store, &format!("task {n}")).await, [1, 2]);
    }
    drop(store);
    std::fs::remove_file(&place.segments()[1]).unwrap();
    assert!(matches!(place.try_open(), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_segment_that_was_only_begun_is_begun_again() {
    let place = Place::new();
    let store = place.open();
    conformance::finish(&store, "one").await;
    drop(store);
    for left in [&b""[..], b"A2AW", &[0; 48]] {
        std::fs::write(place.0.join("log/0000000002.log"), left).unwrap();
        let store = place.open();
        assert_eq!(seqs(&store, "one").await, [1, 2]);
    }
}

#[tokio::test]
async fn groups_take_effect_in_order_even_if_nobody_waits() {
    let place = Place::new();
    let store = place.open();
    let event = |id: &Id, seq| {
        let status = TaskStatus::new(TaskState::Working, Timestamp::from_unix_nanos(1));
        let update =
            TaskStatusUpdateEvent { task_id: id.clone(), context_id: "c".into(), status, metadata: None };
        Arc::new(Event { seq, update: Update::Status(update), cause: None })
    };
    let id = Id::from("task");
    for seq in 1..=200 {
        let row = TaskRow {
            id: id.clone(),
            context: "c".into(),
            agent: "a".into(),
            owner: "o".into(),
            state: TaskState::Working,
            status_timestamp: Timestamp::from_unix_nanos(1),
            last_seq: seq,
            generation: 1,
            created: Timestamp::from_unix_nanos(0),
        };
        let append = Append { expected: seq - 1, events: vec![event(&id, seq)], row };
        let committing = store.commit(&Group { appends: vec![append], ..Group::default() });
        if seq == 200 {
            committing.await.unwrap();
        }
    }
    assert_eq!(seqs(&store, "task").await, (1..=200).collect::<Vec<_>>());
    assert!(store.inner.staging().last.is_empty());
}

#[tokio::test]
async fn a_backup_while_writing_is_a_prefix_with_everything_answered_before() {
    let (place, copy) = (Place::new(), Place::new());
    let store = Arc::new(place.open());
    for n in 0..100 {
        conformance::finish(&*store, &format!("task {n}")).await;
    }
    let writing = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for n in 100..400 {
            conformance::finish(&*writing, &format!("task {n}")).await;
        }
    });
    tokio::task::yield_now().await;
    let report = backup(&place.0, &copy.0).unwrap();
    writer.await.unwrap();
    assert!(report.frames >= 100, "{report:?}");
    assert!(matches!(restore(&copy.0, &place.0), Err(OpenError::NotAStore { .. })));
    let restored = Place::new();
    restore(&copy.0, &restored.0).unwrap();
    let restored = restored.open();
    let count = restored.recovery().frames;
    assert_eq!(count, report.frames);
    for n in 0..count {
        assert_eq!(seqs(&restored, &format!("task {n}")).await, [1, 2]);
    }
}

#[tokio::test]
async fn an_inspection_changes_nothing_and_tells_what_is_there() {
    let place = Place::new();
    let store = place.open();
    conformance::finish(&store, "one").await;
    let seen = inspect(&place.0).unwrap();
    assert!(seen.in_use);
    assert_eq!((seen.frames, seen.segments, seen.torn_bytes), (1, 1, 0));
    drop(store);
    assert!(!inspect(&place.0).unwrap().in_use);
    assert!(measure_fsync(&place.0, 3).unwrap().worst > Duration::ZERO);
}

/// A store for the conformance suite. Its clock stands, since the cases' times are small numbers.
struct EmbeddedBench {
    store: Option<Arc<EmbeddedStore>>,
    place: Place,
}

impl EmbeddedBench {
    fn open(place: &Place) -> Arc<EmbeddedStore> {
        let clock = Clock::standing_at(Timestamp::from_unix_nanos(i64::MIN));
        Arc::new(EmbeddedStore::open(&place.0, &limits(), &clock).unwrap())
    }

    fn present(&self) -> &Arc<EmbeddedStore> {
        self.store.as_ref().unwrap()
    }
}

#[async_trait]
impl Bench for EmbeddedBench {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.present()) as Arc<dyn Store>
    }

    async fn settle(&mut self) {
        let inner = Arc::clone(&self.present().inner);
        // It waits for the log, which is not to be done where tasks run.
        let settling = std::thread::spawn(move || {
            inner.absorb().unwrap();
            inner.catalog.flush(inner.clock.now()).unwrap();
            inner.catalog.compact().unwrap();
            while inner.collect_oldest().unwrap() {}
        });
        settling.join().unwrap();
    }

    async fn reopen(&mut self) -> bool {
        let store = self.store.take().unwrap();
        assert_eq!(Arc::strong_count(&store), 1, "nobody else holds the store");
        drop(store);
        self.store = Some(Self::open(&self.place));
        true
    }
}

async fn fresh() -> impl Bench {
    let place = Place::new();
    EmbeddedBench { store: Some(EmbeddedBench::open(&place)), place }
}

conformance::suite!(fresh: plain settled reopened rested);
