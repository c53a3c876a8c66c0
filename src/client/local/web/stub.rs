//! What stands for an object of the server, from the call on that will return it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use capnweb::{Question, Refused, Remote, Session};

use super::super::call::{Pending, unreadable};
use super::ear::Ear;
use super::talk::{Answer, Talk};
use super::values::Value;
use crate::fault::{Fault, FaultKind, Result};

/// An object of the server. Dropping the last clone gives it up.
#[derive(Clone)]
pub(in super::super) struct Stub {
    talk: Rc<Talk>,
    held: Rc<RefCell<Held>>,
}

/// What is known of it.
enum Held {
    /// The object.
    Object(Remote),
    /// The result of a call, or a part of that, which is not there yet.
    Promised(Rc<Question>, Option<&'static str>),
    /// The call has failed, so there is none.
    Broken(Fault),
}

/// What stands for the parts of a result.
type Parts<const N: usize> = [(Weak<RefCell<Held>>, Option<&'static str>); N];

impl Stub {
    /// The object that every server shows first.
    pub(in super::super) fn main(talk: &Rc<Talk>) -> Self {
        let main = talk.step(|session| session.main());
        Self::of(talk, Held::Object(main))
    }

    fn of(talk: &Rc<Talk>, held: Held) -> Self {
        Self { talk: Rc::clone(talk), held: Rc::new(RefCell::new(held)) }
    }

    pub(super) fn talk(&self) -> &Rc<Talk> {
        &self.talk
    }

    /// Calls a method and reads what it gives.
    pub(in super::super) fn ask<T: 'static>(
        &self,
        method: &str,
        arguments: &[Value],
        read: impl FnOnce(Value) -> Result<T> + 'static,
    ) -> Pending<T> {
        match self.call(method, arguments) {
            Ok((question, answer)) => Pending::new(async move {
                // Dropped before the answer, it gives the call up.
                let _question = question;
                answer.await.and_then(read)
            }),
            Err(fault) => Pending::failed(fault),
        }
    }

    /// Calls a method that gives an object, which can be used at once.
    pub(in super::super) fn open(&self, method: &str, arguments: &[Value]) -> (Self, Pending<()>) {
        let ([stub], answer) = self.begin(method, arguments, [None]);
        (stub, answer.emptied())
    }

    /// Calls a method that gives several objects by these names. Each can be used at once, and is given up by itself.
    /// What is left of the answer is what it holds beside them.
    pub(in super::super) fn open_parts<const N: usize>(
        &self,
        method: &str,
        arguments: &[Value],
        names: [&'static str; N],
    ) -> ([Self; N], Pending<Value>) {
        self.begin(method, arguments, names.map(Some))
    }

    /// Calls a method whose result is only called: nothing answers.
    pub(super) fn push(&self, method: &str, arguments: &[Value]) -> Self {
        let pushed = self.on(method, |session, target, path| session.push(target, path, arguments));
        Self::of(&self.talk, pushed.map_or_else(Held::Broken, Held::Object))
    }

    fn begin<const N: usize>(
        &self,
        method: &str,
        arguments: &[Value],
        parts: [Option<&'static str>; N],
    ) -> ([Self; N], Pending<Value>) {
        let (question, answer) = match self.call(method, arguments) {
            Ok((question, answer)) => (Rc::new(question), answer),
            Err(fault) => {
                let broken = parts.map(|_| Self::of(&self.talk, Held::Broken(fault.clone())));
                return (broken, Pending::failed(fault));
            }
        };
        let stubs = parts.map(|part| Self::of(&self.talk, Held::Promised(Rc::clone(&question), part)));
        let promised: Parts<N> =
            std::array::from_fn(|index| (Rc::downgrade(&stubs[index].held), parts[index]));
        let settled = async move {
            // Whoever has let go of what it asked for still made the call: it is not given up.
            let _question = question;
            settle(promised, answer.await)
        };
        (stubs, Pending::new(settled))
    }

    fn call(&self, method: &str, arguments: &[Value]) -> Result<(Question, Answer)> {
        let question = self.on(method, |session, target, path| session.call(target, path, arguments))?;
        let answer = self.talk.answer(question.id());
        Ok((question, answer))
    }

    /// Does something with a method of this.
    fn on<R>(
        &self,
        method: &str,
        step: impl FnOnce(&mut Session<Ear>, &Remote, &[&str]) -> std::result::Result<R, Refused>,
    ) -> Result<R> {
        let done = match &*self.held.borrow() {
            Held::Object(remote) => self.talk.step(|session| step(session, remote, &[method])),
            Held::Promised(question, None) => {
                self.talk.step(|session| step(session, question.result(), &[method]))
            }
            Held::Promised(question, Some(part)) => {
                self.talk.step(|session| step(session, question.result(), &[part, method]))
            }
            Held::Broken(fault) => return Err(fault.clone()),
        };
        done.map_err(|refused| self.refused(refused))
    }

    fn refused(&self, refused: Refused) -> Fault {
        match refused {
            Refused::Ended => self.talk.over(),
            Refused::Unsendable(why) => Fault::new(FaultKind::InvalidRequest, why),
            other => Fault::new(FaultKind::Overloaded, other.to_string()),
        }
    }
}

/// Says what has become of the objects that a call was to give. What is left of its answer.
fn settle<const N: usize>(promised: Parts<N>, answer: Result<Value>) -> Result<Value> {
    let mut answer = answer;
    for (held, part) in promised {
        let object = match (&mut answer, part) {
            (Ok(Value::Object(parts)), Some(name)) => Ok(parts.remove(name)),
            (Ok(whole), None) => Ok(Some(std::mem::replace(whole, Value::Undefined))),
            (Ok(_), Some(_)) => Ok(None),
            (Err(fault), _) => Err(fault.clone()),
        };
        let known = match object {
            Ok(Some(Value::Remote(remote))) => Held::Object(remote),
            Ok(_) => {
                let fault = unreadable(&"there is no object in it");
                answer = Err(fault.clone());
                Held::Broken(fault)
            }
            Err(fault) => Held::Broken(fault),
        };
        // Nobody may want it any more: then it is given back.
        if let Some(held) = held.upgrade() {
            held.replace(known);
        }
    }
    answer
}
