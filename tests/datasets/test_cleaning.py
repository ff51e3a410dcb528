from __future__ import annotations

import pytest

from botkit.data.cleaning import Rules, clean, even, without_controls, without_html, without_personal
from botkit.data.foreign import is_foreign
from botkit.data.rows import Row, check


def labelled(*texts: str, label: str = "a") -> list[Row]:
    return [Row({"text": text, "label": label}, f"f:{n}") for n, text in enumerate(texts, 1)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<p>One<br>two</p>", "One\ntwo"),
        ("<script>x()</script>kept", "kept"),
        ("a &lt; b &amp; c", "a < b & c"),
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        ("I <3 you", "I <3 you"),
        ("AT&T", "AT&T"),
    ],
)
def test_markup_goes_and_comparisons_stay(text: str, wanted: str) -> None:
    assert even(without_html(text)) == wanted


def test_control_characters_go_but_emoji_stay_whole() -> None:
    assert without_controls("a\x00b\u200bc\ufeff\ufffd") == "abc"
    assert without_controls("👨\u200d👩\u200d👧") == "👨\u200d👩\u200d👧"
    assert without_controls("a\r\nb") == "a\nb"


def test_unicode_is_composed_and_blanks_single() -> None:
    assert even("cafe\u0301 \t x\n\n\n\ny ") == "caf\u00e9 x\n\ny"


def test_personal_details_are_masked() -> None:
    text = (
        "Write to ann.b+c@mail.example.org or +44 20 7946 0958, see https://x.example/a?b=1, card 4111 1111 1111 1111."
    )
    masked = without_personal(text)
    assert all(secret not in masked for secret in ("ann", "7946", "x.example", "4111"))
    assert without_personal("I paid 120 euros in 2024") == "I paid 120 euros in 2024"
    assert without_personal("打13812345678找我") == "打<phone>找我"


def test_rows_are_dropped_for_named_reasons() -> None:
    rows = [*labelled("Good lamp", "good  LAMP!", " \u200b "), *labelled("Good lamp", label="b")]
    kept, report = clean(rows, "labelled", Rules(near_duplicates=None))
    assert [row.values["text"] for row in kept] == ["Good lamp"]
    assert report.dropped == {"duplicate": 1, "empty": 1, "conflicting label": 1}
    assert (report.read, report.kept) == (4, 1)
    assert report.examples["conflicting label"].startswith("f:1")


@pytest.mark.parametrize(
    ("one", "other"), [("👍", "👎"), ("Great film :)", "Great film :("), ("C++", "C#"), ("!", "?")]
)
def test_marks_that_mean_something_are_no_duplicates(one: str, other: str) -> None:
    kept, report = clean([*labelled(one), *labelled(other, label="b")], "labelled", Rules(near_duplicates=None))
    assert (len(kept), report.dropped) == (2, {})


def test_near_duplicates_are_told_with_what_they_are_like() -> None:
    text = "The ferry to Arran leaves at nine in the morning and comes back at six in the evening"
    kept, report = clean(labelled(text, text + ".", text.replace("nine", "ten"), "Something else"), "labelled", Rules())
    assert [row.place for row in kept] == ["f:1", "f:4"]
    assert report.dropped == {"duplicate": 1, "near duplicate": 1}
    assert "like f:1" in report.examples["near duplicate"]
    assert len(clean(labelled(text, text.replace("nine", "ten")), "labelled", Rules(near_duplicates=0.999))[0]) == 2


def test_languages_lengths_and_labels() -> None:
    rows = [*labelled("short", "a rather longer text", "这是一句中文的话"), *labelled("of another class", label="z")]
    kept, report = clean(rows, "labelled", Rules(languages=("en",), shortest=6, labels=("A",), rename={"a": "A"}))
    assert [row.values for row in kept] == [{"text": "a rather longer text", "label": "A"}]
    assert report.dropped == {"too short": 1, "another language": 1, "label not among A": 1}


def test_traditional_chinese_becomes_simplified() -> None:
    kept, _ = clean(labelled("這個燈壞了"), "labelled", Rules(simplify=True))
    assert kept[0].values["text"] == "这个灯坏了"


def reading(context: str, answer: str, start: int) -> Row:
    return Row({"question": "When?", "context": context, "answers": [{"text": answer, "start": start}]}, "f:1")


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (reading("<b>It</b> leaves &nbsp; at <i>six</i> or six.", "six", 34), "six"),
        (reading("It  leaves\x00 at six.", "leaves\x00 at six", 4), "leaves at six"),
        (reading("It leaves at six.", "six", 2), "six"),
        (reading("a b. a b. a b.", "a b", 5), "a b"),
    ],
)
def test_answers_are_where_they_say_after_cleaning(row: Row, answer: str) -> None:
    kept, _ = clean([row], "reading", Rules())
    (found,) = kept[0].values["answers"]
    assert found["text"] == answer
    check(kept[0].values, "reading", "f:1")


def test_a_start_may_be_named_as_squad_does() -> None:
    row = Row(
        {"question": "When?", "context": "1889, and 1889", "answers": [{"text": "1889", "answer_start": 10}]}, "f:1"
    )
    kept, report = clean([row], "reading", Rules())
    assert kept[0].values["answers"] == [{"text": "1889", "start": 10}]
    assert not any("place" in reason for reason in report.mended)


def test_the_right_occurrence_stays_the_answer() -> None:
    row = reading("<p>six</p> It leaves at <b>six</b>.", "six", 27)
    kept, _ = clean([row], "reading", Rules())
    assert kept[0].values["answers"] == [{"text": "six", "start": kept[0].values["context"].rindex("six")}]


def test_an_answer_that_is_nowhere_drops_the_row() -> None:
    kept, report = clean([reading("It leaves at six.", "seven", 0)], "reading", Rules())
    assert not kept
    assert report.dropped == {"answer not in its context": 1}


def test_other_questions_about_a_long_passage_are_no_duplicates() -> None:
    passage = "The ferry to Arran leaves at nine in the morning and comes back at six. " * 12 + "It was built in 1954."

    def asked(number: int, question: str, answer: str) -> Row:
        start = passage.index(answer)
        return Row(
            {"question": question, "context": passage, "answers": [{"text": answer, "start": start}]}, f"f:{number}"
        )

    rows = [
        asked(1, "When does the ferry leave?", "nine"),
        asked(2, "When was it built?", "1954"),
        asked(3, "When was it  built", "1954"),
        asked(4, "When does the ferry leave it?", "six"),
    ]
    kept, report = clean(rows, "reading", Rules())
    assert [row.place for row in kept] == ["f:1", "f:2", "f:4"]
    assert sum(report.dropped.values()) == 1


def test_a_question_in_nearly_the_same_words_is_a_near_duplicate() -> None:
    context = "The lighthouse of Skerry Point was built in 1854 by the engineer Jean Armstrong."
    answers = [{"text": "1854", "start": context.index("1854")}]
    question = "In which year was the lighthouse of Skerry Point built"
    rows = [
        Row({"question": text, "context": context + end, "answers": answers}, f"f:{n}")
        for n, (text, end) in enumerate([(question + "?", ""), (question + " then?", " ")], 1)
    ]
    kept, report = clean(rows, "reading", Rules())
    assert [row.place for row in kept] == ["f:1"]
    assert report.dropped == {"near duplicate": 1}


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("Where is my parcel? It was sent to the wrong house.", False),
        ("Cheap coffee near Bordeaux", False),
        ("The café of the hotel", False),
        ("快递什么时候到？", False),
        ("我的 iPhone 坏了", False),
        ("12345 !!!", False),
        ("Où est mon colis ? Je ne l'ai pas reçu.", True),
        ("Das Paket ist nicht angekommen", True),
        ("El paquete no ha llegado, ¿dónde está?", True),
        ("Il pacco non è arrivato", True),
        ("荷物はいつ届きますか", True),
        ("Это русский текст", True),
        ("택배가 언제 오나요", True),
    ],
)
def test_other_languages_are_neither_english_nor_chinese(text: str, foreign: bool) -> None:
    assert is_foreign(text) is foreign


def test_the_language_filter_drops_what_is_neither() -> None:
    rows = labelled(
        "Where is my parcel?", "快递什么时候到？", "Où est mon colis ? Je ne l'ai pas reçu.", "荷物はいつ届きますか"
    )
    kept, report = clean(rows, "labelled", Rules(languages=("en", "zh")))
    assert [row.place for row in kept] == ["f:1", "f:2"]
    assert report.dropped == {"another language": 2}


def test_words_between_angle_brackets_that_are_no_html_stay() -> None:
    assert without_html("mail me at <email> or call <phone>") == "mail me at <email> or call <phone>"
    assert without_html("a List<String> is <b>not</b> a <card>") == "a List<String> is not a <card>"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<p>Hello<o:p></o:p></p>", "Hello"),
        ("<svg><path d='1'/></svg><p>x</p>", "x"),
        ("<?xml version='1.0'?><p>x</p>", "x"),
        ("Hi <user-name>, ok", "Hi <user-name>, ok"),
        ("<my-box class='a'>in</my-box>", "in"),
    ],
)
def test_markup_of_mail_programs_goes_and_masks_stay(text: str, wanted: str) -> None:
    assert without_html(text).strip() == wanted


def test_a_missing_field_is_named() -> None:
    row = {"text": "so", "label": "a", "time": "15/01/2024"}
    _, report = clean([Row(row, "f:1")], "labelled", Rules())
    assert report.dropped == {"`time` missing or of the wrong type": 1}


def test_answers_in_the_form_of_hugging_face_are_kept() -> None:
    context = "Paris is the capital of France. So is Paris."
    row = {"question": "Which?", "context": context, "answers": {"text": ["Paris", "France"], "answer_start": [38, 24]}}
    none = {"question": "Who?", "context": context, "answers": {"text": [], "answer_start": []}}
    kept, report = clean([Row(row, "f:1"), Row(none, "f:2")], "reading", Rules())
    assert [[(one["text"], one["start"]) for one in got.values["answers"]] for got in kept] == [
        [("Paris", 38), ("France", 24)],
        [],
    ]
    assert report.mended["answers as Hugging Face's SQuAD has them"] == 2


@pytest.mark.parametrize("answers", ["Paris", None, {"text": ["Paris"]}, {"text": ["a", "b"], "answer_start": [0]}])
def test_answers_that_are_none_do_not_make_a_question_unanswerable(answers: object) -> None:
    row = {"question": "Which?", "context": "Paris is the capital.", "answers": answers}
    for values in (row, {name: row[name] for name in ("question", "context")}):
        kept, report = clean([Row(values, "f:1")], "reading", Rules())
        assert not kept
        assert report.dropped == {"`answers` missing or of the wrong type": 1}


def test_labels_are_words_or_numbers() -> None:
    rows = [Row({"text": f"text {n}", "label": label}, f"f:{n}") for n, label in enumerate((3, "a", None, ["a"], True))]
    kept, report = clean(rows, "labelled", Rules())
    assert [row.values["label"] for row in kept] == ["3", "a"]
    assert report.dropped == {"`label` missing or of the wrong type": 3}


def test_every_row_that_is_kept_is_cleaned() -> None:
    rows = [Row({"text": "first row"}, "f:1"), Row({"text": "<b>mail</b> ann@example.org", "label": "x"}, "f:2")]
    kept, _ = clean(rows, "text", Rules(mask=True))
    assert [row.values["text"] for row in kept] == ["first row", "mail <email>"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "Put the <script> tag at the end of the body. Then reload the page.",
            "Put the <script> tag at the end of the body. Then reload the page.",
        ),
        ("see <style> element for more", "see <style> element for more"),
        ("a<script>alert(1)</script>b", "ab"),
        ("<table><tr><td>Lamp</td><td>20 EUR</td></tr><tr><td>Bed</td><td>9</td></tr></table>", "Lamp 20 EUR\nBed 9"),
        ("Delivery costs 5 EUR.<p>Returns are free.</p>", "Delivery costs 5 EUR.\n\nReturns are free."),
        ("Hours:<ul><li>Mon 9-5</li><li>Tue</li></ul>Call us", "Hours:\n\nMon 9-5\nTue\n\nCall us"),
        ("<h5>Opening</h5>We open at nine", "Opening\n\nWe open at nine"),
        ("<dt>Q</dt><dd>A</dd>", "Q\nA"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("if a <b and c> d then", "if a <b and c> d then"),
        ("List<Object> items", "List<Object> items"),
        ("Dear <title> <name>, meet at <time>", "Dear <title> <name>, meet at <time>"),
        ("at <time datetime='9'>nine</time>, <b>sharp", "at nine, sharp"),
    ],
)
def test_what_a_browser_parts_is_parted_and_what_is_said_of_tags_stays(text: str, wanted: str) -> None:
    assert even(without_html(text)) == wanted


def test_rows_of_other_labels_are_no_near_duplicates() -> None:
    said = "I would definitely {}recommend this hotel to friends and family who come to town for the first time."
    rows = [*labelled(said.format(""), label="1"), *labelled(said.format("not "), label="0")]
    kept, report = clean(rows, "labelled", Rules())
    assert len(kept) == 2
    kept, report = clean([*rows, *labelled(said.format("")[:-6] + "last time.", label="1")], "labelled", Rules())
    assert len(kept) == 2
    assert report.dropped == {"near duplicate": 1}


def test_answers_of_one_question_in_several_rows_are_joined() -> None:
    rows = [reading("Ann and Bob founded it.", answer, start) for answer, start in (("Ann", 0), ("Bob", 8), ("Ann", 0))]
    kept, report = clean(rows, "reading", Rules())
    assert [row.values["answers"] for row in kept] == [[{"text": "Ann", "start": 0}, {"text": "Bob", "start": 8}]]
    assert report.dropped == {"duplicate, its answers joined to those of the first": 1, "duplicate": 1}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("我的邮箱是abc@qq.com请尽快联系我", "我的邮箱是<email>请尽快联系我"),
        ("请看https://x.com/a这个链接", "请看<url>这个链接"),
        ("订单2024-01-15下的", "订单2024-01-15下的"),
        ("On 2024-01-15 we had 2019 2020 2021", "On 2024-01-15 we had 2019 2020 2021"),
        ("Call 0113 496 0112", "Call <phone>"),
    ],
)
def test_masks_take_no_more_than_they_are_for(text: str, masked: str) -> None:
    assert without_personal(text) == masked


def test_what_is_mended_is_counted_by_rows_and_small_faults_cost_none() -> None:
    dialogue = Row(
        {"turns": ["<b>a</b>", "<i>b</i>", "<b>c</b>"], "lang": "en-US", "group": 3, "time": " 2024-01-31"}, "f:1"
    )
    kept, report = clean([dialogue], "dialogue", Rules())
    assert dict(kept[0].values) == {"turns": ["a", "b", "c"], "lang": "en", "group": "3", "time": "2024-01-31"}
    assert (report.read, report.mended["HTML removed"]) == (1, 1)
