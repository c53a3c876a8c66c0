//! Pages: nothing twice, nothing left out, whatever happens between them.

use super::World;
use super::samples::{append, at, deleting, everything, ids, new, row};
use crate::model::Id;
use crate::model::TaskState::{self, Completed, Working};
use crate::store::{Cursor, ListFilter, Page, PageRequest};

/// Tasks `00` to `NN`, each newer than the one before.
async fn numbered(world: &mut World, count: i64) {
    world.append((0..count).map(|n| new(&format!("{n:02}"), Working, n, 1))).await;
    world.later().await;
}

async fn page(world: &World, after: Option<Cursor>, size: usize) -> (Vec<Id>, Page) {
    let page = world.page(&everything(), &PageRequest { after, size }).await;
    (page.rows.iter().map(|row| row.id.clone()).collect(), page)
}

fn cursor(time: i64, id: &str) -> Option<Cursor> {
    Some(Cursor { status_timestamp: at(time), id: id.into() })
}

pub(crate) async fn pages_of_every_size_add_up_to_the_list(world: &mut World) {
    let states = [Working, Completed, TaskState::InputRequired];
    let mut expected: Vec<_> =
        (0..101).map(|n| row(&format!("{:03}", n * 37 % 101), states[n % 3], (n / 4) as i64, 1)).collect();
    for rows in expected.chunks(50) {
        world.append(rows.iter().map(|row| append(0, row.clone()))).await;
        world.later().await;
    }
    expected.sort_by(|a, b| (b.status_timestamp, &b.id).cmp(&(a.status_timestamp, &a.id)));
    for size in (1..=100).chain([101, 102, 1_000]) {
        assert_eq!(world.pages(&everything(), size).await, expected, "pages of {size}");
    }
}

pub(crate) async fn pages_of_a_filtered_list_add_up_too(world: &mut World) {
    world.append((0..90).map(|n| new(&format!("{n:02}"), TaskState::ALL[n % 8], n as i64, 1))).await;
    world.later().await;
    let state = ListFilter { state: Some(Working), ..everything() };
    let since = ListFilter { status_since: Some(at(40)), ..everything() };
    let both = ListFilter { state: Some(Working), ..since.clone() };
    for (filter, count) in [(state, 12), (since, 50), (both, 7)] {
        let whole = world.list(&filter).await.0;
        assert_eq!(whole.len(), count, "{filter:?}");
        for size in [1, 2, 3, 5, 7, 11, 12, 49, 50] {
            let paged: Vec<_> = world.pages(&filter, size).await.into_iter().map(|row| row.id).collect();
            assert_eq!(paged, whole, "{filter:?} in pages of {size}");
        }
    }
}

pub(crate) async fn tasks_of_one_instant_are_paged_by_id(world: &mut World) {
    world.append((0..60).map(|n| new(&format!("{n:02}"), TaskState::ALL[n % 8], 5, 1))).await;
    world.later().await;
    let expected: Vec<Id> = (0..60).rev().map(|n| format!("{n:02}").into()).collect();
    for size in [1, 7, 59, 60] {
        let paged: Vec<_> = world.pages(&everything(), size).await.into_iter().map(|row| row.id).collect();
        assert_eq!(paged, expected, "pages of {size}");
    }
}

pub(crate) async fn a_page_that_ends_the_list_has_no_next(world: &mut World) {
    numbered(world, 6).await;
    assert_eq!(page(world, None, 6).await.1.next, None);
    assert_eq!(page(world, None, 5).await.1.next, cursor(1, "01"));
    assert_eq!(page(world, cursor(3, "03"), 3).await.1.next, None);
    let (rows, last) = page(world, cursor(0, "00"), 3).await;
    assert_eq!((rows, last.next, last.total), (ids(&[]), None, 6));
}

pub(crate) async fn a_page_may_be_as_large_as_can_be_said(world: &mut World) {
    numbered(world, 3).await;
    for size in [usize::MAX, usize::MAX - 1, u32::MAX as usize] {
        let (rows, page) = page(world, None, size).await;
        assert_eq!((rows, page.next), (ids(&["02", "01", "00"]), None), "{size}");
    }
}

pub(crate) async fn a_cursor_is_a_place_whether_or_not_its_task_is_there(world: &mut World) {
    numbered(world, 6).await;
    let rest = [
        (cursor(3, "03"), &["02", "01", "00"][..]),
        (cursor(3, "035"), &["03", "02", "01", "00"]),
        (cursor(3, "02"), &["02", "01", "00"]),
        (cursor(3, ""), &["02", "01", "00"]),
        (cursor(i64::MAX, "zz"), &["05", "04", "03", "02", "01", "00"]),
        (cursor(0, "00"), &[]),
        (cursor(-1, "zz"), &[]),
        (cursor(i64::MIN, ""), &[]),
    ];
    for (cursor, expected) in rest {
        assert_eq!(page(world, cursor.clone(), 9).await.0, ids(expected), "{cursor:?}");
    }
}

pub(crate) async fn a_cursor_holds_when_its_task_goes(world: &mut World) {
    numbered(world, 6).await;
    let (first, second) = page(world, None, 2).await;
    assert_eq!(first, ids(&["05", "04"]));
    world.commit(deleting(["04", "02"])).await;
    world.later().await;
    let (rows, page) = page(world, second.next, 9).await;
    assert_eq!((rows, page.total), (ids(&["03", "01", "00"]), 4));
}

pub(crate) async fn a_task_that_changes_between_pages_is_not_seen_twice(world: &mut World) {
    numbered(world, 6).await;
    let next = page(world, None, 2).await.1.next;
    // One that was seen, the cursor's own, and one that was not.
    let changes = [("05", Working, 10), ("04", Completed, 11), ("01", Completed, 12)];
    world.append(changes.map(|(id, state, time)| append(1, row(id, state, time, 2)))).await;
    world.later().await;
    let (rows, page) = page(world, next, 9).await;
    assert_eq!((rows, page.total), (ids(&["03", "02", "00"]), 6));
}

pub(crate) async fn a_task_that_comes_between_pages_is_at_the_front(world: &mut World) {
    numbered(world, 4).await;
    let next = page(world, None, 2).await.1.next;
    world.append([new("new", Working, 9, 1), new("late", Working, 1, 1)]).await;
    world.later().await;
    // What says that it is older than the cursor stands behind it.
    let (rows, rest) = page(world, next, 9).await;
    assert_eq!((rows, rest.total), (ids(&["late", "01", "00"]), 6));
    assert_eq!(page(world, None, 1).await.0, ids(&["new"]));
}

pub(crate) async fn turning_pages_under_change_leaves_out_nothing_that_stays(world: &mut World) {
    numbered(world, 60).await;
    let (mut seen, mut after) = (Vec::new(), None);
    for round in 0.. {
        let (rows, page) = page(world, after, 7).await;
        seen.extend(rows);
        let Some(next) = page.next else { break };
        after = Some(next);
        let (change, gone, new_id) =
            (format!("{:02}", round * 3), format!("{:02}", round * 3 + 1), format!("n{round}"));
        if world.load(&change).await.is_some_and(|stored| stored.row.last_seq == 1) {
            world.append([append(1, row(&change, Completed, 100 + round, 2))]).await;
        }
        world.commit(deleting([&*gone])).await;
        world.append([new(&new_id, Working, 200 + round, 1)]).await;
        world.later().await;
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "seen twice: {seen:?}");
    let stayed = (0..60).filter(|n| n % 3 == 2).map(|n| Id::from(format!("{n:02}")));
    assert!(stayed.into_iter().all(|id| seen.contains(&id)), "left out: {seen:?}");
}

pub(crate) async fn the_last_of_a_thousand_pages_is_as_right_as_the_first(world: &mut World) {
    world.append((0..2_000).map(|n| new(&format!("{n:04}"), TaskState::ALL[n as usize % 8], n, 1))).await;
    world.later().await;
    let paged: Vec<_> = world.pages(&everything(), 2).await.into_iter().map(|row| row.id).collect();
    assert_eq!(paged, (0..2_000).rev().map(|n| format!("{n:04}").into()).collect::<Vec<Id>>());
}
