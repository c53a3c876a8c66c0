//! What the clients know, kept outside of the server: what was sent, what was answered, what was seen. Whatever
//! the server says later has to fit to it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use a2a_webcap::client::TaskEvent;
use a2a_webcap::model::{StreamResponse, TaskState};
use tokio::sync::watch;

/// The ledger. Clones share it.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Shared>);

struct Shared {
    book: Mutex<Book>,
    events: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    tasks: BTreeMap<String, Seen>,
    /// Messages that opened a task, by their context; each has a context of its own.
    sends: BTreeMap<String, Sent>,
    /// Tasks of which something was seen since the last audit.
    moved: BTreeSet<String>,
    wrong: Vec<String>,
    counts: Counts,
}

/// A send that was to open a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) who: usize,
    /// Whether it was answered.
    pub(crate) acked: bool,
    /// Which task it has made, if that was seen.
    pub(crate) task: Option<String>,
}

/// What was seen of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) who: usize,
    pub(crate) context: String,
    /// One for each event, from 1 on.
    digests: Vec<u64>,
    /// The state that its last status event says.
    pub(crate) state: Option<TaskState>,
    /// Whether a cancel was answered.
    pub(crate) canceled: bool,
    /// Messages into the task that were answered.
    pub(crate) follow_ups: BTreeSet<String>,
}

impl Seen {
    /// The last event that somebody has seen.
    pub(crate) fn last(&self) -> u64 {
        self.digests.len() as u64
    }
}

/// How much has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sends: u64,
    pub(crate) acked: u64,
    pub(crate) repeated: u64,
    pub(crate) events: u64,
    pub(crate) resumed: u64,
    pub(crate) canceled: u64,
    pub(crate) follow_ups: u64,
    pub(crate) audited: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { book: Mutex::default(), events: watch::Sender::new(0) }))
    }

    /// A message goes out, for the first time or again.
    pub(crate) fn sends(&self, context: &str, who: usize) {
        let mut book = self.book();
        book.counts.sends += 1;
        if book.sends.contains_key(context) {
            book.counts.repeated += 1;
        } else {
            book.sends.insert(context.to_owned(), Sent { who, ..Sent::default() });
        }
    }

    /// A send was answered; with the task, if the answer names it.
    pub(crate) fn acked(&self, context: &str, task: Option<&str>) {
        let mut book = self.book();
        let Some(sent) = book.sends.get_mut(context) else { return };
        let first = !std::mem::replace(&mut sent.acked, true);
        book.counts.acked += u64::from(first);
        if let Some(task) = task {
            book.names(context, task);
        }
    }

    /// A message into a task was answered.
    pub(crate) fn follow_up_acked(&self, task: &str, message: &str) {
        let mut book = self.book();
        book.counts.follow_ups += 1;
        book.tasks.entry(task.to_owned()).or_default().follow_ups.insert(message.to_owned());
    }

    pub(crate) fn canceled(&self, task: &str) {
        let mut book = self.book();
        book.counts.canceled += 1;
        book.tasks.entry(task.to_owned()).or_default().canceled = true;
    }

    /// A subscription goes on where another one was cut.
    pub(crate) fn resumes(&self) {
        self.book().counts.resumed += 1;
    }

    /// Somebody was given an event.
    pub(crate) fn saw(&self, event: &TaskEvent) {
        let Some(task) = event.task_id() else { return };
        let mut book = self.book();
        book.counts.events += 1;
        match &event.content {
            StreamResponse::StatusUpdate(update) => book.names(&update.context_id, task),
            StreamResponse::ArtifactUpdate(update) => book.names(&update.context_id, task),
            // A snapshot has no number of its own.
            _ => return,
        }
        let digest = digest(&event.content);
        let seen = book.tasks.get_mut(task).expect("it has a name now");
        let before = seen.last();
        let problem = match usize::try_from(event.seq).expect("few events").checked_sub(1) {
            None => Some("an event has the number 0".to_owned()),
            Some(at) if at > seen.digests.len() => {
                Some(format!("event {} was given before event {}", event.seq, before + 1))
            }
            Some(at) if at == seen.digests.len() => {
                seen.digests.push(digest);
                None
            }
            Some(at) => (seen.digests[at] != digest)
                .then(|| format!("event {} was another one before: now {:?}", event.seq, event.content)),
        };
        if event.seq == seen.last() {
            seen.state = event.state().or(seen.state);
        }
        if seen.last() > before {
            book.moved.insert(task.to_owned());
        }
        if let Some(problem) = problem {
            book.wrong.push(format!("{task}: {problem}"));
        }
        drop(book);
        self.0.events.send_modify(|events| *events += 1);
    }

    /// Something that must not be.
    pub(crate) fn wrong(&self, what: String) {
        eprintln!("WRONG: {what}");
        self.book().wrong.push(what);
    }

    pub(crate) fn assert_right(&self) {
        let book = self.book();
        assert!(book.wrong.is_empty(), "{} things are wrong:\n{}", book.wrong.len(), book.wrong.join("\n"));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book().counts
    }

    /// Waits until so many more events have come.
    pub(crate) async fn events(&self, more: u64) {
        let mut events = self.0.events.subscribe();
        let goal = *events.borrow() + more;
        events.wait_for(|events| *events >= goal).await.expect("the ledger lives");
    }

    pub(crate) fn task(&self, id: &str) -> Option<Seen> {
        self.book().tasks.get(id).cloned()
    }

    pub(crate) fn tasks(&self) -> BTreeMap<String, Seen> {
        self.book().tasks.clone()
    }

    pub(crate) fn all_sends(&self) -> BTreeMap<String, Sent> {
        self.book().sends.clone()
    }

    /// The tasks that something has happened to since this was last asked.
    pub(crate) fn take_moved(&self) -> BTreeMap<String, Seen> {
        let mut book = self.book();
        let moved = std::mem::take(&mut book.moved);
        book.counts.audited += moved.len() as u64;
        moved.into_iter().filter_map(|id| Some((id.clone(), book.tasks.get(&id)?.clone()))).collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The send with this context has made this task, and no other.
    fn names(&mut self, context: &str, task: &str) {
        let who = match self.sends.get_mut(context) {
            Some(sent) => {
                let known = sent.task.get_or_insert_with(|| task.to_owned());
                if known != task {
                    self.wrong.push(format!("one send has made two tasks: {known} and {task}"));
                }
                sent.who
            }
            None => {
                self.wrong.push(format!("task {task} is of a context that nobody has named: {context}"));
                0
            }
        };
        let seen = self.tasks.entry(task.to_owned()).or_default();
        (seen.who, seen.context) = (who, context.to_owned());
    }
}

fn digest(content: &StreamResponse) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(content).expect("JSON has everything").hash(&mut hasher);
    hasher.finish()
}
