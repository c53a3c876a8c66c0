"""An A2aService written with pycapnp, for other clients to be tried against.

It speaks schema/capability.capnp over WebSocket at /capnp, for one principal, in memory, and always does
the same thing: a send gives `submitted`, `working`, three artifact chunks, `completed`, and then onEnd.
The texts `stream COUNT PACEms`, `burst COUNT`, `long`, `ask`, `fail` and `message` do what they do with
the demo agent. It has no push notifications and no extended card.
"""

import argparse
import asyncio
import functools
import secrets
import uuid

import capnp
from websockets.asyncio.server import serve

from link import WEBSOCKET_OPTIONS, bridge, cap
from tasks import Fault, Feed, INTERRUPTED, TERMINAL, Task, agent_message, own, task_not_found, unsupported

OPERATIONS = set(cap.Operations.schema.method_names)
ROLES = ["unset", "observe", "answer", "control", "owner"]


def broken(interface, fault):
    """A capability each of whose methods fails with this fault: the first error of a chain."""

    class Broken(interface.Server):
        def __getattr__(self, method):
            if method.endswith("_context"):
                raise AttributeError(method)

            async def fails(**_):
                raise fault

            return fails

    return Broken()


def typed(**capabilities):
    """Makes a method's Fault the result's `error`, and each capability in the results a broken one."""

    def decorate(method):
        @functools.wraps(method)
        async def call(self, _context, **params):
            try:
                for name, value in (await method(self, **params)).items():
                    setattr(_context.results, name, value)
            except Fault as fault:
                _context.results.error = fault.error
                for name, interface in capabilities.items():
                    setattr(_context.results, name, broken(interface, fault))

        return call

    return decorate


class Authority:
    """What a grant takes back: a node of the tree of derived objects, with the streams below it."""

    def __init__(self, parent=None):
        self._parent, self._ended, self._children = parent, None, []
        self.feeds = set()
        if parent:
            parent._children.append(self)

    def check(self):
        if self._ended:
            raise self._ended

    def end(self, fault=None, stream_reason="revoked"):
        if self._ended:
            return
        self._ended = fault or own(-31410, "REVOKED", "ask for a new grant")
        error = self._ended.error if stream_reason == "revoked" else None
        for feed in list(self.feeds):
            feed.stop(stream_reason, error)
        for child in self._children:
            child.end(self._ended, stream_reason)


class Grant(cap.Grant.Server):
    def __init__(self, authority, policy):
        self._authority, self._policy = authority, policy

    async def revoke(self, **_):
        self._authority.end()

    async def info(self, **_):
        return {"id": "1", "label": self._policy.get("label", ""), "live": not self._authority._ended}

    def __del__(self):
        if not self._policy.get("keepOnDrop"):
            self._authority.end()


class Subscription(cap.Subscription.Server):
    def __init__(self, feed):
        self._feed = feed

    def __del__(self):
        self._feed.stop("detached")


class World:
    """The tasks and shared secrets of the whole server."""

    def __init__(self, key):
        self.key, self.tasks, self.sent, self.secrets, self.background = key, {}, {}, {}, set()

    def task(self, task_id):
        if task_id not in self.tasks:
            raise task_not_found()
        return self.tasks[task_id]

    def follow(self, feed, authority):
        """Starts a feed, and returns the right to be called."""
        running = asyncio.create_task(feed.run(authority))
        self.background.add(running)
        running.add_done_callback(self.background.discard)
        return Subscription(feed)

    def accept(self, message, task=None):
        """Takes a message into a task: the one that it names, or a new one."""
        if not message.get("parts"):
            violation = {"field": "message.parts", "description": "must not be empty"}
            fault = own(-32602, "INVALID_PARAMS", "message.parts: must not be empty")
            fault.error["violations"] = [violation]
            raise fault
        body, earlier = self.sent.get(message["messageId"], (message, None))
        if body != message:
            raise own(-31409, "CONFLICT", "use a fresh messageId for another message")
        task = earlier or self._place(message, task)
        self.sent[message["messageId"]] = (message, task)
        return task

    def _place(self, message, task):
        task = task or (self.task(message["taskId"]) if message.get("taskId") else None)
        if task is None:
            task = Task(message)
            self.tasks[task.id] = task
        elif task.state in TERMINAL:
            raise unsupported("the task has ended: send without taskId")
        elif task.state in INTERRUPTED:
            task.take(message)
        else:
            raise unsupported("the agent is busy: wait for its answer")
        return task


def is_direct(message):
    return [part["content"].get("text") for part in message["parts"]] == ["message"]


class TaskHandle(cap.TaskHandle.Server):
    def __init__(self, world, task, authority, role="owner"):
        self._world, self._task, self._authority, self._role = world, task, authority, role
        self._cancel_on_drop = False

    def cancel_on_drop(self):
        self._cancel_on_drop = True
        return self

    def __del__(self):
        if self._cancel_on_drop and self._task.state not in TERMINAL:
            self._task.cancel()

    def _need(self, role):
        self._authority.check()
        if ROLES.index(self._role) < ROLES.index(role):
            raise own(-31403, "FORBIDDEN", f"this handle may {self._role}: it takes {role}")

    @typed()
    async def get(self, historyLength, **_):
        self._need("observe")
        return {"task": self._task.snapshot(historyLength)}

    @typed()
    async def send(self, request, options, **_):
        self._need("answer")
        self._world.accept(request.message.to_dict(), self._task)
        await self._task.settled()
        return {"response": {"task": self._task.snapshot()}}

    @typed(subscription=cap.Subscription)
    async def sendStreaming(self, request, observer, features, **_):
        self._need("answer")
        feed = Feed(self._task, observer, features)
        feed.sent, feed.ends = len(self._task.events), TERMINAL | INTERRUPTED
        self._world.accept(request.message.to_dict(), self._task)
        return {"subscription": self._world.follow(feed, self._authority)}

    @typed()
    async def cancel(self, **_):
        self._need("control")
        self._task.cancel()
        return {"task": self._task.snapshot()}

    @typed(subscription=cap.Subscription)
    async def subscribe(self, observer, features, cursor, **_):
        self._need("observe")
        feed = Feed(self._task, observer, features)
        if cursor.which() == "after":
            feed.sent = cursor.after
        elif self._task.state in TERMINAL:
            feed.sent = len(self._task.events) - 1
        else:
            feed.sent, feed.snapshot_first = len(self._task.events), True
        return {"subscription": self._world.follow(feed, self._authority)}

    @typed(task=cap.TaskHandle, grant=cap.Grant)
    async def attenuate(self, role, policy, **_):
        self._need("owner")
        authority = Authority(self._authority)
        handle = TaskHandle(self._world, self._task, authority, str(role))
        return {"task": handle, "grant": Grant(authority, policy.to_dict())}

    @typed(grant=cap.Grant)
    async def share(self, role, policy, **_):
        self._need("owner")
        authority = Authority(self._authority)
        secret = secrets.token_urlsafe(32)
        self._world.secrets[secret] = TaskHandle(self._world, self._task, authority, str(role))
        return {"secret": secret, "grant": Grant(authority, policy.to_dict())}


class Session(cap.Session.Server):
    def __init__(self, world, authority, read_only=False):
        self._world, self._authority, self._read_only = world, authority, read_only

    def _may_send(self):
        self._authority.check()
        if self._read_only:
            raise own(-31403, "FORBIDDEN", "this session only reads")

    def _handle(self, task):
        return TaskHandle(self._world, task, self._authority, "observe" if self._read_only else "owner")

    @typed(task=cap.TaskHandle)
    async def sendMessage(self, request, options, **_):
        self._may_send()
        message = request.message.to_dict()
        if message.get("parts") and is_direct(message):
            no_task = own(-31404, "NO_TASK", "the agent answered with a message")
            reply = {"message": agent_message(None, "as asked")}
            return {"response": reply, "task": broken(cap.TaskHandle, no_task)}
        task = self._world.accept(message)
        if not request.configuration.returnImmediately:
            await task.settled()
        return {"response": {"task": task.snapshot()}, "task": self._handle(task)}

    @typed(task=cap.TaskHandle, subscription=cap.Subscription)
    async def sendStreamingMessage(self, request, observer, features, options, **_):
        self._may_send()
        message = request.message.to_dict()
        if message.get("parts") and is_direct(message):
            if features.onMessage:
                await observer.onMessage(message=agent_message(None, "as asked"))
            await observer.onEnd(reason="completed", lastSeq=0)
            no_task = own(-31404, "NO_TASK", "the agent answered with a message")
            return {name: broken(kind, no_task) for name, kind in
                    [("task", cap.TaskHandle), ("subscription", cap.Subscription)]}
        before = self._world.tasks.get(message.get("taskId"))
        task = self._world.accept(message)
        feed = Feed(task, observer, features)
        feed.ends, feed.snapshot_first = TERMINAL | INTERRUPTED, before is None
        feed.sent = len(before.events) if before else 0
        handle = self._handle(task)
        if options.cancelOnDrop:
            handle.cancel_on_drop()
        return {"task": handle, "subscription": self._world.follow(feed, self._authority)}

    @typed()
    async def getTask(self, request, **_):
        self._authority.check()
        return {"task": self._world.task(request.id).snapshot(request.historyLength)}

    @typed()
    async def listTasks(self, request, **_):
        self._authority.check()
        found = [task for task in self._world.tasks.values() if request.contextId in ("", task.context_id)]
        tasks = [task.snapshot(0) for task in reversed(found)]
        return {"response": {"tasks": tasks, "pageSize": 50, "totalSize": len(tasks)}}

    @typed()
    async def cancelTask(self, request, **_):
        self._may_send()
        task = self._world.task(request.id)
        task.cancel()
        return {"task": task.snapshot()}

    @typed(task=cap.TaskHandle, subscription=cap.Subscription)
    async def subscribeToTask(self, request, **params):
        self._authority.check()
        handle = self._handle(self._world.task(request.id))
        subscribed = await TaskHandle.subscribe.__wrapped__(handle, **params)
        return {"task": handle, **subscribed}

    @typed(task=cap.TaskHandle)
    async def task(self, id, **_):
        self._authority.check()
        return {"task": self._handle(self._world.task(id))}

    @typed()
    async def whoAmI(self, **_):
        self._authority.check()
        permissions = ["read"] if self._read_only else ["read", "send"]
        return {"identity": {"subject": "tester", "realm": "peers", "permissions": permissions}}

    @typed(session=cap.Session, grant=cap.Grant)
    async def attenuate(self, policy, **_):
        self._authority.check()
        authority = Authority(self._authority)
        session = Session(self._world, authority, self._read_only or policy.readOnly)
        return {"session": session, "grant": Grant(authority, policy.grant.to_dict())}

    async def close(self, **_):
        self._authority.end(stream_reason="detached")


class Service(cap.A2aService.Server):
    def __init__(self, world):
        self._world = world

    def __getattr__(self, method):
        """The operations of A2A, which take a session."""
        if method not in OPERATIONS:
            raise AttributeError(method)

        async def refuse(self, **_):
            raise own(-31401, "UNAUTHENTICATED", "authenticate first")

        return functools.partial(typed()(refuse), self)

    async def info(self, _context, **_):
        _context.results.info = {"revision": 1, "software": "pycapnp", "protocolVersions": ["1.0"]}

    @typed()
    async def getAgentCard(self, **_):
        mode = ["text/plain"]
        return {"card": {
            "name": "pycapnp peer", "description": "Always does the same thing.", "version": "1",
            "supportedInterfaces": [{"url": "ws://127.0.0.1/capnp", "protocolVersion": "1.0"}],
            "capabilities": {"streaming": "yes"}, "defaultInputModes": mode, "defaultOutputModes": mode,
        }}

    @typed(session=cap.Session)
    async def authenticate(self, credentials, **_):
        given = getattr(credentials, credentials.which()) or ""
        if not secrets.compare_digest(given.encode(), self._world.key.encode()):
            raise own(-31401, "UNAUTHENTICATED", "check the key")
        return {"session": Session(self._world, Authority())}

    @typed(task=cap.TaskHandle)
    async def claim(self, secret, **_):
        handle = self._world.secrets.pop(secret, None)
        if handle is None:
            raise task_not_found()
        handle._authority.check()
        return {"task": handle}


async def main(arguments):
    world = World(arguments.key)

    async def connection(websocket):
        if websocket.request.path != "/capnp":
            return await websocket.close(1008, "the path is /capnp")
        async with bridge(websocket) as stream:
            await capnp.TwoPartyServer(stream, bootstrap=Service(world)).on_disconnect()

    async with serve(connection, "127.0.0.1", arguments.port, **WEBSOCKET_OPTIONS) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The first line on standard output is the port. Runs until it is ended by a signal.")
    parser.add_argument("--key", required=True, help="the API key that `authenticate` accepts")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 (the default) picks a free one")
    asyncio.run(capnp.run(main(parser.parse_args())))
