"""Hyperparameter search on Optuna: grid, random, or Bayesian (tree-structured Parzen estimator, Bergstra et al. 2011).

The study lives in a journal file beside its trials: workers in other processes share it, and a search that was cut off goes on.
Trials that do worse than the median of the others at the same validation are given up early.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import multiprocessing
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml
from pydantic import BaseModel

from botkit.config import ConfigFile
from botkit.errors import BotkitError, ConfigError, DataError, DivergedError, MissingExtraError
from botkit.training.recipe import Recipe, TaskName, as_yaml, fingerprint, load_recipe

Method = Literal["grid", "random", "bayes"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
SPACE: Final[dict[str, Any]] = {
    "learning_rate": {"low": 1e-5, "high": 3e-4, "log": True, "points": 4},
    "warm_up": [0.0, 0.06, 0.15],
    "weight_decay": [0.0, 0.01, 0.1],
    "schedule": ["linear", "cosine"],
}
"""What is searched where no space is given."""
_JOURNAL: Final = "study.journal"
_STUDY: Final = "study.json"
_NAME: Final = "botkit"
_WARM_UP_TRIALS: Final = 4
_DIVERGED: Final = "diverged"


@dataclass(frozen=True)
class Search:
    """What the workers need to know; all of it can be sent to another process."""

    task: TaskName
    recipe: dict[str, Any]
    space: dict[str, Any]
    method: Method
    trials: int
    base: Path | None
    out: Path
    seed: int


def read_space(path: Path | None) -> dict[str, Any]:
    """A search space: for a key of the recipe a list of values, or {low, high, log, step, points}.

    Raises `ConfigError` naming file, line and key.
    """
    if path is None:
        return SPACE
    file = ConfigFile(path, if_missing="Leave --space out to search rate, warm-up, decay and schedule.")
    for key, given in file.values.items():
        place = f"{path}:{file.line_of((key,))}: {key}"
        if isinstance(given, list) and given:
            continue
        if not isinstance(given, dict) or not {"low", "high"} <= set(given) <= {"low", "high", "log", "step", "points"}:
            raise ConfigError(f"{place}: write a list of values, or low and high (and log, step, points).")
        for name in {"low", "high", "step"} & set(given):
            given[name] = _number(given[name])
        numbers = [given["low"], given["high"]]
        if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in numbers):
            raise ConfigError(f"{place}: low and high must be numbers, found {given['low']!r} and {given['high']!r}.")
        step, points = given.get("step"), given.get("points", 3)
        if step is not None and (isinstance(step, bool) or not isinstance(step, (int, float)) or step <= 0):
            raise ConfigError(f"{place}: step must be a number above 0, found {step!r}.")
        if isinstance(points, bool) or not isinstance(points, int) or points < 1:
            raise ConfigError(f"{place}: points must be a whole number from 1, found {points!r}.")
        if step is not None and given.get("log"):
            raise ConfigError(f"{place}: a logarithmic range has no step; leave one of the two out.")
        if is_whole(key) and any(number != int(number) for number in (*numbers, step or 1)):
            raise ConfigError(f"{place}: takes whole numbers, so low, high and step must be such.")
        if given["low"] >= given["high"]:
            raise ConfigError(f"{place}: low must be less than high.")
        if given.get("log") and given["low"] <= 0:
            raise ConfigError(f"{place}: a logarithmic range must begin above 0.")
    if not file.values:
        raise ConfigError(f"{path}:1: an empty search space.")
    return file.values


def _number(given: Any) -> Any:
    """A number, also where YAML 1.1 takes it for words: it wants a point in 1e-5."""
    try:
        return float(given) if isinstance(given, str) else given
    except ValueError:
        return given


def grid_of(space: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each key on the grid; ranges give `points` of them (3 by default)."""
    import numpy as np

    grid: dict[str, list[Any]] = {}
    for key, given in space.items():
        if isinstance(given, list):
            grid[key] = given
            continue
        low, high, step = given["low"], given["high"], given.get("step")
        if step:
            values = low + step * np.arange(math.floor((high - low) / step + 1e-9) + 1)
        else:
            values = (np.geomspace if given.get("log") else np.linspace)(low, high, int(given.get("points", 3)))
        whole = is_whole(key)
        grid[key] = list(dict.fromkeys(round(float(v)) if whole else float(v) for v in values))
    return grid


def is_whole(key: str) -> bool:
    """Whether a key of the recipe takes whole numbers only."""
    kinds: tuple[Any, ...] = (Recipe,)
    for name in key.split("."):
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        field = section.model_fields.get(name) if section else None
        kinds = get_args(field.annotation) or (field.annotation,) if field else ()
    return int in kinds and float not in kinds


def search(
    plan: Search, *, workers: int = 1, listener: Callable[[Mapping[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Run what is left of the trials, and write best.yaml, trials.json and the pictures. Returns the report."""
    _optuna()
    recipe = _recipe(plan, {})
    for key, values in grid_of(plan.space).items():  # a wrong key or value is told before anything is trained
        for value in values:
            _recipe(plan, {key: value})
    plan.out.mkdir(parents=True, exist_ok=True)
    identity = json.dumps([fingerprint(recipe), plan.space, plan.method, plan.seed], sort_keys=True, default=str)
    marker = plan.out / _STUDY
    if marker.is_file() and marker.read_text(encoding="utf-8") != identity:
        raise ConfigError(
            f"{plan.out}: holds a search over another space, recipe or data, or by another method or seed. Name another --out."
        )
    if not marker.is_file() and any(plan.out.iterdir()):
        raise ConfigError(f"{plan.out}: holds other files. Name an empty or a new folder.")
    marker.write_text(identity, encoding="utf-8")
    study = _study(plan)
    if _left(study, plan) <= 0:
        return _write_up(plan, study)
    _try_again(study)
    if workers <= 1:
        _work(plan, 0, listener)
    else:
        context = multiprocessing.get_context("spawn")
        told = context.SimpleQueue()
        running = [
            context.Process(target=_worker, args=(plan, number, told))
            for number in range(min(workers, _left(study, plan)))
        ]
        for process in running:
            process.start()
        try:
            while any(process.is_alive() for process in running):
                for process in running:
                    process.join(timeout=0.5)
                if listener:
                    listener(_state(study, plan))
            died = [process.exitcode for process in running if process.exitcode]
        finally:
            for process in running:
                process.terminate()
                process.join()
        if not told.empty():
            raise DataError(told.get())
        if died and _left(study, plan) > 0:
            raise DataError(
                f"{len(died)} of {len(running)} workers died (exit code {died[0]}; -9 may mean that memory ran out). What is done is "
                "kept: the same command goes on, with fewer --workers if need be."
            )
    return _write_up(plan, study)


def _try_again(study: Any) -> None:
    """Put the points in line again at which a search was killed or stopped: a grid counts them as visited."""
    optuna = _optuna()
    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        # at its last point a grid's sampler wants to stop a search that does not run
        with contextlib.suppress(RuntimeError, ValueError):
            study.tell(trial.number, state=state.FAIL)
    trials = study.get_trials(deepcopy=False)
    settled = [_point(trial) for trial in trials if _is_done(trial) or trial.state == state.WAITING]
    for trial in trials:
        point = _point(trial)
        if trial.state == state.FAIL and point and point not in settled:
            settled.append(point)
            again = {**trial.system_attrs, "fixed_params": trial.params}
            study.add_trial(optuna.trial.create_trial(state=state.WAITING, system_attrs=again))


def _point(trial: Any) -> Any:
    """What tells a trial's values from those of others: its place on the grid, or the values."""
    if "grid_id" in trial.system_attrs:
        return trial.system_attrs["grid_id"] + 1
    return trial.params or trial.system_attrs.get("fixed_params")


def _left(study: Any, plan: Search) -> int:
    """Trials that are still to be made; a grid ends with its last point."""
    done = sum(map(_is_done, study.get_trials(deepcopy=False)))
    points = math.prod(len(values) for values in grid_of(plan.space).values()) if plan.method == "grid" else plan.trials
    return min(plan.trials, points) - done


def _is_done(trial: Any) -> bool:
    """Whether a trial came to its end, was given up, or would go astray again."""
    state = _optuna().trial.TrialState
    return trial.state in (state.COMPLETE, state.PRUNED) or _DIVERGED in trial.user_attrs


def _worker(plan: Search, number: int, told: Any) -> None:
    """One of several processes; what stops it is told by the first."""
    try:
        _work(plan, number, None)
    except BotkitError as error:
        told.put(str(error))


def _work(plan: Search, number: int, listener: Callable[[Mapping[str, Any]], None] | None) -> None:
    optuna = _optuna()
    study = _study(plan, number)

    def objective(trial: Any) -> float:
        from botkit.training.run import train

        values = {key: _suggest(trial, key, given, plan) for key, given in plan.space.items()}
        folder = plan.out / f"trial-{trial.number:03d}"
        recipe = _recipe(plan, values)
        validations = itertools.count(1)

        def prune(_: int, figure: float) -> bool:
            # trials are compared where they have seen as many rows: steps tell nothing where their batches differ
            trial.report(figure, round(1000 * recipe.validate_every * next(validations)))
            if listener:
                listener(_state(study, plan))
            return bool(trial.should_prune())

        try:
            made = train(recipe, plan.base, folder, restart=True, prune=prune)
        except DivergedError:
            trial.set_user_attr(_DIVERGED, True)
            raise
        finally:
            for heavy in ("checkpoints", "logs", "adapter"):
                shutil.rmtree(folder / heavy, ignore_errors=True)
            for weights in folder.glob("*.safetensors"):
                weights.unlink()
        if trial.should_prune() and made.stopped_early:
            raise optuna.TrialPruned
        trial.set_user_attr("metrics", made.metrics)
        trial.set_user_attr("seconds", made.seconds)
        return made.metrics[made.facts["metric"]]

    def stop(study: Any, _: Any) -> None:
        """Trials that others are at count as well, or each worker would add one too many."""
        running = sum(1 for t in study.get_trials(deepcopy=False) if t.state == optuna.trial.TrialState.RUNNING)
        if _left(study, plan) - running <= 0:
            study.stop()

    state = optuna.trial.TrialState
    while (left := _left(study, plan)) > 0:
        # faulty rows or settings would stop every trial alike, so they stop the search; a loss gone astray stops one trial
        study.optimize(objective, n_trials=left, callbacks=[stop], catch=(DivergedError,))
        if not study.get_trials(deepcopy=False, states=(state.WAITING,)):
            break  # otherwise a grid's sampler, for which all points are visited, stopped before those that were cut off


def _suggest(trial: Any, key: str, given: Any, plan: Search) -> Any:
    if plan.method == "grid":
        return trial.suggest_categorical(key, grid_of(plan.space)[key])
    if isinstance(given, list):
        return trial.suggest_categorical(key, given)
    options = {"log": bool(given.get("log"))}
    if is_whole(key):
        low, high, step = (int(number) for number in (given["low"], given["high"], given.get("step") or 1))
        return trial.suggest_int(key, low, high, step=step, **options)
    return trial.suggest_float(key, given["low"], given["high"], step=given.get("step"), **options)


def _recipe(plan: Search, values: Mapping[str, Any]) -> Recipe:
    sets = [
        f"{key}={yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}"
        for key, value in values.items()
    ]
    return load_recipe(plan.task, None, plan.recipe, sets)


def _study(plan: Search, worker: int = 0) -> Any:
    optuna = _optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = JournalStorage(JournalFileBackend(str(plan.out / _JOURNAL)))
    known = [one for one in journal.get_all_studies() if one.study_name == _NAME]
    begun = len(journal.get_all_trials(known[0]._study_id, deepcopy=False)) if known else 0
    # a search that goes on must not draw its first points again
    seed = plan.seed + 1_000 * begun + worker
    samplers = {
        "grid": lambda: optuna.samplers.GridSampler(grid_of(plan.space), seed=plan.seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "bayes": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=_WARM_UP_TRIALS),
    }
    return optuna.create_study(
        study_name=_NAME,
        storage=journal,
        sampler=samplers[plan.method](),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_WARM_UP_TRIALS, n_warmup_steps=0),
        direction="minimize" if plan.task == "generator" else "maximize",
        load_if_exists=True,
    )


def _state(study: Any, plan: Search) -> dict[str, Any]:
    optuna = _optuna()
    trials = study.get_trials(deepcopy=False)
    state = optuna.trial.TrialState
    complete = [trial.value for trial in trials if trial.state == state.COMPLETE]
    best = (min if plan.task == "generator" else max)(complete) if complete else None
    done = sum(map(_is_done, trials))
    return {"step": done, "steps": plan.trials, "epoch": 0.0, **({"eval_best": best} if best is not None else {})}


def _write_up(plan: Search, study: Any) -> dict[str, Any]:
    optuna = _optuna()
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not complete:
        raise DataError(
            f"No trial of {len(trials)} came to an end. {plan.out} has their folders; try one by hand with botkit train."
        )
    best = study.best_trial
    importance: dict[str, float] = {}
    if len(complete) >= _WARM_UP_TRIALS and len(plan.space) > 1:
        with contextlib.suppress(RuntimeError, ValueError):
            importance = dict(optuna.importance.get_param_importances(study))
    told = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "value": trial.value,
            "parameters": trial.params,
            "seconds": trial.user_attrs.get("seconds"),
        }
        for trial in trials
    ]
    (plan.out / "best.yaml").write_text(as_yaml(_recipe(plan, best.params)), encoding="utf-8")
    (plan.out / "trials.json").write_text(json.dumps(told, indent=1, default=str) + "\n", encoding="utf-8")
    _draw(plan, told, importance)
    return {
        "best": {"number": best.number, "value": best.value, "parameters": best.params},
        "importance": importance,
        "trials": told,
        "recipe": str(plan.out / "best.yaml"),
        "picture": str(plan.out / "search.png"),
    }


def _draw(plan: Search, trials: list[dict[str, Any]], importance: Mapping[str, float]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), constrained_layout=True)
    done = [(trial["number"], trial["value"]) for trial in trials if trial["state"] == "complete"]
    better = min if plan.task == "generator" else max
    left.plot(*zip(*done, strict=True), "o", alpha=0.6, label="trial")
    best = [better(value for _, value in done[: i + 1]) for i in range(len(done))]
    left.step([number for number, _ in done], best, where="post", label="best so far")
    left.set(xlabel="trial", ylabel="validation figure", title=f"{plan.method} search")
    left.legend()
    if importance:
        right.barh(list(importance), list(importance.values()))
        right.invert_yaxis()
    right.set(title="Importance (fANOVA)", xlabel="share of the variance")
    figure.savefig(plan.out / "search.png", dpi=120)
    plt.close(figure)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("Tuning", "train") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    return optuna
