"""What the front end itself says, in both languages; what the bot says comes from the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from botkit.messages import Language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    # the line at the top
    "loading": ("loading the models; you may already type", "正在加载模型，可以先输入"),
    "reading": ("reading documents", "正在读取文档"),
    "reading_so_far": ("reading documents {bar} {files}/{total}", "正在读取文档 {bar} {files}/{total}"),
    "finishing": ("finishing the answer …", "正在完成回答……"),
    "documents": ("{n} documents", "{n} 份文档"),
    "one_document": ("1 document", "1 份文档"),
    "not_ready": ("not ready", "未就绪"),
    "auto": ("any language", "自动识别语言"),
    "en": ("English", "英文"),
    "zh": ("Chinese", "中文"),
    # the prompt
    "prompt": ("Ask something …  (/help lists the commands)", "问点什么吧……（/help 查看命令）"),
    "plain_hello": ("Ask something, or type /help.", "请提问，或输入 /help。"),
    "first_time": ("Reading the documents for the first time …", "第一次使用，正在读取文档……"),
    # stages
    "stage_thinking": ("thinking …", "思考中……"),
    "stage_searching": ("searching …", "搜索中……"),
    "stage_reading": ("reading …", "阅读中……"),
    "stage_writing": ("writing …", "书写中……"),
    "still_loading": ("the models are still loading …", "模型还在加载……"),
    # routes and tones
    "answer": ("answer", "答案"),
    "chat": ("chat", "闲聊"),
    "clarify": ("question back", "反问"),
    "hand_off": ("hand-off", "转人工"),
    "unknown": ("don't know", "不知道"),
    "negative": ("☹ negative", "☹ 不满"),
    "neutral": ("neutral", "中性"),
    "positive": ("☺ positive", "☺ 满意"),
    "sure": ("{percent} sure", "把握 {percent}"),
    "page": ("p. {n}", "第 {n} 页"),
    # sources
    "no_sources": ("The last reply has no sources.", "上一条回复没有来源。"),
    # keys
    "key_help": ("Help", "帮助"),
    "key_sources": ("Sources", "来源"),
    "key_new": ("New", "新对话"),
    "key_open": ("Open", "切换"),
    "key_search": ("Search", "搜索"),
    "key_export": ("Export", "导出"),
    "key_quit": ("Quit", "退出"),
    "key_theme": ("Theme", "主题"),
    "keys_help": ("Enter or Escape closes this", "按回车或 Esc 关闭"),
    "keys_choice": ("↑ ↓ move · Enter takes it · Escape goes back", "↑ ↓ 移动 · 回车选定 · Esc 返回"),
    "keys_line": ("Enter accepts · Escape goes back", "回车确定 · Esc 返回"),
    "keys": ("Keys", "按键"),
    "commands": ("Commands", "命令"),
    "does_send": ("send", "发送"),
    "does_line": ("new line", "换行"),
    "does_recall": ("what you sent before", "之前发送过的内容"),
    "does_scroll": ("scroll the conversation", "滚动对话"),
    "does_search": ("search what you said before", "搜索以前说过的话"),
    "does_choose": (
        "choose an answer when the bot asks back (nothing else in the prompt)",
        "机器人反问时选择（只输入这个数字）",
    ),
    "does_sources": ("show or hide the sources", "显示或隐藏来源"),
    "does_close": ("close sources that lie over the conversation", "关闭盖住对话的来源"),
    "does_walk": ("the sources of earlier and later replies", "前一条、后一条回复的来源"),
    "does_rate": ("rate the last reply, with a note if you like", "给上一条回复打分，可附留言"),
    "does_new": ("start a new conversation", "开始新对话"),
    "does_open": ("go on with another conversation", "切换到另一个对话"),
    "does_export": ("write this conversation to a file", "把对话写入文件"),
    "does_theme": ("dark or light", "深色或浅色"),
    "does_quit": ("leave when the answer is finished; pressed again, at once", "等回答完成后退出，再按一次立即退出"),
    "does_end": ("leave (prompt empty)", "退出（输入框为空时）"),
    # commands
    "do_help": ("this list", "显示这个列表"),
    "do_explain": ("how the last reply came about: scores, rule, times", "上一条回复是怎么来的：分数、规则、耗时"),
    "do_sources": ("the sources of the last reply", "上一条回复的来源"),
    "do_ingest": ("read documents into the knowledge", "把文档读入知识库"),
    "do_lang": ("language the bot speaks: en, zh or auto", "机器人说的语言：en、zh 或 auto"),
    "do_up": ("👍 the last reply was good", "👍 上一条回复很好"),
    "do_down": ("👎 the last reply was bad", "👎 上一条回复不好"),
    "do_new": ("start a new conversation", "开始新对话"),
    "do_switch": ("go on with another conversation", "切换到另一个对话"),
    "do_search": ("find what was said before", "搜索以前的对话"),
    "do_export": ("write this conversation to a file (.md or .jsonl)", "把对话写入文件（.md 或 .jsonl）"),
    "do_clear": ("empty the screen; the conversation is kept", "清空屏幕，对话保留"),
    "do_quit": ("leave", "退出"),
    "name_help": ("help", "帮助"),
    "name_explain": ("explain", "解释"),
    "name_sources": ("sources", "来源"),
    "name_ingest": ("ingest", "导入"),
    "name_lang": ("lang", "语言"),
    "name_up": ("up", "赞"),
    "name_down": ("down", "踩"),
    "name_new": ("new", "新对话"),
    "name_switch": ("switch", "切换"),
    "name_search": ("search", "搜索"),
    "name_export": ("export", "导出"),
    "name_clear": ("clear", "清空"),
    "name_quit": ("quit", "退出"),
    # what goes wrong
    "no_command": ("There is no command /{name}; {hint}", "没有命令 /{name}；{hint}"),
    "did_you_mean": ("did you mean /{name}?", "是想输入 /{name} 吗？"),
    "see_help": ("/help lists them.", "输入 /help 查看全部命令。"),
    "no_conversation": (
        "There is no conversation {name}. /switch lists them.",
        "没有对话 {name}。输入 /switch 查看全部对话。",
    ),
    "no_such_path": (
        "{path}: name a file or folder that exists, as in /ingest ~/Documents.",
        "{path}：请指定存在的文件或文件夹，例如 /ingest ~/Documents。",
    ),
    "no_such_language": ("{name}: choose en, zh or auto.", "{name}：请选择 en、zh 或 auto。"),
    "nothing_to_export": ("Nothing was said yet, so there is nothing to export.", "还没有对话内容，没有可导出的。"),
    "exists_already": (
        "{path} exists already. Name another file: /export FILE.",
        "{path} 已经存在。请换一个文件名：/export FILE。",
    ),
    "cannot_be_written": ("{path}: cannot be written ({reason}).", "{path}：无法写入（{reason}）。"),
    "bug": ("Something went wrong inside botkit ({error}).", "botkit 内部出错（{error}）。"),
    # how a reply came about
    "told_route": ("route       {route}: {rule}", "路线  {route}：{rule}"),
    "told_query": ("query       {query}{rewritten}", "查询  {query}{rewritten}"),
    "rewritten": (" (rewritten from the conversation)", "（根据对话改写）"),
    "told_confidence": ("confidence  {score}", "把握  {score}"),
    "told_sentiment": ("sentiment   {label} {score}", "情绪  {label} {score}"),
    "told_time": ("time        {times}", "耗时  {times}"),
    "score_span": ("span", "片段"),
    "score_no_answer": ("no answer", "无答案"),
    "score_fused": ("fused", "融合"),
    "score_bm25": ("BM25", "BM25"),
    "score_cosine": ("cosine", "余弦"),
    # dialogs and notes
    "conversations": ("Conversations", "对话"),
    "said_before": ("What was said before", "以前说过的话"),
    "you_said": ("What you said before; Enter puts it into the prompt", "以前说过的话；回车放入输入框"),
    "narrow": ("type to narrow the list", "输入文字筛选"),
    "nothing_found": ("nothing found", "没有找到"),
    "what_good": ("👍  What was good?", "👍  哪里好？"),
    "what_wrong": ("👎  What was wrong?", "👎  哪里不好？"),
    "optional": ("optional", "可不填"),
    "export_to": ("Write the conversation to (.md or .jsonl)", "把对话写入文件（.md 或 .jsonl）"),
    "ingested": (
        "Documents: {read} read, {replaced} replaced, {removed} removed, {unchanged} unchanged.",
        "文档：新读取 {read}，替换 {replaced}，移除 {removed}，未变 {unchanged}。",
    ),
    "left_out": ("{n} left out: {reasons}.", "略过 {n} 份：{reasons}。"),
    "waits_for_reading": ("waiting for the documents that are being read …", "等待正在读取的文档……"),
    "how_to_quit": ("Ctrl+Q leaves.", "按 Ctrl+Q 退出。"),
    "thanks": ("Thank you.", "谢谢。"),
    "written": ("Written: {path}", "已写入：{path}"),
    "language_set": ("Language: {name}.", "语言：{name}。"),
    "new_conversation": ("A new conversation.", "新对话。"),
    "nothing_to_rate": ("There is no reply to rate yet.", "还没有可以打分的回复。"),
    "nothing_to_explain": ("There is no reply to explain yet.", "还没有可以解释的回复。"),
    "no_trace": ("How this reply came about was not kept.", "这条回复的来由没有保留。"),
    "agree": ("Yes, please", "是"),
    "you": ("You", "你"),
    "bot": ("Bot", "机器人"),
}


def word(name: str, language: Language, /, **values: object) -> str:
    """The words of that name in that language."""
    return _WORDS[name][language == "zh"].format(**values)


def stage(name: str, language: Language) -> str:
    """What the engine is doing; a stage that this front end does not know is named as it is."""
    return word(f"stage_{name}", language) if f"stage_{name}" in _WORDS else f"{name} …"


def language_of(environment: Mapping[str, str] = os.environ) -> Language:
    """The language that the person's system speaks, as POSIX says it: LC_ALL, then LC_MESSAGES, then LANG."""
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
