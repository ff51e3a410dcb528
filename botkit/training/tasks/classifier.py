"""Text classification with any labels; sentiment is one use of it.

A source may know only some of the labels (film reviews have no neutral ones): the loss then compares those only, so that
nothing is learnt about the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from botkit.data.balance import class_weights
from botkit.errors import DataError
from botkit.evaluation.metrics import classification_figures
from botkit.training.recipe import Recipe
from botkit.training.tasks.common import Setup, SourcedRow, load_model, read_sources, shortest_limit

TONES: Final = ("negative", "neutral", "positive")


def setup(recipe: Recipe, base: Path) -> Setup:
    """Rows checked against the labels, a model with a fresh or fitting head, macro F1 as the figure to grow."""
    import torch
    from torch import nn
    from transformers import DataCollatorWithPadding, Trainer

    train, valid = read_sources(recipe.data, "labelled", recipe.seed)
    labels = _labels(recipe, train, valid)
    options: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
        "ignore_mismatched_sizes": True,
    }
    if recipe.dropout is not None:
        options |= {"hidden_dropout_prob": recipe.dropout, "classifier_dropout": recipe.dropout}
    model, tokenizer = load_model("AutoModelForSequenceClassification", base, **options)
    length = shortest_limit(tokenizer, model, recipe.max_length)
    place = {label: number for number, label in enumerate(labels)}

    def features(rows: list[SourcedRow]) -> list[dict[str, Any]]:
        encoded = tokenizer([row.values["text"] for row in rows], truncation=True, max_length=length)
        known = [[label in (row.source.labels or labels) for label in labels] for row in rows]
        return [
            {name: encoded[name][i] for name in encoded} | {"labels": place[row.values["label"]], "known": known[i]}
            for i, row in enumerate(rows)
        ]

    weights = None
    if recipe.class_weights:
        found = class_weights([str(row.values["label"]) for row in train])
        weights = torch.tensor([found.get(label, 0.0) for label in labels])

    class ClassifierTrainer(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            right, known = inputs.pop("labels"), inputs.pop("known")
            outputs = model(**inputs)
            logits = outputs.logits.float().masked_fill(~known.bool(), -1e4)
            log_probabilities = nn.functional.log_softmax(logits, dim=-1)
            picked = -log_probabilities.gather(1, right[:, None])[:, 0]
            if recipe.label_smoothing:
                spread = -(log_probabilities * known).sum(1) / known.sum(1)
                picked = (1 - recipe.label_smoothing) * picked + recipe.label_smoothing * spread
            if weights is not None:
                weight = weights.to(picked.device)[right]
                loss = (picked * weight).sum() / weight.sum()
            else:
                loss = picked.mean()
            return (loss, outputs) if return_outputs else loss

        def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
            right = inputs["labels"]
            known = inputs["known"]
            with torch.no_grad():
                loss, outputs = self.compute_loss(model, self._prepare_inputs(dict(inputs)), return_outputs=True)
            # what a source does not know, its rows cannot be mistaken for
            return loss, outputs.logits.float().masked_fill(~known.bool().to(outputs.logits.device), -1e4), right

    def metrics(prediction: Any) -> dict[str, float]:
        said = [labels[i] for i in np.argmax(prediction.predictions, axis=-1)]
        right = [labels[i] for i in prediction.label_ids]
        return classification_figures(said, right, [label for label in labels if label in {*said, *right}])

    return Setup(
        model=model,
        tokenizer=tokenizer,
        train=features(train),
        valid=features(valid),
        collator=DataCollatorWithPadding(tokenizer),
        metric="macro_f1",
        greater_is_better=True,
        metrics=metrics,
        trainer=ClassifierTrainer,
        arguments={"label_names": ["labels"], "remove_unused_columns": False},
        facts={"labels": labels, "train_rows": len(train), "valid_rows": len(valid)},
    )


def _labels(recipe: Recipe, train: list[SourcedRow], valid: list[SourcedRow]) -> list[str]:
    labels = list(recipe.labels or (TONES if recipe.task == "sentiment" else ()))
    labels = labels or sorted({str(row.values["label"]) for row in train})
    if len(labels) < 2:
        raise DataError(f"All rows have the label {labels[0]!r}; two labels at least are needed.")
    for row in (*train, *valid):
        among = row.source.labels or labels
        if row.values["label"] not in among:
            raise DataError(
                f"{row.place}: the label {row.values['label']!r} is not among {', '.join(among)}. Rename it with "
                "`botkit data prepare --label OLD=NEW`, drop it with --only-labels, or name it in the recipe's labels."
            )
    unknown = {label for row in train for label in row.source.labels or ()} - set(labels)
    if unknown:
        raise DataError(f"A source names the labels {', '.join(sorted(unknown))}, which the recipe's labels lack.")
    missing = set(labels) - {str(row.values["label"]) for row in train}
    if missing:
        raise DataError(f"No training row has the label {', '.join(sorted(missing))}.")
    return labels
