"""Markdown as Telegram's HTML (https://core.telegram.org/bots/api#html-style)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape, unescape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from rich.cells import cell_len

from botkit.delivery import split

LONGEST: Final = 4096
"""The most UTF-16 units of a message."""

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_TAG: Final = re.compile(r"</?[a-z][^<>]*>")
_LINK: Final = re.compile(r"(?:https?|tg|mailto):", re.IGNORECASE)
_INLINE: Final = {"strong": "b", "em": "i", "s": "s"}
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>&])")


def pieces(markdown: str) -> list[str]:
    """A text as the HTML of as many messages as it needs, at least one."""
    parts = split(_sendable(markdown), LONGEST, measure=length)
    return [to_html(part) for part in parts] or ["…"]


@lru_cache(maxsize=256)
def length(markdown: str) -> int:
    """How long it is: UTF-16 units. Telegram leaves out the markup, other servers of its API may not."""
    return len(to_html(markdown).encode("utf-16-le", "replace")) // 2


def to_html(markdown: str) -> str:
    """One piece of Markdown. What is no Markdown stands there as it was written; raw HTML is shown, not obeyed."""
    html = _blocks(SyntaxTreeNode(_MARKDOWN.parse(_sendable(markdown))).children)
    return html if plain(html).strip() else escape(markdown, quote=False)


def plain(html: str) -> str:
    """The text that people see."""
    return unescape(_TAG.sub("", html))


def escaped(text: str) -> str:
    """Text as Markdown that shows just this."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _sendable(text: str) -> str:
    """Halves of surrogate pairs cannot be sent, control characters are not shown."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", whole)


def _blocks(nodes: Sequence[SyntaxTreeNode], *, quoted: bool = False, tight: bool = False) -> str:
    return ("\n" if tight else "\n\n").join(_block(node, quoted) for node in nodes)


def _block(node: SyntaxTreeNode, quoted: bool) -> str:
    kind = node.type
    if kind in ("paragraph", "inline"):
        return _inline(node.children)
    if kind == "heading":
        return f"<b>{_inline(node.children)}</b>"
    if kind in ("fence", "code_block"):
        return _code(node.content, node.info if kind == "fence" else "")
    if kind == "blockquote":
        inner = _blocks(node.children, quoted=True)
        return inner if quoted else f"<blockquote>{inner}</blockquote>"
    if kind in ("bullet_list", "ordered_list"):
        first = int(node.attrs.get("start", 1))
        marks = (
            f"{number}. " if kind == "ordered_list" else "• " for number in range(first, first + len(node.children))
        )
        items = (_blocks(item.children, quoted=quoted, tight=True) for item in node.children)
        return "\n".join(mark + item.replace("\n", "\n   ") for mark, item in zip(marks, items, strict=False))
    if kind == "table":
        return _table(node)
    if kind == "hr":
        return "———"
    return _inline(node.children) if node.children else escape(node.content, quote=False)


def _inline(nodes: Sequence[SyntaxTreeNode]) -> str:
    out = []
    for node in nodes:
        if node.type == "inline":
            out.append(_inline(node.children))
        elif node.type in _INLINE:
            tag = _INLINE[node.type]
            out.append(f"<{tag}>{_inline(node.children)}</{tag}>")
        elif node.type == "code_inline":
            out.append(f"<code>{escape(node.content, quote=False)}</code>")
        elif node.type in ("softbreak", "hardbreak"):
            out.append("\n")
        elif node.type in ("link", "image"):
            out.append(_link(node))
        else:
            out.append(escape(node.content, quote=False))
    return "".join(out)


def _link(node: SyntaxTreeNode) -> str:
    image = node.type == "image"
    target = str(node.attrs["src" if image else "href"])
    label = escape(node.content, quote=False) if image else _inline(node.children)
    inside = any(parent.type == "link" for parent in _parents(node))
    if inside or not _LINK.match(target):
        return label
    return f'<a href="{escape(target)}">{label if plain(label).strip() else escape(target, quote=False)}</a>'


def _parents(node: SyntaxTreeNode) -> list[SyntaxTreeNode]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def _code(content: str, info: str) -> str:
    language = re.sub(r"[^\w+#.-]", "", info.split()[0]) if info.strip() else ""
    inner = escape(content.rstrip("\n"), quote=False)
    return f'<pre><code class="language-{language}">{inner}</code></pre>' if language else f"<pre>{inner}</pre>"


def _table(node: SyntaxTreeNode) -> str:
    """Columns in a typewriter face, Chinese characters two wide."""
    rows = [[plain(_inline(cell.children)) for cell in row.children] for part in node.children for row in part.children]
    columns = max(len(row) for row in rows)
    cells = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(columns)]

    def line(row: Sequence[str]) -> str:
        return " │ ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()

    ruled = [line(cells[0]), "─┼─".join("─" * width for width in widths), *map(line, cells[1:])]
    return f"<pre>{escape(chr(10).join(ruled), quote=False)}</pre>"
