"""One forward call, whatever runs it: ONNX Runtime for models in botkit's form, torch for hub models.

Both kinds of `Forward` take named arrays and return arrays. Sessions and tokenizers are safe to share between threads.
Dynamic quantisation takes its scale from the whole input: in batches of 32, the embeddings of 320 sentences of `knowledge/` moved with
their neighbours to cosines of 0.977 to 0.998 with themselves alone. So models in int8 read each text on its own, one text a core: what
they say of a text then depends on nothing else, and no time goes into padding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from botkit.errors import MissingExtraError, ModelError
from botkit.models.manifest import TOKENIZER

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]

BATCH_TOKENS: Final = 1_024
"""Tokens of one forward call of a torch model, padding included."""


class Forward(Protocol):
    """A model as a function of its inputs."""

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs it takes."""
        ...

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Run once. The outputs come in the order the model declares; raises `ModelError` where the run fails."""
        ...


class OnnxForward:
    """A graph run by ONNX Runtime on the CPU."""

    def __init__(self, graph: Path, *, threads: int = 0, one_each: bool = False, shared: Path | None = None) -> None:
        """Open `graph`; `threads` 0 is one for each core this process may use. Raises `ModelError`.

        `shared` is the file of the weights that the graph has in common with others (`Manifest.shared_file`).

        They share the work of each run, or with `one_each` do a run each: better for many short texts (see `run_each`).
        """
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        if not graph.is_file():
            raise ModelError(f"{graph}: no such model file. Reinstall botkit, or export or pull the model again.")
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        self._threads = threads or available_cores()
        options.intra_op_num_threads = 1 if one_each else self._threads
        options.log_severity_level = 3
        # the level above rearranges convolutions only, and costs time at start
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        # patterns are remembered for each input shape, and here every text has its own
        options.enable_mem_pattern = False
        # threads that spin while they wait take the cores from other conversations: 379 against 258 ms on busy cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if shared is not None and not shared.is_file():
            raise ModelError(
                f"{shared}: no such file; it holds weights that {graph.parent} shares with other models. Reinstall botkit; where the "
                "model was copied, copy that file as well."
            )
        try:
            source: str | bytes = str(graph)
            if shared is not None:  # a graph that is read from a file may name nothing outside of its folder
                options.add_session_config_entry(
                    "session.model_external_initializers_file_folder_path", str(shared.parent)
                )
                source = graph.read_bytes()
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except (failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.InvalidProtobuf) as error:
            raise ModelError(
                f"{graph}: ONNX Runtime cannot load it ({first_line(error)}). "
                "It is damaged, or too new for the installed onnxruntime: reinstall botkit, or export the model again."
            ) from error
        # a missing input is a ValueError of the Python layer
        self._failures = (failures.Fail, failures.InvalidArgument, failures.RuntimeException, ValueError)
        self._graph = graph
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self._inputs = frozenset(given.name for given in self._session.get_inputs())

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs it takes."""
        return self._inputs

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Run once; raises `ModelError` where ONNX Runtime refuses the inputs."""
        try:
            return tuple(self._session.run(None, dict(feeds)))
        except self._failures as error:
            raise ModelError(
                f"{self._graph}: the model cannot be run ({first_line(error)}). Export it again."
            ) from error

    def each(self, runs: Sequence[Mapping[str, NDArray[Any]]]) -> list[tuple[NDArray[Any], ...]]:
        """Several runs, as many at a time as there are threads; their outputs in the order given.

        The threads live no longer than the call: starting them takes a hundredth of the work, they survive no fork, and no
        caller waits behind another's texts.
        """
        workers = min(self._threads, len(runs))
        if workers < 2:
            return [self(feeds) for feeds in runs]
        with ThreadPoolExecutor(workers, thread_name_prefix="botkit-model") as pool:
            return list(pool.map(self, runs))


class TorchForward:
    """A transformers model run by torch, on the device it lies on."""

    def __init__(self, model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """`outputs` names the fields of the model's output to return."""
        self._model = model.eval()
        self._inputs = frozenset(inputs)
        self._outputs = tuple(outputs)

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs it takes."""
        return self._inputs

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Run once, without gradients."""
        torch = import_torch("Running a hub model")
        with torch.inference_mode():
            output = self._model(
                **{name: torch.from_numpy(value).to(self._model.device) for name, value in feeds.items()}
            )
        return tuple(getattr(output, name).float().cpu().numpy() for name in self._outputs)


def run_each(forward: Forward, encodings: Sequence[Encoding], pad_id: int) -> list[tuple[Floats, ...]]:
    """Return each encoding's output rows, in the order given.

    An ONNX model reads each on its own, another one padded batches. There a row of a token-wise output is as long as its
    batch: cut it at the encoding's length.
    """
    if isinstance(forward, OnnxForward):
        found = forward.each([_padded(forward, [encoding], pad_id) for encoding in encodings])
        return [tuple(output[0] for output in outputs) for outputs in found]
    return run_padded(forward, encodings, pad_id)


def run_padded(
    forward: Forward, encodings: Sequence[Encoding], pad_id: int, *, batch_tokens: int = BATCH_TOKENS
) -> list[tuple[Floats, ...]]:
    """The same in padded batches of similar lengths."""
    rows: list[tuple[Floats, ...]] = [()] * len(encodings)
    for batch in batches([len(encoding) for encoding in encodings], batch_tokens):
        outputs = forward(_padded(forward, [encodings[i] for i in batch], pad_id))
        for row, i in enumerate(batch):
            rows[i] = tuple(output[row] for output in outputs)
    return rows


def _padded(forward: Forward, encodings: Sequence[Encoding], pad_id: int) -> dict[str, Integers]:
    """The inputs that the model takes, each of shape (encodings, tokens of the longest)."""
    shape = (len(encodings), max(len(encoding) for encoding in encodings))
    feeds = {
        "input_ids": np.full(shape, pad_id, dtype=np.int64),
        "attention_mask": np.zeros(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }
    for row, encoding in enumerate(encodings):
        length = len(encoding)
        feeds["input_ids"][row, :length] = encoding.ids
        feeds["attention_mask"][row, :length] = 1
        feeds["token_type_ids"][row, :length] = encoding.type_ids
    return {name: value for name, value in feeds.items() if name in forward.inputs}


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices in groups of similar length, shortest first, each of at most `batch_tokens` with padding (or of one)."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder; raises `ModelError`."""
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Reinstall botkit, or export or pull the model again.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise ModelError(f"{path}: not a tokenizer ({first_line(error)}). Export or pull the model again.") from error
    return plain_tokenizer(tokenizer)


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer without truncation and padding, which botkit does itself.

    A special token that a person types, such as "[SEP]", is read as the characters it is made of.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def import_torch(purpose: str) -> Any:
    """The torch module; raises `MissingExtraError` where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(purpose, "torch") from error
    return torch


def first_line(error: BaseException) -> str:
    """The first line of an error's text, not too long."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
