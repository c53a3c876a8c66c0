#!/usr/bin/env python3
"""An agent that is kept running, and says back what it hears, word by word. Start it with:

    a2a-webcap serve --agent 'jsonl:python3 examples/agents/lines.py'

Each turn has a thread. Needs Python 3.8 and nothing else."""
import json, sys, threading

running = {}  # The id of each task that is worked on, and what fires when it is called off.
speaking = threading.Lock()


def say(**line):
    with speaking:
        print(json.dumps(line), flush=True)


def work(task, text, canceled):
    say(statusUpdate={"taskId": task, "status": {"state": "TASK_STATE_WORKING"}})
    for at, word in enumerate(text.split(" ")):
        if canceled.wait(0.02):
            break
        artifact = {"artifactId": "answer", "parts": [{"text": f" {word}" if at else word}]}
        say(artifactUpdate={"taskId": task, "artifact": artifact, "append": at > 0})
    state = "TASK_STATE_CANCELED" if canceled.is_set() else "TASK_STATE_COMPLETED"
    say(statusUpdate={"taskId": task, "status": {"state": state}})
    running.pop(task)


say(card={"name": "Python", "description": "Says back what it hears, word by word."}, protocol=1)
for line in map(json.loads, sys.stdin):
    if "turn" in line:
        task, parts = line["turn"]["taskId"], line["turn"]["message"]["parts"]
        running[task] = canceled = threading.Event()
        text = "".join(part.get("text", "") for part in parts)
        threading.Thread(target=work, args=(task, text, canceled), daemon=True).start()
    elif "cancel" in line and line["cancel"]["taskId"] in running:
        running[line["cancel"]["taskId"]].set()
