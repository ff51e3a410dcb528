"""What the bot says about its own commands, in both languages."""

from __future__ import annotations

from typing import Final

from botkit.messages import Language

COMMANDS: Final[dict[str, dict[Language, str]]] = {
    "ask": {"en": "Ask a question", "zh": "提问"},
    "help": {"en": "What I can do", "zh": "我能做什么"},
    "lang": {
        "en": "Choose the language: /lang en, /lang zh, /lang auto",
        "zh": "选择语言：/lang zh、/lang en、/lang auto",
    },
    "forget": {"en": "Delete what I have stored about you", "zh": "删除我保存的关于您的内容"},
    "human": {"en": "Talk to a human", "zh": "转人工"},
    "start": {"en": "Begin", "zh": "开始"},
}

HELP: Final[dict[Language, str]] = {
    "en": (
        "Ask me a question, and I look for the answer in the documents; I show where it stands, or say that I don't know.\n\n"
        "{commands}\n\n"
        "In a group, name me (@{username}) or reply to me. In any chat, write `@{username}` and a question. "
        "A document sent to me is read where my administrator allows it."
    ),
    "zh": (
        "向我提问，我会在文档里找答案，并注明出处；找不到就直说不知道。\n\n"
        "{commands}\n\n"
        "在群组里请 @{username} 或回复我的消息；在任何聊天里都可以输入 `@{username}` 加问题。"
        "管理员允许时，发给我的文档会被收录。"
    ),
}

FORGOTTEN: Final[dict[Language, str]] = {
    "en": "I have deleted what you said to me and what I answered.",
    "zh": "您对我说的话和我的回答都已删除。",
}

LANGUAGE_SET: Final[dict[str, str]] = {
    "en": "I will answer in English.",
    "zh": "我会用中文回答。",
    "auto": "I answer in the language you write in. 您用什么语言，我就用什么语言回答。",
}

LANGUAGE_CHOICE: Final[dict[Language, str]] = {"en": "Which language?", "zh": "用哪种语言？"}

LANGUAGES: Final[dict[str, str]] = {"en": "English", "zh": "中文", "auto": "auto / 自动"}

TEXT_ONLY: Final[dict[Language, str]] = {
    "en": "I can read text and documents only. What would you like to know?",
    "zh": "我只能阅读文字和文档。您想了解什么？",
}

WANTS_HUMAN: Final[dict[Language, str]] = {"en": "I would like to talk to a human", "zh": "我想转人工"}

TOO_OLD: Final[dict[Language, str]] = {
    "en": "That is too long ago; please ask again.",
    "zh": "时间太久了，请重新提问。",
}
