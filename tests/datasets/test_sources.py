from __future__ import annotations

import gzip
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from botkit.data.augment import Augmenter
from botkit.data.cleaning import Rules, clean
from botkit.data.sources import guess_source, load
from botkit.data.stats import describe
from botkit.errors import DataError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_find_their_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", 'Review;Sentiment\n"Bad; very bad";negative\n不错;positive\n')
    rows, kind = load(file)
    assert kind == "labelled"
    assert [dict(row.values) for row in rows] == [
        {"text": "Bad; very bad", "label": "negative"},
        {"text": "不错", "label": "positive"},
    ]
    assert rows[0].place == f"{file}:2"


def test_columns_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "t.tsv", "body\tstars\nfine\t5\n")
    rows, _ = load(file, columns={"text": "body", "label": "stars"})
    assert dict(rows[0].values) == {"text": "fine", "label": "5"}
    with pytest.raises(DataError, match="no column 'stern'; there are body, stars"):
        load(file, columns={"label": "stern"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "neither a text column"),
        ("text,label\n", "no rows below"),
        ("text,label\na,b,c\n", ":2: more fields"),
    ],
)
def test_faulty_tables(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load(write(tmp_path / "t.csv", text))


def test_squad_files(tmp_path: Path) -> None:
    asked = {"id": "1", "question": "When?", "answers": [{"text": "six", "answer_start": 10}], "is_impossible": False}
    never = {"id": "2", "question": "Why?", "answers": [], "is_impossible": True}
    paragraph = {"context": "It leaves six.", "qas": [asked, never]}
    file = write(tmp_path / "s.json", json.dumps({"data": [{"title": "A_B", "paragraphs": [paragraph]}]}))
    rows, kind = load(file)
    assert kind == "reading"
    assert [row.values["answers"] for row in rows] == [[{"text": "six", "start": 10}], []]
    assert rows[0].values["group"] == "A B"
    broken = write(tmp_path / "b.json", json.dumps({"data": [{"paragraphs": [{"qas": [{"question": "?"}]}]}]}))
    with pytest.raises(DataError, match="not in the SQuAD format"):
        load(broken)


def slack_message(ts: float, user: str, text: str, **more: str) -> dict[str, str]:
    return {"type": "message", "ts": f"{ts:.6f}", "user": user, "text": text, **more}


def slack_days() -> dict[str, list[dict[str, str]]]:
    first = [
        slack_message(100, "U1", "Hi <@U2>, is <https://x.example|the page> down &amp; out?"),
        slack_message(160, "U1", "Anybody?"),
        slack_message(200, "U2", "Looking"),
        slack_message(210, "U3", "joined", subtype="channel_join"),
    ]
    later = [
        slack_message(90_000, "U4", "Lunch?"),
        slack_message(90_100, "U1", "Yes", thread_ts="90000.000000"),
        slack_message(90_050, "U4", "Where?", thread_ts="90000.000000"),
    ]
    return {"2026-01-01.json": first, "2026-01-02.json": later}


def test_slack_exports(tmp_path: Path) -> None:
    for name, day in slack_days().items():
        write(tmp_path / "export" / "general" / name, json.dumps(day))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for name, day in slack_days().items():
            archive.writestr(f"general/{name}", json.dumps(day))
        archive.writestr("users.json", "[]")
    for path in (tmp_path / "export", tmp_path / "export.zip"):
        rows, kind = load(path)
        assert kind == "dialogue"
        assert [row.values["turns"] for row in rows] == [
            ["Hi , is the page down & out?\nAnybody?", "Looking"],
            ["Where?", "Yes"],
        ]
        assert rows[0].values["time"].startswith("1970-01-01T00:01:40")


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="as a Slack export has"):
        load(tmp_path)


def test_telegram_exports(tmp_path: Path) -> None:
    def message(at: int, who: str, text: object) -> dict[str, object]:
        return {"id": at, "type": "message", "date_unixtime": str(at), "from_id": who, "text": text}

    messages = [
        message(10, "user1", ["Is it ", {"type": "bold", "text": "open"}, "?"]),
        {"id": 2, "type": "service", "text": ""},
        message(20, "user2", "Yes"),
        message(20_000, "user2", "We close now"),
        message(20_010, "user1", "Ok"),
    ]
    for whole in ({"messages": messages}, {"chats": {"list": [{"messages": messages}]}}):
        rows, _ = load(write(tmp_path / "result.json", json.dumps(whole)))
        assert [row.values["turns"] for row in rows] == [["Is it open?", "Yes"], ["We close now", "Ok"]]
    rows, _ = load(tmp_path / "result.json", gap=timedelta(days=1))
    assert rows[0].values["turns"] == ["Is it open?", "Yes\nWe close now", "Ok"]


def test_own_conversations_end_at_a_thumb_down(tmp_path: Path) -> None:
    turns = [
        {"conversation": "a", "role": "user", "text": "When?"},
        {"conversation": "a", "role": "bot", "text": "At six.", "rating": 1},
        {"conversation": "a", "role": "user", "text": "Why?"},
        {"conversation": "a", "role": "bot", "text": "Because.", "rating": -1},
        {"conversation": "b", "role": "user", "text": "Hm?"},
        {"conversation": "b", "role": "bot", "text": "What?"},
    ]
    file = write(tmp_path / "c.jsonl", "\n".join(json.dumps(turn) for turn in turns))
    assert guess_source(file) == "botkit"
    assert [row.values["turns"] for row in load(file, rated="good")[0]] == [["When?", "At six."]]
    assert [len(row.values["turns"]) for row in load(file)[0]] == [4, 2]


def test_what_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known form"):
        load(write(tmp_path / "x.json", "[1, 2]"))
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.csv")
    (tmp_path / "g.csv").write_bytes("文本,标签\n好,a\n".encode("gb18030"))
    with pytest.raises(DataError, match="iconv"):
        load(tmp_path / "g.csv")


def test_gzipped_tables_lists_and_single_days_are_told_by_their_name(tmp_path: Path) -> None:
    table = tmp_path / "t.csv.gz"
    table.write_bytes(gzip.compress("text;label\nGood, very good;yes\n不好；很差;no\n".encode()))
    rows, kind = load(table)
    assert kind == "labelled"
    assert [row.values["text"] for row in rows] == ["Good, very good", "不好；很差"]
    listed = tmp_path / "rows.json"
    listed.write_text('[{"text": "a", "label": "x"},\n {"text": "b", "label": "y"}]', encoding="utf-8")
    assert [row.place for row in load(listed)[0]] == [f"{listed}: item 1", f"{listed}: item 2"]
    day = tmp_path / "general" / "2026-01-01.json"
    day.parent.mkdir()
    said = [{"type": "message", "user": user, "text": user, "ts": f"17672256{n}0.0"} for n, user in enumerate("AB")]
    day.write_text(json.dumps(said), encoding="utf-8")
    assert load(day)[0][0].values["turns"] == ["A", "B"]


def test_doubled_quotes_far_down_in_a_table_are_read(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    plain = "".join(f'"line {n}, plain",a\n' for n in range(400))
    file.write_text(f'text,label\n{plain}"He said ""yes"", twice",b\n', encoding="utf-8")
    assert load(file)[0][-1].values["text"] == 'He said "yes", twice'


def test_a_field_without_end_is_told(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\nx,a\n" + "y" * 10_000_001 + ",b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv:\d+: not a table"):
        load(file)


def test_intents_are_rows_as_well(tmp_path: Path) -> None:
    file = tmp_path / "i.jsonl"
    file.write_text('{"questions": ["<b>hi</b>", "你好"], "answers": {"friendly": "Hello!"}}\n', encoding="utf-8")
    rows, kind = load(file)
    kept, _ = clean(rows, kind, Rules())
    assert kind == "intents"
    assert kept[0].values["questions"] == ["hi", "你好"]
    assert describe(kept, kind)["characters"]["answer"]["max"] == 6
    assert Augmenter(kept, kind, ["typos"]).copies(kept[0], 1)[0]["answers"] == {"friendly": "Hello!"}


def test_a_date_column_that_nobody_asked_for_costs_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "t.csv", "text,label,date\ngood,a,15/01/2024\nbad,b,2024-01-16\n")
    rows, _ = load(file)
    assert [row.values.get("time") for row in rows] == [None, "2024-01-16"]
    assert "1 values of the column 'date' are no dates like 2024-01-31" in caplog.text


def test_quotes_in_a_table_of_tabs_are_marks_like_others(tmp_path: Path) -> None:
    lines = [
        "text\tlabel",
        '"Great movie\t0',
        "hi there\t2",
        'hey you"\t3',
        '"He said ""hi"""\t1',
        '"Hello" she said\t2',
    ]
    rows, _ = load(write(tmp_path / "t.tsv", "\n".join(lines) + "\n"))
    assert [(row.values["text"], row.values["label"]) for row in rows] == [
        ('"Great movie', "0"),
        ("hi there", "2"),
        ('hey you"', "3"),
        ('He said "hi"', "1"),
        ('"Hello" she said', "2"),
    ]
    rows, _ = load(write(tmp_path / "u.tsv", 'text\tlabel\n"two\nparts of it"\t0\nmore\t1\n'))
    assert [row.values["text"] for row in rows] == ["two\nparts of it", "more"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('text,label\n"Hello" she said,1\n', r"t\.csv:2: not a table .*Is a quote missing"),
        ('text,label\n"never closed,1\nmore,2\n', r"t\.csv:\d: not a table .*Is a quote missing"),
        ("text,label\nonly a text\n", r"t\.csv:2: ends before the column 'label'"),
    ],
)
def test_rows_of_a_table_are_not_lost_to_a_quote(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load(write(tmp_path / "t.csv", text))


def test_the_place_of_an_answer_in_a_table_is_believed(tmp_path: Path) -> None:
    context = "The tower opened in 1889. A second tower opened in 1889 too."
    at = context.rindex("1889")
    rows, kind = load(write(tmp_path / "t.csv", f'question,context,answer,answer_start\nWhen?,"{context}",1889,{at}\n'))
    kept, report = clean(rows, kind, Rules())
    assert kept[0].values["answers"] == [{"text": "1889", "start": at}]
    assert not report.mended
    rows, kind = load(write(tmp_path / "t.csv", f'question,context,answer\nWhen?,"{context}",1889\n'))
    kept, report = clean(rows, kind, Rules())
    assert kept[0].values["answers"] == [{"text": "1889", "start": context.index("1889")}]
    assert report.mended == {"answer stands there several times, the first taken": 1}


def test_an_answer_to_a_thread_may_come_late_and_one_that_never_came_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day = [
        slack_message(1, "U1", "How do I return a lamp?", thread_ts="1"),
        slack_message(20_000, "U2", "Within 30 days.", thread_ts="1", subtype="file_share"),
        slack_message(20_060, "U1", "Thanks, <!subteam^S1|@support>! And chairs?", thread_ts="1"),
        slack_message(20_120, "U2", "Also 30 days.", thread_ts="1"),
        slack_message(90_000, "U3", "Anybody there?"),
        {**slack_message(90_001, "U4", ""), "text": None},  # type: ignore[dict-item]
    ]
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("help/2026-01-01.json", json.dumps(day))
        archive.writestr("__MACOSX/help/._2026-01-01.json", b"\xb0")
    rows, _ = load(tmp_path / "e.zip")
    assert [row.values["turns"] for row in rows] == [
        ["How do I return a lamp?", "Within 30 days.", "Thanks, @support! And chairs?", "Also 30 days."]
    ]
    assert "1 times somebody spoke and nobody answered" in caplog.text


def test_conversations_without_a_thumb_up_are_told_of(tmp_path: Path) -> None:
    turns = [{"conversation": "a", "role": role, "text": "x", "rating": None} for role in ("user", "bot")]
    file = write(tmp_path / "c.jsonl", "\n".join(map(json.dumps, turns)))
    assert len(load(file)[0]) == 1
    with pytest.raises(DataError, match="none of 1 conversations has a reply that was rated 👍"):
        load(file, rated="good")


def test_utf_16_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n不错,好\n", encoding="utf-16")
    assert load(tmp_path / "t.csv")[0][0].values == {"text": "不错", "label": "好"}
