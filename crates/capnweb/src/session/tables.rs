//! What a session remembers: entries that the peer holds, entries that it has given, and work that waits.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use crate::Chunk;
use crate::handle::{Local, Remote};
use crate::handle::{Promise, PromiseCell, RemoteInner, Weight};
use crate::value::{Key, Value};

/// What the peer holds.
pub(super) struct Export<T> {
    /// How often it was given; the peer gives that many back.
    pub(super) refs: u64,
    pub(super) held: Held<T>,
    pub(super) pull: Pull,
    /// Whether it goes when its value was sent.
    pub(super) transient: bool,
}

/// Whether the peer was told a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    /// It has not asked.
    No,
    /// It has asked, and waits.
    Owed,
    /// It was told.
    Sent,
}

pub(super) enum Held<T> {
    /// An object, or a promise. Data stands in a promise too, which makes it cheap to share.
    Value(Value<T>),
    /// The writing end of a stream.
    Pipe,
}

/// What the peer has given, or owes.
pub(super) struct Import<T> {
    /// How often it was introduced, which is how many references are given back.
    pub(super) introduced: u64,
    pub(super) handle: Weak<RemoteInner>,
    pub(super) kind: ImportKind<T>,
}

pub(super) enum ImportKind<T> {
    /// An object.
    Object,
    /// A promise of the peer, that resolves by itself.
    Promise(Weak<PromiseCell<T>>),
    /// A call whose result nobody has asked for.
    Pushed,
    /// A call of the host, that waits for its answer.
    Question,
    /// A stream call: its bytes, and what it was sent to.
    Stream(usize, Weak<RemoteInner>),
    /// A call of the peer that was passed back to it.
    Forwarded(Promise<T>),
    /// A call that was answered, and whose result the host may still call.
    Done,
}

/// A call that the host has been asked for, or a promise that it has made.
pub(super) struct Pending<T> {
    pub(super) out: Promise<T>,
    /// Its arguments count as kept until it is answered.
    pub(super) weight: Weight,
}

/// Something that goes on when results are there.
pub(super) struct Work<T> {
    pub(super) task: Task<T>,
    /// For how many results it waits.
    pub(super) remaining: usize,
    /// What it holds meanwhile counts as kept.
    pub(super) weight: Weight,
}

pub(super) enum Task<T> {
    /// A call or a read of something that is not known yet.
    Invoke { path: Vec<Key>, arguments: Option<Arguments<T>>, out: Promise<T> },
    /// A call whose arguments are not known yet.
    Deliver { target: Target<T>, path: Vec<Key>, arguments: Vec<Value<T>>, out: Promise<T> },
    /// A result parts of which are not known yet.
    Settle { value: Value<T>, out: Promise<T> },
    /// An answer to the host parts of which are not known yet.
    Answer { question: i64, value: Value<T> },
    /// A remap of something that is not known yet.
    Remap { plan: super::remap::Plan<T>, out: Promise<T> },
}

pub(super) struct Arguments<T> {
    pub(super) list: Vec<Value<T>>,
    /// Whether some of them are promises.
    pub(super) promises: bool,
}

pub(super) enum Target<T> {
    Local(Local<T>),
    Remote(Remote),
    Pipe(i64),
}

/// A stream that the peer writes.
pub(super) struct Pipe<T> {
    pub(super) stage: Stage,
    /// Chunks that came before the host had the reading end.
    pub(super) early: VecDeque<(Chunk<T>, Promise<T>, Weight)>,
    pub(super) closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody has asked for the reading end.
    New,
    /// The reading end is in a value that the host has not seen yet.
    Taken,
    /// The host has it.
    Open,
    /// The host has dropped it.
    Cancelled,
}

/// Places that are named by a key, which is not used again for what comes later.
pub(super) struct Slab<V> {
    entries: Vec<(u32, Option<V>)>,
    free: Vec<u32>,
}

/// Names a place in a [`Slab`], and the time when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlabKey {
    index: u32,
    generation: u32,
}

impl<T> Export<T> {
    pub(super) fn new(held: Held<T>) -> Self {
        Self { refs: 1, held, pull: Pull::No, transient: false }
    }
}

impl<T> Import<T> {
    pub(super) fn new(handle: Weak<RemoteInner>, kind: ImportKind<T>) -> Self {
        Self { introduced: 1, handle, kind }
    }

    /// Whether the peer has not said yet what the host waits for.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.kind, ImportKind::Question | ImportKind::Stream(..) | ImportKind::Forwarded(_))
    }
}

impl<T> Clone for Target<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Local(local) => Self::Local(local.clone()),
            Self::Remote(remote) => Self::Remote(Remote(Rc::clone(&remote.0))),
            Self::Pipe(id) => Self::Pipe(*id),
        }
    }
}

impl<V> Slab<V> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn insert(&mut self, value: V) -> SlabKey {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.1 = Some(value);
            return SlabKey { index, generation: entry.0 };
        }
        self.entries.push((0, Some(value)));
        let index =
            u32::try_from(self.entries.len() - 1).expect("the limits keep tables far below 2^32 entries");
        SlabKey { index, generation: 0 }
    }

    pub(super) fn get_mut(&mut self, key: SlabKey) -> Option<&mut V> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.0 == key.generation { entry.1.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: SlabKey) -> Option<V> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.0 != key.generation {
            return None;
        }
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<(SlabKey, V)> {
        let keys = (0_u32..).zip(&self.entries).filter(|(_, entry)| entry.1.is_some());
        let keys: Vec<SlabKey> = keys.map(|(index, entry)| SlabKey { index, generation: entry.0 }).collect();
        keys.into_iter().filter_map(|key| Some((key, self.remove(key)?))).collect()
    }
}
