"""A sentence encoder from questions and the passages that answer them: in-batch and mined hard negatives.

The loss is sentence-transformers' MultipleNegativesRankingLoss (InfoNCE, van den Oord et al. 2018); negatives are mined
with the base encoder before training, as in Xiong et al. (2020).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from botkit.errors import DataError, ModelError
from botkit.evaluation.metrics import first_rank, retrieval_figures
from botkit.training.recipe import Recipe
from botkit.training.tasks.common import Setup, SourcedRow, read_sources

_DEPTH: Final = 100


def setup(recipe: Recipe, base: Path) -> Setup:
    """Pairs of question and context; recall@1 of the validation questions among all their contexts is to grow."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from sentence_transformers.util import mine_hard_negatives

    train, valid = (
        [row for row in rows if row.values["answers"]] for rows in read_sources(recipe.data, "reading", recipe.seed)
    )
    if not train or not valid:
        raise DataError("An encoder learns from answerable questions; there are none to train or to validate on.")
    try:
        model: Any = SentenceTransformer(str(base))
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(f"{base}: sentence-transformers cannot load it ({reason}).") from error
    if recipe.pooling == "cls" and not (base / "modules.json").is_file():
        model[1].pooling_mode = "cls"
    model.max_seq_length = min(recipe.max_length, model.max_seq_length or recipe.max_length)
    pairs = Dataset.from_dict(
        {"anchor": [row.values["question"] for row in train], "positive": [_passage(row) for row in train]}
    )
    if recipe.negatives.each:
        pairs = mine_hard_negatives(
            pairs,
            model,
            range_min=recipe.negatives.skip,
            range_max=recipe.negatives.skip + 20 * recipe.negatives.each,
            absolute_margin=recipe.negatives.margin,
            num_negatives=recipe.negatives.each,
            sampling_strategy="top",
            output_format="n-tuple",
            verbose=False,
        )
        if not len(pairs):
            raise DataError(
                "No question has a passage to mine as a negative; lower negatives.skip or negatives.margin."
            )
    return Setup(
        model=model,
        tokenizer=model.tokenizer,
        train=pairs,
        valid=None,
        collator=None,
        metric="recall_at_1",
        greater_is_better=True,
        trainer=SentenceTransformerTrainer,
        trainer_options={
            "loss": MultipleNegativesRankingLoss(model),
            "evaluator": _recall([row.values["question"] for row in valid], [_passage(row) for row in valid]),
        },
        arguments={"batch_sampler": BatchSamplers.NO_DUPLICATES},
        facts={"train_rows": len(train), "pairs": len(pairs), "valid_rows": len(valid)},
    )


def _passage(row: SourcedRow) -> str:
    title = str(row.values.get("title") or "").strip()
    return f"{title}\n{row.values['context']}" if title else str(row.values["context"])


def _recall(questions: list[str], right: list[str]) -> Any:
    """What sentence-transformers calls to validate: each question against all passages."""
    from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

    passages = list(dict.fromkeys(right))

    class Recall(SentenceEvaluator):
        primary_metric = "recall_at_1"

        def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> Any:
            options = {"batch_size": 64, "normalize_embeddings": True, "show_progress_bar": False}
            asked, known = model.encode(questions, **options), model.encode(passages, **options)
            ranks = []
            for vector, wanted in zip(asked, right, strict=True):
                order = np.argsort(-(known @ vector))[:_DEPTH]
                ranks.append(first_rank([passages[i] for i in order], wanted))
            return retrieval_figures(ranks)

    made: Any = Recall
    return made()
