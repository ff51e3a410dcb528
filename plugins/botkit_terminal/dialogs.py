"""What lies over the screen for a moment: a list to choose from, a line to write, the list of keys and commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from rich.table import Table
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from botkit.errors import BotkitError
from botkit.messages import Language
from botkit_terminal.session import help_lines
from botkit_terminal.words import word

Choices = Sequence[tuple[str, str]]
"""Pairs of what is returned and what is shown."""
Find = Callable[[str], Awaitable[Choices]]
"""What there is to choose from, for what was typed."""


class Choice(ModalScreen[str | None]):
    """A list to choose from, looked up anew with every letter typed. None where the person goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, find: Find, language: Language, typed: str = "") -> None:
        super().__init__()
        self._title = title
        self._find = find
        self._language: Language = language
        self._typed = typed
        self._found: Choices = ()

    def compose(self) -> ComposeResult:
        """A field over a list, and which keys they have."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = word("keys_choice", self._language)
            yield Label(Content(self._title), classes="dialog-title")
            yield Input(self._typed, placeholder=word("narrow", self._language))
            yield OptionList()

    def on_mount(self) -> None:
        """Show what there is before anything is typed."""
        self._look_up(self._typed)

    @on(Input.Changed)
    def _typed_more(self, event: Input.Changed) -> None:
        self._look_up(event.value)

    @work(exclusive=True)
    async def _look_up(self, typed: str) -> None:
        try:
            self._found = await self._find(typed)
        except BotkitError as error:
            self._found = ()
            self.notify(str(error), severity="error")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(Content(shown), id=str(i)) for i, (_, shown) in enumerate(self._found))
        if self._found:
            options.highlighted = 0
        else:
            options.add_option(Option(word("nothing_found", self._language), disabled=True))

    @on(Input.Submitted)
    def _take_highlighted(self) -> None:
        options = self.query_one(OptionList)
        if self._found and options.highlighted is not None:
            self.dismiss(self._found[options.highlighted][0])

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index][0])

    def on_key(self, event: events.Key) -> None:
        """Up and down move in the list while the field has the focus."""
        if event.key in ("up", "down") and isinstance(self.focused, Input):
            event.stop()
            options = self.query_one(OptionList)
            (options.action_cursor_up if event.key == "up" else options.action_cursor_down)()


class Line(ModalScreen[str | None]):
    """One line to write; it may stay empty. None where the person goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, language: Language, *, value: str = "", placeholder: str = "") -> None:
        super().__init__()
        self._title = title
        self._language: Language = language
        self._value = value
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        """One field, and which keys it has."""
        with Vertical(classes="dialog small") as dialog:
            dialog.border_subtitle = word("keys_line", self._language)
            yield Label(Content(self._title), classes="dialog-title")
            yield Input(self._value, placeholder=self._placeholder)

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class Help(ModalScreen[None]):
    """Keys and commands."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q,enter", "dismiss", "Back")]

    def __init__(self, keys: Sequence[tuple[str, str]], language: Language) -> None:
        """`keys` are pairs of a key and what it does."""
        super().__init__()
        self._keys = keys
        self._language: Language = language

    def compose(self) -> ComposeResult:
        """Two tables."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_subtitle = word("keys_help", self._language)
            yield Label(word("keys", self._language), classes="dialog-title")
            yield Static(_table(self._keys))
            yield Label(word("commands", self._language), classes="dialog-title")
            yield Static(_table(help_lines(self._language)))


def _table(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column(style="bold", no_wrap=True, min_width=20)
    table.add_column(ratio=1, overflow="fold")  # a sentence in Chinese is one long word to a table
    for name, what in rows:
        table.add_row(name.replace("[", r"\["), what)
    return table
