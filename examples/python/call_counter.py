#!/usr/bin/python3
"""call_counter.py ADDRESS: calls the counter of examples/serve.c from Python."""
import sys

import manta

client = manta.Client(sys.argv[1])
counter = client.lookup("counter")
print(counter.call("add", 2))
print(counter.call("add", 40))
print(counter.call("greet", "Python"))
try:
    counter.call("add", -1)
except manta.MantaError as error:
    print(f"status {error.status}: {error}")
try:
    client.lookup("nobody")
except manta.MantaError as error:
    print(f"status {error.status}: {error}")
client.close()
