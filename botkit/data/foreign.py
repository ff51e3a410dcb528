"""Whether a text is in another language than the two of this project.

`botkit.language.detect` chooses between English and Chinese and never says "neither". Here other scripts are told by their letters, and
the large languages in Latin letters by their function words, which are few, frequent and short enough to be in any sentence
(Ingle 1976). A text of one or two words can be told by its script only.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+")
_ENGLISH: Final = frozenset(
    "the and of to is are was were it this that i you he she we they my your his her our their not have has had do does did "
    "what when where who how why which can will would could should with for from but be been an at by or if there here very "
    "so just about all no yes me him them us in on a as".split()
)
_OTHERS: Final[dict[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        "French": "le la les une des du et est sont dans pour pas que qui avec sur ce cette nous vous ils elle je ne au aux "
        "mais très bien être était ont ou où c'est d'une votre mon ma mes son leur suis",
        "German": "der die das und ist nicht ich sie wir ihr ein eine einen dem den mit für auf auch sich von zu im es "
        "aber wie bei nach noch wird sind war haben habe oder sehr kann",
        "Spanish": "el la los las una que y es en por con para no del se lo su como más pero muy está este esta son yo "
        "usted nosotros sin fue hay mi tiene también",
        "Italian": "il lo la gli le una che e è di non per con del della nel sono questo questa ma molto anche come ho "
        "alla dei delle più si ci mi era",
        "Portuguese": "o os as uma que e é em não para com do da dos das no na por mais muito como mas se está este "
        "esta são eu você foi tem também",
        "Dutch": "de het een en is niet ik je wij van op te dat die met voor zijn maar ook aan naar er heb heeft wordt "
        "deze dit zeer geen bij",
    }.items()
}
_MARKED: Final = re.compile(r"[À-ÖØ-öø-ÿßŒœ¿¡]")


def is_foreign(text: str) -> bool:
    """Whether a text is neither English nor Chinese, as far as scripts and function words tell."""
    scripts = Counter(_script(c) for c in text if c.isalpha())
    kana, letters = scripts["kana"], sum(scripts.values())
    if kana >= 2 and kana * 10 >= kana + scripts["han"]:
        return True
    if scripts["other"] * 2 > letters:
        return True
    if scripts["han"] * 3 > letters:
        return False
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", text))]
    english = sum(word in _ENGLISH for word in words)
    most = max(sum(word in known for word in words) for known in _OTHERS.values())
    return most > english and (most >= 2 or _MARKED.search(text) is not None)


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "")
    if name.startswith("LATIN"):
        return "latin"
    if name.startswith("CJK"):
        return "han"
    return "kana" if name.startswith(("HIRAGANA", "KATAKANA")) else "other"
