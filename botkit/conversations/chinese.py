"""Follow-up questions in Chinese: pronouns, “X 呢？”, and questions whose subject is left out.

Chinese leaves out what is understood (zero anaphora), so a short question without a subject of its own is
taken to speak of the last one's, and is also searched as it stands.
"""

from __future__ import annotations

import re
from typing import Final

from botkit.conversations.readings import Readings

_HAN: Final = r"㐀-鿿"
_NEW_TOPIC: Final = re.compile(
    r"^\W*(?:换个话题|换个问题|另外问一下|再问一个|问个别的|说点别的|顺便问一下|另一个问题)[\s，,：:。]*"
)
_LEAD: Final = re.compile(
    r"^(?:请问|那么|那(?![里儿边个种些位本部幅张台款座]|家(?!(?:具|里|里人|人|人们|庭|长|电)(?:[呢的，,？?。！]|$)))|而|还有|然后|好的?|嗯|哦|另外|再问一下)[，,\s]*"
)
_MEASURES: Final = "个种些位家本部幅张台款座条件次项所场门只辆套间首篇类份层支双块把颗届"
_ASIDE: Final = re.compile(
    r"^(?:谢谢|多谢|感谢|好的|好吧|好|行|嗯|哦|是的|对|不对|你好|您好|嗨|再见|拜拜|早上好|晚上好|[你您]们|[你您](?:是|叫|会|能|好|在|喜欢|多大)|我)"
)
"""Words to the bot itself, or about oneself: no question that leaves out its subject."""
_PRONOUN: Final = re.compile(r"(?<![吉其利])(?:它们|他们|她们|它|他(?!人|乡|国)|她)")
_THING: Final = re.compile(
    rf"(?<![你您我])(?<!们)[这那](?:[{_MEASURES}](?!月|周|星期|礼拜|季度|学期|时候)([{_HAN}A-Za-z]{{1,6}}?)?(?=[的是在有能会要可需由和与最怎多什哪几吗呢，？?！。\s]|$)|[里儿边](?![面缘童子]))"
)
_QUESTION_WORDS: Final = re.compile(
    r"是(?=什么时候|哪|谁|由谁|怎|几|在哪)|在?哪个?(?:省|市|国家?|城市|地方)|几号|有?几[天个次年位种家]|什么时候|什么地方|什么样|是什么|什么是|为什么|为何|是多少|多少钱|多少|多久|多长时间|多长|多高|多大|多远|多重|多快|几点|几|"
    r"是谁|由谁|谁|在哪里|在哪儿|哪里|哪儿|哪些|哪个|哪一年|哪年|哪家|哪种|哪|怎么样|怎么办|怎样|怎么|如何|有没有|是不是|能不能|可不可以|什么|吗|呢|啊|"
    r"请问|可以|能够|应该|需要|[？?！!。，,]"
)
_ASKED_FOR: Final = re.compile(
    r"在?(?:什么地方|哪里|哪儿)|什么时候|何时|为什么|由?谁|哪一?年|多少钱|多久|多少|几[点号天年]|怎么样?"
)
_SMALL: Final = re.compile(
    r"[的了是在有会要能得也都还就被把从到和与或吧呀过着给用让由一个次年月日天里上下中后前时候最别其她他它们这那我你您我们你们\s\d]"
)
_STARTERS: Final = re.compile(
    r"^(?:是|可以|可不可以|能(?![源量])|会(?![员议])|要(?!求)|得|需要|应该|怎么|怎样|如何|为什么|为何|多少|多久|多长|多大|多高|多重|几|什么时候|什么|何时|哪|谁|由|在(?!线)|有(?!限)|还|期间|当时|"
    r"如果|要是|万一|没|不|之后|后来|以后|之前|最|第[一二三四五]|每|其中|一共|到(?![账期])|付(?!款)|退(?![款货票税换])|住(?![宿房])|保(?![修险质])|[一二两三四五六七八九十百千]+[个张件次])"
)
_NAME: Final = re.compile(
    rf"[{_HAN}]{{1,6}}(?:·[{_HAN}]{{1,8}})+|《[^》]+》|“[^”]+”|[A-Za-z][\w.&-]*(?:\s[A-Z][\w.&-]*)*"
)
_PERSON: Final = re.compile(
    rf"(?:是|由|叫|为)((?:(?!的)[{_HAN}]){{2,6}}?)(?:教授|博士|先生|女士|老师|经理|在|于|创|发|写|画|设|，|。|；|$)"
)
_OF_A_PERSON: Final = re.compile(
    r"(.{2,})的[^的]{0,4}(?:(?<!机器)人|者|[店雇]主|主[席任编]|[校院店馆会部局市队团船社处科班]长|董事长|[教工厨律医设计]师|[作画专]家|老板|经理|导演|总统|[父母]亲|员)$"
)
"""“海港面包店的店主”: “它” after it is the shop."""
_STOP_BEFORE: Final = "由是在的和与被把了从到对为于及或一部座家，。；、：“《 "


def is_question(text: str) -> bool:
    """Whether a message can be what the next one refers to."""
    if _ASIDE.match(text) and len(text) <= 8 and not re.search(r"[？?吗呢谁哪几什怎多]", text):
        return False
    return len(content(text)) > 0 or bool(re.search(r"[A-Za-z]{2}", text))


def content(text: str) -> str:
    """The characters that say what a question is about."""
    return _SMALL.sub("", _QUESTION_WORDS.sub("", _LEAD.sub("", text)))


def says_enough(question: str) -> bool:
    """Whether a question can be searched for although what it points at was never mentioned.

    “它多少钱？” could be about anything, and “他是哪个大学毕业的？” about anybody; “它叫我吃某种药，可信吗？” is about one thing.
    """
    return len(content(question)) >= 6 and re.search("[他她]", question) is None


def topic_of(question: str) -> str:
    """A full question without its question words."""
    topic = re.sub(r"(?:的|是|有)$|^(?:是|有)", "", _QUESTION_WORDS.sub("", _LEAD.sub("", question)).strip())
    return re.sub(r"是$", "", topic)


def subject_of(question: str) -> str:
    """What stands before the verb or the question word: the subject."""
    body = _LEAD.sub("", question)
    end = re.search(
        r"是|有|在哪|怎么|怎样|如何|为什么|什么时候|多少|多久|多长|多高|多大|几|支持|包括|包含|能|可以|(?<![年社大])会|(?<![试使费信作引应])用|吃|一共|(?:平时|周末|每年|每天)|谁|吗|呢|[？?]",
        body,
    )
    subject = re.sub(r"的$", "", body[: end.start()] if end else body)
    return subject if content(subject) else topic_of(question)


def rewrite(question: str, asked: str, answer: str) -> Readings:
    """Readings of `question` after the (full) question `asked` and the reply `answer`; words taken; whether it points back."""
    if fresh := _NEW_TOPIC.match(question):
        return Readings([question[fresh.end() :] or question], [], False)
    body = _LEAD.sub("", question)
    own = content(question)
    pronoun, thing = _PRONOUN.search(body), _THING.search(body)
    if pronoun and len(content(body[: pronoun.start()])) >= 3:
        pronoun = None
    if thing and len(content(body[: thing.start()])) >= 3:
        thing = None
    instead = (
        re.match(r"^(.{1,14}?)呢[？?。！\s]*$", body)
        if not re.search(r"[谁哪几]|什么|怎|多[少久长]", body[:-2])
        else None
    )
    starts = _STARTERS.match(body) is not None
    latin = re.search(r"[A-Za-z]{2}|《", body)
    short = (len(own) <= 5 if starts else len(own) <= 3) and len(body) <= 16 and not latin
    if not asked:
        return Readings(
            [question],
            [],
            bool(pronoun and pronoun.start() == 0) or (starts and not own) or (bool(instead) and not own),
        )
    if pronoun or thing:
        return _replaced(body, pronoun, thing, asked, answer)
    if instead:
        return _instead(instead[1], asked)
    if short and not _ASIDE.match(body):
        topic, subject = topic_of(asked), subject_of(asked)
        if not own and (again := _asked_again(body, asked)):
            return Readings([again, f"{topic}{body}", question], [topic], True)
        joined = f"{topic}{body}" if not _overlap(topic, body) else f"{topic} {body}"
        readings = [joined, f"{subject}{body}"]
        return Readings([*(readings if starts else reversed(readings)), question], [topic], True)
    return Readings([question], [], False)


def _replaced(
    body: str, pronoun: re.Match[str] | None, thing: re.Match[str] | None, asked: str, answer: str
) -> Readings:
    topic, subject = topic_of(asked), subject_of(asked)
    if thing and not (pronoun and pronoun.start() < thing.start()):
        noun = thing[1] or ""
        whole = _longest_ending_in(noun, f"{answer} {asked}") if noun else ""
        if whole and whole != noun:
            return Readings([body[: thing.start()] + whole + body[thing.end() :], f"{topic} {body}"], [whole], True)
        named = (_NAME.findall(asked) or [subject or topic])[0]
        if not noun and "的" in named:  # “那里” after 淮河流域的面积
            named = named.rpartition("的")[0]
        pointed = body[: thing.start()] + named + (f"这{thing[0][1:]}" if noun else "") + body[thing.end() :]
        return Readings([pointed, f"{topic} {body}", *([body] if noun else [])], [named], True)
    assert pronoun is not None
    if pronoun[0] in ("他", "她"):
        stands_for = person_in(answer) or subject
    else:
        names = [name for name in _NAME.findall(subject or topic) if name]
        stands_for = names[0] if len(names) == 1 else subject or topic
        if len(names) != 1 and (owner := _OF_A_PERSON.match(stands_for)):
            stands_for = owner[1]
        if pronoun[0] == "它们" and topic:
            stands_for = topic
    if not stands_for:
        return Readings([f"{topic} {body}"], [topic], True)
    query = body[: pronoun.start()] + stands_for + body[pronoun.end() :]
    readings = [query]
    whose = stands_for.rpartition("的")[0]
    if pronoun[0] not in ("他", "她") and len(whose) >= 2:  # “它” after 黄河的总长 may be the river
        readings.append(body[: pronoun.start()] + whose + body[pronoun.end() :])
    if topic and topic not in query:
        readings.append(f"{topic} {body}")
    return Readings(readings, [stands_for], True)


def _asked_again(body: str, asked: str) -> str:
    """“什么时候？”: the earlier question with another question word; empty where it had none."""
    word = body.rstrip("？?。！ ")
    match = _ASKED_FOR.search(asked)
    if match is None:
        return ""
    before = asked[: match.start()]
    return f"{before}{re.sub('^(?:是|在)', '', word) if before.endswith(('是', '在')) else word}{asked[match.end() :]}"


def _instead(other: str, asked: str) -> Readings:
    """“黄河呢？”: the earlier question, asked of something else; or about one more thing of the same subject."""
    body = asked.strip().rstrip("？?。！ ")
    subject, topic = subject_of(asked), topic_of(asked)
    added = f"{subject}{other}{body[len(subject) :]}？" if body.startswith(subject) else f"{other} {body}？"
    readings = [added]
    place = re.search(
        rf"(?:寄到|寄往|送到|到|去(?!年)|从|在)(?!哪|什么)((?:(?!到)[{_HAN}]){{2,5}}?)(?=[的要有需是几多到]|$)", body
    )
    if place:
        readings.append(f"{body[: place.start(1)]}{other}{body[place.end(1) :]}？")
    owner, of, owned = subject.rpartition("的")
    if body.startswith(subject) and of:  # 长江呢 after 黄河的发源地, or 利润呢 after 腾讯的营收
        readings += [f"{other}的{owned}{body[len(subject) :]}？", f"{owner}的{other}{body[len(subject) :]}？"]
    elif body.startswith(subject) and subject:
        readings.append(f"{other}{body[len(subject) :]}？")
    readings.append(f"{topic}的{other}")
    return Readings(readings, [topic], True, contrast=other)


def person_in(answer: str) -> str:
    """A person's name in a reply, or the reply's subject; empty where there is none."""
    dotted = re.search(rf"[{_HAN}]{{1,6}}(?:·[{_HAN}]{{1,8}}?)+(?=[在于和、，。；的是创发写画设]|$)", answer)
    if dotted:
        return re.sub(r"^(?:是|由|叫|为)|.*(?:是|由)(?=[^是由]*·)", "", dotted[0])
    if found := _PERSON.search(answer):
        return found[1]
    start = re.match(rf"([{_HAN}]{{2,4}}?)(?:是|在|于|出生|写|画|创)", answer)
    return start[1] if start else ""


def _longest_ending_in(noun: str, text: str) -> str:
    """The longest run of characters that ends in `noun` and holds no function word: 基金会 in 由维基媒体基金会运营."""
    best = ""
    for match in re.finditer(re.escape(noun), text):
        start = match.start()
        while start > 0 and re.match(rf"[{_HAN}A-Za-z]", text[start - 1]) and text[start - 1] not in _STOP_BEFORE:
            start -= 1
        best = max(best, text[start : match.end()], key=len)
    return best


def _overlap(topic: str, body: str) -> bool:
    """Whether the question repeats the topic's end, so that the two do not simply join."""
    return bool(topic) and topic[-2:] in body
