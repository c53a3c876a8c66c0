#!/bin/sh
# An agent in a shell: the user's text on stdin, the answer on stdout. Says back what it hears, word by word.
# Start it with: a2a-webcap serve --agent exec:examples/agents/plain.sh
set -f # A word is no pattern of file names.
for word in $(cat); do
  printf '%s ' "$word"
  sleep 0.02
done
