"""What kind of thing a question asks for, and whether an answer can be of that kind.

A price has a currency in it, a weight a unit of weight. The taxonomy is that of quantities in Li and Roth (2002), "Learning
Question Classifiers", as far as a pattern can tell a kind; other questions ask for anything.
"""

from __future__ import annotations

import re
from typing import Final

from botkit.messages import Language

_NUMBER_EN: Final = r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|dozen|hundred|thousand|million|billion|once|twice|half|several|no|none)(?:\b|-)"
_TIME_EN: Final = r"\b(?:second|minute|hour|day|week|month|year|decade|centur|night|season|noon|midnight|today|tomorrow|forever|always|until|daily|weekly)"
_UNIT_EN: Final = (
    r"(?:second|minute|hour|day|week|month|year|euro|dollar|pound|cent|percent|centimetre|metre|kilo|gram|watt)s?"
)
_WHEN_EN: Final = (
    r"^\W*(?:(?:and|so|but|or) )?(?:(?:from|since|until|till|by) )?when\b(?! (?:i|you|we|they|he|she|it|the|an?|my|our|your|their|his|her|"
    r"this|that|these|those|there|somebody|someone|people)\b)"
    r"|^\W*(?:(?:and|so|but|or) )?when\b(?!.*(?:,|\b(?:what|how|who|where|which|why|do|does|is|are|can|could|will|would|should)\b))"
    r"|\bwhen(?:['’]s| (?:do|does|did|is|are|was|were|am|will|would|can|could|shall|should|may|might|must|has|have|had))\b"
    r"|\b(?:know|say|tell \w+|wonder(?:ing)?|sure|idea) (?:(?:from|since|until|till|by) )?when\b|\bwhen\W*$"
)
""" "When do you deliver?", and no "Who signs when you deliver?"."""
_SOME_ZH: Final = r"(?<![这那头好])(?<!(?<!超)过)(?<!(?<!提)前)"
""" 过几天 and 好几天 are no question for how many, 超过几天 is."""
_NUMBER_ZH: Final = r"[\d〇零一二两三四五六七八九十百千万亿半几]"
_KINDS: Final[dict[Language, tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]]] = {
    "en": tuple(
        (re.compile(question, re.IGNORECASE), re.compile(answer, flags))
        for question, answer, flags in (
            (
                r"\bhow heavy\b|\b(?:how much|what) (?:do|does|did|will|is|are|may|can) .*\bweigh(?:t of)?\b",
                r"\b(?:kg|kilo|gram|ton|pound|lb|ounce|oz|g\b)|weight",
                re.IGNORECASE,
            ),
            (
                r"\bhow much (?:is|are|was|do(?:es)? (?!.*\b(?:weigh|time)).*\b(?:cost|pay|charge)|will .* cost|for|money)\b"
                r"|\bwhat do(?:es)? .*\bcost\b|\bprice of\b",
                r"[€$£¥%]|\b(?:euros?|dollars?|pounds?|cents?|pence|yuan|yen|francs?|usd|eur|percent)\b|\bfree\b|no charge|\bcosts?\b",
                re.IGNORECASE,
            ),
            (
                r"\bhow (?:tall|high|deep|wide|large|big)\b",
                _NUMBER_EN + r"|\b(?:metre|meter|cent|mil|km|inch|foot|feet|acre|square)",
                re.IGNORECASE,
            ),
            (r"\bhow long\b", _NUMBER_EN + "|" + _TIME_EN, re.IGNORECASE),
            (
                _WHEN_EN + r"|\b(?:what time|what year|which year|what date|how soon|how old)\b",
                r"\d|"
                + _TIME_EN
                + r"|day\b|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|before|after|during|when|once|as soon",
                re.IGNORECASE,
            ),
            (
                rf"\bhow many (?!{_UNIT_EN})",
                rf"(?:{_NUMBER_EN})(?![\w,.]*[ -](?:{_UNIT_EN})\b)|every|each|all|many|few",
                re.IGNORECASE,
            ),
            (r"\bhow many\b|\bwhat (?:percentage|number)\b", _NUMBER_EN + r"|every|each|all|many|few", re.IGNORECASE),
            (
                r"^\W*(?:and )?(?:who|whom|whose)\b",
                r"[A-Z]|\b(?:we|you|our|customer|buyer|seller|owner|king|queen|people|team|staff|courier|driver)",
                0,
            ),
        )
    ),
    "zh": tuple(
        (re.compile(question), re.compile(answer))
        for question, answer in (
            (r"多重|重量|几斤", r"克|斤|吨|磅|重"),
            (
                r"多少钱|价格|价钱|运费|费用是多少|收费多少",
                r"元|块|角|钱|免费|美元|欧元|费|％|%|百分|\d(?![\d,.]*\s*(?:厘米|毫米|米|千?克|公斤|斤|瓦|小时|分钟|天|周|个?月|年))(?![\d,.])",
            ),
            (r"多高|多长(?!时间)|多宽|多深|多大(?!年)|面积", r"米|里|尺|寸|公顷|亩|平方|厘|毫|" + _NUMBER_ZH),
            (
                rf"多久|多长时间|{_SOME_ZH}几(?:天|年|个月|小时)",
                r"秒|分|小时|天|日|周|星期|月|年|期|永久|" + _NUMBER_ZH,
            ),
            (r"什么时候|何时|几点|几号|哪一?年|哪一?天", r"\d|点|日|号|月|年|周|星期|天|时|早|晚|后|前"),
            (rf"多少(?!钱)|{_SOME_ZH}几[个位次名本张件部条人岁级层间]", _NUMBER_ZH),
        )
    ),
}


def fits(question: str, answer: str, language: Language) -> bool | None:
    """Whether an answer can be of the kind asked for; None where the question may ask for anything."""
    for asks, has in _KINDS[language]:
        if asks.search(question):
            return has.search(answer) is not None
    return None
