"""The parts of the screen: the prompt, a bubble for each side's words, and the panel of sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message as Signal
from textual.widgets import Button, Footer, Static, TextArea

from botkit.messages import Language, Reply, Source
from botkit.text import answer_in_reply, visible
from botkit_terminal.session import place
from botkit_terminal.words import word

LONGEST_SHOWN: Final = 4_000
"""Characters of a person's message that the screen shows; the bot reads the message itself."""
_SPAN_STYLE: Final = "bold $span-foreground on $span-background"


class Prompt(TextArea):
    """Where the person writes. Enter sends; Shift+Enter or Ctrl+J begins a line; up and down recall what was sent."""

    class Sent(Signal):
        """The person pressed Enter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Chosen(Signal):
        """The person sent the number of an option."""

        def __init__(self, option: int) -> None:
            super().__init__()
            self.option = option

    class Left(Signal):
        """The person wants to leave."""

    class Turned(Signal):
        """The person wants to see another page of the conversation."""

        def __init__(self, down: bool) -> None:
            super().__init__()
            self.down = down

    def __init__(self, placeholder: str) -> None:
        super().__init__(id="prompt", show_line_numbers=False, soft_wrap=True, placeholder=placeholder)
        self.options = 0
        self._sent: list[str] = []
        self._place = 0
        self._written: dict[int, str] = {}
        """What stands at each place of the history that was left: a draft, or something recalled and then edited."""

    def remember(self, sent: Sequence[str]) -> None:
        """Let up and down recall these as well, oldest first, before what was sent since."""
        self._sent[:0] = sent
        self._place += len(sent)
        self._written = {place + len(sent): text for place, text in self._written.items()}

    def put(self, text: str) -> None:
        """Replace what stands there, and go to its end."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def leave(self) -> None:
        """Say that the person wants to leave, behind what she sent before."""
        self.call_later(self.post_message, self.Left())

    async def _on_key(self, event: events.Key) -> None:
        if self._take(event):
            event.stop()
            event.prevent_default()
        else:
            await super()._on_key(event)

    def _take(self, event: events.Key) -> bool:
        """Whether the key was one that means more here than in any text area."""
        line = self.wrapped_document.location_to_offset(self.cursor_location).y
        untouched = self._place < len(self._sent) and self.text == self._sent[self._place]
        first, last = untouched or line == 0, untouched or line == self.wrapped_document.height - 1
        match event.key:
            case "enter":
                self._send()
            case "shift+enter" | "ctrl+j" | "alt+enter":
                self.insert("\n")
            case "up" if first and self._place > 0:
                self._recall(self._place - 1)
            case "down" if last and self._place < len(self._sent):
                self._recall(self._place + 1)
            case "pageup" | "pagedown":
                self.post_message(self.Turned(event.key == "pagedown"))
            case "ctrl+d" if not self.text:
                self.leave()
            case _:
                return False
        return True

    def _send(self) -> None:
        text = self.text
        if not text.strip():
            return
        option = self._option(text.strip())
        if not option and self._sent[-1:] != [text]:
            self._sent.append(text)
        self._place, self._written = len(self._sent), {}
        self.load_text("")
        self.post_message(self.Chosen(option - 1) if option else self.Sent(text))

    def _option(self, text: str) -> int:
        """The number of the option that the text is; 0 for another text."""
        number = int(text) if len(text) == 1 and text.isdecimal() else 0
        return number if number <= self.options else 0

    def _recall(self, place: int) -> None:
        self._written[self._place] = self.text
        self._place = place
        self.put(self._written.get(place, self._sent[place] if place < len(self._sent) else ""))


class Bubble(Vertical):
    """One side's words. A reply grows as it comes, and then has a quiet line of facts below it."""

    class Picked(Signal):
        """The person clicked on a reply."""

        def __init__(self, picked: Bubble) -> None:
            super().__init__()
            self.picked = picked

    def __init__(self, text: str, role: Literal["user", "bot", "note", "error"]) -> None:
        super().__init__(classes=f"bubble {role}")
        self._text = visible(text)
        if len(self._text) > LONGEST_SHOWN:
            self._text = f"{self._text[:LONGEST_SHOWN]} … ({len(text):,})"
        self._words = Static(Content(self._text), classes="words")
        self._facts = Static("", classes="facts")
        self._waiting = False
        self._rating = 0
        self.reply: Reply | None = None

    def compose(self) -> ComposeResult:
        """The words, and the line of facts."""
        yield self._words
        yield self._facts

    @property
    def text(self) -> str:
        """The words so far."""
        return self._text

    @property
    def facts(self) -> str:
        """What stands below the words."""
        return str(self._facts.content)

    def wait(self, text: str) -> None:
        """Say what is being done, until the first words come."""
        if self._waiting or not self._text:
            self._waiting, self._text = True, text
            self.add_class("waiting")
            self._words.update(Content(text))

    def add(self, piece: str) -> None:
        """Append what came."""
        self._arrive()
        self._text += visible(piece)
        self._words.update(Content(self._text))

    def finish(self, reply: Reply, language: Language, rating: int = 0) -> None:
        """Show the whole reply, its span marked, and how it came about."""
        self._arrive()
        self.reply, self._rating = reply, rating
        self._text = visible(reply.text)
        answer = visible(reply.answer)
        at = answer_in_reply(reply) if reply.route == "answer" and answer else -1
        if not self._text.startswith(answer, max(at, 0)):  # what is invisible has another length
            at = self._text.find(answer)
        if at >= 0 and answer != self._text:
            end = at + len(answer)
            said = Content.assemble(self._text[:at], (self._text[at:end], "bold $accent"), self._text[end:])
        else:
            said = Content(self._text)
        self._words.update(said)
        self._show_facts(language)

    def rate(self, rating: int, language: Language) -> None:
        """Show that the reply was rated."""
        self._rating = rating
        self._show_facts(language)

    def _arrive(self) -> None:
        if self._waiting:
            self._waiting, self._text = False, ""
            self.remove_class("waiting")

    def _show_facts(self, language: Language) -> None:
        reply = self.reply
        if reply is None:
            return
        facts = [word(reply.route, language)]
        if reply.route == "answer" or (reply.route == "clarify" and reply.options):
            facts.append(word("sure", language, percent=f"{reply.confidence:.0%}"))
        facts.append(word(reply.sentiment.label, language))
        if total := reply.timings_ms.get("total"):
            facts.append(f"{total:.0f} ms")
        if reply.sources and reply.route == "answer":
            more = f" +{len(reply.sources) - 1}" if len(reply.sources) > 1 else ""
            facts.append(f"{place(reply.sources[0], language)}{more}")
        if self._rating:
            facts.append("👍" if self._rating > 0 else "👎")
        self._facts.update(Content(" · ".join(facts)))
        self.add_class("done")

    def on_click(self) -> None:
        """Show the sources of the reply that was clicked."""
        if self.reply is not None:
            self.post_message(self.Picked(self))


class Options(Vertical):
    """A button for each thing that the person may say next."""

    class Chosen(Signal):
        """The person pressed a button."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(classes="options")
        self.texts = tuple(texts)

    def compose(self) -> ComposeResult:
        """Numbered buttons."""
        for number, text in enumerate(self.texts, 1):
            yield Button(Content(f"{number}  {visible(text)}"), name=str(number - 1), compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Chosen(self.texts[int(event.button.name or 0)]))


class Keys(Footer):
    """The keys in the order in which they are bound, as many as fit."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)

    def compose(self) -> ComposeResult:
        """A key after another, a blank between them."""
        room = self.app.size.width + 1
        for key in super().compose():
            room -= cell_len(f"{getattr(key, 'key_display', '')} {getattr(key, 'description', '')} ")
            if room < 0:
                return
            yield key

    def on_resize(self) -> None:
        """Another width has room for other keys."""
        self.refresh(recompose=True)


class Sources(VerticalScroll):
    """The passages behind a reply, the span marked in each."""

    def show(self, sources: Sequence[Source], language: Language) -> None:
        """Replace what is shown."""
        self.remove_children()
        if not sources:
            self.mount(Static(Content(word("no_sources", language)), classes="facts"))
        for number, source in enumerate(sources, 1):
            self.mount(
                Static(Content(f"{number}  {place(source, language)}"), classes="source-title"),
                Static(marked(source), classes="passage"),
                Static(Content(whereabouts(source)), classes="facts"),
            )
        self.scroll_home(animate=False)


def marked(source: Source) -> Content:
    """A passage with its span highlighted; nothing is where the span is the passage."""
    begin, end = source.span_in_passage
    passage = visible(source.passage)
    if (begin, end) == (0, len(passage)):
        return Content(passage)
    return Content.assemble(passage[:begin], (passage[begin:end], _SPAN_STYLE), passage[end:])


def whereabouts(source: Source) -> str:
    """Score, document and offsets of a source."""
    return f"{source.score:.0%} · {visible(source.document)} · {source.start}–{source.end}"
