from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit.data.augment import Augmenter, read_synonyms, words
from botkit.data.balance import balanced, class_weights
from botkit.data.rows import Row
from botkit.data.splits import METHODS, folds, leaks, split
from botkit.errors import DataError

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}


def rows(count: int = 60) -> list[Row]:
    return [
        Row(
            {
                "text": f"{'abcdefghij'[n % 10] * 3} {n * 7919} {'klmnopqrst'[n // 10 % 10] * 4}",
                "label": "rare" if n % 6 == 0 else "often",
                "group": f"g{n % 12}",
                "time": f"2026-01-{n % 28 + 1:02d}T00:00:00",
            },
            f"f:{n}",
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_in_one_part(method: str) -> None:
    parts = split(rows(), SHARES, method)  # type: ignore[arg-type]
    assert sorted(n for part in parts.values() for n in part) == list(range(60))
    assert all(abs(len(parts[name]) - 60 * share) <= 3 for name, share in SHARES.items())


def test_the_seed_decides() -> None:
    assert split(rows(), SHARES, seed=1) == split(rows(), SHARES, seed=1) != split(rows(), SHARES, seed=2)


def test_strata_keep_their_shares() -> None:
    data = rows()
    for part in split(data, SHARES, "stratified").values():
        counts = Counter(data[n].values["label"] for n in part)
        assert counts["rare"] * 5 == pytest.approx(counts["often"], abs=5)


def test_time_only_goes_forward() -> None:
    data = rows()
    parts = split(data, SHARES, "time")
    times = {name: [data[n].values["time"] for n in part] for name, part in parts.items()}
    assert max(times["train"]) < min(times["valid"]) <= max(times["valid"]) < min(times["test"])
    for fold in folds(data, 3, "time"):
        assert max(data[n].values["time"] for n in fold["train"]) <= min(data[n].values["time"] for n in fold["valid"])


def test_rows_of_one_moment_are_in_one_fold() -> None:
    at = [f"2026-01-01T10:00:{max(0, n - 3):02}" for n in range(12)]
    data = [Row({"text": f"text {n}", "time": time}, f"f:{n}") for n, time in enumerate(at)]
    made = folds(data, 3, "time")
    assert [n for fold in made for n in fold["valid"]] == [*range(4, 12)]
    for fold in made:
        assert fold["train"] == list(range(fold["valid"][0]))
        assert not {at[n] for n in fold["train"]} & {at[n] for n in fold["valid"]}
    alike = [Row(row.values | {"time": at[0]}, row.place) for row in data[:9]] + data[9:]
    with pytest.raises(DataError, match="one moment to be split 3 times"):
        folds(alike, 3, "time")


@pytest.mark.parametrize("method", ["random", "stratified", "group"])
def test_each_row_is_validated_on_once(method: str) -> None:
    data = rows()
    made = folds(data, 4, method)  # type: ignore[arg-type]
    assert sorted(n for fold in made for n in fold["valid"]) == list(range(60))
    for fold in made:
        assert not set(fold["train"]) & set(fold["valid"])
        if method == "group":
            groups = [{data[n].values["group"] for n in fold[name]} for name in ("train", "valid")]
            assert not groups[0] & groups[1]


@given(st.lists(st.integers(0, 8), min_size=12, max_size=60), st.integers(0, 3))
def test_groups_are_never_parted(groups: list[int], seed: int) -> None:
    data = [Row({"text": f"t{n}", "group": str(group)}, f"f:{n}") for n, group in enumerate(groups)]
    if len(set(groups)) < 3:
        with pytest.raises(DataError):
            split(data, SHARES, "group", seed=seed)
        return
    parts = split(data, SHARES, "group", seed=seed)
    found = [{groups[n] for n in part} for part in parts.values()]
    assert sum(len(one) for one in found) == len(set(groups))


@pytest.mark.parametrize(
    ("shares", "told"), [({"a": 0.5, "b": 0.6}, "add up to 1"), ({"a": 1.2, "b": -0.2}, "above 0")]
)
def test_faulty_shares(shares: dict[str, float], told: str) -> None:
    with pytest.raises(DataError, match=told):
        split(rows(), shares)


def test_faults_name_the_row_and_the_remedy() -> None:
    plain = [Row({"text": "a"}, "f:1"), Row({"text": "b"}, "f:2")]
    with pytest.raises(DataError, match=r"f:1: has no `label`.*--key"):
        split(plain, {"a": 0.5, "b": 0.5}, "stratified")
    with pytest.raises(DataError, match=r"f:1: `time` is None, not a time"):
        split(plain, {"a": 0.5, "b": 0.5}, "time")
    with pytest.raises(DataError, match="k must be at least 2"):
        folds(plain, 3)
    with pytest.raises(DataError, match=r"stratify by: once \(1\)"):
        split([*rows(), Row({"text": "x", "label": "once"}, "f:x")], SHARES, "stratified")


def test_leaks_are_found() -> None:
    long = "the ferry to arran leaves at nine in the morning and comes back at six in the evening"
    texts = ["Same text", "another one", long, "same  TEXT!", long + " again", "nothing alike"]
    data = [Row({"text": text, "group": "g" if n in (1, 5) else str(n)}, f"f:{n}") for n, text in enumerate(texts)]
    parts = {"train": [0, 1, 2], "valid": [3, 4, 5]}
    assert {(leak.kind, leak.places) for leak in leaks(data, "text", parts, key="group", near=0.8)} == {
        ("same text", ("f:0", "f:3")),
        ("alike", ("f:2", "f:4")),
        ("same group", ("f:1", "f:5")),
    }
    assert leaks(data, "text", {"train": [0], "valid": [1, 2]}) == []


def test_balancing() -> None:
    data = rows()
    over = Counter(row.values["label"] for row in balanced(data, "over"))
    under = Counter(row.values["label"] for row in balanced(data, "under"))
    assert over == {"rare": 50, "often": 50}
    assert under == {"rare": 10, "often": 10}
    weights = class_weights([row.values["label"] for row in data])
    assert weights == pytest.approx({"often": 0.6, "rare": 3.0})


def test_words_join_to_the_text_again() -> None:
    for text, language in (("It's 5 o'clock, isn't_it?  Yes!", "en"), ("我的灯坏了，怎么办？", "zh")):
        assert "".join(words(text, language)) == text  # type: ignore[arg-type]
    assert "怎么办" in words("我的灯坏了，怎么办？", "zh")


@pytest.mark.parametrize("method", ["dropout", "noise", "swap", "typos"])
@pytest.mark.parametrize("text", ["My lamp arrived with a broken shade yesterday", "我昨天收到的台灯灯罩是碎的"])
def test_copies_differ_and_keep_their_label(method: str, text: str) -> None:
    data = [Row({"id": "7", "text": text, "label": "x"}, "f:1"), Row({"text": "other words here", "label": "y"}, "f:2")]
    made = Augmenter(data, "labelled", [method], strength=0.3).copies(data[0], 3)  # type: ignore[list-item]
    assert made
    assert all(one["label"] == "x" and one["text"] != text for one in made)
    assert len({one["text"] for one in made}) == len(made)
    assert [one["id"] for one in made] == [f"7-a{n}" for n in range(1, len(made) + 1)]


def test_only_the_question_of_a_reading_row_changes() -> None:
    values = {"question": "When does it leave us?", "context": "At six.", "answers": [{"text": "six", "start": 3}]}
    row = Row(values, "f:1")
    (made,) = Augmenter([row], "reading", ["dropout"]).copies(row, 1)
    assert made["context"] == "At six."
    assert made["question"] != values["question"]


def test_synonyms_come_from_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "s.txt"
    file.write_text("lamp, light\n# a comment, here\n灯，台灯\n", encoding="utf-8")
    known = read_synonyms(file)
    row = Row({"text": "Lamp broken"}, "f:1")
    assert [one["text"] for one in Augmenter([row], "text", ["synonyms"], synonyms=known).copies(row, 2)] == [
        "Light broken"
    ]
    file.write_text("lonely\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"s.txt:1: a line needs two different words"):
        read_synonyms(file)


@pytest.mark.parametrize(("text", "wanted"), [("The parcel", "The package"), ("我的快递", "我的(包裹|快件)")])
def test_everyday_synonyms_are_there_without_a_file(text: str, wanted: str) -> None:
    row = Row({"text": text}, "f:1")
    (copy,) = Augmenter([row], "text", ["synonyms"]).copies(row, 1)
    assert re.fullmatch(wanted, copy["text"])


def test_copies_of_a_row_are_not_validated_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from botkit.cli import main
    from botkit.data.rows import read_rows
    from botkit.training.recipe import DataConfig
    from botkit.training.tasks.common import validation_split

    file = tmp_path / "t.jsonl"
    words = "cake fig plum pear lime kiwi nut oat rye pea leek bean".split()
    said = [{"text": f"{word} of all things", "label": "good" if n < 9 else "bad"} for n, word in enumerate(words)]
    file.write_text("\n".join(map(json.dumps, said)), encoding="utf-8")
    for command in (["balance"], ["augment", "--copies", "2"]):
        out = tmp_path / f"{command[0]}.jsonl"
        with pytest.raises(SystemExit) as ended:
            main(["data", *command, str(file), "--out", str(out)])
        assert not ended.value.code, capsys.readouterr()
        rows, kind = read_rows(out)
        assert len(rows) > len(words)
        train, valid = validation_split(rows, DataConfig.model_validate({"train": str(out)}), kind, 1)
        assert len(valid) > 1
        assert not {rows[n].values["group"] for n in train} & {rows[n].values["group"] for n in valid}
        assert len({row.values["group"] for row in rows}) == len(words)
        with pytest.raises(SystemExit):
            main(["data", *command, str(out), "--out", str(out), "--json"])
        assert "would take the place of what is read" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["data", "prepare", str(file), "--out", str(tmp_path), "--json"])
    assert "is a folder. Name a file" in capsys.readouterr().out
