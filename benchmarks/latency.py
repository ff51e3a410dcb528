"""How long an answer takes, stage by stage, one at a time and with several conversations at once.

    python benchmarks/latency.py

On the shipped models and documents, with the questions of tests/data/shop_questions.jsonl. Every question is asked twice: the
first time sentences of the passages are new to the encoder, the second time their vectors are remembered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from botkit.engine import load
from botkit.messages import Message

QUESTIONS = Path(__file__).parent.parent / "tests" / "data" / "shop_questions.jsonl"


async def measure(questions: list[str], conversations: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        engine = load(home=Path(home))
        try:
            await engine.warm_up()
            await engine.answer(Message("warm up"))
            rounds = {}
            for name in ("first", "again"):
                stages: dict[str, list[float]] = {}
                for number, question in enumerate(questions):
                    reply = await engine.answer(Message(question, conversation=f"{name}{number}"))
                    for stage, milliseconds in reply.timings_ms.items():
                        stages.setdefault(stage, []).append(milliseconds)
                rounds[name] = {stage: statistics.median(times) for stage, times in stages.items()} | {
                    "p95_total": sorted(stages["total"])[int(0.95 * len(questions))]
                }
            waiting = asyncio.Semaphore(conversations)

            async def ask(number: int, question: str) -> None:
                async with waiting:
                    await engine.answer(Message(question, conversation=f"together{number}"))

            begun = time.perf_counter()
            await asyncio.gather(*(ask(number, question) for number, question in enumerate(questions)))
            per_second = len(questions) / (time.perf_counter() - begun)
        finally:
            await engine.close()
    return {"median_ms": rounds, "conversations": conversations, "answers_per_second": per_second, "n": len(questions)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=80)
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    questions = [row["question"] for row in rows if not row.get("history")]
    questions = questions[:: max(1, len(questions) // options.questions)]
    figures = asyncio.run(measure(questions, options.conversations))
    if options.json:
        print(json.dumps(figures))
        return
    for name, stages in figures["median_ms"].items():
        print(f"{name:6}" + "  ".join(f"{stage} {milliseconds:.0f} ms" for stage, milliseconds in stages.items()))
    print(f"{figures['answers_per_second']:.1f} answers a second with {figures['conversations']} conversations at once")


if __name__ == "__main__":
    main()
