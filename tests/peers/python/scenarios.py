"""What a peer promises itself of the server: one function for each promise, in the order in which they run.

Each gets a Peer, opens its own connections, and raises if an expectation is not met.
"""

import asyncio
import contextlib

import capnp
from websockets.asyncio.client import connect

from expect import (
    BATCHES, CONFLICT, FEATURES, FORBIDDEN, INVALID_PARAMS, NO_TASK, REVOKED, TASK_NOT_CANCELABLE,
    TASK_NOT_FOUND, UNAUTHENTICATED, Recorder, check, dropped, equal, error_of, failure_of, fine, message,
    same_json, take, text_of, thrown_by, within,
)
from link import WEBSOCKET_OPTIONS, bridge, cap

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class Peer:
    """Where the server is, and the key that it accepts."""

    def __init__(self, url, key):
        self._url, self._key = url, key

    @contextlib.asynccontextmanager
    async def service(self):
        """The bootstrap object of a connection of its own, which ends with the block."""
        async with connect(self._url, proxy=None, **WEBSOCKET_OPTIONS) as websocket:
            async with bridge(websocket) as stream:
                client = capnp.TwoPartyClient(stream)
                try:
                    yield client.bootstrap().cast_as(cap.A2aService)
                finally:
                    client.close()

    @contextlib.asynccontextmanager
    async def session(self):
        """A session on a connection of its own, which ends with the block."""
        async with self.service() as service:
            yield (await fine(self.authenticate(service))).session

    def authenticate(self, service):
        return service.authenticate(credentials={"apiKey": self._key})


async def start(session, text, seen, **options):
    """Starts a task with this text, observed by `seen`, and returns its handle."""
    handle, seen.subscription = await take(stream(session, text, seen, **options), "task", "subscription")
    return handle


async def watch(target, seen, **cursor):
    """Subscribes `seen` to the task of this handle."""
    call = target.subscribe(observer=seen, features=FEATURES, cursor=cursor)
    seen.subscription = await take(call, "subscription")


def stream(target, text, observer, features=FEATURES, **options):
    """A streaming send of this text, into a new task of the session."""
    return target.sendStreamingMessage(
        request={"message": message(text)}, observer=observer, features=features, options=options)


async def finished_task(session, text):
    """The id of a task that has run to its end, and the observer that saw it."""
    seen = Recorder()
    handle = await start(session, text, seen)
    await seen.until_end("completed")
    return (await fine(handle.get())).task.id, seen


# ---------------------------------------------------------------------------------------------------
# Authentication and errors

@scenario
async def public_information(peer):
    async with peer.service() as service:
        equal((await within(service.info())).info.revision, 1, "revision")
        card = (await fine(service.getAgentCard())).card
        check(card.name and len(card.supportedInterfaces) > 0, "the card lacks a name or an interface")


@scenario
async def authenticate(peer):
    async with peer.session() as session:
        identity = (await fine(session.whoAmI())).identity
        check(identity.subject and not identity.anonymous, f"identity {identity}")


@scenario
async def wrong_key(peer):
    async with peer.service() as service:
        for credentials in [{"apiKey": "wrong"}, {"bearer": "wrong"}, {"unset": None}]:
            refused = service.authenticate(credentials=credentials)
            dependent = refused.session.whoAmI()
            equal(await error_of(refused), UNAUTHENTICATED, f"error of {credentials}")
            equal(await thrown_by(dependent), UNAUTHENTICATED, f"pipelined error of {credentials}")
        equal(await failure_of(service.getTask(request={"id": "any"})), UNAUTHENTICATED, "without a session")


@scenario
async def typed_error(peer):
    async with peer.session() as session:
        result = await within(session.getTask(request={"id": "no-such-task"}))
        equal((result.error.code, result.error.reason), tuple(TASK_NOT_FOUND), "error")
        equal(result.error.domain, "a2a-protocol.org", "domain")
        check(result.error.message, "an error without a message")


@scenario
async def pipelined_error(peer):
    async with peer.session() as session:
        missing = session.task("no-such-task")
        near = missing.task.get()
        far = missing.task.subscribe(observer=Recorder(), features=FEATURES, cursor={"after": 0})
        equal(await thrown_by(near), TASK_NOT_FOUND, "call on the handle")
        equal(await thrown_by(far), TASK_NOT_FOUND, "subscription through the handle")
        equal(await error_of(missing), TASK_NOT_FOUND, "the lookup itself")


@scenario
async def invalid_message_is_named(peer):
    async with peer.session() as session:
        bad = await within(session.sendMessage(request={"message": message("x", parts=[])}))
        equal((bad.error.code, bad.error.reason), tuple(INVALID_PARAMS), "error")
        fields = [violation.field for violation in bad.error.violations]
        equal(fields, ["message.parts"], "fields of the violations")


# ---------------------------------------------------------------------------------------------------
# Sending and streams

@scenario
async def pipelined_send(peer):
    async with peer.service() as service:
        seen = Recorder()
        sent = stream(peer.authenticate(service).session, "hello", seen)
        task = (await fine(sent.task.get())).task
        await seen.until_end("completed")
        seen.check_numbers()
        equal({event.body["taskId"] for event in seen.events}, {task.id}, "task of the events")


@scenario
async def callbacks(peer):
    async with peer.session() as session:
        seen = Recorder()
        handle = await start(session, "stream 20 5ms", seen)
        await seen.until_end("completed")
        seen.check_numbers()
        seq, final, opened = seen.snapshots[0]
        equal((seq, final, opened["status"]["state"]), (0, False, "submitted"), "the task as opened")
        equal(seen.states, ["submitted", "working", "completed"], "states")
        chunks = [event for event in seen.events if event.kind == "artifact"]
        equal(len(chunks), 20, "chunks")
        equal([chunk.body["append"] for chunk in chunks], [False] + 19 * [True], "append")
        equal([chunk.body["lastChunk"] for chunk in chunks], 19 * [False] + [True], "lastChunk")
        task = (await fine(handle.get())).task.to_dict()
        equal(text_of(task["artifacts"][0]["parts"]), seen.artifact_text, "the artifact and its chunks")


@scenario
async def blocking_send(peer):
    async with peer.session() as session:
        sent = session.sendMessage(request={"message": message("hello")})
        handle = sent.task
        equal((await fine(sent)).response.task.status.state, "completed", "state in the answer")
        equal((await fine(handle.get())).task.status.state, "completed", "state of the handle")


@scenario
async def immediate_send(peer):
    async with peer.session() as session:
        request = {"message": message("long"), "configuration": {"returnImmediately": True}}
        sent = await fine(session.sendMessage(request=request))
        check(str(sent.response.task.status.state) in ("submitted", "working"), "not answered at once")
        await fine(sent.task.cancel())


@scenario
async def direct_message(peer):
    async with peer.session() as session:
        seen = Recorder()
        sent = stream(session, "message", seen)
        equal(await thrown_by(sent.task.get()), NO_TASK, "call on the handle of no task")
        await seen.until_end("completed")
        equal((len(seen.messages), seen.events), (1, []), "messages and events")
        equal(seen.messages[0]["role"], "agent", "role")
        blocking = await fine(session.sendMessage(request={"message": message("message")}))
        equal(str(blocking.response.which()), "message", "answer of a blocking send")


@scenario
async def failed_task(peer):
    async with peer.session() as session:
        seen = Recorder()
        await start(session, "fail", seen)
        await seen.until_end("completed")
        seen.check_numbers()
        equal(seen.states[-1], "failed", "last state")


@scenario
async def input_required(peer):
    async with peer.session() as session:
        asked, answered, replay = Recorder(), Recorder(), Recorder()
        handle = await start(session, "ask", asked)
        await asked.until_end("interrupted")
        asked.check_numbers()
        equal(asked.states[-1], "inputRequired", "last state")
        answered.subscription = await take(handle.sendStreaming(
            request={"message": message("blue")}, observer=answered, features=FEATURES), "subscription")
        await answered.until_end("completed")
        answered.check_numbers(first=asked.end[1] + 1)
        await watch(handle, replay, after=0)
        await replay.until_end("completed")
        equal([event.seq for event in replay.events], list(range(1, answered.end[1] + 1)), "numbers")


@scenario
async def unicode_and_metadata(peer):
    text = "Grüße, 你好, שלום, e\u0301, \U0001f469\u200d\U0001f680, \u202eright to left\u202c\n\ttab"
    metadata = {"ключ": ["ü", 1, -2.5, True, None], "nested": {"\U0001f511": {}}, "big": 9007199254740991}
    encoded = '{"ключ":["ü",1,-2.5,true,null],"nested":{"\U0001f511":{}},"big":9007199254740991}'
    part = {"content": {"text": text}, "filename": "naïve 名.txt", "mediaType": "text/plain", "metadata": encoded}
    async with peer.session() as session:
        sent = await fine(session.sendMessage(request={"message": message("", parts=[part], metadata=encoded)}))
        task = await fine(sent.task.get(historyLength=10))
        stored = task.task.history[0].to_dict()
        equal(stored["parts"][0]["content"]["text"], text, "text")
        equal(stored["parts"][0]["filename"], part["filename"], "filename")
        same_json(stored["parts"][0]["metadata"], metadata, "metadata of the part")
        same_json(stored["metadata"], metadata, "metadata of the message")


@scenario
async def list_of_tasks(peer):
    async with peer.session() as session:
        task_id, seen = await finished_task(session, "hello")
        context_id = seen.events[0].body["contextId"]
        listed = await fine(session.listTasks(request={"contextId": context_id}))
        equal([task.id for task in listed.response.tasks], [task_id], "tasks of the context")


@scenario
async def idempotent_send(peer):
    async with peer.session() as session:
        same = message("hello")
        first = await fine(session.sendMessage(request={"message": same}))
        again = await fine(session.sendMessage(request={"message": same}))
        equal(again.response.task.id, first.response.task.id, "task of the repeated send")
        other = same | {"parts": [{"content": {"text": "another body"}}]}
        equal(await error_of(session.sendMessage(request={"message": other})), CONFLICT, "another body")


# ---------------------------------------------------------------------------------------------------
# Subscriptions

@scenario
async def resume_after_n(peer):
    cut_at = 7
    before, after = Recorder(), Recorder()
    async with peer.session() as session:
        handle = await start(session, "stream 40 10ms", before)
        await before.until(lambda seen: len(seen.events) >= cut_at, f"event {cut_at}")
        task_id = (await fine(handle.get())).task.id
    async with peer.session() as session:
        handle = session.task(task_id).task
        await watch(handle, after, after=cut_at)
        await after.until_end("completed")
        after.check_numbers(first=cut_at + 1)
        replay = Recorder()
        await watch(handle, replay, after=0)
        await replay.until_end("completed")
        replay.check_numbers()
        equal(before.events[:cut_at] + after.events, replay.events, "the two halves and the whole")


@scenario
async def resume_of_finished_task(peer):
    async with peer.session() as session:
        task_id, whole = await finished_task(session, "hello")
        part, nothing, latest = Recorder(), Recorder(), Recorder()
        for observer, cursor in [
            (part, {"after": 2}), (nothing, {"after": whole.end[1]}), (latest, {"unset": None}),
        ]:
            observer.subscription = await take(session.subscribeToTask(
                request={"id": task_id}, observer=observer, features=FEATURES, cursor=cursor), "subscription")
            await observer.until_end("completed")
        equal(part.events, whole.events[2:], "events after 2")
        equal(nothing.events, [], "events after the last")
        equal(latest.events, whole.events[-1:], "events without a cursor")


@scenario
async def late_subscriber(peer):
    async with peer.session() as session:
        first, late = Recorder(), Recorder()
        handle = await start(session, "stream 30 10ms", first)
        await first.until(lambda seen: len(seen.events) >= 5, "event 5")
        await watch(handle, late)
        await late.until_end("completed")
        seq, final, snapshot = late.snapshots[0]
        equal((final, snapshot["status"]["state"]), (False, "working"), "the snapshot")
        late.check_numbers(first=seq + 1)
        await first.until_end("completed")
        equal(late.events, first.events[seq:], "events after the snapshot")


@scenario
async def subscription_dropped(peer):
    async with peer.session() as session:
        owner, watcher = Recorder(), Recorder()
        handle = await start(session, "long", owner)
        await owner.until_state("working")
        await watch(handle, watcher, after=0)
        await watcher.until_state("working")
        watcher.subscription = None
        dropped()
        await watcher.until_end("detached")
        await fine(handle.cancel())
        await owner.until_end("completed")
        equal(watcher.states, ["submitted", "working"], "what the detached observer saw")


@scenario
async def batches(peer):
    async with peer.session() as session:
        seen = Recorder(first_call_takes_s=0.3)
        await start(session, "burst 2000", seen, features=BATCHES)
        await seen.until_end("completed")
        seen.check_numbers()
        equal(len([event for event in seen.events if event.kind == "artifact"]), 2000, "chunks")
        check(seen.batches, "no batch, though the observer lagged")
        check(max(seen.batches) <= 64, f"a batch of {max(seen.batches)} events")


@scenario
async def throwing_observer(peer):
    async with peer.session() as session:
        bad, good = Recorder(throws_at=3), Recorder()
        handle = await start(session, "stream 20 20ms", bad)
        await watch(handle, good, after=0)
        await good.until_end("completed")
        good.check_numbers()
        check(len(bad.events) < len(good.events), "the observer that throws was called to the end")
        equal((await fine(handle.get())).task.status.state, "completed", "state of the task")


# ---------------------------------------------------------------------------------------------------
# Cancel, and what dropping takes back

@scenario
async def cancel(peer):
    async with peer.session() as session:
        seen = Recorder()
        handle = await start(session, "long", seen)
        await seen.until_state("working")
        canceled = (await fine(handle.cancel())).task
        equal(canceled.status.state, "canceled", "state in the answer")
        await seen.until_end("completed")
        seen.check_numbers()
        equal(seen.states[-1], "canceled", "last state of the stream")
        equal(await error_of(handle.cancel()), TASK_NOT_CANCELABLE, "the second cancel")
        by_id = session.cancelTask(request={"id": canceled.id})
        equal(await error_of(by_id), TASK_NOT_CANCELABLE, "the second cancel, by id")


@scenario
async def cancel_on_drop(peer):
    async with peer.session() as session:
        owner, watcher = Recorder(), Recorder()
        handle = await start(session, "long", owner, cancelOnDrop=True)
        await owner.until_state("working")
        task_id = owner.events[0].body["taskId"]
        await watch(session.task(task_id).task, watcher, after=0)
        del handle
        dropped()
        await watcher.until_end("completed")
        equal(watcher.states[-1], "canceled", "last state")


@scenario
async def revocation_by_drop(peer):
    async with peer.session() as session:
        seen = Recorder()
        policy = {"grant": {"label": "for the test"}}
        narrow, grant = await take(session.attenuate(policy=policy), "session", "grant")
        equal((await within(grant.info())).info.label, "for the test", "label of the grant")
        below, grant_below = await take(narrow.attenuate(policy={}), "session", "grant")
        handle = await start(narrow, "long", seen)
        await seen.until_state("working")
        del grant
        dropped()
        await seen.until_end("revoked")
        equal(seen.end[2], REVOKED, "error of onEnd")
        equal(await failure_of(narrow.whoAmI()), REVOKED, "the derived session")
        equal(await failure_of(handle.get()), REVOKED, "what the derived session returned")
        equal(await failure_of(below.whoAmI()), REVOKED, "the session derived from the derived one")
        del grant_below
        task_id = seen.events[0].body["taskId"]
        state = (await fine(session.getTask(request={"id": task_id}))).task.status.state
        equal(state, "working", "the task itself")
        await fine(session.cancelTask(request={"id": task_id}))


@scenario
async def revoked_task_handle(peer):
    async with peer.session() as session:
        owner, watcher = Recorder(), Recorder()
        handle = await start(session, "long", owner)
        narrow, grant = await take(handle.attenuate(role="observe", policy={}), "task", "grant")
        equal(await error_of(narrow.cancel()), FORBIDDEN, "cancel by an observer")
        await watch(narrow, watcher, after=0)
        await watcher.until_state("working")
        await within(grant.revoke())
        equal(await failure_of(narrow.get()), REVOKED, "a call after revoke was answered")
        await watcher.until_end("revoked")
        equal((await within(grant.info())).info.live, False, "live")
        await within(grant.revoke())
        await fine(handle.cancel())
        await owner.until_end("completed")


@scenario
async def read_only_session(peer):
    async with peer.session() as session:
        task_id, _ = await finished_task(session, "hello")
        derived = await fine(session.attenuate(policy={"readOnly": True}))
        await fine(derived.session.getTask(request={"id": task_id}))
        refused = derived.session.sendMessage(request={"message": message("hello")})
        equal(await error_of(refused), FORBIDDEN, "a send")


@scenario
async def share_and_claim(peer):
    async with peer.session() as session, peer.service() as other, peer.service() as third:
        seen = Recorder()
        handle = await start(session, "long", seen)
        shared = await fine(handle.share(role="control", policy={"label": "for a colleague"}))
        secret, grant = shared.secret, shared.grant
        del shared
        claimed = (await fine(other.claim(secret))).task
        equal((await fine(claimed.get())).task.id, (await fine(handle.get())).task.id, "the claimed task")
        second, wrong = await error_of(third.claim(secret)), await error_of(third.claim("wrong"))
        check(second is not None, "the secret worked twice")
        equal(second, wrong, "a used and a wrong secret")
        equal(await thrown_by(third.claim("wrong").task.get()), wrong, "a call on a failed claim")
        await within(grant.revoke())
        equal(await failure_of(claimed.get()), REVOKED, "the claimed handle")
        await fine(handle.cancel())


@scenario
async def closed_session(peer):
    async with peer.service() as service:
        session = (await fine(peer.authenticate(service))).session
        other = (await fine(peer.authenticate(service))).session
        seen = Recorder()
        handle = await start(session, "long", seen)
        await seen.until_state("working")
        await within(session.close())
        await seen.until_end("detached")
        check(await failure_of(session.whoAmI()) is not None, "the closed session still answers")
        check(await failure_of(handle.get()) is not None, "its handle still answers")
        task_id = seen.events[0].body["taskId"]
        await fine(other.cancelTask(request={"id": task_id}))


@scenario
async def many_connections(peer):
    async def echo(number):
        async with peer.session() as session:
            sent = await fine(session.sendMessage(request={"message": message(f"hello {number}")}))
            return (await fine(sent.task.get(historyLength=10))).task.history[0].parts[0].content.text

    answers = await within(asyncio.gather(*map(echo, range(10))))
    equal(answers, [f"hello {number}" for number in range(10)], "own message of each connection")
