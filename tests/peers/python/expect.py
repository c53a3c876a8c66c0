"""What the scenarios say their expectations with: checks, typed errors, and an observer that records."""

import asyncio
import gc
import json
import re
import uuid
from typing import NamedTuple

import capnp

from link import cap

FEATURES = {"onTask": True, "onMessage": True, "onBatch": False}
BATCHES = {"onTask": True, "onMessage": True, "onBatch": True}
WAIT_S = 15


class Unmet(Exception):
    """An expectation that was not met."""


def check(condition, why):
    if not condition:
        raise Unmet(why)


def equal(actual, expected, what):
    check(actual == expected, f"{what}: expected {expected!r}, got {actual!r}")


class Fault(NamedTuple):
    code: int
    reason: str


UNAUTHENTICATED = Fault(-31401, "UNAUTHENTICATED")
TASK_NOT_FOUND = Fault(-32001, "TASK_NOT_FOUND")
TASK_NOT_CANCELABLE = Fault(-32002, "TASK_NOT_CANCELABLE")
INVALID_PARAMS = Fault(-32602, "INVALID_PARAMS")
FORBIDDEN = Fault(-31403, "FORBIDDEN")
REVOKED = Fault(-31410, "REVOKED")
NO_TASK = Fault(-31404, "NO_TASK")
CONFLICT = Fault(-31409, "CONFLICT")


def typed_error(result):
    """The result's `error`, or None when all is well."""
    return Fault(result.error.code, result.error.reason) if result._has("error") else None


def of_exception(exception):
    """The first error of the chain, as the reason of an exception carries it."""
    found = re.search(r"A2A (-?\d+) (\w+)", str(exception))
    check(found, f"an exception without a typed error: {exception}")
    return Fault(int(found[1]), found[2])


async def fine(call):
    result = await within(call)
    check(typed_error(result) is None, f"unexpected error: {typed_error(result)}")
    return result


async def take(call, *names):
    """These capabilities out of the call's result, and nothing else of it.

    pycapnp keeps a response alive, with every capability in it, as long as one taken out of it.
    """
    result = await fine(call)
    taken = [getattr(result, name) for name in names]
    for capability in taken:
        capability._parent = None
    return taken if len(taken) > 1 else taken[0]


async def within(awaitable):
    """Awaits, but never for ever."""
    return await asyncio.wait_for(awaitable, WAIT_S)


async def error_of(call):
    """The error of a call that has to fail in its own result."""
    return typed_error(await within(call))


async def thrown_by(call):
    """The error of a call that has to fail because what it was called on is broken."""
    try:
        await within(call)
    except capnp.KjException as exception:
        return of_exception(exception)
    raise Unmet("the call on a broken object was answered")


async def failure_of(call):
    """The error of a call that has to fail, in its result or as a broken object does."""
    try:
        return typed_error(await within(call))
    except capnp.KjException as exception:
        return of_exception(exception)


def dropped():
    """Makes Python give up what was just deleted, so that its release is on its way."""
    gc.collect()


def message(text, **fields):
    parts = [{"content": {"text": text}}]
    return {"messageId": str(uuid.uuid4()), "role": "user", "parts": parts, **fields}


def text_of(parts):
    return "".join(part["content"].get("text", "") for part in parts)


class Event(NamedTuple):
    seq: int
    final: bool
    kind: str
    body: dict

    @property
    def state(self):
        return self.body["status"]["state"] if self.kind == "status" else None


class Recorder(cap.TaskObserver.Server):
    """Records every call that the server makes. Holds the subscription too: to drop that ends the calls."""

    def __init__(self, first_call_takes_s=0, throws_at=None):
        self.events, self.snapshots, self.messages, self.batches = [], [], [], []
        self.end, self.calls_after_end, self.subscription = None, 0, None
        self._first_call_takes_s, self._throws_at = first_call_takes_s, throws_at
        self._changed = asyncio.Event()

    async def onStatusUpdate(self, update, seq, final, **_):
        await self._took([Event(seq, final, "status", update.to_dict())])

    async def onArtifactUpdate(self, update, seq, final, **_):
        await self._took([Event(seq, final, "artifact", update.to_dict())])

    async def onBatch(self, events, **_):
        self.batches.append(len(events))
        kinds = {"statusUpdate": "status", "artifactUpdate": "artifact"}
        await self._took([
            Event(event.seq, event.final, kinds[event.which()], getattr(event, event.which()).to_dict())
            for event in events
        ])

    async def onTask(self, task, seq, final, **_):
        self.snapshots.append((seq, final, task.to_dict()))
        await self._took([])

    async def onMessage(self, message, **_):
        self.messages.append(message.to_dict())
        await self._took([])

    async def onEnd(self, reason, lastSeq, error, _context, **_):
        fault = Fault(error.code, error.reason) if _context.params._has("error") else None
        self.end = (str(reason), lastSeq, fault)
        self._changed.set()

    async def _took(self, events):
        if self.end:
            self.calls_after_end += 1
        self.events += events
        self._changed.set()
        delay_s, self._first_call_takes_s = self._first_call_takes_s, 0
        await asyncio.sleep(delay_s)
        if self._throws_at is not None and len(self.events) >= self._throws_at:
            raise RuntimeError("this observer always fails here")

    @property
    def states(self):
        return [event.state for event in self.events if event.state]

    @property
    def artifact_text(self):
        return "".join(text_of(event.body["artifact"]["parts"]) for event in self.events
                       if event.kind == "artifact")

    async def until(self, reached, what):
        async def wait():
            while not reached(self):
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), WAIT_S)
        except asyncio.TimeoutError:
            raise Unmet(f"{what} never came; states {self.states}, end {self.end}") from None

    async def until_state(self, state):
        await self.until(lambda seen: state in seen.states, f"state {state}")

    async def until_end(self, reason):
        await self.until(lambda seen: seen.end, "onEnd")
        equal(self.end[0], reason, "reason of onEnd")

    def check_numbers(self, first=1):
        """No gap and no repeat from `first`, one final event, the last, and nothing after onEnd."""
        seqs = [event.seq for event in self.events]
        equal(seqs, list(range(first, first + len(seqs))), "numbers of the events")
        equal([event.seq for event in self.events if event.final], seqs[-1:], "final events")
        equal(self.end[1], seqs[-1], "lastSeq of onEnd")
        equal(self.calls_after_end, 0, "calls after onEnd")


def same_json(actual, expected, what):
    equal(json.loads(actual), expected, what)
