//! The writer's thread for stores that take their time: it gives groups to the store before earlier ones are
//! durable, and publishes them in their order.
//!
//! Work that makes no events, such as a send that is refused, goes the same way in its turn: what it
//! was refused for may be in a group that nobody sees yet.

use std::collections::VecDeque;

use futures::future::{self, BoxFuture, FutureExt as _};

use super::prepare::Effect;
use super::writer::{Batch, Publishing, Work, Writer};
use crate::fault::Fault;
use crate::store::StoreError;

/// Groups on their way at once: one that is being synced, one that waits to be, and some so that the disk has
/// work while this thread publishes. More would only split the same work into smaller groups. Each
/// has at most `group_bytes`, but for its last event, so this bounds the memory too.
const IN_FLIGHT: usize = 4;

pub(super) struct Pipeline<'a> {
    writer: &'a Writer,
    works: VecDeque<Work>,
    /// In the order of the log.
    flight: VecDeque<Flight>,
    /// Batches whose memory is used again.
    spare: Vec<Batch>,
    publishing: Publishing,
}

/// A group on its way.
struct Flight {
    batch: Batch,
    committed: BoxFuture<'static, Result<(), StoreError>>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(writer: &'a Writer) -> Self {
        Self {
            writer,
            works: VecDeque::new(),
            flight: VecDeque::new(),
            spare: Vec::new(),
            publishing: Publishing::default(),
        }
    }

    /// Writes what is queued until the queue is closed and everything is written, or the store fails.
    pub(super) async fn run(mut self) {
        loop {
            self.hand_over();
            let has_room = self.flight.len() < IN_FLIGHT;
            let Some(first) = self.flight.front_mut() else {
                if self.writer.is_over() {
                    return;
                }
                self.writer.arrived().await;
                continue;
            };
            let committed = tokio::select! {
                biased;
                committed = &mut first.committed => committed,
                () = self.writer.arrived(), if has_room => continue,
            };
            let Some(Flight { mut batch, .. }) = self.flight.pop_front() else { continue };
            if let Err(error) = committed {
                return self.fail(batch, &error);
            }
            // First, so that the disk does not idle while this thread wakes and answers.
            self.hand_over();
            self.writer.publish(&mut batch, &mut self.publishing);
            self.spare.push(batch);
        }
    }

    /// Gives to the store what is queued, as far as there is room.
    fn hand_over(&mut self) {
        while self.flight.len() < IN_FLIGHT {
            let mut batch = self.spare.pop().unwrap_or_default();
            if !self.writer.gather(&mut self.works, &mut batch) {
                return self.spare.push(batch);
            }
            let committed = match batch.group.is_empty() {
                true => future::ready(Ok(())).boxed(),
                false => self.writer.store().commit(&batch.group),
            };
            self.flight.push_back(Flight { batch, committed });
        }
    }

    /// A group failed, and so does everything after it, whatever the store says of it.
    fn fail(mut self, batch: Batch, error: &StoreError) {
        self.writer.poison(error);
        let fault = Fault::internal(error.to_string());
        let later = self.flight.drain(..).map(|flight| flight.batch);
        std::iter::once(batch).chain(later).for_each(|mut batch| batch.fail(&fault));
        self.works.drain(..).for_each(|work| Effect::of_unstarted(work).fail(&fault));
        self.writer.fail();
    }
}
