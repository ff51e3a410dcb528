from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.errors import ModelError
from botkit.models.manifest import check_digest, read_manifest
from botkit.models.runtime import OnnxForward, batches, load_tokenizer, run_each, run_padded

from .tiny import TinyModel, bert_tokenizer


@given(st.lists(st.integers(0, 60)), st.integers(1, 100))
def test_batches_hold_every_item_once_and_no_more_than_the_budget(lengths: list[int], budget: int) -> None:
    groups = list(batches(lengths, budget))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget


@given(st.lists(st.integers(1, 30), min_size=1))
def test_batches_are_sorted_by_length(lengths: list[int]) -> None:
    order = [lengths[i] for group in batches(lengths, 64) for i in group]
    assert order == sorted(order)


def test_padding_changes_no_result(tiny_reader: TinyModel) -> None:
    tokenizer = bert_tokenizer()
    encodings = tokenizer.encode_batch(["the river", "who founded it 1851 is long", "good"])
    forward = OnnxForward(tiny_reader.folder / "model.onnx")
    for batch_tokens in (1, 8, 1000):
        rows = run_padded(forward, encodings, 0, batch_tokens=batch_tokens)
        for encoding, (start, end) in zip(encodings, rows, strict=True):
            assert np.array_equal(start[: len(encoding)], tiny_reader.table[encoding.ids, 0])
            assert np.array_equal(end[: len(encoding)], tiny_reader.table[encoding.ids, 1])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("one_each", [True, False])
def test_each_text_has_its_own_rows_in_the_order_given(tiny_reader: TinyModel, threads: int, one_each: bool) -> None:
    encodings = bert_tokenizer().encode_batch(["who founded it 1851 is long", "good", "the river"] * 9)
    forward = OnnxForward(tiny_reader.folder / "model.onnx", threads=threads, one_each=one_each)

    rows = run_each(forward, encodings, 0)

    for encoding, (start, end) in zip(encodings, rows, strict=True):
        assert np.array_equal(start, tiny_reader.table[encoding.ids, 0])
        assert np.array_equal(end, tiny_reader.table[encoding.ids, 1])


def test_nothing_to_run_gives_nothing(tiny_reader: TinyModel) -> None:
    forward = OnnxForward(tiny_reader.folder / "model.onnx")
    assert run_each(forward, [], 0) == run_padded(forward, [], 0) == []


def test_many_callers_share_a_session(tiny_reader: TinyModel) -> None:
    forward = OnnxForward(tiny_reader.folder / "model.onnx", threads=3, one_each=True)
    encodings = bert_tokenizer().encode_batch([f"the river {number}" for number in range(50)])
    wrong: list[int] = []

    def work(number: int) -> None:
        asked = [encodings[number], *encodings[:5]]
        for encoding, (start, _) in zip(asked, run_each(forward, asked, 0), strict=True):
            if not np.array_equal(start, tiny_reader.table[encoding.ids, 0]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_run_that_fails_among_several_is_told(tiny_reader: TinyModel) -> None:
    forward = OnnxForward(tiny_reader.folder / "model.onnx", threads=3, one_each=True)
    good = {name: np.ones((1, 2), dtype=np.int64) for name in forward.inputs}
    with pytest.raises(ModelError, match="cannot be run"):
        forward.each([good, {}, good])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on_reading(tiny_reader: TinyModel) -> None:
    forward = OnnxForward(tiny_reader.folder / "model.onnx", threads=2, one_each=True)
    encodings = bert_tokenizer().encode_batch(["the river", "good", "it is long"])
    assert len(run_each(forward, encodings, 0)) == 3
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs is ended, and its status tells
        os._exit(0 if len(run_each(forward, encodings, 0)) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx: no such model file"):
        OnnxForward(tmp_path / "model.onnx")


@pytest.mark.parametrize("keep", [0, 20, 500])
def test_a_damaged_graph_is_a_model_error_that_says_what_to_do(tiny_reader: TinyModel, keep: int) -> None:
    graph = tiny_reader.folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:keep])
    with pytest.raises(ModelError, match="reinstall botkit, or export the model again"):
        OnnxForward(graph)


def test_wrong_inputs_are_a_model_error(tiny_reader: TinyModel) -> None:
    forward = OnnxForward(tiny_reader.folder / "model.onnx")
    with pytest.raises(ModelError, match="cannot be run"):
        forward({"input_ids": np.zeros(3, dtype=np.int64)})


def test_a_damaged_tokenizer_is_a_model_error(tiny_reader: TinyModel) -> None:
    (tiny_reader.folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a tokenizer"):
        load_tokenizer(tiny_reader.folder)
    (tiny_reader.folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="no such file"):
        load_tokenizer(tiny_reader.folder)


def test_typed_special_tokens_are_plain_characters(tiny_reader: TinyModel) -> None:
    tokenizer = load_tokenizer(tiny_reader.folder)
    separator = tokenizer.token_to_id("[SEP]")
    assert tokenizer.encode("it is [SEP] long").ids.count(separator) == 1


def test_the_digest_tells_an_exchanged_graph(tiny_reader: TinyModel) -> None:
    check_digest(tiny_reader.folder)
    graph = tiny_reader.folder / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b" ")
    with pytest.raises(ModelError, match="damaged or was exchanged"):
        check_digest(tiny_reader.folder)


def test_a_manifest_of_another_role_is_refused(tiny_reader: TinyModel) -> None:
    with pytest.raises(ModelError, match="this model is a reader, not a encoder|not an encoder"):
        read_manifest(tiny_reader.folder, "encoder")


def test_a_broken_manifest_names_file_and_key(tiny_reader: TinyModel) -> None:
    path = tiny_reader.folder / "botkit.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"max_length": "long"}))
    with pytest.raises(ModelError, match=r"botkit\.json: max_length"):
        read_manifest(tiny_reader.folder)
    path.write_text("{")
    with pytest.raises(ModelError, match=r"botkit\.json"):
        read_manifest(tiny_reader.folder)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_manifest(tiny_reader.folder)
