//! Calls of the peer: finding what they are for, waiting for what they need, starting them in their order.

use std::rc::Rc;

use super::tables::{Arguments, ImportKind, Pending, Target, Task, Work};
use super::{Action, Call, CallId, Place, Session};
use crate::encode::Encoded;
use crate::error::Error;
use crate::handle::{Local, Promise, Remote, State, Waiter};
use crate::read::is_prototype_name;
use crate::value::{Key, Value};

/// Where a path leads.
enum Found<T> {
    Value(Value<T>),
    Local(Local<T>, usize),
    Remote(Remote, usize),
    /// The way goes on when this is known.
    Promise(Promise<T>, usize),
}

impl<T> Session<T> {
    /// Calls, or reads, what `path` leads to. What is known at once is the result; else it is a promise, and `out` if
    /// that was given.
    pub(super) fn dispatch(
        &mut self,
        base: &Value<T>,
        mut path: Vec<Key>,
        arguments: Option<Arguments<T>>,
        out: Option<Promise<T>>,
    ) -> Result<Value<T>, Error> {
        let found = self.walk(base, &path)?;
        match (found, arguments) {
            (Found::Value(value), None) => Ok(value),
            (Found::Value(_), Some(_)) => Err(Error::not_a_function(&path)),
            (Found::Promise(promise, at), None) if at == path.len() => Ok(Value::Promise(promise)),
            (Found::Promise(promise, at), arguments) => {
                let path = path.split_off(at);
                let out = self.place_for(out)?;
                let weight = arguments.as_ref().map_or(0, |arguments| weight(&arguments.list));
                let task = Task::Invoke { path, arguments, out: out.clone() };
                self.wait(task, &[promise], weight);
                Ok(Value::Promise(out))
            }
            (Found::Local(local, at), None) if at == path.len() => Ok(Value::Local(local)),
            (Found::Remote(remote, at), None) if at == path.len() => Ok(Value::Remote(remote)),
            (Found::Local(local, at), arguments) => {
                let path = path.split_off(at);
                if let Some(prototype) = path.iter().position(is_prototype_key) {
                    return beyond(&path, prototype, arguments.is_some());
                }
                self.deliver(Target::Local(local), path, arguments, out)
            }
            (Found::Remote(remote, at), arguments) => {
                let path = path.split_off(at);
                self.deliver(Target::Remote(remote), path, arguments, out)
            }
        }
    }

    /// Starts a call, or has it wait for what its arguments need.
    pub(super) fn deliver(
        &mut self,
        target: Target<T>,
        path: Vec<Key>,
        arguments: Option<Arguments<T>>,
        out: Option<Promise<T>>,
    ) -> Result<Value<T>, Error> {
        let out = self.place_for(out)?;
        match arguments {
            Some(Arguments { list, promises: true }) => {
                self.advance(Task::Deliver { target, path, arguments: list, out: out.clone() });
            }
            arguments => self.start(&target, path, arguments.map(|arguments| arguments.list), &out),
        }
        Ok(Value::Promise(out))
    }

    /// Where the result of a new call goes; refused if too many are unanswered.
    pub(super) fn place_for(&self, out: Option<Promise<T>>) -> Result<Promise<T>, Error> {
        match out {
            Some(out) => Ok(out),
            None if self.is_full() => {
                Err(Error::range_error("too many calls are unanswered: wait for results"))
            }
            None => Ok(Promise::pending()),
        }
    }

    fn start(
        &mut self,
        target: &Target<T>,
        path: Vec<Key>,
        mut arguments: Option<Vec<Value<T>>>,
        out: &Promise<T>,
    ) {
        match target {
            Target::Local(target) => {
                let id = self.add_call(out, arguments.as_deref().map_or(0, weight));
                let opened = self.taken > 0 && self.open_pipes(arguments.iter_mut().flatten());
                self.actions.push_back(Action::Call(Call { id, target: target.clone(), path, arguments }));
                if out.0.cancelled.get() {
                    self.cancel_call(id);
                }
                if opened {
                    self.flush_pipes();
                }
            }
            Target::Remote(remote) => self.forward(remote, &path, arguments.as_deref(), out),
            Target::Pipe(id) => self.write_chunk(*id, &path, arguments.unwrap_or_default(), out),
        }
    }

    /// A call that the host is asked for.
    pub(super) fn add_call(&mut self, out: &Promise<T>, bytes: usize) -> CallId {
        let weight = self.weigh(bytes);
        let key = self.calls.insert(Pending { out: out.clone(), weight });
        out.0.call.set(Some(key));
        CallId(key)
    }

    fn cancel_call(&mut self, id: CallId) {
        if self.calls.remove(id.0).is_some() {
            self.actions.push_back(Action::Cancel(id));
        }
    }

    /// The peer has given back a result that it had asked for: if nothing else needs it, nobody does. What waits
    /// for its turn is started all the same, as in the reference, and then cancelled.
    pub(super) fn cancel(&mut self, promise: &Promise<T>) {
        // The two are this one, and that of the table that will settle it.
        if Rc::strong_count(&promise.0) > 2 || self.is_waited_for(promise) {
            return;
        }
        match promise.0.call.get() {
            Some(key) => self.cancel_call(CallId(key)),
            None if self.cancel_forwarded(promise) => {}
            None => promise.0.cancelled.set(true),
        }
    }

    /// Gives up a call of the peer that was passed on to its own object; false if this is none.
    fn cancel_forwarded(&mut self, promise: &Promise<T>) -> bool {
        let found = self.imports.iter().find_map(|(id, import)| match &import.kind {
            ImportKind::Forwarded(out) if Rc::ptr_eq(&out.0, &promise.0) => Some(*id),
            _ => None,
        });
        if let Some(id) = found {
            self.imports.remove(&id);
            self.questions -= 1;
            self.send_release(id, 1);
        }
        found.is_some()
    }

    fn is_waited_for(&mut self, promise: &Promise<T>) -> bool {
        match &*promise.0.state.borrow() {
            State::Pending(waiters) => waiters.iter().any(|waiter| match waiter {
                Waiter::Work(key) => self.work.get_mut(*key).is_some(),
                Waiter::Pull(id) => self.exports.contains_key(id),
            }),
            _ => true,
        }
    }

    /// Goes on with what waited for `promise`.
    pub(super) fn resume(&mut self, key: Place, promise: &Promise<T>) {
        let Some(work) = self.work.get_mut(key) else { return };
        let failed = match &*promise.0.state.borrow() {
            State::Rejected(error, _) => Some(Rc::clone(error)),
            _ => None,
        };
        if failed.is_none() && work.remaining > 1 {
            work.remaining -= 1;
            return;
        }
        let Some(work) = self.work.remove(key) else { return };
        drop(work.weight);
        if let Some(error) = failed {
            let error = self.copy_error(&error);
            return self.fail(work.task, error);
        }
        match work.task {
            Task::Invoke { path, arguments, out } => {
                let base = Value::Promise(promise.clone());
                let result = self.dispatch(&base, path, arguments, Some(out.clone()));
                self.settle(&out, result);
            }
            Task::Remap { plan, out } => {
                let result = self.apply(plan, promise);
                self.settle(&out, result);
            }
            task => self.advance(task),
        }
    }

    /// Resolves every promise in what a task holds. Does the task if none is pending, else waits for those.
    pub(super) fn advance(&mut self, mut task: Task<T>) {
        let mut pending = Vec::new();
        let values = match &mut task {
            Task::Deliver { arguments, .. } => arguments.as_mut_slice(),
            Task::Settle { value, .. } | Task::Answer { value, .. } => std::slice::from_mut(value),
            Task::Invoke { .. } | Task::Remap { .. } => &mut [],
        };
        let resolved = values.iter_mut().try_for_each(|value| self.resolve(value, 0, &mut pending));
        if let Err(error) = resolved {
            return self.fail(task, error);
        }
        if !pending.is_empty() {
            let held = match &task {
                Task::Deliver { arguments, .. } => weight(arguments),
                Task::Settle { value, .. } | Task::Answer { value, .. } => value.weight(),
                Task::Invoke { .. } | Task::Remap { .. } => 0,
            };
            return self.wait(task, &pending, held);
        }
        match task {
            Task::Deliver { target, path, arguments, out } => {
                self.start(&target, path, Some(arguments), &out)
            }
            Task::Settle { value, out } => self.settle(&out, Ok(value)),
            Task::Answer { question, value } => self.deliver_answer(question, Ok(value)),
            Task::Invoke { .. } | Task::Remap { .. } => {}
        }
    }

    fn fail(&mut self, task: Task<T>, error: Error) {
        match task {
            Task::Invoke { out, arguments, .. } => {
                drop(arguments);
                self.settle(&out, Err(error));
            }
            Task::Deliver { out, .. } | Task::Settle { out, .. } | Task::Remap { out, .. } => {
                self.settle(&out, Err(error));
            }
            Task::Answer { question, .. } => self.deliver_answer(question, Err(error)),
        }
    }

    pub(super) fn wait(&mut self, task: Task<T>, promises: &[Promise<T>], bytes: usize) {
        // What waits costs something even if it holds nothing.
        let weight = self.weigh(bytes + size_of::<Work<T>>());
        let key = self.work.insert(Work { task, remaining: promises.len(), weight });
        for promise in promises {
            let waits = promise.wait(Waiter::Work(key));
            debug_assert!(waits, "only what is pending is waited for");
        }
    }

    /// Puts a result, or what it will be, in its place, and wakes who waits for it.
    pub(super) fn settle(&mut self, out: &Promise<T>, result: Result<Value<T>, Error>) {
        if !out.is_pending() {
            return;
        }
        let result = match result {
            Ok(Value::Promise(promise)) if Rc::ptr_eq(&promise.0, &out.0) => return,
            Ok(Value::Promise(promise)) if promise.is_pending() => {
                let task = Task::Settle { value: Value::Promise(promise.clone()), out: out.clone() };
                return self.wait(task, &[promise], 0);
            }
            Ok(Value::Promise(promise)) => match &*promise.0.state.borrow() {
                State::Fulfilled(value, _) => self.copy(value),
                State::Rejected(error, _) => Err(self.copy_error(error)),
                State::Pending(_) => return,
            },
            result => result,
        };
        let state = match result {
            Ok(value) => {
                let weight = self.weigh(value.weight());
                State::Fulfilled(value, weight)
            }
            Err(error) => {
                let weight = self.weigh(error.weight());
                State::Rejected(Rc::new(error), Some(weight))
            }
        };
        if let State::Pending(waiters) = out.0.state.replace(state) {
            self.ready.extend(waiters.into_iter().map(|waiter| (waiter, out.clone())));
        }
    }

    /// A result that is known, in a form that is cheap to share.
    pub(super) fn fulfilled(&mut self, value: Value<T>) -> Promise<T> {
        let promise = Promise::pending();
        self.settle(&promise, Ok(value));
        promise
    }

    /// A result that will never be.
    pub(super) fn broken(&mut self, error: Error) -> Promise<T> {
        let promise = Promise::pending();
        self.settle(&promise, Err(error));
        promise
    }

    /// Replaces promises by their results, as far as they are there.
    fn resolve(
        &mut self,
        value: &mut Value<T>,
        depth: usize,
        pending: &mut Vec<Promise<T>>,
    ) -> Result<(), Error> {
        if depth >= self.limits.depth {
            return Err(Error::range_error("the value nests too deep"));
        }
        match value {
            Value::Promise(promise) => {
                let known = match &*promise.0.state.borrow() {
                    State::Pending(_) => None,
                    State::Fulfilled(value, _) => Some(self.copy(value)?),
                    State::Rejected(error, _) => return Err(self.copy_error(error)),
                };
                match known {
                    Some(known) => {
                        *value = known;
                        self.resolve(value, depth, pending)
                    }
                    None => {
                        pending.push(promise.clone());
                        Ok(())
                    }
                }
            }
            Value::Encoded(text) => {
                *value = self.read_again(text)?;
                self.resolve(value, depth, pending)
            }
            Value::Array(items) => {
                items.iter_mut().try_for_each(|item| self.resolve(item, depth + 1, pending))
            }
            Value::Object(object) => {
                object.values_mut().try_for_each(|item| self.resolve(item, depth + 1, pending))
            }
            _ => Ok(()),
        }
    }

    /// Copies a value, of which one message can ask for many times.
    pub(super) fn copy(&mut self, value: &Value<T>) -> Result<Value<T>, Error> {
        if self.budget.copied_bytes == 0 {
            return Err(used_too_often());
        }
        self.charge_copy(value.weight())?;
        Ok(value.clone())
    }

    /// Reads a value that is written down, for which one message can ask many times too.
    pub(super) fn read_again(&mut self, text: &Encoded) -> Result<Value<T>, Error> {
        self.charge_copy(text.as_str().len())?;
        Ok(text.to_value())
    }

    fn charge_copy(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.budget.copied_bytes.checked_sub(bytes);
        // Who has once asked for too much is refused without another look at how much it is.
        self.budget.copied_bytes = left.unwrap_or(0);
        left.map(|_| ()).ok_or_else(used_too_often)
    }

    /// Copies an error, of which one message can ask for many times too.
    pub(super) fn copy_error(&mut self, error: &Error) -> Error {
        if self.budget.copied_bytes > 0 && self.charge_copy(error.weight()).is_ok() {
            return error.clone();
        }
        Error::range_error("an error is passed on too often in one message")
    }

    /// Follows a path through what is known.
    fn walk(&mut self, base: &Value<T>, path: &[Key]) -> Result<Found<T>, Error> {
        self.walk_from(base, path, 0)
    }

    fn walk_from(&mut self, base: &Value<T>, path: &[Key], start: usize) -> Result<Found<T>, Error> {
        let mut value = base;
        let undefined = Value::Undefined;
        for (at, key) in path.iter().enumerate().skip(start) {
            match value {
                Value::Local(local) | Value::Sink(local) => return Ok(Found::Local(local.clone(), at)),
                Value::Remote(remote) | Value::Writable(remote) => {
                    return Ok(Found::Remote(remote.clone(), at));
                }
                Value::Promise(promise) => return self.walk_promise(promise, path, at),
                Value::Encoded(text) => {
                    let value = self.read_again(text)?;
                    return self.walk_from(&value, path, at);
                }
                _ if is_prototype_key(key) => value = &undefined,
                Value::Undefined => return Err(no_property(key)),
                Value::Array(items) => value = element(items, key).unwrap_or(&undefined),
                Value::Object(object) => {
                    self.search(object.len())?;
                    value = property(object, key).unwrap_or(&undefined);
                }
                _ => value = &undefined,
            }
        }
        match value {
            Value::Local(local) => Ok(Found::Local(local.clone(), path.len())),
            Value::Remote(remote) => Ok(Found::Remote(remote.clone(), path.len())),
            Value::Promise(promise) => self.walk_promise(promise, path, path.len()),
            value => self.copy(value).map(Found::Value),
        }
    }

    /// Pays for looking through so many names.
    fn search(&mut self, names: usize) -> Result<(), Error> {
        let left = self.budget.names.checked_sub(names);
        self.budget.names =
            left.ok_or_else(|| Error::range_error("large objects are searched too often in one message"))?;
        Ok(())
    }

    fn walk_promise(&mut self, promise: &Promise<T>, path: &[Key], at: usize) -> Result<Found<T>, Error> {
        match &*promise.0.state.borrow() {
            State::Pending(_) => Ok(Found::Promise(promise.clone(), at)),
            State::Rejected(error, _) => Err(self.copy_error(error)),
            // Data that is asked for as a whole stays where it is.
            State::Fulfilled(value, _) if at == path.len() && !is_capability(value) => {
                Ok(Found::Value(Value::Promise(promise.clone())))
            }
            State::Fulfilled(value, _) => self.walk_from(value, path, at),
        }
    }
}

/// What a path that passes a name of every JavaScript object comes to: nothing of ours is behind it.
fn beyond<T>(path: &[Key], prototype: usize, call: bool) -> Result<Value<T>, Error> {
    match path[prototype..].iter().find(|key| !is_prototype_key(key)) {
        Some(key) => Err(no_property(key)),
        None if call => Err(Error::not_a_function(path)),
        None => Ok(Value::Undefined),
    }
}

fn used_too_often() -> Error {
    Error::range_error("results are used too often in one message")
}

fn no_property(key: &Key) -> Error {
    Error::type_error(format!("Cannot read properties of undefined (reading '{key}')"))
}

fn is_prototype_key(key: &Key) -> bool {
    key.as_name().is_some_and(is_prototype_name)
}

fn is_capability<T>(value: &Value<T>) -> bool {
    matches!(value, Value::Local(_) | Value::Remote(_) | Value::Promise(_))
}

fn element<'v, T>(items: &'v [Value<T>], key: &Key) -> Option<&'v Value<T>> {
    match key {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not negative")]
        Key::Index(index) if index.fract() == 0.0 && *index >= 0.0 => items.get(*index as usize),
        _ => None,
    }
}

fn property<'v, T>(object: &'v crate::value::Object<T>, key: &Key) -> Option<&'v Value<T>> {
    match key {
        Key::Name(name) => object.get(name),
        index @ Key::Index(_) => object.get(&index.to_string()),
    }
}

fn weight<T>(values: &[Value<T>]) -> usize {
    values.iter().map(Value::weight).sum()
}
