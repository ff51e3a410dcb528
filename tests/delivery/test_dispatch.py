from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from botkit.delivery import Again, Attachment, Delivery, Dispatcher, Inbox, Incoming, Uploads, button_data, rate
from botkit.delivery.access import AllowList
from botkit.errors import AdapterError
from botkit.messages import Reply
from botkit.testing import ScriptedEngine
from botkit.testing.conformance import until
from tests.parts import MakeBot


class PlatformError(Exception):
    pass


class Board:
    """A platform of one list: what is posted, by id."""

    def __init__(self) -> None:
        self.posts: dict[str, str] = {}
        self.notices: list[str] = []
        self.statuses: list[str] = []
        self.drafts: list[str] = []
        self.errors: list[Exception] = []
        self.files: dict[str, bytes] = {}
        self.pieces = 1

    def outlet(self, delivery: Delivery) -> BoardOutlet:
        return BoardOutlet(self, delivery)


class BoardOutlet:
    def __init__(self, board: Board, delivery: Delivery) -> None:
        self.board, self.delivery = board, delivery

    def call(self) -> None:
        if self.board.errors:
            raise self.board.errors.pop(0)

    async def status(self, stage: str) -> None:
        self.board.statuses.append(stage)

    async def show(self, text: str) -> None:
        self.board.drafts.append(text)
        if len(self.board.drafts) == 1:
            raise PlatformError("showing is only for the eye")

    async def send(self, number: int, text: str) -> str:
        self.call()
        id = str(len(self.board.posts))
        self.board.posts[id] = text
        return id

    async def edit(self, id: str, number: int, text: str) -> None:
        self.call()
        self.board.posts[id] = text

    async def finish(self, reply: Reply) -> None:
        step = -(-len(reply.text) // self.board.pieces)
        pieces = [reply.text[start : start + step] for start in range(0, len(reply.text), step)]
        await self.delivery.post(pieces, send=self.send, edit=self.edit)

    async def notice(self, text: str) -> None:
        self.call()
        self.board.notices.append(text)

    async def withdraw(self) -> None:
        self.board.notices.append("withdrawn")

    async def fetch(self, attachment: Attachment) -> bytes:
        self.call()
        return self.board.files[attachment.reference]


def again(error: Exception) -> Again | None:
    return Again(0.01) if str(error) == "busy" else Again() if str(error) == "down" else None


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine(tmp_path / "home")
    yield engine
    engine.store.close()


@pytest.fixture
def board() -> Board:
    return Board()


Make = Callable[..., Dispatcher]


@pytest.fixture
def make(engine: ScriptedEngine, board: Board, tmp_path: Path) -> Make:
    def make(**changes: object) -> Dispatcher:
        values: dict[str, object] = {"adapter": "board", "again": again, "interval_s": 0.0}
        inbox = Inbox(tmp_path / "inbox.sqlite")
        return Dispatcher(changes.pop("engine", engine), inbox, board.outlet, **(values | changes))  # type: ignore[arg-type]

    return make


def incoming(event: str, text: str = "", conversation: str = "c", **changes: object) -> Incoming:
    return Incoming(event, conversation, "ada", text or event, origin=event, **changes)  # type: ignore[arg-type]


async def test_an_answer_is_posted_once_with_status_and_drafts(make: Make, board: Board) -> None:
    dispatcher = make()
    assert await dispatcher.accept(incoming("e1", "hello"))
    assert not await dispatcher.accept(incoming("e1", "hello"))
    await dispatcher.idle()
    assert board.posts == {"0": "You said: hello"}
    assert board.statuses == ["searching"] and len(board.drafts) > 2
    assert dispatcher.inbox.counts() == {"done": 1}


async def test_the_interval_limits_the_drafts(make: Make, board: Board) -> None:
    dispatcher = make(interval_s=60.0)
    await dispatcher.accept(incoming("e1"))
    await dispatcher.idle()
    assert board.drafts == [] and len(board.posts) == 1


async def test_passing_errors_are_waited_out(make: Make, board: Board) -> None:
    board.errors = [PlatformError("busy"), PlatformError("down"), PlatformError("busy")]
    dispatcher = make()
    await dispatcher.accept(incoming("e1"))
    await dispatcher.idle()
    assert list(board.posts.values()) == ["You said: e1"]


async def test_pieces_posted_before_an_error_are_not_posted_again(make: Make, board: Board) -> None:
    board.pieces = 3
    dispatcher = make()
    sends = 0
    plain = BoardOutlet.send

    async def send(self: BoardOutlet, number: int, text: str) -> str:
        nonlocal sends
        sends += 1
        if sends == 2:
            raise PlatformError("busy")
        return await plain(self, number, text)

    BoardOutlet.send = send  # type: ignore[method-assign]
    try:
        await dispatcher.accept(incoming("e1"))
        await dispatcher.idle()
    finally:
        BoardOutlet.send = plain  # type: ignore[method-assign]
    assert "".join(board.posts.values()) == "You said: e1" and len(board.posts) == 3


async def test_a_final_error_is_kept_and_the_next_message_is_answered(make: Make, board: Board) -> None:
    board.errors = [PlatformError("blocked")]
    dispatcher = make()
    await dispatcher.accept(incoming("e1"))
    await dispatcher.accept(incoming("e2"))
    await dispatcher.idle()
    assert list(board.posts.values()) == ["You said: e2"]
    assert dispatcher.inbox.counts() == {"done": 1, "failed": 1}


async def test_an_engine_that_fails_is_survived(make: Make, board: Board, engine: ScriptedEngine) -> None:
    dispatcher = make()
    engine._answer = lambda message: str(1 // (message.text != "bad"))
    await dispatcher.accept(incoming("e1", "bad"))
    await dispatcher.accept(incoming("e2", "good"))
    await dispatcher.idle()
    assert board.notices == ["Something went wrong on my side. Please ask again in a moment."]
    assert list(board.posts.values()) == ["1"]


async def test_many_conversations_in_order(make: Make, board: Board, engine: ScriptedEngine) -> None:
    dispatcher = make(concurrency=4)
    for number in range(5):
        for talk in range(30):
            await dispatcher.accept(incoming(f"{talk}-{number}", conversation=f"c{talk}"))
    await dispatcher.idle()
    assert len(board.posts) == 150
    for talk in range(30):
        texts = [message.text for message in engine.heard if message.conversation == f"c{talk}"]
        assert texts == [f"{talk}-{number}" for number in range(5)]


async def test_what_was_waiting_is_answered_after_a_restart(make: Make, board: Board, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    first = make()
    for event in ("e1", "e2"):
        await first.accept(incoming(event))
    await until(lambda: engine.started, "an answer under way")
    await first.drain(0.0)
    assert board.posts == {}
    engine.gate.set()
    second = make()
    assert await second.resume() == 2
    await second.idle()
    assert list(board.posts.values()) == ["You said: e1", "You said: e2"]


async def test_a_reply_thought_of_before_a_crash_is_delivered_not_thought_of_again(
    make: Make, board: Board, engine: ScriptedEngine
) -> None:
    board.errors = [PlatformError("down") for _ in range(50)]
    first = make()
    await first.accept(incoming("e1"))
    await until(lambda: engine.heard, "the reply")
    await first.drain(0.0)
    board.errors.clear()
    second = make()
    await second.resume()
    await second.idle()
    assert list(board.posts.values()) == ["You said: e1"] and len(engine.heard) == 1


async def test_draining_finishes_what_is_in_flight_and_begins_nothing_new(
    make: Make, board: Board, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    dispatcher = make()
    for event in ("e1", "e2"):
        await dispatcher.accept(incoming(event))
    await until(lambda: engine.started, "an answer under way")
    draining = asyncio.create_task(dispatcher.drain())
    await asyncio.sleep(0)
    await dispatcher.accept(incoming("e3"))
    engine.gate.set()
    await draining
    assert list(board.posts.values()) == ["You said: e1"]
    assert [one.incoming.event for one in dispatcher.inbox.waiting()] == ["e2", "e3"]


async def test_edited_and_deleted_messages(make: Make, board: Board, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    dispatcher = make()
    for event in ("e1", "e2", "e3"):
        await dispatcher.accept(incoming(event))
    await until(lambda: engine.started, "an answer under way")
    assert dispatcher.edited("e2", "better") and dispatcher.deleted("e3")
    assert not dispatcher.edited("e1", "too late"), "its answer has begun, and says nothing of the edit"
    assert dispatcher.deleted("e1")
    engine.gate.set()
    await dispatcher.idle()
    assert list(board.posts.values()) == ["You said: better"] and board.notices == ["withdrawn"]


async def test_a_muted_conversation_is_left_to_the_human_also_after_a_restart(make: Make, board: Board) -> None:
    first = make()
    first.mute("c", "Grace")
    second = make()
    await second.accept(incoming("e1"))
    await second.accept(incoming("e2", conversation="other"))
    await second.idle()
    assert list(board.posts.values()) == ["You said: e2"]
    assert second.unmute("c") and not second.unmute("c")
    await second.accept(incoming("e3"))
    await second.idle()
    assert "You said: e3" in board.posts.values() and "You said: e1" not in board.posts.values()


@pytest.mark.parametrize(
    ("rules", "file", "told"),
    [
        (Uploads(enabled=True, tags=["sent"]), "menu.md", "I have read menu.md. You can ask me about it now."),
        (Uploads(), "menu.md", "I am not allowed to read files here, so I left menu.md alone."),
        (Uploads(enabled=True, users=["bob"]), "menu.md", "I am not allowed to read files here"),
        (Uploads(enabled=True, max_mb=0.00001), "menu.md", "too large"),
        (Uploads(enabled=True), "photo.bin", "I could not read photo.bin"),
    ],
)
async def test_files_become_documents_where_that_is_allowed(
    make: Make, make_bot: MakeBot, board: Board, rules: Uploads, file: str, told: str
) -> None:
    bot = make_bot(shop=False)
    board.files["ref"] = b"# Menu\n\nThe soup of the day is leek soup.\n" if file == "menu.md" else b"\x00\x01\x02" * 90
    dispatcher = make(engine=bot.engine, uploads=rules)
    await dispatcher.accept(Incoming("e1", "c", "ada", "", tags=("cafe",), attachments=(Attachment(file, "ref", 42),)))
    await dispatcher.idle()
    assert len(board.notices) == 1 and told in board.notices[0]
    documents = bot.engine.knowledge.documents()
    assert bool(documents) == told.startswith("I have read")
    if documents:
        assert set(documents[0].tags) == {"sent", "cafe"}
        await dispatcher.accept(incoming("e2", "What is the soup of the day?"))
        await dispatcher.idle()
        assert "leek soup" in board.posts["0"]


async def test_a_files_name_leads_nowhere_else(make: Make, board: Board, engine: ScriptedEngine) -> None:
    board.files["ref"] = b"x"
    dispatcher = make(uploads=Uploads(enabled=True))
    await dispatcher.accept(
        Incoming("e1", "c", "../../ada", "", attachments=(Attachment("../../../etc/passwd", "ref"),))
    )
    await dispatcher.idle()
    [(path, _)] = engine.knowledge.ingested
    assert path.resolve().is_relative_to(engine.settings.paths.home.resolve() / "uploads")


async def test_feedback_reaches_the_store(engine: ScriptedEngine) -> None:
    from botkit.messages import Message

    reply = await engine.answer(Message("hello", conversation="c"))
    assert len(button_data(reply.id, -1).encode()) <= 64
    assert await rate(engine, button_data(reply.id, -1)) == -1  # type: ignore[arg-type]
    assert [turn.rating for turn in engine.store.history("c")][-1] == -1
    assert await rate(engine, button_data("0" * 32, 1)) is None  # type: ignore[arg-type]
    assert await rate(engine, "rate:+:; DROP TABLE") is None  # type: ignore[arg-type]


def test_allow_lists() -> None:
    assert AllowList.of([]).allows("anybody")
    some = AllowList.of([7, "@Ada"])
    assert some.allows(7) and some.allows("x", "ada") and some.allows("7")
    assert not some.allows(8, None) and not some.allows()


async def test_what_a_command_says_is_said_also_where_a_human_has_taken_over(make: Make, board: Board) -> None:
    dispatcher = make()
    dispatcher.mute("c", "Grace")
    said = Reply("Forgotten.", "chat", 1.0, "c")
    await dispatcher.accept(incoming("e1", "/forget"), reply=said, even_muted=True)
    await dispatcher.accept(incoming("e2", "/other"), reply=said)
    await dispatcher.idle()
    assert list(board.posts.values()) == ["Forgotten."]


async def test_a_question_deleted_while_the_platform_is_busy_is_not_answered(make: Make, board: Board) -> None:
    dispatcher = make()
    board.errors = [PlatformError("busy")] * 200
    await dispatcher.accept(incoming("e1"))
    await until(lambda: len(board.errors) < 200, "a first attempt")
    assert dispatcher.deleted("e1")
    await dispatcher.idle()
    assert not board.posts and board.errors and board.notices == ["withdrawn"]


async def test_files_are_taken_in_once_also_where_the_answer_was_cut_off(
    make: Make, board: Board, engine: ScriptedEngine
) -> None:
    board.files["ref"] = b"# Menu"
    engine.gate.clear()
    first = make(uploads=Uploads(enabled=True))
    await first.accept(Incoming("e1", "c", "ada", "and?", attachments=(Attachment("menu.md", "ref", 6),)))
    await until(lambda: engine.started, "an answer under way")
    await first.drain(0.0)
    engine.gate.set()
    second = make(uploads=Uploads(enabled=True))
    await second.resume()
    await second.idle()
    assert len(board.notices) == 1 and len(engine.knowledge.ingested) == 1
    assert list(board.posts.values()) == ["You said: and?"]


async def test_messages_wait_for_an_inbox_that_cannot_be_written_and_are_answered_after(
    make: Make, board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = make(mend_wait_s=0.01)
    full, failures = True, 0

    def unless_full(name: str) -> Callable[..., object]:
        method = getattr(dispatcher.inbox, name)

        def call(*arguments: object) -> object:
            nonlocal failures
            if full:
                failures += 1
                raise AdapterError("inbox.sqlite: disk I/O error.")
            return method(*arguments)

        return call

    for name in ("done", "fail", "find"):
        monkeypatch.setattr(dispatcher.inbox, name, unless_full(name))
    for event in ("e1", "e2", "e3"):
        await dispatcher.accept(incoming(event))
    await until(lambda: failures > 3, "some attempts")
    full = False
    await dispatcher.idle()
    assert list(board.posts.values()) == ["You said: e1", "You said: e2", "You said: e3"]
    assert "disk I/O error" in caplog.text and not dispatcher.inbox.waiting()
