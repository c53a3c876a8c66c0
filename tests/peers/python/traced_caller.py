"""Calls a server in a trace of its own and keeps a record of each call, as an instrumented program would.

Prints the records as one line of JSON: the trace, the span of the call, how it ended."""

import argparse
import asyncio
import json
import secrets
import sys

import capnp

from expect import message, within
from scenarios import Peer


async def traced(records, trace, name, call):
    """Makes a call within a span."""
    span = secrets.token_hex(8)
    parameters = [{"name": "traceparent", "value": f"00-{trace}-{span}-01"}]
    result = await within(call(parameters))
    failed = result._has("error")
    records.append({
        "name": name, "trace": trace, "span": span, "status": "ERROR" if failed else "OK",
        "exception": result.error.reason if failed else None})


async def main(arguments):
    trace, records = secrets.token_hex(16), []
    async with Peer(arguments.url, arguments.key).session() as session:
        await traced(records, trace, "SendMessage", lambda parameters: session.sendMessage(
            request={"message": message("hello")}, parameters=parameters))
        await traced(records, trace, "GetTask", lambda parameters: session.getTask(
            request={"id": "no-such-task"}, parameters=parameters))
    print(json.dumps(records), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="such as ws://127.0.0.1:8420/capnp")
    parser.add_argument("--key", required=True, help="an API key of the server")
    sys.exit(asyncio.run(capnp.run(main(parser.parse_args()))))
