"""Tries an A2A server over Cap'n Proto with pycapnp, a scenario at a time.

Prints `ok NAME` or `FAIL NAME: why` for each, and ends with 1 if one failed."""

import argparse
import asyncio
import sys
import traceback

import capnp

from expect import Unmet
from scenarios import SCENARIOS, Peer

SCENARIO_S = 60


async def attempt(name, peer):
    """True if the scenario's expectations were met."""
    try:
        await asyncio.wait_for(SCENARIOS[name](peer), SCENARIO_S)
    except Exception as failure:
        why = str(failure) or type(failure).__name__
        print(f"FAIL {name}: {why.splitlines()[0]}", flush=True)
        if not isinstance(failure, Unmet):
            traceback.print_exception(failure, file=sys.stderr)
        return False
    print(f"ok {name}", flush=True)
    return True


async def main(arguments):
    peer = Peer(arguments.url, arguments.key)
    names = [name for name in arguments.only or SCENARIOS if name not in arguments.skip]
    met = [await attempt(name, peer) for name in names]
    print(f"{sum(met)} of {len(met)} scenarios passed", flush=True)
    return 0 if all(met) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Scenarios, in order: " + ", ".join(SCENARIOS))
    parser.add_argument("--url", required=True, help="such as ws://127.0.0.1:8420/capnp")
    parser.add_argument("--key", required=True, help="an API key of the server; its agent must be `demo`")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=SCENARIOS, help="run these alone")
    parser.add_argument("--skip", nargs="+", metavar="NAME", choices=SCENARIOS, default=[], help="leave these out")
    sys.exit(asyncio.run(capnp.run(main(parser.parse_args()))))
