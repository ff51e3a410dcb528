"""Follow-up questions in English: pronouns, "the same noun again", and questions with parts left out.

After Carbonell (1983) on ellipsis and Hobbs (1978) on pronouns, in a form small enough to read.
"""

from __future__ import annotations

import re
from typing import Final

from botkit.conversations.readings import Readings
from botkit.text import terms

_AUXILIARIES: Final = frozenset(
    "do does did is are was were am be can could will would shall should may might must has have had isn't aren't don't "
    "doesn't didn't can't won't".split()
)
_WH: Final = frozenset("who whom whose what which when where why how".split())
_SMALL: Final = frozenset(
    "a an the of in on at to for from by with about as and or but so then also if i you we me my your our us he she it "
    "they him her them his its their this that these those there one ones please not no s t much many long far old often "
    "big large high tall heavy else more other another else's what's who's where's when's how's that's there's kind sort type".split()
)
_POLITE: Final = frozenset(
    "ok okay thanks thank yes yeah sure great good nice cool hello hi hey bye alright fine perfect".split()
)
_HE: Final = frozenset("he him his she her hers himself herself".split())
_FRAME: Final = terms(
    "much many long far high old big large cost price month day hour week year time date open close start end take come "
    "need use used work make happen mean kind sort thing number amount first last new monday tuesday wednesday thursday "
    "friday saturday sunday",
    "en",
)
"""What questions about anything at all are made of."""
_IT: Final = frozenset("it its itself they them their theirs themselves this these those that".split())
_MANY: Final = frozenset("they them their theirs these those".split())
_POSSESSIVE: Final = frozenset("his her its their hers theirs".split())
_PREPOSITIONS: Final = frozenset(
    "in on at to for from by with about of after before during without under via as into within until between".split()
)
_JOINED: Final = re.compile(r"(?i)^\s*(?:and|but|or|so|also|then|ok(?:ay)?|now)\b[\s,:]*")
_ABOUT: Final = re.compile(r"(?i)^\s*(?:(?:and|but|so|ok(?:ay)?|then)\b[\s,]*)?(?:what|how)\s+about\s+(.+?)[\s?.!]*$")
_NEW_TOPIC: Final = re.compile(
    r"(?i)^\W*(?:and |but |now )*(?:something (?:else|different)|another (?:question|thing|topic)|(?:a )?different "
    r"(?:question|topic)|(?:to )?chang(?:e|ing) (?:the )?(?:subject|topic)|by the way|unrelated)\b[\s:,.–-]*(?:but |and )?"
)
_EXPLETIVE: Final = re.compile(
    r"(?ix) \b(?:is|was|would|will|isn't|wasn't)\s+it\s+(?:be\s+)?(?:\w+ly\s+)?(?:possible|necessary|allowed|safe|legal|ok|okay|"
    r"worth|true|better|best|important|hard|easy|difficult|free|required|enough|common|normal|too\s+late|mandatory|bad|good)\b"
    r" | \b(?:does|did|will|would)\s+it\s+(?:usually\s+)?(?:take|cost|mean|matter|help|hurt)\b(?=\s+(?:\w+\s+){0,3}?(?:to|if|when|for\s+\w+\s+to)\b)"
    r" | \bwhat\s+is\s+it\s+(?:that|like)\b | \bit\s+(?:is|was|seems|appears)\s+(?:\w+\s+)?(?:to|that)\b"
    r" | \b(?:what|which)\s+(?:time|day|date|year)\s+is\s+it\b | \bis\s+it\s+(?:raining|snowing)\b | \bmake\s+it\b"
)
_LEFT_OUT: Final = re.compile(
    r"(?i)\b(?:afterwards|beforehand|after that|before that|what else|who else|where else|anything else|any other|"
    r"the (?:other|same|first|second|third|last|next|former|latter)(?: ones?)?(?=\s*[?.!]|$)|instead(?=\s*[?.!]|$)|"
    r"in that case|tell me more|more (?:about|details|information)|go on|why not|how come|how so)\b"
)
_NAME: Final = re.compile(
    r"\b(?:(?:Dr|Mr|Mrs|Ms|Prof|St)\.?\s+)?[A-Z0-9][\w&'’.-]*(?:\s+(?:(?:of|the|de|van|von|der|da|la|al)\s+)*[A-Z0-9&][\w&'’.-]*)*"
)
_WORD: Final = re.compile(r"[\w'’&.@/+-]*\w|--\w[\w-]*")
_STRANDED: Final = re.compile(r"(?i)\b(?:for|in|with|to|about|of|from|on|at)\s*\?*\s*$")
_NAMED_SUBJECT: Final = re.compile(
    r"^\W*(?i:what|where|when|why|how)\b[^?]*?\b(?i:do|does|did)\s+(?!I\b)"
    r"(the\s+[A-Z][\w-]*\s+[a-z]+(?=\s+[a-z]+\s+(?:on|in|at|from|with|for)\b)"
    r"|(?:the\s+)?[A-Z][\w-]*(?:\s+(?:of\s+)?(?:the\s+)?[A-Z0-9][\w-]*)*)\s+[a-z]"
)
""" "What does Palantir sell?", "Where does the Volga rise?": what the verb says something about."""
_WHICH_ONE: Final = re.compile(r"(?i)^\W*(?:which|what)\s+[\w-]+\s+(?!has\b|was\b|does\b|is\b)[a-z]+(?:s|ed)\s")
""" "Which river flows through Cologne?": the reply names it."""
_PARTS_OF: Final = re.compile(r"(?i)^(?:the\s+)?(?:[\w-]+\s+)?[\w-]*[^\Ws]s\s+of\s+(.+)")
""" "the side effects of ibuprofen": many, so that "it" is the ibuprofen."""
_BY_WHOM: Final = re.compile(r"(?i)^\W*who\s+(?:first\s+)?(\w+)\s+(.+?)[\s?.!]*$")
_PARTICIPLES: Final = dict(
    pair.split(":")
    for pair in "wrote:written built:built made:made won:won led:led ran:run began:begun drew:drawn sang:sung sold:sold "
    "held:held took:taken gave:given bought:bought found:found taught:taught sent:sent paid:paid chose:chosen writes:written makes:made leads:led runs:run gives:given takes:taken pays:paid".split()
)
_PLACE: Final = re.compile(
    r"(?i)(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bbe )\b(?:over |from |in )?there(?=\s*(?:[?.!,]|$))"
)
""" "How many people work there?", and no "Is there …?"."""
_OWN_COMPLEMENT: Final = re.compile(r"(?i)\s+(?:of|on|for|in|with|from|to|that|who|which|between|--?\w)")
""" "the capital of Australia" says itself which one."""
_PREDICATE: Final = re.compile(
    r"(?i)\s*(?:[?.!,]|$)|\s+(?:\w+ed|\w+ing|done|made|held|built|kept|sold|paid|open|close|work|cost|last|take)\b"
    rf"|\s+(?:{'|'.join(sorted(_AUXILIARIES))})\b"
)
""" What may follow "the painting" and not "the returns" of "the returns desk"."""
_LAST_PARTICIPLE: Final = re.compile(
    r"(?i)\s+(?:\w+ed|done|made|held|built|kept|sold|paid|valid|open|available|allowed|due|free|set|expire)$"
)
_SHORT_FORM: Final = re.compile(
    r"(?i)\b(what|who|where|when|how)['’]s\b(?=\s+(?:it|its|his|her|their|he|she|that|this)\b)"
)
_TELL_ME: Final = re.compile(
    r"(?i)^\W*(?:please\s+)?(?:(?:can|could|would|will)\s+you\s+)?(?:please\s+)?(?:tell\s+(?:me|us)|talk|explain)\s+(?:me\s+)?"
    r"(?:(?:more|something|a\s+(?:bit|little))\s+)?(?:about\s+|(?=who\b|what\b|when\b|where\b|why\b|how\b))"
)
""" "Tell me about the bakery": a question for all but its form."""
_LONG_TOPIC: Final = 6
_SENTENCE_STARTERS: Final = (
    _WH | _AUXILIARIES | _SMALL | frozenset("yes no there here all some every most many".split())
)


def is_question(text: str) -> bool:
    """Whether a message can be what the next one refers to."""
    return any(word.lower() not in _SMALL | _POLITE for word in _WORD.findall(text))


def says_enough(question: str) -> bool:
    """Whether a question can be searched for although what it points at was never mentioned.

    "How much does it cost a month?" could be about anything, and "Where did she study?" about anybody; "Which comic files does
    it take?" is about one thing.
    """
    words = {word.lower() for word in _WORD.findall(question)}
    return len(terms(question, "en") - _FRAME) >= 3 and not words & _HE


def rewrite(question: str, asked: str, answer: str) -> Readings:
    """Readings of `question` after the (full) question `asked` and the reply `answer`; words taken; whether it points back."""
    if fresh := _NEW_TOPIC.match(question):
        return Readings([question[fresh.end() :] or question], [], False)
    question = _SHORT_FORM.sub(r"\1 is", question) if asked else question
    said = [word.lower() for word in _WORD.findall(question)]
    if not any(word in _WH or word not in _SMALL or word in _HE or word in _IT for word in said[:40]) or said in (
        ["ok"],
        ["okay"],
    ):
        return Readings([question], [], False)
    about = _ABOUT.match(question)
    pronouns = references(question)
    bare = [word for word in said if word not in _SMALL and word not in _AUXILIARIES]
    new = [word for word in bare if word not in _WH]
    joined = _JOINED.match(question) is not None
    core = [word.lower() for word in _WORD.findall(_JOINED.sub("", question))]
    has_verb = any(word in _AUXILIARIES for word in core) or (len(core) > 2 and core[0] in ("who", "what"))
    fragment = not has_verb and (joined or (bool(said) and said[0] in _WH | _PREPOSITIONS and len(said) <= 4))
    if len(new) > 2 and not joined:  # "Which countries border Switzerland?"
        fragment = False
    # "And if it rains?", and no "And when does it open?"
    conditional = joined and len(said) > 3 and said[1] in ("if", "when") and said[2] not in _AUXILIARIES
    place = _PLACE.search(question) if said[0] != "there" else None
    points = (
        bool(pronouns)
        or place is not None
        or about is not None
        or fragment
        or conditional
        or bool(_LEFT_OUT.search(question))
    )
    points = points or (len(new) <= 2 and _STRANDED.search(question) is not None)
    weak = not pronouns and not fragment and about is None and len(new) > 1
    if not asked:
        surely = [word for word in pronouns if word in _HE or word in ("it", "its")] or not new
        return Readings([question], [], points and bool(surely))
    if conditional and not about:
        condition = _JOINED.sub("", question).strip()
        whole = f"{asked.rstrip('?.! ')} {condition}"
        return Readings([whole, f"{condition[:1].upper()}{condition[1:]}"], [asked], True, contrast=condition)
    if about or (fragment and new and not _asks(said, joined)):
        return _instead(about[1] if about else _JOINED.sub("", question).strip(" ?.!"), asked)
    if fragment:
        return _ask_again(question, asked)
    if pronouns:
        return _replaced(re.sub(r"\s+(?=[?.!])", "", _PLACE.sub("", question)), pronouns, asked, answer)
    if place and (where := thing_of(asked, answer)):
        return Readings([f"{question[: place.start()]}at {where}{question[place.end() :]}"], [where], True)
    if points:
        topic = topic_of(asked, with_verb=True)
        return Readings([_with(question, topic), *([question] if weak else [])], [topic], True)
    return _same_noun(question, new, asked, answer)


def references(question: str) -> list[str]:
    """The pronouns that point outside the question, in lower case."""
    if _EXPLETIVE.search(question):
        return []
    words = _WORD.findall(question)
    lowered = [word.lower() for word in words]
    start = next((i for i, word in enumerate(lowered) if word in _AUXILIARIES), -1) + 1
    found: list[str] = []
    for i, word in enumerate(lowered):
        if word not in _HE and word not in _IT:
            continue
        following = lowered[i + 1] if i + 1 < len(lowered) else ""
        before = lowered[i - 1] if i else ""
        if word in ("this", "that", "these", "those"):
            alone = not following or following in _AUXILIARIES or following in _PREPOSITIONS or before in _AUXILIARIES
            relative = word == "that" and following and before not in _AUXILIARIES | _PREPOSITIONS
            if not alone or relative:
                continue
        inside = [
            w
            for w in lowered[start:i]
            if w not in _SMALL and w not in _AUXILIARIES and w not in _WH and not w.isdigit()
        ]
        names = [w for w in words[:i] if w[:1].isupper() and w.lower() not in _SENTENCE_STARTERS]
        subordinate = any(
            w in ("when", "that", "which", "who", "because", "before", "after", "while", "if") for w in lowered[1:i]
        )
        # "I burned the candle once, can I give it back?"
        clause = "".join(re.split(r"([,.;!?])\s", question[: question.lower().find(f" {word}")])[:-1])
        if len([w for w in _WORD.findall(clause.lower()) if w not in _SMALL]) > 1 and not found:
            continue
        if inside and (subordinate or names or word in _POSSESSIVE) and not found:
            continue
        found.append(word)
    return found


def topic_of(question: str, *, with_verb: bool = False) -> str:
    """What a full question is about: its words without the question word, the auxiliary and the verb after "I"."""
    body = _TELL_ME.sub("", question.strip()).rstrip("?.! ")
    words = body.split()
    lowered = [re.sub(r"\W", "", word.lower()) for word in words]
    start = 0
    if lowered and lowered[0] in _PREPOSITIONS and len(lowered) > 1 and lowered[1] in _WH:
        start = 1
    if lowered[start : start + 1] and lowered[start] in _WH:
        auxiliary = next((i for i, word in enumerate(lowered[start + 1 :], start + 1) if word in _AUXILIARIES), None)
        if auxiliary is None:  # "Who wrote Frankenstein?", "Which planets have rings?"
            start += 2 if lowered[start] in ("who", "what") else 1
        else:
            asked_for = [w for w in words[start + 1 : auxiliary] if w.lower() not in _SMALL]
            rest = _framed(words[auxiliary + 1 :], lowered[auxiliary + 1 :], with_verb)
            return f"{' '.join(asked_for)} of {rest}" if asked_for and lowered[start] == "what" and rest else rest
    elif lowered[start : start + 1] and lowered[start] in _AUXILIARIES:
        return _framed(words[start + 1 :], lowered[start + 1 :], with_verb)
    return _trimmed(words[start:])


def _framed(words: list[str], lowered: list[str], with_verb: bool) -> str:
    """A clause without its subject "I", its existential "there" and the verb that frames it."""
    if lowered[:1] and lowered[0] in ("i", "we", "you", "there", "it"):
        dropped = 2 if lowered[0] in ("i", "we", "you") and len(lowered) > 2 and not with_verb else 1
        words, lowered = words[dropped:], lowered[dropped:]
    for verb in ("have", "has", "offer", "sell", "include", "contain"):
        if verb in lowered[1:-1]:
            at = lowered.index(verb)
            return f"{_trimmed(words[at + 1 :])} of {_trimmed(words[:at])}"
    if lowered[-2:] == ["take", "place"]:
        return _trimmed(words[:-2])
    if lowered and lowered[-1] in (
        "begin",
        "start",
        "happen",
        "cost",
        "use",
        "mean",
        "work",
        "have",
        "do",
        "last",
        "called",
        "include",
        "cover",
        "located",
    ):
        words = words[:-1]
    return _trimmed(words)


def _trimmed(words: list[str]) -> str:
    while words and words[0].lower() in ("a", "an", "any", "some", "your", "our", "my"):
        words = words[1:]
    return " ".join(words)


def names_in(text: str) -> list[str]:
    """Names, in order: capitalised words that belong together, a first word only where it is no common one."""
    found = []
    for match in _NAME.finditer(text):
        name = match[0].strip(".'’ ")
        words = name.split()
        starts = match.start() == 0 or text[: match.start()].rstrip().endswith((".", "!", "?"))
        while words and starts and words[0].lower() in _SENTENCE_STARTERS:
            words = words[1:]
        if words and words != ["I"] and not all(word.isdigit() for word in words):
            found.append(" ".join(words))
    return found


def _replaced(question: str, pronouns: list[str], asked: str, answer: str) -> Readings:
    """The pronouns replaced by what they stand for."""
    taken: list[str] = []
    query = question
    for pronoun in dict.fromkeys(pronouns):
        if pronoun in _HE:
            names = [name for name in names_in(answer) if " " in name] or names_in(answer) or names_in(asked)
            # the answer to "who" is a person; what the question named is a thing
            names = [name for name in names if name not in names_in(asked)] or names
            stands_for = names[0] if names else topic_of(asked)
        else:
            stands_for = (_counted(asked) if pronoun in _MANY else "") or thing_of(asked, answer)
            if pronoun not in _MANY and (parts := _PARTS_OF.match(stands_for)):
                stands_for = parts[1]
        if not stands_for:
            continue
        if re.search(rf"(?i)\b(?:an?|any|your|our|my)\s+{re.escape(stands_for.split()[0])}\b", asked):
            stands_for = f"the {stands_for}"
        text = f"{stands_for}'s" if pronoun in _POSSESSIVE and not _object(question, pronoun) else stands_for
        query = re.sub(rf"(?i)\b{re.escape(pronoun)}\b", text.replace("\\", r"\\"), query, count=1)
        taken.append(stands_for)
    query = _JOINED.sub("", query) if query != question else query
    topic = topic_of(asked)
    readings = [query[:1].upper() + query[1:]]
    if topic and terms(topic, "en") - terms(query, "en"):
        readings.append(_with(query, topic))
    return Readings(readings, taken, True)


def _counted(asked: str) -> str:
    """The plural noun that a question asks for: "vacation days" in "How many vacation days do employees get?"."""
    found = re.match(r"(?i)(?:how many|which|what)\s+((?:[\w-]+\s){0,2}?[\w-]+s)\s+(\w+)", asked)
    return found[1] if found and found[2].lower() in _AUXILIARIES - {"have", "has", "had"} else ""


def _object(question: str, pronoun: str) -> bool:
    """Whether "her" is an object ("by her?") and no possessive."""
    return pronoun == "her" and re.search(r"(?i)\bher\b\s*(?:[?.!,]|$)", question) is not None


def thing_of(asked: str, answer: str) -> str:
    """What "it" or "they" stands for: the one name in the question, else what the question is about."""
    names = names_in(asked)
    topic = re.split(r"\s(?:on|in|at|when|if|while|during|with)\s", topic_of(asked))[0]
    if len(topic.split()) > 1:
        topic = _LAST_PARTICIPLE.sub("", topic)
    if len(names) == 1 and (not topic or len(topic.split()) > _LONG_TOPIC):
        return names[0]
    if subject := _NAMED_SUBJECT.search(asked):
        return subject[1]
    if _WHICH_ONE.match(asked) and (found := [name for name in names_in(answer) if name not in names]):
        return found[0]
    return topic or (names or names_in(answer) or [""])[0]


def _asks(said: list[str], joined: bool) -> bool:
    """Whether a fragment asks by itself ("Which hotel?", "By whom?")."""
    words = said[1:] if joined else said
    return any(word in _WH for word in words[:2])


def _ask_again(question: str, asked: str) -> Readings:
    """ "And when?": the earlier question with another question word."""
    word = _JOINED.sub("", question).strip(" ?.!")
    body = asked.strip().rstrip("?.! ").split()
    first = [re.sub(r"\W", "", part.lower()) for part in body]
    if (
        (by := _BY_WHOM.match(asked))
        and (participle := _participle(by[1]))
        and word.lower().split()[0] in _WH - {"who"}
    ):
        several, now = re.search(r"[^s]s$", by[2]) is not None and by[2].islower(), by[1].endswith("s")
        verb = ("are" if now else "were") if several else ("is" if now else "was")
        return Readings([f"{word[:1].upper()}{word[1:]} {verb} {by[2]} {participle}?"], [by[2]], True)
    start = 0
    if first and (first[0] in _WH or (first[0] in _PREPOSITIONS and len(first) > 1 and first[1] in _WH)):
        auxiliary = next((i for i, part in enumerate(first) if part in _AUXILIARIES), None)
        start = auxiliary if auxiliary is not None else (1 if first[0] in _WH else 2)
    rest = body[start:]
    if rest and rest[0].lower() in _AUXILIARIES:
        rest[0] = rest[0].lower()
    query = f"{word[:1].upper()}{word[1:]} {' '.join(rest)}?"
    return Readings([query, _with(query, topic_of(asked))][:1], [" ".join(rest)], True)


def _participle(verb: str) -> str:
    """Of a verb in the past or in the third person ("approves"); empty for any other word."""
    lowered = verb.lower()
    regular = f"{lowered[:-1]}d" if re.fullmatch(r"\w+[^hosx]es", lowered) else lowered
    return _PARTICIPLES.get(lowered, regular if regular.endswith("ed") else "")


def _instead(other: str, asked: str) -> Readings:
    """ "What about X?": the earlier question, asked of X."""
    body = asked.strip().rstrip("?.! ")
    words = other.split()
    if words[0].lower() in _POSSESSIVE and len(words) > 1 and (owner := (names_in(asked) or [thing_of(asked, "")])[-1]):
        return Readings([f"What is {owner}'s {' '.join(words[1:])}?", f"{other}: {body}?"], [owner], True)
    if words[0].lower() in _PREPOSITIONS:
        other = other[:1].lower() + other[1:]
    readings: list[str] = []
    bare = re.sub(r"(?i)^(?:the|a|an|your|our)\s+", "", other)
    replaced = False  # else one more reading, which still names what `other` may stand for, and would find the old answer again
    if adjective := re.match(r"(?i)(?:the\s+)?(\w[\w-]*)\s+ones?$", other):
        if noun := re.search(r"(?i)\b(the|a|an|your|our)\s+(\w+)\s+(\w+)", body):
            readings.append(f"{body[: noun.start(2)]}{adjective[1]}{body[noun.end(2) :]}?")
    elif words[0].lower() in _PREPOSITIONS:
        same = _phrase_with(words[0], body)
        time_ = re.search(r"(?i)\b(?:on|at|in|during)\s+(?:the\s+)?[\w-]+$", body)
        place = same or (time_ if words[0].lower() in ("on", "at", "in", "during") else None)
        readings.append(f"{body[: place.start()]}{other}{body[place.end() :]}?" if place else f"{body} {other}?")
        replaced = same is not None
    elif same := _same_kind(bare, body):
        readings.append(f"{body[: same.start()]}{bare}{body[same.end() :]}?")
        replaced = True
    else:
        names = names_in(body)
        if bare[:1].isupper() and names:
            for name in reversed(names):
                at = body.rindex(name)
                readings.append(f"{body[:at]}{bare}{body[at + len(name) :]}?")
            replaced = True
        elif bare[:1].isupper() and (place := re.search(r"(?i)\b(?:to|in|from|for|at)\s+([\w-]+)$", body)):
            readings.append(f"{body[: place.start(1)]}{bare}?")
        else:
            readings.append(f"{body} for {bare}?")
            if noun := re.search(
                r"(?i)\b(?:the|a|an|your|our|my)\s+((?:\w+\s)??\w+?)(?=\s+(?:have|has|cost|costs|take|last|is|are|do|does)\b|$)",
                body,
            ):
                readings.append(f"{body[: noun.start(1)]}{bare}{body[noun.end(1) :]}?")
            elif plural := re.search(r"(?i)\b(?:are|do|is|does|can|were|was)\s+((?:\w+\s)?\w+s)\b", body):
                readings.append(f"{body[: plural.start(1)]}{bare}{body[plural.end(1) :]}?")
    if not replaced:
        readings.append(f"{other}: {body}?")
    last = re.escape(words[-1])  # "standard delivery" for "express", where "delivery" follows already
    return Readings(
        [re.sub(rf"(?i)\b({last})\s+{last}\b", r"\1", reading) for reading in readings], [body], True, contrast=other
    )


def _phrase_with(preposition: str, body: str) -> re.Match[str] | None:
    """ "to Arran" in "When does the ferry to Arran leave", for "to": with a name, or with the last words but two at most."""
    start = rf"\b(?i:{preposition})\s+(?:(?i:the|a|an)\s+)?"
    name = re.search(rf"{start}[A-Z][\w-]*(?:\s+[A-Z0-9][\w-]*)*", body)
    return name or re.search(rf"{start}[\w-]+(?=(?:\s+[a-z-]+){{0,2}}$)", body)


def _same_kind(other: str, body: str) -> re.Match[str] | None:
    """ "ferry to Arran" in "When does the ferry to Arran leave", for "ferry to Bute"."""
    kind = re.match(r"([a-z][\w-]*)\s+(of|to|from|in|for|with|on|at)\s", other)
    return (
        re.search(rf"\b{kind[1]}\s+{kind[2]}\s+(?:the\s+)?(?:[A-Z][\w-]*(?:\s+[A-Z0-9][\w-]*)*|[\w-]+)", body)
        if kind
        else None
    )


def _same_noun(question: str, new: list[str], asked: str, answer: str) -> Readings:
    """ "How large is the painting?" after a painting was spoken of: the noun with what it belongs to."""
    known = terms(f"{asked} {answer}", "en")
    for match in re.finditer(r"\b(?:[Tt]he|[Tt]his|[Tt]hat|[Tt]hese|[Tt]hose)\s+([a-z][\w-]+)", question):
        noun = match[1]
        following = question[match.end() :]
        if _OWN_COMPLEMENT.match(following):
            continue
        if not terms(noun, "en") & known and not _PREDICATE.match(following):
            continue
        if len(new) > (4 if terms(noun, "en") & known else 2):
            continue
        name = re.search(rf"(?:[A-Z][\w-]*\s+)+{re.escape(noun.capitalize())}\b", f"{answer} {asked}")
        if name:
            return Readings([question.replace(noun, re.sub(r"^The\s+", "", name[0]), 1), question], [name[0]], True)
        topic = topic_of(asked)
        if topic and terms(topic, "en") - terms(question, "en"):
            return Readings([_with(question, topic), question], [topic], True)
    return Readings([question], [], False)


def _with(question: str, topic: str) -> str:
    body = _JOINED.sub("", question).strip().rstrip("?.! ")
    return f"{body[:1].upper()}{body[1:]} ({topic})?" if topic else question
