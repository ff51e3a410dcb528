"""`botkit data`, as a person or a program runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from botkit.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(one) for one in arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = [f'"<p>Text number {n} of {n * n} about {word}</p>",{n % 2}' for n, word in enumerate(WORDS)]
    file = tmp_path / "t.csv"
    file.write_text("text,label\n" + "\n".join([*lines, lines[0]]), encoding="utf-8")
    return file


WORDS = (
    "ferries harbours timetables lanterns candles warranties invoices gardens bicycles trains museums libraries dentists "
    "theatres hotels breakfasts kitchens holidays printers keyboards"
).split()


def test_prepare_split_and_describe(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl.gz"
    code, told, _ = run(capsys, "data", "prepare", table, "--out", out, "--label", "0=no", "--label", "1=yes", "--json")
    report = json.loads(told)
    assert (code, report["read"], report["kept"], report["dropped"]) == (0, 21, 20, {"duplicate": 1})
    assert report["mended"]["HTML removed"] == 21

    code, told, errors = run(
        capsys, "data", "split", out, "--method", "stratified", "--out", tmp_path / "parts", "--json"
    )
    assert (code, errors) == (0, "")
    assert list(json.loads(told)["parts"].values()) == [16, 2, 2]
    lines = (tmp_path / "parts" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 16
    assert json.loads(lines[0])["label"] in ("yes", "no")

    code, told, _ = run(capsys, "data", "stats", out, "--plot", tmp_path / "p.png", "--json")
    report = json.loads(told)
    assert report["classes"] == {"no": 10, "yes": 10}
    assert report["words"]["text"]["max"] == 7
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"

    code, told, _ = run(
        capsys, "data", "augment", tmp_path / "parts" / "train.jsonl", "--out", tmp_path / "a.jsonl", "--json"
    )
    assert json.loads(told)["added"] == 16
    code, told, _ = run(capsys, "data", "balance", out, "--out", tmp_path / "b.jsonl", "--method", "under", "--json")
    assert json.loads(told)["after"] == {"no": 10, "yes": 10}


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    code, told, _ = run(capsys, "data", "prepare", table, "--out", tmp_path / "c.jsonl", "--dry-run")
    assert code == 0
    assert "20 of 21 labelled rows would be written" in told
    assert not (tmp_path / "c.jsonl").exists()


def test_a_leaking_split_is_not_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text(
        "\n".join(json.dumps({"text": "the same words", "label": "a"}) for _ in range(10)), encoding="utf-8"
    )
    code, told, errors = run(capsys, "data", "split", file, "--out", tmp_path / "p")
    assert code == 1
    assert told == ""
    assert "leaks between the parts; nothing was written" in errors
    assert not (tmp_path / "p").exists()
    code, _, _ = run(capsys, "data", "split", file, "--out", tmp_path / "p", "--allow-leaks")
    assert code == 0


def test_a_split_does_not_overwrite_what_it_reads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    text = "\n".join(json.dumps({"text": f"words of number {n}", "label": "a"}) for n in range(20))
    file.write_text(text, encoding="utf-8")
    code, _, errors = run(capsys, "data", "split", file, "--shares", "train=0.9,valid=0.1", "--out", tmp_path)
    assert (code, "would be overwritten" in errors) == (1, True)
    assert file.read_text(encoding="utf-8") == text
    assert not (tmp_path / "valid.jsonl").exists()


@pytest.mark.parametrize("start", ['"0"', "0.0", "true"])
def test_a_start_that_is_no_whole_number_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, start: str
) -> None:
    file = tmp_path / "d.jsonl"
    row = '{"question": "Capital?", "context": "Paris it is.", "answers": [{"text": "Paris", "start": %s}]}'
    file.write_text(row % start, encoding="utf-8")
    code, _, errors = run(capsys, "data", "stats", file)
    assert (code, "d.jsonl:1: `answers.0.start`" in errors) == (1, True)


def test_half_an_emoji_in_a_further_key_is_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, out = tmp_path / "d.jsonl", tmp_path / "o.jsonl"
    file.write_text('{"text": "clean text", "label": "é", "user": "half \\ud83d"}', encoding="utf-8")
    code, _, errors = run(capsys, "data", "prepare", file, "--out", out)
    assert (code, errors) == (0, "")
    assert json.loads(out.read_text(encoding="utf-8"))["user"] == "half \ud83d"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("not json", "d.jsonl:2: not a JSON object"),
        ('{"text": "b"}', "d.jsonl:2: `label`: missing"),
        ('{"text": "  ", "label": "a"}', "d.jsonl:2: `text`: no words"),
        ('{"text": "b", "label": 3}', "d.jsonl:2: `label`: input should be a valid string"),
    ],
)
def test_a_broken_line_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"text": "a", "label": "x"}\n' + line, encoding="utf-8")
    code, _, errors = run(capsys, "data", "balance", file, "--out", tmp_path / "o.jsonl")
    assert code == 1
    assert told in errors
    assert not (tmp_path / "o.jsonl").exists()


def test_a_wrong_offset_is_named_before_anything_starts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    row = {"question": "When?", "context": "It leaves at six.", "answers": [{"text": "six", "start": 2}]}
    file.write_text(json.dumps(row), encoding="utf-8")
    code, _, errors = run(capsys, "data", "stats", file)
    assert code == 1
    assert "r.jsonl:1" in errors
    assert "It is found at 13" in errors


def test_options_say_what_is_possible(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    code, _, errors = run(capsys, "data", "split", table, "--out", tmp_path, "--method", "magic")
    assert (code, "random, stratified, time, group" in errors) in ((2, True), (1, False))
    code, _, errors = run(capsys, "data", "prepare", table, "--out", tmp_path / "o", "--label", "nonsense")
    assert code == 2
    assert "NAME=VALUE" in errors


def test_parts_of_an_earlier_split_do_not_stay_beside_new_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "d.jsonl"
    words = ["ferry", "harbour", "lamp", "garden", "winter", "letter", "bridge", "copper", "violin", "orchard"]
    data.write_text(
        "".join(json.dumps({"text": f"{w} {w[::-1]}", "label": "x"}) + "\n" for w in words), encoding="utf-8"
    )
    out = ["--out", str(tmp_path / "parts")]
    run(capsys, "data", "split", str(data), "--shares", "train=0.6,valid=0.2,test=0.2", *out)
    code, _, told = run(capsys, "data", "split", str(data), "--shares", "train=0.8,valid=0.2", *out)
    assert (code, "holds parts of another split (test.jsonl)" in " ".join(told.split())) == (1, True)
    assert run(capsys, "data", "split", str(data), "--shares", "train=0.5,valid=0.2,test=0.3", *out)[0] == 0


def test_a_refused_split_prints_one_json_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"text": "the same words", "label": "a"}\n' * 10, encoding="utf-8")
    code, told, errors = run(capsys, "data", "split", file, "--out", tmp_path / "p", "--json")
    report = json.loads(told)
    assert code == 1
    assert report["written"] is False
    assert "nothing was written" in report["error"]["message"]
    assert "nothing was written" in errors


def test_passages_in_two_parts_are_told_but_only_a_split_by_group_refuses_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    context = "The lighthouse of Skerry Point was built in 1854 by the engineer Jean Armstrong. " * 8
    rows = [
        {"question": f"Question {word}?", "context": context, "answers": [], "title": f"t{n % 4}"}
        for n, word in enumerate("who when where what why how whose which".split())
    ]
    file = tmp_path / "q.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shares = ("--shares", "train=0.75,valid=0.25")
    code, _, errors = run(capsys, "data", "split", file, "--out", tmp_path / "p", *shares)
    assert code == 0
    assert "passages in two parts: 1" in errors
    code, _, errors = run(capsys, "data", "split", file, "--out", tmp_path / "g", "--method", "group", *shares)
    assert code == 1
    assert "same passage" in errors


def test_a_picture_makes_its_folder_and_a_fault_is_told_in_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"text": "good", "label": "a"}\n{"text": "bad", "label": "b"}\n', encoding="utf-8")
    code, _, _ = run(capsys, "data", "stats", file, "--plot", tmp_path / "new" / "p.png")
    assert code == 0
    assert (tmp_path / "new" / "p.png").exists()
    (tmp_path / "taken.png").mkdir()
    code, _, errors = run(capsys, "data", "stats", file, "--plot", tmp_path / "taken.png")
    assert code == 1
    assert "taken.png: the picture cannot be written" in errors


def test_a_table_where_rows_are_due_names_the_command_that_makes_them(
    capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path
) -> None:
    code, _, errors = run(capsys, "data", "stats", table)
    assert code == 1
    assert "botkit data prepare" in errors
    for place, told in (
        (tmp_path / "nothing.jsonl", "there is no such file"),
        (tmp_path, "it is a folder; name a file"),
    ):
        code, _, errors = run(capsys, "data", "stats", place)
        assert code == 1
        assert told in errors
