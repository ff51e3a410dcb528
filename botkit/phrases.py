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
    "failed": {
        "en": "Something went wrong on my side. Please ask again in a moment.",
        "zh": "我这边出了点问题，请稍后再问一次。",
    },
    "upload_read": {
        "en": "I have read {file}. You can ask me about it now.",
        "zh": "我已读完《{file}》，现在可以向我提问了。",
    },
    "upload_not_allowed": {
        "en": "I am not allowed to read files here, so I left {file} alone.",
        "zh": "这里不允许我读取文件，所以我没有打开 {file}。",
    },
    "upload_too_large": {
        "en": "{file} is too large for me: the limit is {limit} MB.",
        "zh": "{file} 太大了：上限是 {limit} MB。",
    },
    "upload_failed": {
        "en": "I could not read {file}: {why}",
        "zh": "无法读取 {file}：{why}",
    },
    "sources": {"en": "Sources", "zh": "来源"},
    "page": {"en": "page {page}", "zh": "第 {page} 页"},
    "helpful": {"en": "👍 Helpful", "zh": "👍 有用"},
    "not_helpful": {"en": "👎 Not helpful", "zh": "👎 没用"},
    "thanks_for_rating": {"en": "Thank you, that helps.", "zh": "谢谢您的反馈。"},
    "too_late_to_rate": {"en": "That reply is no longer stored.", "zh": "这条回复已不再保存。"},
    "talk_to_human": {"en": "Talk to a human", "zh": "转人工"},
    "human_called": {
        "en": "I have told a human colleague. They will answer here.",
        "zh": "已通知人工客服，他们会在这里答复您。",
    },
    "human_wanted": {"en": "{person} would like to talk to a human.", "zh": "{person} 希望与人工客服交谈。"},
    "take_over": {"en": "Take over", "zh": "由我接手"},
    "give_back": {"en": "Give back to the bot", "zh": "交还给机器人"},
    "taken_over": {
        "en": "{person} has taken over this conversation; I am silent here now.",
        "zh": "{person} 已接手本对话，我在这里不再发言。",
    },
    "given_back": {"en": "I am answering here again.", "zh": "我又可以在这里回答了。"},
    "transcript": {"en": "Open the conversation", "zh": "打开对话"},
    "welcome": {
        "en": "Hello! Ask me a question, and I will look for the answer in the documents.",
        "zh": "你好！请提问，我会在文档里为您找答案。",
    },
    "ask_what": {
        "en": "Write your question after the command: {command} …",
        "zh": "请把问题写在命令后面：{command} ……",
    },
    "suggestion_1": {"en": "What can you do?", "zh": "你能做什么？"},
    "suggestion_2": {"en": "Which documents do you know?", "zh": "你知道哪些文档？"},
    "suggestion_3": {"en": "I would like to talk to a human", "zh": "我想转人工"},
    "thinking": {"en": "is thinking …", "zh": "正在思考……"},
    "searching": {"en": "is searching the documents …", "zh": "正在查找文档……"},
    "reading": {"en": "is reading …", "zh": "正在阅读……"},
    "writing": {"en": "is writing …", "zh": "正在书写……"},
}


def phrase(name: str, language: Language, **values: str) -> str:
    """The phrase `name` in `language`."""
    return _PHRASES[name][language].format(**values)
