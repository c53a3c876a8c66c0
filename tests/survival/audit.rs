//! Holds what a server has against the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use a2a_webcap::client::Cursor;
use a2a_webcap::client::local::Session;
use a2a_webcap::model::{ListTasksRequest, TaskState};
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::ledger::{Ledger, Seen};
use crate::link::{Ear, Heard, LONGEST_WAIT, Open, WHO};

/// Reads these tasks from their first event on. What was seen of them before has to be there, as it was.
pub(crate) async fn audit(address: SocketAddr, ledger: &Ledger, tasks: &BTreeMap<String, Seen>) {
    let open = Open::new(address).await.expect("a connection");
    let audits = tasks.iter().map(|(id, seen)| audit_task(open.session(seen.who), ledger, id, seen));
    futures::stream::iter(audits).buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn audit_task(session: &Session, ledger: &Ledger, id: &str, seen: &Seen) {
    let (ear, mut heard) = Ear::new(64, true);
    let subscription = session.task(id).subscribe(Cursor::After(0), ear);
    let is_over = seen.state.is_some_and(TaskState::is_terminal);
    let (mut last, mut state) = (0, None);
    while last < seen.last() || is_over {
        match timeout(LONGEST_WAIT, heard.recv()).await {
            Ok(Some(Heard::Event(event))) => {
                ledger.saw(&event);
                if event.seq != last + 1 {
                    ledger.wrong(format!("{id}: event {} came after event {last} to an audit", event.seq));
                }
                last = event.seq;
                state = event.state().or(state);
            }
            Ok(Some(Heard::End(_))) if is_over && last == seen.last() => break,
            Ok(Some(Heard::End(end))) => return ledger.wrong(format!("{id}: an audit ended with {end:?}")),
            Ok(None) => {
                let why = subscription.ready().await;
                return ledger.wrong(format!("{id}: the audit ended after event {last}: {why:?}"));
            }
            Err(_) => {
                let (until, was) = (seen.last(), seen.state);
                return ledger
                    .wrong(format!("{id}: an audit came to event {last}; seen were {until} and {was:?}"));
            }
        }
    }
    if seen.canceled && state.is_some_and(TaskState::is_terminal) && state != Some(TaskState::Canceled) {
        ledger.wrong(format!("{id} was canceled, and is {state:?} now"));
    }
}

/// Holds everything against the ledger, when nothing moves any more: each send has made one task, each task is
/// whole and finished, and the lists have each of them once.
pub(crate) async fn audit_all(address: SocketAddr, ledger: &Ledger) {
    let (tasks, sends) = (ledger.tasks(), ledger.all_sends());
    audit(address, ledger, &tasks).await;
    let open = &Open::new(address).await.expect("a connection");
    let one = sends.iter().map(|(context, sent)| async move {
        let context: &str = context;
        let request = ListTasksRequest { context_id: Some(context.into()), ..ListTasksRequest::default() };
        let listed = open.session(sent.who).list_tasks(&request).await;
        match listed {
            Ok(page) if page.total_size == 1 && sent.task.as_deref() == Some(&*page.tasks[0].id) => {}
            other => ledger.wrong(format!("the send in {context} was {sent:?}, and is listed as {other:?}")),
        }
        if !sent.acked {
            ledger.wrong(format!("the send in {context} was never answered"));
        }
    });
    futures::stream::iter(one).buffer_unordered(AT_ONCE).collect::<()>().await;
    for who in 0..WHO.len() {
        let listed = listed(open.session(who)).await;
        let known: BTreeSet<_> =
            tasks.iter().filter(|(_, seen)| seen.who == who).map(|(id, _)| id.clone()).collect();
        if listed != known {
            let off: Vec<_> = listed.symmetric_difference(&known).collect();
            ledger.wrong(format!("the list of {who} is wrong in {off:?}"));
        }
    }
    let told = tasks.iter().filter(|(_, seen)| !seen.follow_ups.is_empty()).map(|(id, seen)| async move {
        let task = open.session(seen.who).task(id).get(None).await.expect("it was audited");
        for message in &seen.follow_ups {
            let count = task.history.iter().filter(|known| *known.message_id == **message).count();
            if count != 1 {
                ledger.wrong(format!("{id} has {count} times the message {message}"));
            }
        }
    });
    futures::stream::iter(told).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Every task of a session, page by page.
async fn listed(session: &Session) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut request = ListTasksRequest { page_size: Some(100), ..ListTasksRequest::default() };
    loop {
        let page = session.list_tasks(&request).await.expect("a page");
        for task in &page.tasks {
            assert!(all.insert(task.id.to_string()), "{} is listed twice", task.id);
        }
        if page.next_page_token.is_empty() {
            assert_eq!(all.len(), page.total_size as usize);
            return all;
        }
        request.page_token = Some(page.next_page_token);
    }
}

/// Tasks that are looked at together.
const AT_ONCE: usize = 16;
