"""One training run: from a recipe to a folder that `from_pretrained` loads, with checkpoints, curves and a card.

Built on `transformers.Trainer` (sentence-transformers' for the encoder) with peft for low-rank adaptation. A run that was cut off,
by Ctrl-C or `kill -9`, goes on from its last whole checkpoint and ends with the same weights as one that was not.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botkit import __version__
from botkit.errors import DivergedError, MissingExtraError, ModelError
from botkit.training.recipe import SCRATCH, Recipe, as_yaml, fingerprint

os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported, which the libraries below do
CHECKPOINTS: Final = "checkpoints"
RUN_FILE: Final = "run.json"
_STATE: Final = "trainer_state.json"
_NEEDED: Final = (_STATE, "optimizer.pt", "scheduler.pt", "rng_state.pth")
_LAYERS: Final = re.compile(r"layers?\.(\d+)(?:-(\d+))?")

Listener = Callable[[Mapping[str, Any]], None]
"""Called with {"step", "steps", "epoch", …} after every step, and with the figures that are logged."""


@dataclass(frozen=True)
class Trained:
    """What came of a run. `metrics` are those of the best checkpoint on the validation rows."""

    folder: Path
    metrics: dict[str, float]
    steps: int
    seconds: float
    resumed_from: int
    stopped_early: bool
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "folder": str(self.folder),
            "metrics": self.metrics,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "resumed_from": self.resumed_from,
            "stopped_early": self.stopped_early,
            **self.facts,
        }


def train(
    recipe: Recipe,
    base: Path | None,
    out: Path,
    *,
    restart: bool = False,
    listener: Listener | None = None,
    prune: Callable[[int, float], bool] | None = None,
) -> Trained:
    """Train by `recipe` from the model in `base` (None: from scratch) into the folder `out`.

    `prune` is asked after each validation, with the step and the figure, whether to give up. Raises `DataError` for faulty
    rows, `ModelError` where `out` holds something else, both before any training.
    """
    try:
        import accelerate  # noqa: F401
        import safetensors
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
    quiet()
    identity = fingerprint(recipe)
    _check_folder(out, identity, restart)
    transformers.set_seed(recipe.seed)  # the weights of a new head
    setup = _task(recipe.task).setup(recipe, base)
    transformers.set_seed(recipe.seed)
    model = setup.model
    frozen = freeze(model, recipe.freeze)
    if recipe.quantisation_aware:
        quantisation_aware(model)
    if recipe.lora:
        model = _with_lora(model, recipe, setup)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    whole = sum(p.numel() for p in model.parameters())
    _check_disk(out, whole, recipe.keep_checkpoints)
    checkpoint = _open_folder(out, restart)  # only now: what was refused changes nothing
    per_epoch = max(1, math.ceil(math.ceil(len(setup.train) / recipe.batch_size) / recipe.gradient_accumulation))
    steps = recipe.max_steps or max(1, round(per_epoch * recipe.epochs))
    every = max(1, min(steps, round(per_epoch * recipe.validate_every)))
    _note(out, identity, done=False)
    arguments = _arguments(recipe, setup, out, steps, every)
    callbacks = [_listening(listener)] if listener else []
    if recipe.early_stopping:
        stopping = recipe.early_stopping
        callbacks.append(
            transformers.EarlyStoppingCallback(
                early_stopping_patience=stopping.patience, early_stopping_threshold=stopping.min_delta
            )
        )
    if prune:
        callbacks.append(_pruning(prune, f"eval_{setup.metric}"))
    options: dict[str, Any] = dict(setup.trainer_options)
    if setup.valid is not None:
        options["eval_dataset"] = setup.valid
    if setup.collator is not None:
        options["data_collator"] = setup.collator
    if setup.metrics is not None:
        options["compute_metrics"] = setup.metrics
    trainer = (setup.trainer or transformers.Trainer)(
        model=model,
        args=arguments,
        train_dataset=setup.train,
        processing_class=setup.tokenizer,
        callbacks=callbacks,
        **options,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.ProgressCallback)
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if checkpoint and recipe.early_stopping and _stopped(checkpoint, recipe.early_stopping.patience):
                trainer.state = transformers.TrainerState.load_from_json(str(checkpoint / _STATE))
                trainer._load_best_model()
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        # torch and safetensors tell of a full disk in words of their own
        if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(out).free < whole * 12:
            raise ModelError(
                f"{out}: the disk is full. Make room and run the same command again; it goes on from the last checkpoint."
            ) from error
        raise
    finally:
        for callback in trainer.callback_handler.callbacks:
            writer = getattr(callback, "tb_writer", None)
            if writer is not None:
                writer.close()
    history = trainer.state.log_history
    metrics = _best(history, setup.metric, setup.greater_is_better)
    facts = {
        **setup.facts,
        "task": recipe.task,
        "metric": setup.metric,
        "learning_parameters": learning,
        "all_parameters": whole,
        "frozen": frozen,
    }
    result = Trained(
        out,
        metrics,
        trainer.state.global_step,
        time.monotonic() - started,
        int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
        trainer.state.global_step < steps,
        facts,
    )
    _save(trainer.model, setup, recipe, out)
    _write_up(result, recipe, history, out)
    _note(out, identity, done=True)
    del torch
    return result


def quiet() -> None:
    """No warnings and bars of the libraries; this package tells what there is to tell."""
    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _task(name: str) -> Any:
    from importlib import import_module

    module = "classifier" if name == "sentiment" else name
    return import_module(f"botkit.training.tasks.{module}")


def _check_folder(out: Path, identity: str, restart: bool) -> None:
    """Raise `ModelError` where the folder belongs to something else, or to a run that is finished. Changes nothing."""
    if out.exists() and not out.is_dir():
        raise ModelError(f"{out}: is a file. Name a folder.")
    run = out / RUN_FILE
    if out.is_dir() and any(out.iterdir()) and not run.is_file():
        raise ModelError(f"{out}: holds other files. Name an empty or a new folder.")
    if restart or not run.is_file():
        return
    try:
        told = json.loads(run.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{run}: is damaged, so nobody can tell which run this folder is of. Begin anew with --restart, or name another --out."
        ) from error
    if told.get("fingerprint") != identity:
        raise ModelError(
            f"{out}: was begun with another recipe or other data; its checkpoints do not fit. Name another --out, or throw "
            "them away with --restart."
        )
    if told.get("done"):
        raise ModelError(
            f"{out}: this very run is finished already. To do it again: --restart. Its int8 form: `botkit models export`."
        )


def _open_folder(out: Path, restart: bool) -> Path | None:
    """Make the folder, or clear it for a new start; the checkpoint to go on from, if there is one."""
    if restart and (out / RUN_FILE).is_file():
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{out}: cannot be made ({error.strerror}).") from error
    found = []
    for folder in (out / CHECKPOINTS).glob("checkpoint-*"):
        if whole(folder):
            found.append(folder)
        else:
            shutil.rmtree(folder)  # killed while it was written
    return max(found, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def _note(out: Path, identity: str, *, done: bool) -> None:
    """Write down which run the folder is of; the file appears whole or not at all."""
    new = out / f".{RUN_FILE}.new"
    new.write_text(json.dumps({"fingerprint": identity, "done": done}) + "\n", encoding="utf-8")
    new.replace(out / RUN_FILE)


def _stopped(checkpoint: Path, patience: int) -> bool:
    """Whether early stopping had already decided to end when this checkpoint was written."""
    state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    told = state.get("stateful_callbacks", {}).get("EarlyStoppingCallback", {})
    told = told[0] if isinstance(told, list) else told
    return bool(told.get("attributes", {}).get("early_stopping_patience_counter", 0) >= patience)


def whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: the trainer writes its state last."""
    if not all((checkpoint / name).is_file() for name in _NEEDED):
        return False
    try:
        json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def freeze(model: Any, parts: tuple[str, ...]) -> int:
    """Stop the named parts from learning; the number of weights that are then fixed.

    "layers.0-2" are the first three transformer layers; other words are looked for in the names of the weights. Raises
    `ModelError` for a word that names nothing.
    """
    if not parts:
        return 0
    names = [name for name, _ in model.named_parameters()]
    count = 0
    for part in parts:
        match = _LAYERS.fullmatch(part)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            pattern = re.compile(r"(?:layers?|h|blocks?)\.(\d+)\.")
            chosen = [n for n in names if (m := pattern.search(n)) and first <= int(m[1]) <= last]
        else:
            chosen = [n for n in names if part in n]
        if not chosen:
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ModelError(f"freeze: no weight of this model is in {part!r}. Its parts: {', '.join(tops)}.")
        for name, parameter in model.named_parameters():
            if name in chosen:
                parameter.requires_grad = False
    count = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError("freeze: nothing is left to learn.")
    return count


def quantisation_aware(model: Any) -> int:
    """Let every linear layer compute as its int8 export will (Jacob et al. 2018); the number of such layers.

    Weights are rounded to 8 bits per output, activations per matrix, and gradients pass the rounding unchanged (straight-through,
    Bengio et al. 2013). The weights themselves, and the checkpoints, stay in full precision.
    """
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    def through(exact: Any, rounded: Any) -> Any:
        return exact + (rounded - exact).detach()

    def weights(exact: Any, axis: int) -> Any:
        scale = exact.detach().abs().amax(axis, keepdim=True).clamp(min=1e-12) / 127
        return through(exact, (exact / scale).round().clamp(-127, 127) * scale)

    def activations(exact: Any) -> Any:
        low, high = exact.detach().amin().clamp(max=0), exact.detach().amax().clamp(min=0)
        scale = (high - low).clamp(min=1e-12) / 255
        zero = (-low / scale).round()
        return through(exact, ((exact / scale + zero).round().clamp(0, 255) - zero) * scale)

    count = 0
    for module in model.modules():
        if isinstance(module, nn.Linear):

            def forward(x: Any, layer: Any = module) -> Any:
                return torch.nn.functional.linear(activations(x), weights(layer.weight, 1), layer.bias)
        elif isinstance(module, Conv1D):

            def forward(x: Any, layer: Any = module) -> Any:
                return activations(x) @ weights(layer.weight, 0) + layer.bias
        else:
            continue
        module.forward = forward
        count += 1
    return count


def _with_lora(model: Any, recipe: Recipe, setup: Any) -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("Low-rank adaptation", "train") from error
    assert recipe.lora is not None
    kinds = {"reader": "QUESTION_ANS", "generator": "CAUSAL_LM", "encoder": "FEATURE_EXTRACTION"}
    settings = peft.LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.targets) or None,
        task_type=None if recipe.task == "encoder" else kinds.get(recipe.task, "SEQ_CLS"),
    )
    try:
        if recipe.task == "encoder":
            model.add_adapter(settings)
            return model
        return peft.get_peft_model(model, settings)
    except ValueError as error:
        raise ModelError(f"lora: {error} Name layers in lora.targets.") from error


def _check_disk(out: Path, parameters: int, kept: int) -> None:
    """Weights and two moments in 32 bits for each checkpoint kept, the best and the one being written."""
    needed = parameters * 12 * (kept + 2)
    free = shutil.disk_usage(next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())).free
    if free < needed:
        raise ModelError(
            f"{out}: {free / 1e6:,.1f} MB are free, the checkpoints of this run need {needed / 1e6:,.1f} MB. Make room, lower "
            "keep_checkpoints, or name another --out."
        )


def precision_of(recipe: Recipe) -> bool:
    """Whether to compute in bfloat16."""
    import torch

    if recipe.precision != "auto":
        return recipe.precision == "bfloat16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(fast and fast())


def _arguments(recipe: Recipe, setup: Any, out: Path, steps: int, every: int) -> Any:
    import torch
    from transformers import TrainingArguments

    kind: type[Any] = TrainingArguments
    if recipe.task == "encoder":
        from sentence_transformers import SentenceTransformerTrainingArguments

        kind = SentenceTransformerTrainingArguments
    schedule = {"constant": "constant_with_warmup"}.get(recipe.schedule, recipe.schedule)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "logs")
    return kind(
        output_dir=str(out / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=max(8, recipe.batch_size),
        gradient_accumulation_steps=recipe.gradient_accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=math.ceil(steps * recipe.warm_up),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip,
        bf16=precision_of(recipe),
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=recipe.keep_checkpoints + 1,
        restore_callback_states_from_checkpoint=True,  # the patience that is used up already
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{setup.metric}",
        greater_is_better=setup.greater_is_better,
        logging_strategy="steps",
        logging_steps=max(1, min(50, every // 5 or 1)),
        logging_nan_inf_filter=False,
        report_to=["tensorboard"],
        disable_tqdm=True,
        seed=recipe.seed,
        data_seed=recipe.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=0,
        **setup.arguments,
    )


def _listening(listener: Listener) -> Any:
    from transformers import TrainerCallback

    class Listening(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            listener({"step": state.global_step, "steps": state.max_steps, "epoch": state.epoch})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            listener({"step": state.global_step, "steps": state.max_steps, "epoch": state.epoch, **(logs or {})})

    return Listening()


def _pruning(prune: Callable[[int, float], bool], metric: str) -> Any:
    from transformers import TrainerCallback

    class Pruning(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            if metrics and metric in metrics and prune(state.global_step, float(metrics[metric])):
                control.should_training_stop = True

    return Pruning()


def _best(history: list[dict[str, Any]], metric: str, greater: bool) -> dict[str, float]:
    """The figures of the best validation, without what only tells how fast it was."""
    validations = [one for one in history if f"eval_{metric}" in one]
    if not validations:
        return {}
    best = (max if greater else min)(validations, key=lambda one: one[f"eval_{metric}"])
    noise = ("runtime", "per_second", "model_preparation")
    found = {
        name.removeprefix("eval_"): float(value)
        for name, value in best.items()
        if name.startswith("eval_") and not any(word in name for word in noise)
    }
    if metric == "loss":
        found["perplexity"] = math.exp(min(found["loss"], 700.0))
    if not all(math.isfinite(value) for value in found.values()):
        raise DivergedError("The loss is no longer a number. Lower the learning rate, or raise warm_up.")
    return found


def _save(model: Any, setup: Any, recipe: Recipe, out: Path) -> None:
    if recipe.lora and recipe.task != "encoder":
        model.save_pretrained(out / "adapter")
        model = model.merge_and_unload()
    if recipe.task == "encoder":
        if recipe.lora:
            _merge(model[0].auto_model)
        model.save_pretrained(str(out), create_model_card=False)
    else:
        model.config.use_cache = True
        model.save_pretrained(out)
        setup.tokenizer.save_pretrained(out)
    if setup.last_step:
        setup.last_step(out)


def _merge(model: Any) -> None:
    """Add the low-rank matrices to the weights they stand beside, and leave only those."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            above, _, last = name.rpartition(".")
            setattr(model.get_submodule(above), last, module.get_base_layer())
    model._hf_peft_config_loaded = False
    model.peft_config = {}


def _write_up(result: Trained, recipe: Recipe, history: list[dict[str, Any]], out: Path) -> None:
    """recipe.yaml, training.json, curves.png and the card."""
    (out / "recipe.yaml").write_text(as_yaml(recipe), encoding="utf-8")
    told = {**result.as_json(), "botkit": __version__, "python": sys.version.split()[0], "history": history}
    (out / "training.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    curves(history, result.facts["metric"], out / "curves.png")
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in result.metrics.items())
    sources = "\n".join(
        f"- {source.path}" + (f", at most {source.limit} rows" if source.limit else "") for source in recipe.data.train
    )
    validated = "\n".join(f"- {source.path}" for source in recipe.data.valid) or (
        f"- {recipe.data.valid_share:.0%} of the training rows, which were not trained on"
    )
    rows = ", ".join(
        f"{name.replace('_', ' ')} {value:,}" for name, value in result.facts.items() if isinstance(value, int)
    )
    early = " It stopped early: the figure no longer grew." if result.stopped_early else ""
    (out / "README.md").write_text(
        f"""# {out.name}

A {recipe.task} trained by `botkit train` ({__version__}) from `{recipe.base}`.

- {rows}
- {result.steps:,} steps in {result.seconds / 60:.1f} minutes.{early}

## Trained on

{sources}

## Validated on

{validated}

| figure (best checkpoint) | value |
| --- | ---: |
{figures}

![loss and validation figure over the steps](curves.png)

## Made by

```
botkit train {recipe.task} --recipe recipe.yaml --out FOLDER
```

```yaml
{as_yaml(recipe)}```
""",
        encoding="utf-8",
    )


def curves(history: list[dict[str, Any]], metric: str, file: Path) -> None:
    """A picture of the loss, the learning rate and the validation figure over the steps."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("Drawing learning curves", "train") from error
    losses = [(one["step"], one["loss"]) for one in history if "loss" in one]
    rates = [(one["step"], one["learning_rate"]) for one in history if "learning_rate" in one]
    checks = [(one["step"], one[f"eval_{metric}"]) for one in history if f"eval_{metric}" in one]
    checked_loss = [(one["step"], one["eval_loss"]) for one in history if "eval_loss" in one]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), constrained_layout=True)
    if losses:
        left.plot(*zip(*losses, strict=True), label="training", linewidth=1)
    if checked_loss:
        left.plot(*zip(*checked_loss, strict=True), marker="o", label="validation")
    left.set(xlabel="step", ylabel="loss", title="Loss")
    left.legend()
    if checks and metric != "loss":
        right.plot(*zip(*checks, strict=True), marker="o", color="tab:green", label=metric)
        right.set_ylabel(metric)
    elif checks:
        right.plot(*zip(*[(s, math.exp(min(v, 700))) for s, v in checks], strict=True), marker="o", color="tab:green")
        right.set_ylabel("perplexity")
    right.set(xlabel="step", title="Validation, and the learning rate (dotted)")
    if rates:
        beside = right.twinx()
        beside.plot(*zip(*rates, strict=True), color="tab:gray", linestyle=":", linewidth=1)
        beside.set_ylabel("learning rate")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def base_for(recipe: Recipe, folder_of: Callable[[str, str], Path]) -> Path | None:
    """The folder of the base; `folder_of(name, role)` finds or fetches a model. None for a model from scratch."""
    if recipe.base == SCRATCH:
        return None
    role = {"classifier": "sentiment"}.get(recipe.task, recipe.task)
    return folder_of(recipe.base, role)
