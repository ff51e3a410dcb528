"""How long a cold `botkit ask` takes, beside importing what it does without.

    python benchmarks/startup.py

The home is made first, so that the documents are read. Each figure is the median of several processes, run in turn;
the rival is a process that only imports torch, transformers and sentence_transformers, where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

QUESTION = "How much does express delivery cost?"
RIVAL = ("torch", "transformers", "sentence_transformers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        commands = {
            "botkit ask (cold process)": [sys.executable, "-m", "botkit", "ask", QUESTION],
            "botkit --version": [sys.executable, "-m", "botkit", "--version"],
        }
        if all(importlib.util.find_spec(name) for name in RIVAL):
            commands["import torch, transformers, …"] = [sys.executable, "-c", f"import {', '.join(RIVAL)}"]
        environment = os.environ | {"BOTKIT_HOME": home}
        subprocess.run(commands["botkit ask (cold process)"], env=environment, check=True, capture_output=True)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                begun = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                taken[name].append(time.perf_counter() - begun)
    figures = {name: {"median_s": statistics.median(times), "least_s": min(times)} for name, times in taken.items()}
    if options.json:
        print(json.dumps({"runs": options.runs, "figures": figures}))
        return
    for name, figure in figures.items():
        print(f"{name:32} median {figure['median_s']:.2f} s, least {figure['least_s']:.2f} s")


if __name__ == "__main__":
    main()
