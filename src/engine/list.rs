//! Listing by A2A's rules (A2A 1.0.1, 3.1.4): cursor pages, newest status first, only the caller's tasks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::feed::store_fault;
use super::{Engine, Scope, fold};
use crate::fault::Fault;
use crate::model::{Id, ListTasksRequest, ListTasksResponse, TaskState, Timestamp};
use crate::store::{Cursor, ListFilter, PageRequest};

impl Engine {
    /// One page of the caller's tasks.
    ///
    /// # Errors
    /// [`FaultKind::InvalidParams`](crate::fault::FaultKind::InvalidParams) if the page size is out of range, or
    /// the page token is not one that a list with the same filter has given.
    pub async fn list(&self, scope: &Scope, request: &ListTasksRequest) -> Result<ListTasksResponse, Fault> {
        request.validate()?;
        let filter = ListFilter {
            agent: scope.agent.clone(),
            owner: scope.owner.key.clone(),
            context: request.context_id.clone(),
            state: request.status.filter(|state| *state != TaskState::Unspecified),
            status_since: request.status_timestamp_after,
        };
        let page_size = request.effective_page_size();
        let token = request.page_token.as_deref().filter(|token| !token.is_empty());
        let after = token.map(|token| read_token(token, &filter)).transpose()?;
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        let page = self.store.list(&filter, &PageRequest { after, size }).await.map_err(store_fault)?;
        let artifacts = request.include_artifacts == Some(true);
        let found = page.rows.into_iter().map(|row| async move { self.present(&row.id).await });
        let found: Vec<_> = stream::iter(found).buffered(AT_ONCE).try_collect().await?;
        // A task that was taken away in the meantime is left out.
        let found = found.iter().flatten();
        let tasks = found.map(|task| fold::view(task, request.history_length, artifacts)).collect();
        let next_page_token = page.next.map_or_else(String::new, |next| write_token(&next, &filter));
        let total_size = u32::try_from(page.total).unwrap_or(u32::MAX);
        Ok(ListTasksResponse { tasks, next_page_token, page_size, total_size })
    }
}

/// A page token: version, checksum of the rest and the filter, time, id; in URL-safe base64. The checksum
/// finds tokens that are damaged or of another list. A forged one opens nothing: it is only a place in
/// the caller's own list.
fn write_token(cursor: &Cursor, filter: &ListFilter) -> String {
    let place = [&cursor.status_timestamp.unix_nanos().to_le_bytes()[..], cursor.id.as_bytes()].concat();
    let token = [&[VERSION][..], &checksum(&place, filter).to_le_bytes(), &place].concat();
    URL_SAFE_NO_PAD.encode(token)
}

fn read_token(token: &str, filter: &ListFilter) -> Result<Cursor, Fault> {
    let refused =
        || Fault::invalid("pageToken", "is not a token that this list has given; begin without one");
    if token.len() > MAX_TOKEN_BYTES {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let Some((&[VERSION, ref sum @ ..], place)) = bytes.split_first_chunk::<5>() else {
        return Err(refused());
    };
    let Some((time, id)) = place.split_first_chunk::<8>() else { return Err(refused()) };
    if checksum(place, filter).to_le_bytes() != *sum {
        return Err(refused());
    }
    let id = std::str::from_utf8(id).map_err(|_| refused())?;
    Ok(Cursor { status_timestamp: Timestamp::from_unix_nanos(i64::from_le_bytes(*time)), id: Id::from(id) })
}

fn checksum(place: &[u8], filter: &ListFilter) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for text in [Some(&filter.agent), Some(&filter.owner), filter.context.as_ref()] {
        let text = text.map_or("", |text| &**text);
        sum.update(&(text.len() as u64).to_le_bytes());
        sum.update(text.as_bytes());
    }
    sum.update(&[filter.state.map_or(0, |state| state as u8)]);
    sum.update(&filter.status_since.map_or(i64::MIN, Timestamp::unix_nanos).to_le_bytes());
    sum.update(place);
    sum.finalize()
}

const VERSION: u8 = 1;
/// Tasks of a page that are loaded at a time.
const AT_ONCE: usize = 8;
/// An id has at most 512 bytes.
const MAX_TOKEN_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskState;

    fn filter() -> ListFilter {
        ListFilter { agent: "a".into(), owner: "o".into(), context: None, state: None, status_since: None }
    }

    #[test]
    fn a_token_leads_back_to_its_place() {
        let cursor = Cursor { status_timestamp: Timestamp::from_unix_nanos(-5), id: "task".into() };
        let token = write_token(&cursor, &filter());
        assert_eq!(read_token(&token, &filter()), Ok(cursor));
    }

    #[test]
    fn a_damaged_token_and_one_of_another_list_are_refused() {
        let cursor = Cursor { status_timestamp: Timestamp::from_unix_nanos(5), id: "task".into() };
        let token = write_token(&cursor, &filter());
        let other = ListFilter { state: Some(TaskState::Working), ..filter() };
        assert!(read_token(&token, &other).is_err());
        for damaged in ["", "!", "AAAA", &token[1..], &token[..token.len() - 2], &"A".repeat(5_000)] {
            assert!(read_token(damaged, &filter()).is_err(), "{damaged}");
        }
    }
}
