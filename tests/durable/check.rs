//! Asks a store everything, and compares it with what it must hold.

use std::fmt::{Debug, Write as _};
use std::ops::RangeInclusive;

use a2a_webcap::model::{Id, TaskState};
use a2a_webcap::store::{ListFilter, PageRequest, ReadLimit, SendKey, Store, StoreError, TaskRow};

use crate::history::{AGENT, CONTEXTS, History, NOW, OWNERS, mark};
use crate::model::{Kept, Model, fold, place};

/// Finds out which groups of a history a store holds: the first `n`, all of each and nothing of a later one.
///
/// # Errors
/// What is wrong, if that is no number within `may`.
pub(crate) async fn groups_held(
    store: &dyn Store,
    history: &History,
    may: RangeInclusive<usize>,
) -> Result<usize, String> {
    let mut marked = 0;
    for (number, step) in (1..).zip(&history.steps) {
        let leaves = step.group.remembered.iter().any(|answer| answer.key == mark(number));
        if leaves && remembers(store, mark(number)).await? {
            marked = number;
        }
    }
    // Groups after the last mark leave none. They are told apart by what else they have changed.
    let (mut wrong, mut held) = (String::new(), None);
    for number in marked..history.after.len() {
        let step = (number > marked).then(|| &history.steps[number - 1]);
        if step.is_some_and(|step| step.group.remembered.iter().any(|answer| answer.key == mark(number))) {
            break;
        }
        match compare(store, history, number).await {
            Ok(()) if may.contains(&number) => return Ok(number),
            // The next one may have changed nothing that can be seen.
            Ok(()) => held = Some(number),
            Err(reason) => write!(wrong, "\n  not {number} groups: {reason}").expect("a string takes it"),
        }
    }
    Err(match held {
        Some(number) => format!("it holds {number} groups, but must hold {may:?}"),
        None => format!("it must hold {may:?} groups, and holds no number of whole ones:{wrong}"),
    })
}

async fn remembers(store: &dyn Store, key: SendKey) -> Result<bool, String> {
    Ok(store.remembered(&key, NOW).await.map_err(|error| format!("remembered: {error}"))?.is_some())
}

/// Whether a store holds exactly the first `groups` of a history.
pub(crate) async fn compare(store: &dyn Store, history: &History, groups: usize) -> Result<(), String> {
    let (model, all) = (&history.after[groups], history.after.last().expect("one at least"));
    answers(store, model, all).await?;
    for kept in model.tasks.values() {
        task(store, kept).await?;
    }
    // Some of those that have gone lately, and all that are yet to come.
    let gone = model.gone.iter().rev().take(8);
    let to_come = all.tasks.keys().filter(|id| !model.tasks.contains_key(*id));
    for id in gone.chain(to_come) {
        absent(store, id).await?;
    }
    lists(store, model).await?;
    let mut open: Vec<_> = model.tasks.values().map(|kept| &kept.row).collect();
    open.retain(|row| !row.state.is_terminal());
    let found = store.unfinished(None, usize::MAX).await.map_err(|error| format!("unfinished: {error}"))?;
    same("the unfinished tasks", &found.iter().collect::<Vec<_>>(), &open)
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(400).collect::<String>();
    Err(format!("{what}: found {}, expected {}", short(found), short(expected)))
}

async fn answers(store: &dyn Store, model: &Model, all: &Model) -> Result<(), String> {
    for (key, one) in &all.answers {
        let found = store.remembered(&SendKey(*key), NOW).await;
        let found = found.map_err(|error| format!("remembered: {error}"))?;
        let expected = model.answers.get(key);
        if found.is_none() && expected.is_some_and(|answer| model.is_stale(answer)) {
            continue;
        }
        let parts = |answer: &a2a_webcap::store::Remembered| {
            (answer.key, answer.digest, answer.answer.clone(), answer.expires)
        };
        same("an answer", &found.as_ref().map(parts), &expected.map(|answer| parts(answer)))?;
        let later = store.remembered(&SendKey(*key), one.expires).await;
        let later = later.map_err(|error| format!("remembered: {error}"))?;
        same("an expired answer is there", &later.is_some(), &false)?;
    }
    Ok(())
}

async fn task(store: &dyn Store, kept: &Kept) -> Result<(), String> {
    let id = &kept.row.id;
    let stored = store.load(id).await.map_err(|error| format!("load of {id}: {error}"))?;
    let stored = stored.ok_or_else(|| format!("{id} is lost"))?;
    same("a row", &stored.row, &kept.row)?;
    match &stored.checkpoint {
        Some(checkpoint) => {
            let seq = checkpoint.seq;
            same(&format!("the checkpoint of {id}"), checkpoint, &fold(&kept.row, seq))?;
            let may = kept.folded.max(1)..=kept.row.last_seq;
            same(&format!("{id} has a checkpoint at {seq}, within {may:?}"), &may.contains(&seq), &true)?;
        }
        None => same(&format!("{id} needs a checkpoint at"), &0, &kept.folded)?,
    }
    events(store, kept).await?;
    let found = store.push_configs(id).await.map_err(|error| format!("webhooks of {id}: {error}"))?;
    same("the webhooks", &found, &kept.push.values().cloned().collect())
}

async fn events(store: &dyn Store, kept: &Kept) -> Result<(), String> {
    let id = &kept.row.id;
    if kept.oldest > 1 {
        match store.read(id, kept.oldest - 2, ReadLimit { events: 1, bytes: 1 }).await {
            Err(StoreError::Gap { oldest }) => same("the oldest number", &oldest, &kept.oldest)?,
            other => return Err(format!("{id} is cut at {}: {other:?}", kept.oldest)),
        }
    }
    let mut after = kept.oldest - 1;
    for part in kept.events.chunks(10) {
        // A few at a time: that is how they are read, and a place in the middle must be found too.
        let mut expected = part;
        while !expected.is_empty() {
            let limit = ReadLimit { events: expected.len(), bytes: 1 << 20 };
            let found = store.read(id, after, limit).await;
            let found = found.map_err(|error| format!("{id} after {after}: {error}"))?;
            if found.is_empty() || found.len() > expected.len() {
                return Err(format!("{id} after {after}: {} of {} events", found.len(), expected.len()));
            }
            let (now, later) = expected.split_at(found.len());
            same(&format!("the events of {id} after {after}"), &found.as_slice(), &now)?;
            (expected, after) = (later, after + found.len() as u64);
        }
    }
    let beyond = store.read(id, kept.row.last_seq, ReadLimit { events: 9, bytes: 1 << 20 }).await;
    same("events after the last", &beyond.map_err(|error| error.to_string())?.len(), &0)
}

async fn absent(store: &dyn Store, id: &Id) -> Result<(), String> {
    let load = store.load(id).await.map_err(|error| format!("load of the absent {id}: {error}"))?;
    if let Some(stored) = load {
        return Err(format!("{id} is there: {:?}", stored.row));
    }
    match store.read(id, 0, ReadLimit { events: 1, bytes: 1 }).await {
        Err(StoreError::NotFound) => Ok(()),
        other => Err(format!("a read of the absent {id}: {other:?}")),
    }
}

async fn lists(store: &dyn Store, model: &Model) -> Result<(), String> {
    for owner in OWNERS {
        let all = ListFilter {
            agent: AGENT.into(),
            owner: owner.into(),
            context: None,
            state: None,
            status_since: None,
        };
        list(store, model, &all).await?;
        for state in [TaskState::Working, TaskState::Completed, TaskState::InputRequired] {
            list(store, model, &ListFilter { state: Some(state), ..all.clone() }).await?;
        }
        let context = Some(format!("context-{}", model.tasks.len() % CONTEXTS).into());
        list(store, model, &ListFilter { context, ..all.clone() }).await?;
        let rows = model.list(&all);
        let status_since = rows.get(rows.len() / 2).map(|row| row.status_timestamp);
        list(store, model, &ListFilter { status_since, ..all }).await?;
    }
    Ok(())
}

async fn list(store: &dyn Store, model: &Model, filter: &ListFilter) -> Result<(), String> {
    let expected = model.list(filter);
    let (mut found, mut after) = (Vec::<TaskRow>::new(), None);
    loop {
        let page = store.list(filter, &PageRequest { after, size: 7 }).await;
        let page = page.map_err(|error| format!("list of {filter:?}: {error}"))?;
        same(&format!("the total of {filter:?}"), &page.total, &(expected.len() as u64))?;
        found.extend(page.rows);
        if found.len() > expected.len() {
            break;
        }
        let Some(next) = page.next else { break };
        same("the cursor", &Some(&next), &found.last().map(place).as_ref())?;
        after = Some(next);
    }
    same(&format!("the list of {filter:?}"), &found.iter().collect::<Vec<_>>(), &expected)
}
