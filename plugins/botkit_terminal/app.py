"""The full-screen chat."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from textual import events, on, work
from textual.app import App, ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.theme import Theme
from textual.widgets import Static

from botkit.errors import BotkitError
from botkit.messages import Delta, Language, Reply, Status
from botkit.phrases import phrase
from botkit_terminal.dialogs import Choice, Choices, Find, Help, Line
from botkit_terminal.session import (
    Command,
    Session,
    explanation,
    ingested,
    one_line,
    parse,
    reply_of,
)
from botkit_terminal.widgets import Bubble, Keys, Options, Prompt, Sources
from botkit_terminal.words import stage, word

if TYPE_CHECKING:
    from botkit.conversations.store import StoredTurn
    from botkit.knowledge.ingest import Progress

logger = logging.getLogger(__name__)

NARROW: Final = 90
"""Columns below which the sources lie over the conversation instead of beside it."""
_BAR_CELLS: Final = 16
_KEYS: Final = (
    ("ctrl+q", "quit", "key_quit"),
    ("f1", "help", "key_help"),
    ("f2,ctrl+s", "sources", "key_sources"),
    ("f3", "rate(1)", "👍"),
    ("f4", "rate(-1)", "👎"),
    ("ctrl+n,f5", "new", "key_new"),
    ("ctrl+o", "switch", "key_open"),
    ("ctrl+r", "search", "key_search"),
    ("f8,ctrl+g", "export", "key_export"),
    ("ctrl+t", "theme", "key_theme"),
)
"""Keys, the action, and its name in `words.py`; the most important first, since a narrow footer shows only those."""
_QUIET_KEYS: Final = (("escape", "close"), ("alt+up", "walk(-1)"), ("alt+down", "walk(1)"))
"""Keys that the footer does not show."""
_FOUND_S: Final = 3.0
"""Seconds for which a turn that was searched for stands out."""
_THEMES: Final = (
    Theme(
        "botkit-dark",
        primary="#5B8DEF",
        secondary="#7E9BC8",
        accent="#63C5B5",
        warning="#E0B45C",
        error="#E5737F",
        success="#7CC58C",
        foreground="#D9DEE7",
        background="#14181F",
        surface="#1B212B",
        panel="#262E3A",
        variables={"span-foreground": "#14181F", "span-background": "#E8C46A"},
    ),
    Theme(
        "botkit-light",
        primary="#2F66C8",
        secondary="#5A7299",
        accent="#0F7F70",
        warning="#9A6A00",
        error="#B3303F",
        success="#2E7D46",
        foreground="#20262F",
        background="#FBFAF7",
        surface="#F1EFEA",
        panel="#E3E0D8",
        dark=False,
        variables={"span-foreground": "#20262F", "span-background": "#FFE08A"},
    ),
)


class ChatApp(App[None]):
    """The conversation on the left, its sources on the right, the prompt below."""

    TITLE = "botkit"
    ENABLE_COMMAND_PALETTE = False
    CSS_PATH: ClassVar[str] = "app.tcss"
    SUSPENDED_SCREEN_CLASS: ClassVar[str] = "below"

    def __init__(self, session: Session, *, dark: bool = True) -> None:
        super().__init__()
        self._session = session
        self._dark = dark
        self._state: tuple[str, dict[str, object]] = ("loading", {})
        self._step: Progress | None = None
        self._models_loaded = False
        self._sources_unwanted = False
        self._going = self._finishing = False
        self._ratings: set[asyncio.Task[Reply]] = set()
        self._leaving = threading.Event()
        for theme in _THEMES:
            self.register_theme(theme)
        self.theme = _THEMES[0 if dark else 1].name
        self._spoken = session.speaks
        self._name_keys()
        for key, action in _QUIET_KEYS:
            self._bindings.bind(key, action, show=False)

    def _name_keys(self) -> None:
        """Bind the keys, named in the footer in the language that is spoken now."""
        for keys, action, name in _KEYS:
            for key in keys.split(","):
                self._bindings.key_to_bindings.pop(key, None)
            description = name if action.startswith("rate") else word(name, self._session.speaks)
            self._bindings.bind(keys, action, description, priority=action == "quit")

    def compose(self) -> ComposeResult:
        """Status, conversation and sources, prompt, keys."""
        yield Static("", id="status")
        with Horizontal(id="middle"):
            yield VerticalScroll(id="conversation", can_focus=False)
            yield Sources(id="sources")
        yield Prompt(word("prompt", self._session.speaks))
        yield Keys()

    def on_mount(self) -> None:
        """Greet at once; load the models behind it."""
        bot = self._session.engine.settings.config.bot
        self.title = bot.name
        self._show_status()
        self.conversation.anchor()
        self._say(bot.greeting or phrase("greeting", self._session.speaks), "bot")
        self.prompt.focus()
        self.sources.show((), self._session.speaks)
        self._recall()
        self.call_after_refresh(self._load)  # threads that import and load would hold up the first picture

    def on_resize(self, event: events.Resize) -> None:
        """Below `NARROW` columns the sources cover the conversation."""
        narrow = event.size.width < NARROW
        if narrow != self.has_class("narrow"):
            if self.has_class("over") and not self._sources_unwanted:
                self.sources.add_class("shown")
            self.remove_class("over")
            self.set_class(narrow, "narrow")

    async def on_event(self, event: events.Event) -> None:
        """What is typed goes to the prompt, wherever the focus is, unless there is a dialog."""
        typed = isinstance(event, events.Paste) or (isinstance(event, events.Key) and event.is_printable)
        if typed and not event.is_forwarded and len(self.screen_stack) == 1:
            self.action_close()
        await super().on_event(event)

    def on_unmount(self) -> None:
        """Let a reading of documents stop."""
        self._leaving.set()

    async def leave(self) -> None:
        """Finish the answers and the ratings under way, then close."""
        while replies := [worker for worker in self.workers if worker.group == "replies" and not worker.is_finished]:
            self._finishing = True
            self._show_status()
            await asyncio.gather(*(reply.wait() for reply in replies), return_exceptions=True)
        await asyncio.gather(*self._ratings, return_exceptions=True)
        self.exit()

    @property
    def conversation(self) -> VerticalScroll:
        """Where the bubbles are."""
        return self.screen_stack[0].query_one("#conversation", VerticalScroll)

    @property
    def prompt(self) -> Prompt:
        """Where the person writes."""
        return self.screen_stack[0].query_one(Prompt)

    @property
    def sources(self) -> Sources:
        """The panel at the side."""
        return self.screen_stack[0].query_one(Sources)

    # ---- loading --------------------------------------------------------------------------------------------------

    @work(group="recall")
    async def _recall(self) -> None:
        """Show the conversation that goes on, and let the prompt remember what this person said before."""
        with self._told():
            turns = await self._session.resume()
            if turns and not self.query(".user"):
                await self._show(turns)
            before = [turn.text for turn in await self._session.search("") if turn.role == "user"]
            self.prompt.remember(before[::-1])

    @work(group="loading")
    async def _load(self) -> None:
        """Read the documents and load the models; the person may write meanwhile."""
        engine = self._session.engine
        try:
            await asyncio.gather(self._prepare(), engine.warm_up(documents=False))
            self._models_loaded = True
            await self._count_documents()
        except BotkitError as error:
            self._status("not_ready")
            self._complain(str(error))
        except Exception as error:  # as in _told
            self._status("not_ready")
            self._confess(error)

    async def _prepare(self) -> None:
        async with self._reads():
            await asyncio.to_thread(self._session.engine.knowledge.prepare, self._progress())

    @asynccontextmanager
    async def _reads(self) -> AsyncIterator[None]:
        """Read documents inside, once all that are being read are read: the library has one writer at a time."""
        async with self._session.reading:
            try:
                yield
            finally:
                self._step = None
                self._show_status()

    async def _count_documents(self) -> None:
        count = len(await asyncio.to_thread(self._session.engine.knowledge.documents))
        self._status("one_document" if count == 1 else "documents", n=count)

    def _progress(self) -> _Progress:
        """What an ingest calls, in its own thread, at every file and while one is embedded."""
        return _Progress(self, asyncio.get_running_loop(), self._leaving)

    def show_progress(self, step: Progress) -> None:
        """How far a reading of documents is."""
        self._step = step
        self._show_status()

    def _status(self, name: str, **values: object) -> None:
        """Say words of that name in the line at the top, when nothing more urgent stands there."""
        self._state = name, values
        self._show_status()

    def _show_status(self) -> None:
        language = self._session.speaks
        name, values = self._state
        if self._finishing:
            said = word("finishing", language)
        elif self._step:
            said = _so_far(self._step, language)
        else:
            said = word(name, language, **values)
        try:
            status = self.screen_stack[0].query_one("#status", Static)
        except (NoMatches, IndexError):
            return  # the app is closing
        chosen = word(self._session.language or "auto", language)
        status.update(Content.assemble((self.title, "bold $text"), f"  {said} · {chosen}"))

    def _speak(self) -> None:
        """Turn status, keys and prompt to the language that is spoken now."""
        self._show_status()
        if self._spoken != self._session.speaks:
            self._spoken = self._session.speaks
            self._name_keys()
            self.screen_stack[0].refresh_bindings()
            self.prompt.placeholder = word("prompt", self._spoken)

    # ---- the conversation -----------------------------------------------------------------------------------------

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        with self._told():
            command = parse(event.text.strip(), self._session.speaks)
            if command:
                self._obey(command)
            else:
                self._ask(event.text.strip())

    @on(Prompt.Chosen)
    def _chose_number(self, event: Prompt.Chosen) -> None:
        texts = [text for options in self.query(Options) for text in options.texts]
        if event.option < len(texts):
            self._ask(texts[event.option])

    @on(Options.Chosen)
    def _chose_button(self, event: Options.Chosen) -> None:
        self._ask(event.text)

    @on(Prompt.Left)
    def _left(self) -> None:
        if self._going:
            self.exit()
        else:
            self._going = True
            self.run_worker(self.leave(), group="leaving")

    @on(Prompt.Turned)
    def _turned(self, event: Prompt.Turned) -> None:
        (self.conversation.scroll_page_down if event.down else self.conversation.scroll_page_up)()

    @on(Bubble.Picked)
    def _picked(self, event: Bubble.Picked) -> None:
        self._pick(event.picked)

    def _pick(self, bubble: Bubble) -> None:
        """Mark a reply and show its sources."""
        self._mark(bubble)
        sources = bubble.reply.sources if bubble.reply else ()
        self.sources.show(sources, self._session.speaks)
        if sources:
            self._cover(True)

    def _mark(self, bubble: Bubble | None) -> None:
        """Mark this bubble and no other."""
        self.conversation.query(".marked").remove_class("marked")
        if bubble is not None:
            bubble.add_class("marked")

    def _ask(self, text: str) -> None:
        self._offer(())
        self._mark(None)
        self.action_close()
        self.conversation.anchor()
        self._respond(text, self._say(text, "user"), self._say("", "bot"))

    @work(group="replies")
    async def _respond(self, text: str, question: Bubble, bubble: Bubble) -> None:
        """Show a reply as it comes."""
        session = self._session
        conversation = session.conversation
        for side in (question, bubble):
            side.add_class("coming")
        bubble.wait(word("still_loading", session.speaks) if not self._models_loaded else "…")
        finished = False
        try:
            with self._told():
                async for event in session.respond(text):
                    match event:
                        case Status():
                            bubble.wait(stage(event.stage, session.speaks))
                        case Delta():
                            bubble.add(event.text)
                        case Reply():
                            here = conversation == session.conversation
                            if here and not bubble.is_attached:  # the person went elsewhere and came back
                                bubble = self._say("", "bot")
                            bubble.finish(event, session.speaks)
                            finished = True
                            self._speak()
                            if here:
                                self._follow_up(event)
        finally:
            for side in (question, bubble):
                side.remove_class("coming")
            if not finished and bubble.is_attached:
                bubble.remove()

    def _follow_up(self, reply: Reply) -> None:
        """The sources of a reply, and buttons for what may be said next."""
        language = self._session.speaks
        self._mark(None)
        self.sources.show(reply.sources, language)
        if reply.sources and not self._sources_unwanted:
            self.sources.add_class("shown")
        agree = (word("agree", reply.language),) if reply.hand_off_offered else ()
        self._offer((*reply.options, *agree))

    def _offer(self, texts: Sequence[str]) -> None:
        """Buttons, and number keys, in place of those offered before."""
        self.screen_stack[0].query(Options).remove()
        self.prompt.options = len(texts)
        if texts:
            self.conversation.mount(Options(texts))

    def _say(self, text: str, role: Literal["user", "bot", "note", "error"]) -> Bubble:
        bubble = Bubble(text, role)
        self.conversation.mount(bubble)
        return bubble

    def _complain(self, message: str) -> None:
        self._say(message, "error")

    def _confess(self, error: Exception) -> None:
        logger.error("a bug", exc_info=error)
        self._complain(word("bug", self._session.speaks, error=f"{type(error).__name__}: {error}"))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell the person what fails inside; a bug must not cost her the conversation either."""
        try:
            yield
        except BotkitError as error:
            self._complain(str(error))
        except Exception as error:
            self._confess(error)

    async def _show(self, turns: Sequence[StoredTurn], found: str = "") -> None:
        """Show what was said in place of what is on the screen, from its end or around the turn `found`."""
        self._speak()
        self.action_close()
        await self.conversation.remove_children()
        self._offer(())
        language = self._session.speaks
        bubbles = {turn.id: Bubble(turn.text, turn.role) for turn in turns}
        await self.conversation.mount_all(bubbles.values())
        for turn in turns:
            if reply := reply_of(turn):
                bubbles[turn.id].finish(reply, language, turn.rating or 0)
        last = self._session.last
        self.sources.show(last.sources if last else (), language)
        self.conversation.anchor()
        if found in bubbles:
            self.call_after_refresh(self._point_at, bubbles[found])

    def _point_at(self, bubble: Bubble) -> None:
        """Scroll to a bubble, and let it stand out for a moment."""
        self._scroll_to(bubble)
        bubble.add_class("found")
        self.set_timer(_FOUND_S, lambda: bubble.remove_class("found"))

    def _scroll_to(self, bubble: Bubble) -> None:
        self.conversation.release_anchor()
        self.conversation.scroll_to_widget(bubble, animate=False, immediate=True)

    def _cover(self, shown: bool) -> None:
        """Show or hide the sources: over the conversation where there is no room beside it."""
        if not self.has_class("narrow"):
            self.sources.set_class(shown, "shown")
            return
        self.set_class(shown, "over")
        for bubble in self.conversation.query(".marked").results(Bubble):
            self.call_after_refresh(self._scroll_to, bubble)

    # ---- commands -------------------------------------------------------------------------------------------------

    @work(group="commands")
    async def _obey(self, command: Command) -> None:
        session = self._session
        with self._told():
            match command.name:
                case "help":
                    self.action_help()
                case "explain":
                    language = session.speaks
                    lines = explanation(session.last, language) if session.last else []
                    self._say("\n".join(lines) or word("nothing_to_explain", language), "note")
                case "sources":
                    self._mark(None)
                    self.sources.show(session.last.sources if session.last else (), session.speaks)
                    self._cover(True)
                    if self.has_class("narrow"):
                        self.sources.focus()
                case "ingest":
                    await self._ingest(command.argument)
                case "lang":
                    session.set_language(command.argument)
                    self._speak()
                    name = word(session.language or "auto", session.speaks)
                    self._say(word("language_set", session.speaks, name=name), "note")
                case "up" | "down":
                    await self._rate(1 if command.name == "up" else -1, command.argument)
                case "new":
                    self.action_new()
                case "switch":
                    await self._switch(command.argument)
                case "search":
                    await self._search(command.argument)
                case "export":
                    await self._export(command.argument)
                case "clear":
                    await self.conversation.query("Bubble, Options").exclude(".coming").remove()
                    self.prompt.options = 0
                case "quit":
                    await self.action_quit()

    async def _ingest(self, written: str) -> None:
        path = self._session.existing(written)
        note = self._say("", "note")
        note.add_class("coming")
        note.wait(word("waits_for_reading", self._session.speaks))
        try:
            async with self._reads():
                note.wait(word("reading", self._session.speaks) + " …")
                report = await self._session.ingest(path, self._progress())
        except BaseException:
            note.remove()
            raise
        if not note.is_attached:
            note = self._say("", "note")
        note.remove_class("coming")
        note.add(ingested(report, self._session.speaks))
        if self._models_loaded:
            await self._count_documents()

    async def _rate(self, rating: Literal[1, -1], note: str, reply: Reply | None = None) -> None:
        kept = asyncio.create_task(self._session.rate(rating, note, reply))
        self._ratings.add(kept)
        kept.add_done_callback(self._ratings.discard)
        rated = await asyncio.shield(kept)
        for bubble in self.conversation.query(Bubble):
            if bubble.reply is not None and bubble.reply.id == rated.id:
                bubble.rate(rating, self._session.speaks)
        self.notify(word("thanks", self._session.speaks))

    async def _switch(self, conversation: str) -> None:
        if not conversation:
            infos = await self._session.conversations()
            choices = [(info.id, f"{info.last_at.astimezone():%d %b %H:%M}  {one_line(info.title)}") for info in infos]

            async def narrowed(typed: str) -> Choices:
                return [choice for choice in choices if typed.casefold() in choice[1].casefold()][:_LISTED]

            conversation = await self._choose("conversations", narrowed)
        if conversation:
            await self._show(await self._session.switch(conversation))

    async def _search(self, words: str) -> None:
        """Find anything that was said, and go on with its conversation."""
        conversations: dict[str, str] = {}

        async def find(typed: str) -> Choices:
            turns = await self._session.search(typed)
            conversations.update((turn.id, turn.conversation) for turn in turns)
            return [(turn.id, _listed(turn)) for turn in turns]

        if found := await self._choose("said_before", find, words):
            await self._show(await self._session.switch(conversations[found]), found)

    async def _choose(self, title: str, find: Find, typed: str = "") -> str:
        language = self._session.speaks
        return await self.push_screen_wait(Choice(word(title, language), find, language, typed)) or ""

    async def _export(self, file: str) -> None:
        path = await self._session.export(file)
        self._say(word("written", self._session.speaks, path=path), "note")

    def action_help(self) -> None:
        """Show keys and commands."""
        language = self._session.speaks
        keys = (
            ("Enter", "does_send"),
            ("Shift+Enter, Ctrl+J", "does_line"),
            ("↑ ↓", "does_recall"),
            ("Ctrl+R", "does_search"),
            ("Page Up, Page Down", "does_scroll"),
            ("1 … 9, Enter", "does_choose"),
            ("F2, Ctrl+S", "does_sources"),
            ("Escape", "does_close"),
            ("Alt+↑, Alt+↓", "does_walk"),
            ("F3 👍, F4 👎", "does_rate"),
            ("Ctrl+N, F5", "does_new"),
            ("Ctrl+O", "does_open"),
            ("F8, Ctrl+G", "does_export"),
            ("Ctrl+T", "does_theme"),
            ("Ctrl+Q", "does_quit"),
            ("Ctrl+D", "does_end"),
        )
        self.push_screen(Help([(key, word(does, language)) for key, does in keys], language))

    def action_sources(self) -> None:
        """Show or hide the sources."""
        shown = not self.sources.display
        if not self.has_class("narrow"):
            self._sources_unwanted = not shown
        self._cover(shown)
        (self.sources if shown and self.has_class("narrow") else self.prompt).focus()

    def action_close(self) -> None:
        """Close sources that lie over the conversation, and go back to the prompt."""
        if self.has_class("over"):
            self._cover(False)
        self.screen_stack[0].set_focus(self.prompt)

    def action_walk(self, step: int) -> None:
        """Show the sources of the reply before or after the marked one, passing over those without any."""
        replies = [bubble for bubble in self.conversation.query(Bubble) if bubble.reply and bubble.reply.sources]
        if not replies:
            return
        marked = next((at for at, bubble in enumerate(replies) if bubble.has_class("marked")), len(replies))
        bubble = replies[min(max(0, marked + step), len(replies) - 1)]
        self._scroll_to(bubble)
        self._pick(bubble)

    async def action_quit(self) -> None:
        """Leave when what was sent is answered; the second time, at once."""
        self.prompt.leave()

    def action_help_quit(self) -> None:
        """Say how to leave to who presses Ctrl+C, which copies here."""
        self.notify(word("how_to_quit", self._session.speaks))

    @work(group="commands")
    async def action_rate(self, rating: int) -> None:
        """Rate the last reply, with a note if the person likes."""
        chosen: Literal[1, -1] = 1 if rating > 0 else -1
        language = self._session.speaks
        with self._told():
            rated = self._session.last  # another reply may come while the note is typed
            if rated is None:
                self.notify(word("nothing_to_rate", language), severity="warning")
                return
            title = word("what_good" if chosen > 0 else "what_wrong", language)
            note = await self.push_screen_wait(Line(title, language, placeholder=word("optional", language)))
            if note is not None:
                await self._rate(chosen, note, rated)

    def action_new(self) -> None:
        """Start a new conversation."""
        self._session.new()
        self._speak()
        self.conversation.remove_children()
        self.prompt.options = 0
        self.sources.show((), self._session.speaks)
        self.sources.remove_class("shown")
        self.remove_class("over")
        self._say(word("new_conversation", self._session.speaks), "note")

    def action_switch(self) -> None:
        """Go on with another conversation."""
        self._obey(Command("switch"))

    @work(group="commands")
    async def action_search(self) -> None:
        """Put something said before into the prompt."""

        async def find(typed: str) -> Choices:
            found = await self._session.search(typed)
            return [(turn.text, _listed(turn)) for turn in found if turn.role == "user"]

        if text := await self._choose("you_said", find, self.prompt.text if "\n" not in self.prompt.text else ""):
            self.prompt.put(text)

    @work(group="commands")
    async def action_export(self) -> None:
        """Write the conversation to a file that the person names."""
        session = self._session
        title = word("export_to", session.speaks)
        if file := await self.push_screen_wait(Line(title, session.speaks, value=session.export_name)):
            with self._told():
                await self._export(file)

    def action_theme(self) -> None:
        """Switch between dark and light."""
        self._dark = not self._dark
        self.theme = _THEMES[0 if self._dark else 1].name


_LISTED: Final = 50
"""Conversations that are listed at a time; typing narrows them down."""


class _Progress:
    """Carries the progress of an ingest from its thread to the screen; ends the ingest when the person leaves."""

    def __init__(self, app: ChatApp, loop: asyncio.AbstractEventLoop, leaving: threading.Event) -> None:
        self._app = app
        self._loop = loop
        self._leaving = leaving

    def __call__(self, step: Progress) -> None:
        if self._leaving.is_set():
            raise BotkitError("The reading of documents was stopped.")  # nobody is left to read this
        # not call_from_thread: that waits for an app that may be closing
        self._loop.call_soon_threadsafe(self._app.show_progress, step)


def _so_far(step: Progress, language: Language) -> str:
    filled = _BAR_CELLS * step.bytes // max(1, step.bytes_total)
    bar = "━" * filled + "╌" * (_BAR_CELLS - filled)
    return word("reading_so_far", language, bar=bar, files=step.files, total=step.files_total)


def _listed(turn: StoredTurn) -> str:
    return f"{turn.created_at.astimezone():%d %b %H:%M}  {one_line(turn.text)}"
