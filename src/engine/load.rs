//! Tasks from the store: the fold of a checkpoint and the events after it.

use std::sync::Arc;

use super::feed::store_fault;
use super::fold::Fold;
use crate::fault::Fault;
use crate::store::{ReadLimit, Store, StoreError, Stored};

/// What a load reads at once.
pub(super) const LOAD: ReadLimit = ReadLimit { events: 1_024, bytes: 1 << 20 };

/// The task as it is after its row's last number.
pub(super) async fn folded(store: &dyn Store, stored: &Stored) -> Result<Fold, Fault> {
    let folded = match fold(store, stored).await {
        // Retention has cut the events since the task was looked up. What they said is in its checkpoint now.
        Err(StoreError::Gap { .. }) => {
            let again = store.load(&stored.row.id).await.map_err(store_fault)?;
            fold(store, &again.ok_or_else(Fault::task_not_found)?).await
        }
        folded => folded,
    };
    folded.map_err(store_fault)
}

async fn fold(store: &dyn Store, stored: &Stored) -> Result<Fold, StoreError> {
    let row = &stored.row;
    let mut fold = stored.checkpoint.as_ref().map(|point| Fold::resume(Arc::clone(&point.task)));
    let mut seq = stored.checkpoint.as_ref().map_or(0, |point| point.seq);
    while seq < row.last_seq {
        let events = store.read(&row.id, seq, LOAD).await?;
        let Some(last) = events.last() else { break };
        seq = last.seq;
        for event in &events {
            match &mut fold {
                Some(fold) => fold.apply(event),
                none => *none = Fold::open(event),
            }
        }
    }
    fold.ok_or_else(|| StoreError::failed("a task without a first event"))
}
