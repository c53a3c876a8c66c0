#!/usr/bin/env python3
"""An agent in Python: the user's text on stdin, the answer on stdout. Says back what it hears, word by word.

Start it with: a2a-webcap serve --agent 'exec:python3 examples/agents/plain.py'"""
import sys
import time

for word in sys.stdin.read().split():
    print(word, end=" ", flush=True)  # Flushed, so that it is streamed.
    time.sleep(0.02)
