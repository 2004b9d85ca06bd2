"""Tells one sentence about the gateway: imports a script and calls the function of that name.

Called by main.rs: `main.py SCRIPT SENTENCE EDGES`, the last a JSON object of the two edges.
"""

import importlib
import json
import sys

from wire import Edge


def main():
    script, sentence, edges = sys.argv[1:]
    edges = {name: Edge(name, **edge) for name, edge in json.loads(edges).items()}
    getattr(importlib.import_module(script), sentence)(edges["inside"], edges["outside"])


main()
