"""The tone of a conversation as it goes, and whether a person asks for a human."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from botkit.messages import Sentiment

_MEMORY: Final = 0.6
_VALUE: Final = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}

_ENDS_EN: Final = (
    r"(?!['’])(?=\W*$|\s*[,.;:!?]|\s+(?:please|plz|pls|now|right|here|today|instead|about|who|that|to|for|from|on|at|in|and|or|"
    r"because|than|immediately|asap|rather|again|directly|first|thanks?)\b)"
)
"""What may follow the one asked for: "a human, please", and not "human resources" or "a representative sample"."""
_HUMAN_EN: Final = rf"""(?:
    (?:(?:an?|another|some|any|the|your|actual|real|live|living|human)\s+)*
    (?:humans?(?:\s+being)?|(?:real|live|actual|human)\s+(?:person|people|someone|agent|operator|support|help|representative)|
       (?:person|someone|somebody|anyone)(?:\s+(?:real|human|else))?|(?:customer\s+(?:service|support)\s+)?(?:agent|rep|representative)|
       operator|member\s+of\s+(?:the\s+|your\s+)?(?:staff|team)|manager|supervisor){_ENDS_EN})"""
_ASKS_EN: Final = re.compile(
    rf"""(?ix)
    ^\W*(?:an?\s+)?(?:(?:real|live|actual)\s+)?(?:human|agent|operator|representative|person)(?:\s+(?:please|now|plz|pls))*\W*$
    | \b(?:talk|talking|speak|chat|complain)\s+(?:directly\s+)?(?:to|with)\s+{_HUMAN_EN}
    | \b(?:connect|transfer|put|pass|hand|switch|forward|get|refer)\s+(?:me|us)\s+(?:\w+\s+)?(?:to|with|through\s+to|on\s+to|over\s+to)\s+
      (?:{_HUMAN_EN}|(?:your\s+|the\s+)?(?:customer\s+)?(?:service|support){_ENDS_EN})
    | \b(?:escalate|hand)\s+(?:this|it|me)\s+(?:over\s+)?to\s+{_HUMAN_EN}
    | \b(?:reach|contact|call|get|find|get\s+hold\s+of)\s+(?:me\s+|us\s+)?{_HUMAN_EN}
    | (?<!\bdo\s)(?<!\bdoes\s)(?:^\W*|\bi\s+|['’]d\s+|\bwould\s+)(?:really\s+|just\s+)?(?:want|need|like|prefer)\s+(?:to\s+(?:see|have|get)\s+)?{_HUMAN_EN}
    | \bgive\s+me\s+{_HUMAN_EN}
    | \b(?:is|are)\s+(?:there\s+)?(?:an?\s+|any\s*)(?:actual\s+|real\s+|live\s+|one\s+)?(?:human|person|people)\b[^.?!]{{0,20}}\b(?:talk|speak|chat|there|here)
    | \bis\s+(?:there\s+)?any(?:one|body)\s+(?:real|human)\b
    | \b(?:can|could)\s+(?:an?\s+)(?:real\s+)?(?:human|person)\s+(?:please\s+)?(?:help|answer|call|contact)\s+me\b
    | \b(?:no|not|(?:don['’]?t|do\s+not)\s+want)\s+(?:to\s+(?:talk|speak|chat)\s+)?(?:to\s+|with\s+)?an?\s+(?:bot|chatbot|robot|machine)\b
    """
)
_ABOUT_EN: Final = re.compile(
    r"(?ix) ^\W*(?:when|why|how\s+(?:many|much|long|often)|which)\b | ^\W*(?:how|where|what|who)\b(?!.*\b(?:can|could|do|may|should)\s+(?:I|we)\b)"
    r" | \bnot\s+an?\s+(?:bot|robot)\b[^.!]*\?\s*$"
)
"""Questions of fact: when the desk is open, how many people there are; "How can I reach a human?" is none."""

_HUMAN_ZH: Final = r"(?:人工(?:客服|服务|坐席)?|真人(?:客服)?|活人|客服人员|客服专员|工作人员)"
_ENDS_ZH: Final = r"(?=\W*$|[\s，。！？；,.!?;~]|来|帮|说|聊|谈|讲|处理|解决|接|吧|了|呢|吗|啊|呀|嘛|可以|谢)"
_ASKS_ZH: Final = re.compile(
    rf"^\W*(?:请|麻烦)?(?:人工|真人|人工客服|人工服务)(?:在吗|在不在|谢谢|吧)?\W*$"
    rf"|(?:转接|转|接)(?:到|一下|一个|个)?(?:{_HUMAN_ZH}|客服){_ENDS_ZH}"
    rf"|(?:找到|找|换|要|叫|联系|请|求|呼叫)(?:上|到|一下|一个|个|你们的?)*{_HUMAN_ZH}{_ENDS_ZH}"
    rf"|(?:和|跟|与|同)(?:一个|个|你们的?)*{_HUMAN_ZH}(?:说|聊|谈|讲|沟通|对话|通话|交流|联系)"
    rf"|有(?:没有|没)?{_HUMAN_ZH}(?:可以|能)?(?:聊|说|谈|帮(?:我|忙?(?:一下)?(?:吗|么|\W*$))|吗|么|\W*$)"
    r"|(?:找|叫|让|请)你们的?(?:经理|领导|主管|负责人|老板|客服)|^\W*(?:我|请|帮我|给我|麻烦)+(?:想|要)*(?:找|联系|叫)(?:一下|个)?客服\W*$"
    r"|换个?人(?:工|来|吧|跟|和|\W*$)|(?:不(?:想|要)(?:再)?(?:跟|和)|别给我|不要)机器(?:人)?(?=说|聊|谈|讲|，|。|！|,|\W*$)"
)
_ABOUT_ZH: Final = re.compile(
    r"(?:人工|真人)(?:客服|服务)?.{0,6}(?:几点|时间|什么时候|上班|下班|电话|收费|多少)|^[^我]*(?:需要|要)人工[^客]*吗"
    r"|^[^我]*(?:需要|要|得|必须)先?(?:联系|找|叫|通知)(?:你们的?)?工作人员.*(?:[吗么]|[?？])"
)


_DECLINES_EN: Final = re.compile(
    r"(?ix) (?:\b(?:do|does|did|would|will|need)n['’]?t | \b(?:do|does|did|would|will|need|am|'m|rather|really)?\s*not | \bnever | \bno\s+need)"
    r" (?:\s+(?:really|actually|even|yet|think|have|want|need|wish|like|going|prefer|to|be|for|i|me|us|it|a|an))* \s* $"
)
""" "I don't want to", before "talk to a human"."""
_DECLINES_ZH: Final = re.compile(
    r"(?:(?<![得要想用能可么还])不|别|勿|没必要|没有必要|无需)(?:再|需|想|要|用|必|愿意?|打算|给我|帮我|替我|去|跟|和|来|了)*$"
)


_LOOK_BEHIND: Final = 60


def wants_human(text: str) -> bool:
    """Whether the message asks to talk to a person, and is no question about people, opening hours or HR, nor says no to one."""
    languages = ((_ASKS_EN, _ABOUT_EN, _DECLINES_EN), (_ASKS_ZH, _ABOUT_ZH, _DECLINES_ZH))
    return any(
        about.search(text) is None
        and any(
            declines.search(text, max(0, found.start() - _LOOK_BEHIND), found.start()) is None
            for found in asks.finditer(text)
        )
        for asks, about, declines in languages
    )


def trend(sentiments: Sequence[Sentiment]) -> float:
    """The tone so far, -1 (negative) to 1: an exponentially weighted mean, oldest message first; 0 for none."""
    mean = 0.0
    for number, sentiment in enumerate(sentiments):
        value = _VALUE[sentiment.label] * sentiment.score
        mean = value if number == 0 else _MEMORY * mean + (1 - _MEMORY) * value
    return mean


def negative_run(sentiments: Sequence[Sentiment]) -> int:
    """How many of the latest messages in a row are negative."""
    run = 0
    for sentiment in reversed(sentiments):
        if sentiment.label != "negative":
            break
        run += 1
    return run
