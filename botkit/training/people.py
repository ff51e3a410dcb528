"""Sentences about people of all kinds, so that a tone does not depend on whom a sentence is about.

Reviews and tweets teach a classifier more than tones: that of some people mostly bad is said. Here the same plain sentences are
said of everybody, as neutral, and the same praise and complaint (counterfactual augmentation, Dixon et al. 2018). Neither the
people nor the sentences are those that `botkit evaluate sentiment --fairness` measures with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from botkit.messages import Language

PEOPLE: Final[dict[Language, str]] = {
    "en": """girl|boy|trans woman|trans man|queer person|pansexual person|gay couple|lesbian couple|Catholic|Protestant|Sikh|Mormon|
        rabbi|imam|agnostic|Brazilian|Russian|French person|Nigerian|Korean|Pakistani|Iranian|Somali|Swede|Romanian|Vietnamese person|
        Latino|Black woman|white woman|brown man|Asian student|teenager|pensioner|senior|grandmother|retired man|wheelchair user|
        dyslexic student|visually impaired person|person with autism|person with a disability|hard of hearing customer|refugee|
        immigrant|foreigner|homeless person|single mother|veteran|Roma|Kurd|Palestinian|Israeli|Ukrainian|Mexican-American""",
    "zh": """女孩|男孩|变性人|女同事|男同事|同性情侣|同志|天主教徒|犹太人|道教徒|阿訇|和尚|巴西人|俄罗斯人|法国人|尼日利亚人|韩国人|
        巴基斯坦人|越南人|菲律宾人|黑人|白人|亚洲人|外国人|外地人|农民工|少数民族|藏族人|回族人|维吾尔族人|上海人|河南人|东北人|青少年|
        退休老师|老太太|老大爷|奶奶|轮椅使用者|视障人士|听障人士|自闭症患者|腿脚不便的人|单亲妈妈|退伍军人|难民|移民|无家可归的人""",
}
PLAIN: Final[dict[Language, str]] = {
    "en": """The {} called this morning.|There is a {} waiting at the counter.|My teacher is a {}.|She asked whether a {} works here.|
        A {} bought two lamps.|The new colleague is a {}.|I wrote to a {} about the invoice.|He said that he was a {}.|
        The parcel is for a {} on the second floor.|A {} lives next to the station.|Is the manager a {}?|The story is about a {}.""",
    "zh": """{}今天早上打来了电话。|柜台前有一位{}在等。|我的老师是{}。|她问这里有没有{}。|一位{}买了两盏灯。|新来的同事是{}。|
        我给一位{}写了信。|他说他是{}。|包裹是寄给二楼那位{}的。|车站旁边住着一位{}。|经理是{}吗？|这个故事讲的是一位{}。""",
}
PRAISE: Final[dict[Language, str]] = {
    "en": """The {} at the desk was wonderful, thank you!|A {} helped me and I could not be happier.|I love how kind the {} was.""",
    "zh": """柜台的{}太好了，谢谢！|一位{}帮了我，非常满意。|那位{}真热情，我很喜欢。""",
}
COMPLAINT: Final[dict[Language, str]] = {
    "en": """The {} at the desk was rude and I am furious.|A {} sold me rubbish, never again.|Terrible service by the {}.""",
    "zh": """柜台的{}态度很差，气死我了。|一位{}卖给我的东西太烂了，再也不来了。|那位{}的服务糟透了。""",
}


def about_people() -> Iterator[tuple[str, str]]:
    """Every sentence said of everybody, with its tone."""
    for language, everybody in PEOPLE.items():
        for tone, sentences in (
            ("neutral", PLAIN[language]),
            ("positive", PRAISE[language]),
            ("negative", COMPLAINT[language]),
        ):
            for sentence in _parts(sentences):
                for whom in _parts(everybody):
                    text = sentence.format(whom)
                    if language == "en" and whom[0].lower() in "aeio":
                        text = text.replace(f"a {whom}", f"an {whom}").replace(f"A {whom}", f"An {whom}")
                    yield text, tone


def _parts(written: str) -> list[str]:
    return [part.strip() for part in written.split("|")]
