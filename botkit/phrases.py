"""The bot's own words, in both languages. Everything else it says comes from documents or the generator."""

from __future__ import annotations

from typing import Final

from botkit.messages import Language

_PHRASES: Final[dict[str, dict[Language, str]]] = {
    "greeting": {
        "en": "Hello! Ask me anything about your documents.",
        "zh": "你好！关于你的文档，有什么想问的？",
    },
    "empty": {
        "en": "I did not see a question there. What would you like to know?",
        "zh": "我没有看到问题。您想了解什么？",
    },
    "unknown": {
        "en": "I don't know: I could not find an answer to that in the documents.",
        "zh": "我不知道：文档里没有找到这个问题的答案。",
    },
    "unknown_with_sources": {
        "en": "I don't know: I could not find an answer to that in the documents. The closest places I found are listed as sources.",
        "zh": "我不知道：文档里没有找到这个问题的答案。最接近的几处已列为来源。",
    },
    "no_documents": {
        "en": "I don't know: I have no documents yet. Add some with `botkit ingest PATH`.",
        "zh": "我不知道：还没有任何文档。请用 `botkit ingest 路径` 添加。",
    },
    "clarify_reading": {
        "en": "I found more than one answer. Which do you mean?",
        "zh": "我找到了不止一个答案。您指的是哪一个？",
    },
    "clarify_reference": {
        "en": "I am not sure what you are referring to. Could you ask the whole question?",
        "zh": "我不确定您指的是什么。能把问题说完整吗？",
    },
    "hand_off": {
        "en": "I am passing you on to a human colleague.",
        "zh": "我正在为您转接人工客服。",
    },
    "hand_off_contact": {
        "en": "You can reach them here: {contact}",
        "zh": "联系方式：{contact}",
    },
    "hand_off_without_hook": {
        "en": "I would pass you on to a human colleague, but nobody has been set up to take over yet.",
        "zh": "我想为您转接人工客服，但目前还没有设置可以接手的人员。",
    },
    "hand_off_failed": {
        "en": "I could not reach a human colleague just now. Please try again in a moment.",
        "zh": "暂时联系不上人工客服，请稍后再试。",
    },
    "offer": {
        "en": "Would you like to talk to a human? Just say yes.",
        "zh": "需要转接人工客服吗？回复“是”即可。",
    },
    "generator_failed": {
        "en": "I cannot chat just now, but I can still answer questions about the documents.",
        "zh": "我现在没法闲聊，但仍然可以回答关于文档的问题。",
    },
}


def phrase(name: str, language: Language, **values: str) -> str:
    """The phrase `name` in `language`."""
    return _PHRASES[name][language].format(**values)
