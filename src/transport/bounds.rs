//! The ledger of a connection: what each side holds of the other, learned from the messages alone.
//!
//! capnp-rpc bounds none of its tables, and some messages with ids that are not live, or sent twice,
//! make it panic or loop. So every message passes here first, in both directions. The ledger keeps the
//! same tables as the RPC system, with counts only, and refuses what goes over a bound or what no
//! honest peer can send. What a race may make stale (a `Finish` after a `Return` that needed none, a
//! `Resolve` after our `Release`, a call on an answer that held nothing) passes.
//!
//! What is covered in capnp-rpc 0.27.3, beside the unbounded tables:
//! - a promise that is resolved to itself, directly or through others, which makes `get_resolved` loop for
//!   ever;
//! - a promise that is resolved to one of our objects, or to an answer of ours: where that holds the
//!   promise (the call that answers carried it; the stream that it stands for calls it), nothing of either
//!   is ever let go, not even at the end of the connection. The objects of this protocol are never given
//!   back as promises, so all such resolutions are refused;
//! - a promise sent anew after it was resolved ("dangling client ref"), or an object as a promise;
//! - an embargo lifted twice; a `Return` twice, or `canceled` for a call that we did not cancel, which
//!   would never end; results from, or for, a third party;
//! - a `Return` whose `releaseParamCaps` is set: capnp-rpc ignores it, so the ledger asks for the
//!   `Release` messages that it stands for.

use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::struct_list;
use capnp_rpc::rpc_capnp::{
    call, cap_descriptor, disembargo, finish, message, message_target, payload, promised_answer, resolve,
    return_,
};

use super::close::CloseReason;
use super::handle::Counters;
use super::ids::IdTable;
use super::message::Frame;
use crate::fault::FaultKind;
use crate::limits::WireLimits;

/// What each side holds of the other.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct Ledger {
    bounds: Bounds,
    /// Calls of the peer, until they are answered and finished.
    answers: IdTable<Answer>,
    unanswered: usize,
    abandoned: usize,
    /// Finishes that may still come for calls whose return needed none.
    spare_finishes: u64,
    /// Our objects that the peer holds.
    exports: IdTable<Export>,
    /// Our calls, until they are answered and finished.
    questions: IdTable<Question>,
    /// Of these, those that are not answered.
    waiting: usize,
    /// Objects of the peer that we hold.
    imports: IdTable<Import>,
    /// Embargoes of ours that the peer has not lifted.
    embargoes: IdTable<()>,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Bounds {
    exports: usize,
    imports: usize,
    questions: usize,
    abandoned: usize,
    calls: usize,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Answer {
    returned: bool,
    finished: bool,
    /// The results go to another call of the peer (a tail call), which may take them once.
    redirected: bool,
    exports: Vec<u32>,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Export {
    references: u32,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Question {
    returned: bool,
    finished: bool,
    exports: Vec<u32>,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Import {
    references: u32,
    kind: ImportKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImportKind {
    Object,
    Promise,
    Resolved,
}

/// What is to be done with a received message, beside giving it to the RPC system.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    /// A call.
    Call,
    /// A return that releases these exports, once each.
    Releasing(Vec<u32>),
    /// The peer's last words.
    Abort(String),
    /// Nothing else.
    Other,
}

/// What kind of message is being sent.
#[derive(Debug, PartialEq)]
pub(super) enum Sent {
    /// The RPC system's own last words.
    Abort,
    /// Anything else.
    Other,
}

type Verdict<T = ()> = Result<T, CloseReason>;

impl Ledger {
    /// Of the end that accepted the connection, or of the one that opened it. The latter chose its peer, whose
    /// streams may make as many calls as that end lets them: a client whose observers are slow must not end its own
    /// connection.
    pub(super) fn new(limits: &WireLimits, accepted: bool) -> Self {
        let streamed = limits.calls.saturating_add(limits.exports.saturating_mul(2));
        Self {
            bounds: Bounds {
                exports: limits.exports,
                imports: limits.imports,
                questions: if accepted { limits.questions } else { limits.questions.max(streamed) },
                abandoned: limits.abandoned_calls,
                calls: limits.calls,
            },
            answers: IdTable::default(),
            unanswered: 0,
            abandoned: 0,
            spare_finishes: 0,
            exports: IdTable::default(),
            questions: IdTable::default(),
            waiting: 0,
            imports: IdTable::default(),
            embargoes: IdTable::default(),
        }
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            questions: self.unanswered,
            answers: self.answers.len() - self.unanswered - self.abandoned,
            abandoned: self.abandoned,
            calls: self.questions.len(),
            exports: self.exports.len(),
            imports: self.imports.len(),
            ..Counters::default()
        }
    }

    /// Whether a stream may make one more call: enough of ours are answered.
    pub(super) fn may_call(&self) -> bool {
        self.waiting <= self.bounds.calls
    }

    fn open_question(&mut self, id: u32, exports: Vec<u32>) -> Verdict {
        self.questions.insert(id, Question { exports, ..Question::default() });
        self.waiting += 1;
        // Streams wait at the bound; what goes beyond it is their last words.
        let limit = self.bounds.calls.saturating_add(self.bounds.exports.saturating_mul(2));
        if self.waiting > limit {
            return Err(quota(format!("{limit} calls on your objects are unanswered: answer them")));
        }
        Ok(())
    }
}

/// Messages of the peer.
impl Ledger {
    /// Enters a message before the RPC system sees it.
    pub(super) fn received(&mut self, message: &Reader<Frame>) -> Verdict<Received> {
        let bytes = message.get_segments().held();
        let root: message::Reader<'_> = message.get_root().map_err(malformed)?;
        match root.which() {
            Ok(message::Call(call)) => {
                self.call_received(call.map_err(malformed)?)?;
                return Ok(Received::Call);
            }
            Ok(message::Return(ret)) => return self.return_received(ret.map_err(malformed)?),
            Ok(message::Finish(finish)) => self.finish_received(finish.map_err(malformed)?)?,
            Ok(message::Release(release)) => {
                let release = release.map_err(malformed)?;
                self.release_export(release.get_id(), release.get_reference_count())?;
            }
            Ok(message::Resolve(resolve)) => self.resolve_received(resolve.map_err(malformed)?)?,
            Ok(message::Disembargo(disembargo)) => {
                self.disembargo_received(disembargo.map_err(malformed)?)?;
            }
            Ok(message::Bootstrap(bootstrap)) => {
                let id = bootstrap.map_err(malformed)?.get_question_id();
                self.open_answer(id, Answer::default())?;
            }
            Ok(message::Unimplemented(original)) => {
                self.unimplemented_received(original.map_err(malformed)?)?;
            }
            Ok(message::Abort(exception)) => {
                let reason = exception.and_then(|exception| exception.get_reason()).map_err(malformed)?;
                let text = String::from_utf8_lossy(reason.as_bytes()).into_owned();
                return Ok(Received::Abort(cut(text)));
            }
            // Sent back as `Unimplemented`: a copy, so it must be short.
            Ok(_) | Err(_) if bytes > UNIMPLEMENTED_BYTES => {
                return Err(CloseReason::violation("an RPC message of an unknown kind must be short"));
            }
            Ok(_) | Err(_) => {}
        }
        Ok(Received::Other)
    }

    fn call_received(&mut self, call: call::Reader<'_>) -> Verdict {
        self.check_target(call.get_target().map_err(malformed)?)?;
        let redirected = match call.get_send_results_to().which() {
            Ok(call::send_results_to::Caller(())) => false,
            Ok(call::send_results_to::Yourself(())) => true,
            _ => return Err(CloseReason::violation("results for a third party are not supported")),
        };
        self.caps_received(call.get_params().map_err(malformed)?)?;
        self.open_answer(call.get_question_id(), Answer { redirected, ..Answer::default() })
    }

    fn open_answer(&mut self, id: u32, answer: Answer) -> Verdict {
        if self.answers.get(id).is_some() {
            return Err(CloseReason::violation("a new call has the id of one that is not over"));
        }
        self.answers.insert(id, answer);
        self.unanswered += 1;
        let limit = self.bounds.questions;
        if self.unanswered > limit {
            return Err(overloaded(format!("{limit} calls may be unanswered: wait for answers first")));
        }
        Ok(())
    }

    fn return_received(&mut self, ret: return_::Reader<'_>) -> Verdict<Received> {
        let id = ret.get_answer_id();
        let question = self.questions.get_mut(id).filter(|question| !question.returned);
        let question = question
            .ok_or_else(|| CloseReason::violation("an answer to a call that does not wait for one"))?;
        question.returned = true;
        self.waiting -= 1;
        let finished = question.finished;
        let releasing = match ret.get_release_param_caps() {
            true => std::mem::take(&mut question.exports),
            false => Vec::new(),
        };
        match ret.which() {
            // We have given the call up, and said that we take no results.
            Ok(_) if finished => {}
            Ok(return_::Results(payload)) => self.caps_received(payload.map_err(malformed)?)?,
            Ok(return_::Exception(exception)) => drop(exception.map_err(malformed)?),
            Ok(return_::TakeFromOtherQuestion(other)) => {
                let answer = self.answers.get_mut(other).filter(|answer| answer.redirected);
                answer
                    .ok_or_else(|| {
                        CloseReason::violation("an answer from a call that has no results to give")
                    })?
                    .redirected = false;
            }
            _ => return Err(CloseReason::violation("an answer of a kind that was not asked for")),
        }
        if finished || ret.get_no_finish_needed() {
            self.questions.remove(id);
        }
        if releasing.is_empty() { Ok(Received::Other) } else { Ok(Received::Releasing(releasing)) }
    }

    fn finish_received(&mut self, finish: finish::Reader<'_>) -> Verdict {
        let id = finish.get_question_id();
        let Some(answer) = self.answers.get_mut(id) else {
            self.spare_finishes = self
                .spare_finishes
                .checked_sub(1)
                .ok_or_else(|| CloseReason::violation("a call is finished that is not open"))?;
            return Ok(());
        };
        if std::mem::replace(&mut answer.finished, true) {
            return Err(CloseReason::violation("a call is finished twice"));
        }
        if !answer.returned {
            self.unanswered -= 1;
            self.abandoned += 1;
            let limit = self.bounds.abandoned;
            if self.abandoned > limit {
                return Err(quota(format!("{limit} calls were given up unanswered: connect again")));
            }
            return Ok(());
        }
        let answer = self.answers.remove(id).unwrap_or_default();
        if finish.get_release_result_caps() {
            for export in answer.exports {
                self.release_export(export, 1)?;
            }
        }
        Ok(())
    }

    fn release_export(&mut self, id: u32, references: u32) -> Verdict {
        let export = self.exports.get_mut(id);
        let left = export.as_ref().and_then(|export| export.references.checked_sub(references));
        match (export, left) {
            (Some(export), Some(left)) if left > 0 => export.references = left,
            (Some(_), Some(_)) => drop(self.exports.remove(id)),
            _ => return Err(CloseReason::violation("an object is released that is not held")),
        }
        Ok(())
    }

    fn resolve_received(&mut self, resolve: resolve::Reader<'_>) -> Verdict {
        let id = resolve.get_promise_id();
        let kind = self.imports.get(id).map(|import| import.kind);
        if kind.is_some_and(|kind| kind != ImportKind::Promise) {
            return Err(CloseReason::violation("something is resolved that is no promise"));
        }
        if let resolve::Cap(descriptor) = resolve.which().map_err(malformed)? {
            let descriptor = descriptor.map_err(malformed)?;
            match descriptor.which().map_err(malformed)? {
                cap_descriptor::None(()) => {
                    return Err(CloseReason::violation("a promise is resolved to nothing"));
                }
                cap_descriptor::SenderHosted(other) | cap_descriptor::SenderPromise(other) if other == id => {
                    return Err(CloseReason::violation("a promise is resolved to itself"));
                }
                cap_descriptor::ReceiverHosted(_) | cap_descriptor::ReceiverAnswer(_) => {
                    let message = "a promise may only become an object of its sender's own";
                    return Err(CloseReason::violation(message));
                }
                _ => {}
            }
            self.cap_received(descriptor)?;
        }
        if let Some(import) = self.imports.get_mut(id) {
            import.kind = ImportKind::Resolved;
        }
        Ok(())
    }

    fn disembargo_received(&mut self, disembargo: disembargo::Reader<'_>) -> Verdict {
        match disembargo.get_context().which() {
            Ok(disembargo::context::SenderLoopback(_)) => {
                self.check_target(disembargo.get_target().map_err(malformed)?)
            }
            Ok(disembargo::context::ReceiverLoopback(id)) => match self.embargoes.remove(id) {
                Some(()) => Ok(()),
                None => Err(CloseReason::violation("an embargo is lifted that does not stand")),
            },
            _ => Err(CloseReason::violation("embargoes of third parties are not supported")),
        }
    }

    fn unimplemented_received(&mut self, original: message::Reader<'_>) -> Verdict {
        if let Ok(message::Resolve(resolve)) = original.which()
            && let Ok(resolve::Cap(descriptor)) = resolve.map_err(malformed)?.which()
            && let Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) =
                descriptor.map_err(malformed)?.which()
        {
            return self.release_export(id, 1);
        }
        // Anything else that a peer does not implement ends the session: the RPC system says so.
        Ok(())
    }

    fn check_target(&self, target: message_target::Reader<'_>) -> Verdict {
        match target.which().map_err(malformed)? {
            message_target::ImportedCap(id) if self.exports.get(id).is_some() => Ok(()),
            message_target::ImportedCap(_) => {
                Err(CloseReason::violation("a call on an object that is not held"))
            }
            message_target::PromisedAnswer(answer) => check_transform(answer.map_err(malformed)?),
        }
    }

    fn caps_received(&mut self, payload: payload::Reader<'_>) -> Verdict {
        let table = payload.get_cap_table().map_err(malformed)?;
        let limit = self.bounds.imports;
        if table.len() as usize > limit {
            return Err(quota(format!("a message may carry {limit} objects: send fewer")));
        }
        for descriptor in table {
            self.cap_received(descriptor)?;
        }
        Ok(())
    }

    fn cap_received(&mut self, descriptor: cap_descriptor::Reader<'_>) -> Verdict {
        match descriptor.which().map_err(malformed)? {
            cap_descriptor::None(()) => Ok(()),
            cap_descriptor::SenderHosted(id) => self.import(id, ImportKind::Object),
            cap_descriptor::SenderPromise(id) => self.import(id, ImportKind::Promise),
            cap_descriptor::ReceiverHosted(id) if self.exports.get(id).is_some() => Ok(()),
            cap_descriptor::ReceiverHosted(_) => {
                Err(CloseReason::violation("an object is given that is not held"))
            }
            cap_descriptor::ReceiverAnswer(answer) => check_transform(answer.map_err(malformed)?),
            cap_descriptor::ThirdPartyHosted(_) => {
                Err(CloseReason::violation("objects of third parties are not supported"))
            }
        }
    }

    fn import(&mut self, id: u32, kind: ImportKind) -> Verdict {
        let Some(import) = self.imports.get_mut(id) else {
            self.imports.insert(id, Import { references: 1, kind });
            let limit = self.bounds.imports;
            if self.imports.len() > limit {
                return Err(quota(format!("{limit} objects of yours may be held: give fewer")));
            }
            return Ok(());
        };
        match (import.kind, kind) {
            // capnp-rpc itself calls a promise an object when it sends it the second time.
            (ImportKind::Object | ImportKind::Promise, ImportKind::Object)
            | (ImportKind::Promise, ImportKind::Promise) => {}
            _ => return Err(CloseReason::violation("a promise is sent that was resolved, or is none")),
        }
        import.references = import
            .references
            .checked_add(1)
            .ok_or_else(|| CloseReason::violation("an object is sent too often"))?;
        Ok(())
    }
}

/// Messages of our own RPC system.
impl Ledger {
    /// Enters a message before it is queued.
    pub(super) fn sent(&mut self, message: &Builder<HeapAllocator>) -> Verdict<Sent> {
        let Ok(Ok(kind)) = message.get_root_as_reader().map(message::Reader::which) else {
            return Ok(Sent::Other);
        };
        match kind {
            message::Call(Ok(call)) => {
                let exports = call.get_params().map_or(Ok(Vec::new()), |params| self.caps_sent(params))?;
                self.open_question(call.get_question_id(), exports)?;
            }
            message::Bootstrap(Ok(bootstrap)) => {
                self.open_question(bootstrap.get_question_id(), Vec::new())?;
            }
            message::Return(Ok(ret)) => self.return_sent(ret)?,
            message::Finish(Ok(finish)) => {
                let id = finish.get_question_id();
                match self.questions.get_mut(id) {
                    Some(question) if !question.returned => question.finished = true,
                    _ => drop(self.questions.remove(id)),
                }
            }
            message::Release(Ok(release)) => {
                let id = release.get_id();
                if let Some(import) = self.imports.get_mut(id) {
                    import.references = import.references.saturating_sub(release.get_reference_count());
                    if import.references == 0 {
                        self.imports.remove(id);
                    }
                }
            }
            message::Resolve(Ok(resolve)) => self.resolve_sent(resolve)?,
            message::Disembargo(Ok(disembargo)) => {
                if let Ok(disembargo::context::SenderLoopback(id)) = disembargo.get_context().which() {
                    self.embargoes.insert(id, ());
                    let limit = self.bounds.imports;
                    if self.embargoes.len() > limit {
                        return Err(overloaded(format!("{limit} embargoes stand: lift them first")));
                    }
                }
            }
            message::Abort(_) => return Ok(Sent::Abort),
            _ => {}
        }
        Ok(Sent::Other)
    }

    fn return_sent(&mut self, ret: return_::Reader<'_>) -> Verdict {
        let id = ret.get_answer_id();
        let mut exports = Vec::new();
        if let Ok(return_::Results(Ok(payload))) = ret.which() {
            exports = self.caps_sent(payload)?;
        }
        let Some(answer) = self.answers.get_mut(id) else { return Ok(()) };
        if answer.finished {
            self.abandoned -= 1;
            self.answers.remove(id);
            return Ok(());
        }
        self.unanswered -= 1;
        if ret.get_no_finish_needed() {
            self.spare_finishes += 1;
            self.answers.remove(id);
            return Ok(());
        }
        answer.returned = true;
        answer.exports = exports;
        let (limit, held) = (self.bounds.exports, self.answers.len() - self.unanswered - self.abandoned);
        if held > limit {
            return Err(quota(format!("{limit} answers may be held: finish calls that are answered")));
        }
        Ok(())
    }

    fn resolve_sent(&mut self, resolve: resolve::Reader<'_>) -> Verdict {
        if let Ok(resolve::Cap(Ok(descriptor))) = resolve.which() {
            self.cap_sent(descriptor)?;
        }
        Ok(())
    }

    /// The exports that a message carries, each entered.
    fn caps_sent(&mut self, payload: payload::Reader<'_>) -> Verdict<Vec<u32>> {
        let mut exports = Vec::new();
        let table: struct_list::Reader<'_, cap_descriptor::Owned> = match payload.get_cap_table() {
            Ok(table) => table,
            Err(_) => return Ok(exports),
        };
        for descriptor in table {
            exports.extend(self.cap_sent(descriptor)?);
        }
        Ok(exports)
    }

    fn cap_sent(&mut self, descriptor: cap_descriptor::Reader<'_>) -> Verdict<Option<u32>> {
        let (Ok(cap_descriptor::SenderHosted(id)) | Ok(cap_descriptor::SenderPromise(id))) =
            descriptor.which()
        else {
            return Ok(None);
        };
        match self.exports.get_mut(id) {
            Some(export) => export.references = export.references.saturating_add(1),
            None => self.exports.insert(id, Export { references: 1 }),
        }
        let limit = self.bounds.exports;
        if self.exports.len() > limit {
            return Err(quota(format!("{limit} objects may be held: release what is no longer needed")));
        }
        Ok(Some(id))
    }
}

fn check_transform(answer: promised_answer::Reader<'_>) -> Verdict {
    let transform = answer.get_transform().map_err(malformed)?;
    if transform.len() > TRANSFORM_STEPS {
        return Err(CloseReason::violation("a promised answer is reached through too many pointers"));
    }
    for step in transform {
        step.which().map_err(malformed)?;
    }
    Ok(())
}

fn malformed(error: impl Into<capnp::Error>) -> CloseReason {
    CloseReason::violation(format!("a malformed RPC message: {}", error.into()))
}

fn overloaded(message: String) -> CloseReason {
    CloseReason::over(FaultKind::Overloaded, message)
}

fn quota(message: String) -> CloseReason {
    CloseReason::over(FaultKind::Quota, message)
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ABORT_BYTES));
    text
}

/// Bytes of a message of an unknown kind.
const UNIMPLEMENTED_BYTES: usize = 4 << 10;
/// Pointers from an answer's root to a promised object.
const TRANSFORM_STEPS: u32 = 64;
/// Bytes that are kept of the peer's last words.
const ABORT_BYTES: usize = 1 << 10;
