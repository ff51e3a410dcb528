"""The full-screen chat."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import events, on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message as Signal
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, Input, Label, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from botkit.errors import BotkitError
from botkit.messages import Delta, Reply, Source, Status
from botkit.phrases import phrase
from botkit_terminal.plain import explanation
from botkit_terminal.session import Command, Session, help_lines, ingested, parse, place

if TYPE_CHECKING:
    from botkit.knowledge.ingest import Progress

logger = logging.getLogger(__name__)

NARROW = 90
"""Columns below which the sources lie over the conversation instead of beside it."""
_TONES = {"negative": "☹", "neutral": "·", "positive": "☺"}


class Prompt(TextArea):
    """Where the person writes. Enter sends; Shift+Enter or Ctrl+J begins a line; up and down recall what was sent."""

    class Sent(Signal):
        """The person pressed Enter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(
            id="prompt", show_line_numbers=False, soft_wrap=True, placeholder="Ask something …  (/help, 中文也可以)"
        )
        self._sent: list[str] = []
        self._place = 0

    async def _on_key(self, event: events.Key) -> None:
        row, last = self.cursor_location[0], self.document.line_count - 1
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            text = self.text
            if text.strip():
                self._sent.append(text)
                self._place = len(self._sent)
                self.load_text("")
                self.post_message(self.Sent(text))
        elif event.key in ("shift+enter", "ctrl+j", "alt+enter"):
            event.stop()
            event.prevent_default()
            self.insert("\n")
        elif (event.key == "up" and row == 0 and self._place > 0) or (
            event.key == "down" and row == last and self._place < len(self._sent)
        ):
            event.stop()
            event.prevent_default()
            self._place += -1 if event.key == "up" else 1
            self.load_text(self._sent[self._place] if self._place < len(self._sent) else "")
            self.move_cursor(self.document.end)
        else:
            await super()._on_key(event)


class Bubble(Vertical):
    """One side's words in the conversation. A reply grows as it comes, and has a quiet line below."""

    def __init__(self, text: str, role: Literal["user", "bot", "note"]) -> None:
        super().__init__(classes=f"bubble {role}")
        self._text = text
        self._words = Static(Content(text), classes="words")
        self._facts = Static("", classes="facts")
        self._facts.display = False
        self.reply: Reply | None = None

    def compose(self) -> ComposeResult:
        """The words, and the line of facts."""
        yield self._words
        yield self._facts

    @property
    def text(self) -> str:
        """The words so far."""
        return self._text

    def add(self, piece: str) -> None:
        """Append what came."""
        self._text += piece
        self._words.update(Content(self._text))

    def wait(self, text: str) -> None:
        """Say what is being done until the first words come."""
        self._words.update(Content(text))

    def restart(self) -> None:
        """Make room for the first words."""
        self._text = ""

    def finish(self, reply: Reply) -> None:
        """Show the whole reply, its span marked, and how it came about."""
        self.reply = reply
        self._text = reply.text
        at = reply.text.find(reply.answer) if reply.route == "answer" and reply.answer else -1
        if at >= 0 and reply.answer != reply.text:
            end = at + len(reply.answer)
            self._words.update(
                Content.assemble(reply.text[:at], (reply.text[at:end], "bold $text-accent"), reply.text[end:])
            )
        else:
            self._words.update(Content(reply.text))
        facts = [reply.route.replace("_", " ")]
        if reply.route in ("answer", "clarify"):
            facts.append(f"{reply.confidence:.0%}")
        facts.append(f"{_TONES[reply.sentiment.label]} {reply.sentiment.label}")
        if total := reply.timings_ms.get("total"):
            facts.append(f"{total:.0f} ms")
        if reply.sources:
            facts.append(f"▸ {place(reply.sources[0])}")
        self._facts.update(Content("  ".join(facts)))
        self._facts.display = True


class Sources(VerticalScroll):
    """The passages behind the last reply, the span marked in each."""

    def show(self, sources: tuple[Source, ...]) -> None:
        """Replace what is shown."""
        self.remove_children()
        if not sources:
            self.mount(Static(Content("No sources."), classes="facts"))
        for number, source in enumerate(sources, 1):
            self.mount(Static(Content(f"{number}  {place(source)}"), classes="source-title"))
            self.mount(Static(marked(source), classes="passage"))
            page = f"p. {source.page}, " if source.page else ""
            where = f"{source.document}  {page}{source.start}–{source.end}  {source.score:.0%}"
            self.mount(Static(Content(where), classes="facts"))
        self.scroll_home(animate=False)


def marked(source: Source) -> Content:
    """A passage with its span highlighted."""
    begin, end = source.start - source.passage_start, source.end - source.passage_start
    if (begin, end) == (0, len(source.passage)):
        return Content(source.passage)
    return Content.assemble(
        source.passage[:begin], (source.passage[begin:end], "bold $text on $warning 40%"), source.passage[end:]
    )


class Choice(ModalScreen[str]):
    """A list to choose from, narrowed by typing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, options: list[tuple[str, str]]) -> None:
        """`options` are pairs of what is returned and what is shown."""
        super().__init__()
        self._title = title
        self._options = options

    def compose(self) -> ComposeResult:
        """A field over a list."""
        with Vertical(classes="dialog"):
            yield Label(self._title)
            yield Input(placeholder="type to narrow")
            yield OptionList(*(Option(Content(shown), id=str(i)) for i, (_, shown) in enumerate(self._options)))

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        wanted = event.value.casefold()
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            Option(Content(shown), id=str(i))
            for i, (_, shown) in enumerate(self._options)
            if wanted in shown.casefold()
        )
        options.highlighted = 0 if options.option_count else None

    @on(Input.Submitted)
    def _first(self) -> None:
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            self._choose(options.get_option_at_index(options.highlighted))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(event.option)

    def on_key(self, event: events.Key) -> None:
        """Up and down move in the list while the field has the focus."""
        if event.key in ("up", "down") and isinstance(self.focused, Input):
            event.stop()
            options = self.query_one(OptionList)
            (options.action_cursor_up if event.key == "up" else options.action_cursor_down)()

    def _choose(self, option: Option) -> None:
        self.dismiss(self._options[int(option.id or 0)][0])


class Note(ModalScreen[str]):
    """A line of words about a reply; empty is fine, Escape takes the rating back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, rating: Literal[1, -1]) -> None:
        super().__init__()
        self._rating = rating

    def compose(self) -> ComposeResult:
        """One field."""
        with Vertical(classes="dialog small"):
            yield Label("👍 What was good?" if self._rating > 0 else "👎 What was wrong?")
            yield Input(placeholder="optional; Enter to send")

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class Help(ModalScreen[None]):
    """Keys and commands."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        """A list of commands and keys."""
        keys = (
            ("Enter", "send"),
            ("Shift+Enter, Ctrl+J", "new line"),
            ("↑ ↓", "what you sent before"),
            ("Ctrl+R", "search earlier conversations"),
            ("1–9", "choose a reading, when asked"),
        )
        lines = [f"{name:24}{what}" for name, what in (*help_lines(), ("", ""), *keys)]
        with VerticalScroll(classes="dialog"):
            yield Static(Content("\n".join(lines)))
            yield Static(Content("\nEscape closes this."), classes="facts")


class ChatApp(App[None]):
    """The conversation on the left, its sources on the right, the prompt below."""

    TITLE = "botkit"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #status { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
    #conversation { width: 1fr; padding: 0 1; }
    #sources { width: 40%; max-width: 64; border-left: tall $panel; padding: 0 1; display: none; }
    #sources.shown { display: block; }
    .narrow #conversation.covered { display: none; }
    .narrow #sources { width: 1fr; max-width: 100%; border-left: none; }
    .bubble { height: auto; margin: 1 0 0 0; }
    .bubble .words { width: auto; max-width: 100%; height: auto; }
    .user { padding-left: 4; align-horizontal: right; }
    .user .words { background: $primary 25%; padding: 0 1; }
    .bot { padding-right: 4; }
    .note .words, .facts { color: $text-muted; }
    .facts { height: auto; }
    .error .words { color: $text-error; }
    .source-title { text-style: bold; margin-top: 1; height: auto; }
    .passage { border-left: wide $accent; padding-left: 1; height: auto; }
    .options { height: auto; padding-right: 4; }
    .options Button { width: auto; max-width: 100%; height: auto; min-width: 8; margin-top: 1; }
    #prompt { height: auto; min-height: 3; max-height: 10; border: round $primary; }
    #prompt:focus { border: round $accent; }
    Choice, Note, Help { align: center middle; }
    .dialog { width: 90%; max-width: 90; height: auto; max-height: 80%; border: round $accent; background: $surface; padding: 1 2; }
    .dialog.small { max-width: 60; }
    .dialog OptionList { height: auto; max-height: 16; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", priority=True),
        Binding("f2", "sources", "Sources", priority=True),
        Binding("f3", "rate(1)", "👍", priority=True),
        Binding("f4", "rate(-1)", "👎", priority=True),
        Binding("f5", "new", "New", priority=True),
        Binding("f6", "switch", "Switch", priority=True),
        Binding("f7", "export", "Export", priority=True),
        Binding("f8", "theme", "Theme", priority=True),
        Binding("ctrl+r", "search", "Search", priority=True),
        Binding("ctrl+q", "quit", "Quit", priority=True),
    ]

    def __init__(self, session: Session, *, theme: Literal["dark", "light"] = "dark") -> None:
        super().__init__()
        self._session = session
        self._dark = theme == "dark"
        self._models_loaded = False

    def compose(self) -> ComposeResult:
        """Status, conversation and sources, prompt, keys."""
        yield Static("", id="status")
        with Horizontal(id="middle"):
            yield VerticalScroll(id="conversation")
            yield Sources(id="sources")
        yield Prompt()
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Greet at once; load the models behind it."""
        self._apply_theme()
        bot = self._session.engine.settings.config.bot
        self.title = bot.name
        greeting = bot.greeting or phrase("greeting", "zh" if bot.language == "zh" else "en")
        self._say(greeting, "bot")
        self.query_one(Prompt).focus()
        self._load()

    def on_resize(self, event: events.Resize) -> None:
        """Below `NARROW` columns the sources cover the conversation."""
        self.set_class(event.size.width < NARROW, "narrow")
        self._lay_out()

    # ---- loading --------------------------------------------------------------------------------------------------

    @work(exclusive=True, group="loading")
    async def _load(self) -> None:
        """Read the documents and load the models; the person may write meanwhile."""
        engine = self._session.engine
        self._status("loading the models …")

        def show(step: Progress) -> None:
            self.call_from_thread(self._status, f"reading documents … {step.files}/{step.files_total}")

        try:
            await asyncio.gather(asyncio.to_thread(engine.knowledge.prepare, show), engine.warm_up())
            documents = len(await asyncio.to_thread(engine.knowledge.documents))
        except BotkitError as error:
            self._status("not ready")
            self._complain(error)
            return
        self._models_loaded = True
        self._status(f"{documents} documents")
        if self._session.conversation and not self.query(".user"):
            await self._restore()

    async def _restore(self) -> None:
        """Show a conversation that was asked for by name."""
        try:
            turns = await self._session.switch(self._session.conversation)
        except BotkitError:
            return  # a new conversation
        for turn in turns:
            self._say(turn.text, turn.role)

    def _status(self, text: str) -> None:
        language = self._session.language or "auto"
        try:
            self.query_one("#status", Static).update(Content(f"{self.title} — {text} — {language}"))
        except NoMatches:
            return  # the app is closing

    # ---- the conversation -----------------------------------------------------------------------------------------

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        try:
            command = parse(event.text.strip())
        except BotkitError as error:
            self._complain(error)
            return
        if command:
            self._obey(command)
        else:
            self._ask(event.text)

    def _ask(self, text: str) -> None:
        for options in self.query(".options"):
            options.remove()
        self._say(text.strip(), "user")
        self._respond(text)

    @work(group="replies")
    async def _respond(self, text: str) -> None:
        """Show a reply as it comes."""
        bubble = self._say("…", "bot")
        begun = False
        try:
            async for event in self._session.respond(text):
                match event:
                    case Status() if not begun:
                        waits = "" if self._models_loaded else " (the models are still loading)"
                        bubble.wait(f"{event.stage} …{waits}")
                    case Delta():
                        if not begun:
                            bubble.restart()
                            begun = True
                        bubble.add(event.text)
                    case Reply():
                        self._session.last = event
                        bubble.finish(event)
                        self._show_sources(event)
                        self._offer(event)
                self._follow()
        except BotkitError as error:
            bubble.remove()
            self._complain(error)
        except Exception as error:  # a bug must not cost the person the conversation
            logger.exception("the reply failed")
            bubble.remove()
            self._say(
                f"Something went wrong inside botkit ({type(error).__name__}: {error}). It is in the log.", "note"
            )

    def _say(self, text: str, role: Literal["user", "bot", "note"]) -> Bubble:
        bubble = Bubble(text, role)
        self.query_one("#conversation").mount(bubble)
        self._follow()
        return bubble

    def _follow(self) -> None:
        self.query_one("#conversation", VerticalScroll).scroll_end(animate=False)

    def _complain(self, error: BotkitError) -> None:
        self._say(str(error), "note").add_class("error")

    def _offer(self, reply: Reply) -> None:
        """Buttons for the readings of a question that can be understood in more than one way."""
        if reply.options:
            buttons = [Button(f"{i}. {text}", name=str(i)) for i, text in enumerate(reply.options, 1)]
            self.query_one("#conversation").mount(Vertical(*buttons, classes="options"))

    @on(Button.Pressed)
    def _picked(self, event: Button.Pressed) -> None:
        self._ask(event.button.name or "")
        self.query_one(Prompt).focus()

    def _show_sources(self, reply: Reply) -> None:
        panel = self.query_one(Sources)
        panel.show(reply.sources)
        if reply.sources and not self.has_class("narrow"):
            panel.add_class("shown")
        self._lay_out()

    def _lay_out(self) -> None:
        try:
            shown = self.query_one(Sources).has_class("shown")
            self.query_one("#conversation").set_class(shown, "covered")
        except NoMatches:
            return  # not composed yet

    # ---- commands -------------------------------------------------------------------------------------------------

    @work(group="commands")
    async def _obey(self, command: Command) -> None:
        session = self._session
        try:
            match command.name:
                case "help":
                    self.action_help()
                case "explain":
                    self._say(
                        explanation(session.last) if session.last else "There is no reply to explain yet.", "note"
                    )
                case "sources":
                    self.action_sources()
                case "ingest":
                    await self._ingest(command.argument)
                case "lang":
                    session.set_language(command.argument)
                    self._status("language set")
                case "up" | "down":
                    await session.rate(1 if command.name == "up" else -1, command.argument)
                    self.notify("Thank you.")
                case "new":
                    self.action_new()
                case "switch":
                    await self._switch(command.argument)
                case "search":
                    await self._search(command.argument)
                case "export":
                    self.notify(f"Written: {await session.export(command.argument)}")
                case "clear":
                    await self.query_one("#conversation").remove_children()
                case "quit":
                    self.exit()
        except BotkitError as error:
            self._complain(error)

    async def _ingest(self, path: str) -> None:
        note = self._say("reading …", "note")

        def show(step: Progress) -> None:
            self.call_from_thread(self._status, f"reading … {step.files}/{step.files_total}")

        try:
            report = await self._session.ingest(path, show)
        except BotkitError:
            note.remove()
            raise
        note.restart()
        note.add(ingested(report))
        self._status("documents read")

    async def _switch(self, conversation: str) -> None:
        if not conversation:
            found = await self._session.conversations()
            options = [(info.id, f"{info.last_at.astimezone():%d %b %H:%M}  {info.title}") for info in found]
            conversation = await self.push_screen_wait(Choice("Conversations", options)) or ""
            if not conversation:
                return
        turns = await self._session.switch(conversation)
        await self.query_one("#conversation").remove_children()
        for turn in turns:
            self._say(turn.text, turn.role)

    async def _search(self, words: str) -> None:
        found = await self._session.search(words)
        options = [
            (
                turn.conversation,
                f"{turn.created_at.astimezone():%d %b %H:%M}  {turn.role}: {' '.join(turn.text.split())}",
            )
            for turn in found
        ]
        if chosen := await self.push_screen_wait(Choice("What was said before", options)):
            await self._switch(chosen)

    def action_help(self) -> None:
        """Show keys and commands."""
        self.push_screen(Help())

    def action_sources(self) -> None:
        """Show or hide the sources."""
        self.query_one(Sources).toggle_class("shown")
        self._lay_out()

    @work(group="commands")
    async def action_rate(self, rating: int) -> None:
        """Rate the last reply, with a note if the person likes."""
        chosen: Literal[1, -1] = 1 if rating > 0 else -1
        if self._session.last is None:
            self.notify("There is no reply to rate yet.", severity="warning")
            return
        note: str | None = await self.push_screen_wait(Note(chosen))
        if note is None:
            return
        try:
            await self._session.rate(chosen, note)
            self.notify("Thank you.")
        except BotkitError as error:
            self._complain(error)

    def action_new(self) -> None:
        """Start a new conversation."""
        self._session.new()
        self.query_one("#conversation").remove_children()
        self.query_one(Sources).show(())
        self._status("a new conversation")

    def action_switch(self) -> None:
        """Go on with another conversation."""
        self._obey(Command("switch", ""))

    def action_search(self) -> None:
        """Search what was said before."""
        self._obey(Command("search", ""))

    def action_export(self) -> None:
        """Write the conversation to a file."""
        self._obey(Command("export", ""))

    def action_theme(self) -> None:
        """Switch between dark and light."""
        self._dark = not self._dark
        self._apply_theme()

    def _apply_theme(self) -> None:
        self.theme = "textual-dark" if self._dark else "textual-light"
