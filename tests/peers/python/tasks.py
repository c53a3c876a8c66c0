"""The Python server's tasks: numbered events, feeds that follow them, and an agent that always does the
same thing for the same text."""

import asyncio
import time
import uuid

import capnp

TERMINAL = {"completed", "failed", "canceled", "rejected"}
INTERRUPTED = {"inputRequired", "authRequired"}
CHUNKS = 3
BATCH = 64

A2A_DOMAIN = "a2a-protocol.org"
OWN_DOMAIN = "a2a-webcap.dev"


class Fault(Exception):
    """An expected failure, as A2aError carries it."""

    def __init__(self, code, reason, message, domain=A2A_DOMAIN):
        super().__init__(f"A2A {code} {reason}: {message}")
        self.error = {"code": code, "reason": reason, "message": message, "domain": domain}


def task_not_found():
    return Fault(-32001, "TASK_NOT_FOUND", "check the id, and that the task is yours")


def not_cancelable():
    return Fault(-32002, "TASK_NOT_CANCELABLE", "the task has ended")


def unsupported(message):
    return Fault(-32004, "UNSUPPORTED_OPERATION", message)


def own(code, reason, message):
    return Fault(code, reason, message, OWN_DOMAIN)


def agent_message(task, text):
    place = {"contextId": task.context_id, "taskId": task.id} if task else {}
    return {"messageId": str(uuid.uuid4()), "role": "agent", "parts": [{"content": {"text": text}}], **place}


class Task:
    """A log of events, and what they add up to."""

    def __init__(self, message):
        self.id = str(uuid.uuid4())
        self.context_id = message.get("contextId") or str(uuid.uuid4())
        self.events = []
        self.feeds = set()
        self.history = []
        self.artifact = None
        self.running = None
        self._add_status("submitted")
        self.take(message)

    @property
    def state(self):
        return self.status["state"]

    def take(self, message):
        """The client's message enters the task, and the agent's turn begins."""
        self.history.append(message | {"taskId": self.id, "contextId": self.context_id})
        text = next((part["content"]["text"] for part in message["parts"] if "text" in part["content"]), "")
        self.running = asyncio.create_task(self._turn(text.split()))

    def cancel(self):
        if self.state in TERMINAL:
            raise not_cancelable()
        self.running.cancel()
        self._add_status("canceled")

    def snapshot(self, history_length=-1):
        length = len(self.history) if history_length < 0 else history_length
        return {
            "id": self.id,
            "contextId": self.context_id,
            "status": self.status,
            "artifacts": [self.artifact] if self.artifact else [],
            "history": self.history[len(self.history) - length:],
        }

    async def settled(self):
        """Waits for a terminal or an interrupted state."""
        while self.state not in TERMINAL | INTERRUPTED:
            await asyncio.wait({self.running})

    async def _turn(self, words):
        turn = len(self.history)
        # One step later, so that whoever sent sees `submitted` as the state of a new task.
        await asyncio.sleep(0)
        self._add_status("working")
        match words:
            case ["stream", count, pace]:
                await self._chunks(int(count), float(pace.removesuffix("ms")) / 1000)
            case ["burst", count]:
                await self._chunks(int(count), 0)
            case ["long"]:
                await asyncio.Event().wait()
            case ["ask"] if turn == 1:
                self._add_status("inputRequired", agent_message(self, "which one?"))
                return
            case ["fail"]:
                self._add_status("failed", agent_message(self, "as asked"))
                return
            case _:
                await self._chunks(CHUNKS, 0)
        self._add_status("completed")

    async def _chunks(self, count, pace_s):
        for number in range(1, count + 1):
            part = {"content": {"text": f"chunk {number} of {count}\n"}}
            self._add_chunk(part, number > 1, number == count)
            await asyncio.sleep(pace_s)

    def _add_status(self, state, message=None):
        self.status = {"state": state, "timestamp": time.time_ns()}
        if message:
            self.status["message"] = message
        self._add("statusUpdate", {"status": self.status})

    def _add_chunk(self, part, append, last):
        if not append:
            self.artifact = {"artifactId": "answer", "parts": []}
        self.artifact["parts"].append(part)
        chunk = {"artifactId": "answer", "parts": [part]}
        self._add("artifactUpdate", {"artifact": chunk, "append": append, "lastChunk": last})

    def _add(self, kind, body):
        place = {"taskId": self.id, "contextId": self.context_id}
        self.events.append((kind, place | body))
        for feed in self.feeds:
            feed.wake()


class Feed:
    """A cursor on a task's log that pushes what it passes into an observer."""

    def __init__(self, task, observer, features):
        self._task, self._observer, self._features = task, observer, features
        # Otherwise the observer keeps the call alive that it came in, and with it that call's results.
        observer._parent = None
        self._awake = asyncio.Event()
        self._stopped = None
        self.snapshot_first = False
        self.sent = 0
        self.ends = TERMINAL

    def wake(self):
        self._awake.set()

    def stop(self, reason, error=None):
        self._stopped = self._stopped or (reason, error)
        self.wake()

    async def run(self, authority):
        self._task.feeds.add(self)
        authority.feeds.add(self)
        try:
            reason, error = await self._follow()
            await self._observer.onEnd(reason=reason, lastSeq=self.sent, **({"error": error} if error else {}))
        except capnp.KjException as thrown:
            print(f"observer dropped: {str(thrown).splitlines()[0]}", flush=True)
        finally:
            self._task.feeds.discard(self)
            authority.feeds.discard(self)
            self._observer = None

    async def _follow(self):
        if self.snapshot_first and self._features.onTask:
            await self._observer.onTask(task=self._task.snapshot(), seq=self.sent, final=False)
        while not self._stopped:
            if self.sent == len(self._task.events):
                if self._task.state in TERMINAL:
                    return "completed", None
                self._awake.clear()
                await self._awake.wait()
                continue
            waiting = self._task.events[self.sent:self.sent + BATCH]
            if self._features.onBatch and len(waiting) > 1:
                reason = await self._push_batch(waiting)
            else:
                reason = await self._push(*waiting[0])
            if reason:
                return reason, None
        return self._stopped

    async def _push(self, kind, body):
        reason = self._end_with(kind, body)
        self.sent += 1
        if kind == "artifactUpdate":
            await self._observer.onArtifactUpdate(update=body, seq=self.sent, final=False)
        else:
            await self._observer.onStatusUpdate(update=body, seq=self.sent, final=reason is not None)
        return reason

    async def _push_batch(self, waiting):
        batch, reason = [], None
        for kind, body in waiting:
            reason = self._end_with(kind, body)
            self.sent += 1
            batch.append({"seq": self.sent, "final": reason is not None, kind: body})
            if reason:
                break
        await self._observer.onBatch(events=batch)
        return reason

    def _end_with(self, kind, body):
        """The reason with which this event ends the stream, if it does."""
        state = body["status"]["state"] if kind == "statusUpdate" else None
        if state not in self.ends:
            return None
        return "completed" if state in TERMINAL else "interrupted"
