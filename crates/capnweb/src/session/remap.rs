//! `remap`: instructions that are carried out on a value, or on every element of an array.

use std::cell::Cell;
use std::rc::Rc;

use super::Session;
use super::evaluate::{Mapper, Scope};
use super::tables::Task;
use crate::error::Error;
use crate::handle::{Promise, State};
use crate::read::Reader;
use crate::scan::Scanner;
use crate::value::{Key, Value};

/// How deep remaps may be nested in each other. Each one takes stack that no bound on values counts.
const NESTING: usize = 16;

/// How many instructions a remap may still carry out, shared with those that are nested in it, and in how many others
/// it is nested itself.
pub(super) struct Steps {
    left: Rc<Cell<usize>>,
    nesting: usize,
}

/// A remap that waits for what it is to work on.
pub(super) struct Plan<T> {
    pub(super) captures: Vec<Value<T>>,
    /// The text of the list of instructions. It is read anew for every element.
    pub(super) instructions: Box<str>,
    pub(super) steps: Steps,
}

impl Steps {
    /// Steps for a remap that is nested in no other.
    pub(super) fn new(most: usize) -> Self {
        Self { left: Rc::new(Cell::new(most)), nesting: 0 }
    }

    /// What is left of them for a remap that is nested in this one.
    pub(super) fn nested(&self) -> Result<Self, Error> {
        match self.nesting {
            NESTING => Err(Error::range_error("remaps are nested too deep")),
            nesting => Ok(Self { left: Rc::clone(&self.left), nesting: nesting + 1 }),
        }
    }
}

impl<T> Session<T> {
    /// Carries out a remap, or has it wait.
    pub(super) fn remap(
        &mut self,
        base: &Value<T>,
        path: Vec<Key>,
        plan: Plan<T>,
    ) -> Result<Value<T>, Error> {
        match self.dispatch(base, path, None, None)? {
            Value::Promise(promise) if promise.is_pending() => {
                let out = self.place_for(None)?;
                let bytes = plan.instructions.len();
                self.wait(Task::Remap { plan, out: out.clone() }, &[promise], bytes);
                Ok(Value::Promise(out))
            }
            Value::Promise(promise) => self.apply(plan, &promise),
            value => self.apply_to(&plan, value),
        }
    }

    /// Carries out a remap on what has come.
    pub(super) fn apply(&mut self, plan: Plan<T>, promise: &Promise<T>) -> Result<Value<T>, Error> {
        let value = match &*promise.0.state.borrow() {
            State::Fulfilled(value, _) => self.copy(value)?,
            State::Rejected(error, _) => return Err(self.copy_error(error)),
            State::Pending(_) => return Err(Error::plain("nothing is there to be mapped")),
        };
        self.apply_to(&plan, value)
    }

    fn apply_to(&mut self, plan: &Plan<T>, value: Value<T>) -> Result<Value<T>, Error> {
        let mapped = match value {
            Value::Encoded(text) => {
                let value = self.read_again(&text)?;
                return self.apply_to(plan, value);
            }
            Value::Array(items) => {
                let items = items.into_iter().map(|item| self.apply_once(plan, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            nothing @ (Value::Undefined | Value::Null) => nothing,
            Value::Remote(_) => {
                return Err(Error::type_error("what belongs to the caller cannot be mapped here"));
            }
            other => self.apply_once(plan, other)?,
        };
        let out = Promise::pending();
        self.advance(Task::Settle { value: mapped, out: out.clone() });
        Ok(Value::Promise(out))
    }

    fn apply_once(&mut self, plan: &Plan<T>, element: Value<T>) -> Result<Value<T>, Error> {
        let length = plan.instructions.len();
        let left = self.budget.copied_bytes.checked_sub(length);
        self.budget.copied_bytes = left.ok_or_else(too_much)?;
        let mut variables = vec![element];
        let mut scan = Scanner::new(&plan.instructions);
        scan.expect(b'[').map_err(|violation| violation.error())?;
        if scan.take(b']') {
            return Err(Error::plain("Invalid empty mapper function."));
        }
        loop {
            let left = &plan.steps.left;
            left.set(left.get().checked_sub(1).ok_or_else(too_much)?);
            let mapper = Mapper { captures: &plan.captures, variables: &variables, steps: &plan.steps };
            let scope = Scope { session: self, mapper: Some(mapper) };
            let mut reader = Reader::new(scan, scope);
            let value = reader.value(0).map_err(|violation| violation.error())?;
            let more = reader.more().map_err(|violation| violation.error())?;
            if !more {
                return Ok(value);
            }
            scan = reader.scan;
            variables.push(value);
        }
    }
}

fn too_much() -> Error {
    Error::range_error("the remap takes too many steps: map fewer elements at a time")
}
