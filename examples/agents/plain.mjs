// An agent in Node: the user's text on stdin, the answer on stdout. Says back what it hears, word by word.
// Start it with: a2a-webcap serve --agent 'exec:node examples/agents/plain.mjs'
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";

for (const word of (await text(process.stdin)).split(" ")) {
  process.stdout.write(`${word} `);
  await pause(20);
}
