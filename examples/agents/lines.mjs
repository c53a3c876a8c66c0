// An agent that is kept running, and says back what it hears, word by word. Start it with:
//   a2a-webcap serve --agent 'jsonl:node examples/agents/lines.mjs'
// Needs Node 18 and nothing else.
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const running = new Map(); // The id of each task that is worked on, and what calls it off.
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const status = (taskId, state) => say({ statusUpdate: { taskId, status: { state: `TASK_STATE_${state}` } } });

async function work({ taskId, message }, signal) {
  const words = message.parts.map((part) => part.text ?? "").join("").split(/(?= )/);
  status(taskId, "WORKING");
  for (const [at, word] of words.entries()) {
    await pause(20);
    if (signal.aborted) break;
    const artifact = { artifactId: "answer", parts: [{ text: word }] };
    say({ artifactUpdate: { taskId, artifact, append: at > 0, lastChunk: at === words.length - 1 } });
  }
  status(taskId, signal.aborted ? "CANCELED" : "COMPLETED");
  running.delete(taskId);
}

say({ card: { name: "Node", description: "Says back what it hears, word by word." }, protocol: 1 });
for await (const line of createInterface({ input: process.stdin })) {
  const { turn, cancel } = JSON.parse(line);
  if (turn) {
    const controller = new AbortController();
    running.set(turn.taskId, controller);
    work(turn, controller.signal);
  }
  if (cancel) running.get(cancel.taskId)?.abort();
}
process.exit(); // The server wants no more, or has gone.
