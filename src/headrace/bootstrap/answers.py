"""What can be asked of a data folder, from within the process that holds it or from without."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.clock import System
from headrace.errors import RefusedError
from headrace.runtimes.embedded import explain, lately, observe, schema, sizes
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.follow import Followers
from headrace.runtimes.embedded.refold import refold
from headrace.runtimes.socket import Answer, Listener, ask
from headrace.settings import Settings
from headrace.state import ledger, reading
from headrace.state.backup import back_up
from headrace.state.keys import Keys
from headrace.state.rocksdb import RocksState

from . import alerting, previews
from .acting import acting
from .folder import installation_key, open_state

SLOW_ANSWERS: Final = frozenset(
    {
        *("backup", "replay", "journal", "dead-letters", "ledger", "explain", "preview", "observed-schema"),
        *("profile-held", "audience-sizes", "profiles-seen", "profile-inputs"),
    }
)
"""Requests that read much and change nothing."""


def answers(state: RocksState, settings: Settings, engine: Engine | None) -> dict[str, Any]:
    """What can be asked of a data folder, by name; the socket and the command line share it."""
    keys = Keys(settings.sandbox)

    def totals(wanted: Mapping[str, Any]) -> Any:
        if engine is None:
            return {"totals": reading.totals(state, keys), "flows": []}
        return observe.status(engine, flow=str(wanted.get("flow") or ""), brief=bool(wanted.get("brief")))

    def dead_letters(wanted: Mapping[str, Any]) -> Any:
        return list(
            reading.dead_letters(
                state, keys, limit=int(wanted.get("limit", 20)), kind=str(wanted.get("kind", "")),
                reason=str(wanted.get("reason") or ""), flow=str(wanted.get("flow") or ""),
                before=str(wanted.get("before") or ""),
            )
        )  # fmt: skip

    def dead_letter(wanted: Mapping[str, Any]) -> Any:
        return reading.dead_letter(state, keys, str(wanted.get("id", "")))

    def journal(wanted: Mapping[str, Any]) -> Any:
        blocks = []
        for block in reading.journal(state, keys, int(wanted.get("first", 0))):
            blocks.append(block)
            if len(blocks) >= int(wanted.get("limit", 10)):
                break
        return blocks

    def replay(_: Mapping[str, Any]) -> Any:
        return refold(state, keys, installation_key(settings))

    def backup(wanted: Mapping[str, Any]) -> Any:
        return back_up(state, installation_key(settings), Path(str(wanted["file"])), System().now_ms())

    return {
        "backup": backup,
        "status": totals,
        "dead-letters": dead_letters,
        "dead-letter": dead_letter,
        "journal": journal,
        "replay": replay,
        "ledger": lambda wanted: ledger.answer(state, keys, wanted),
        "explain": lambda wanted: explain.answer(state, keys, wanted),
        "alerts": lambda wanted: alerting.answer(settings, wanted),
        "alert-channels": lambda _: alerting.channels(settings),
        "observed-schema": lambda wanted: schema.answer(state, keys, wanted),
        "profiles-seen": lambda wanted: lately.people(state, keys, wanted),
        "profile-inputs": lambda wanted: lately.last_inputs(state, keys, wanted),
        "audience-sizes": lambda wanted: sizes.sizes(state, keys, any_of=list(map(str, wanted.get("any_of") or ()))),
        "preview": lambda wanted: previews.answer(state, settings, engine, wanted),
        **acting(state, keys, engine),
    }


@contextlib.asynccontextmanager
async def answering(
    state: RocksState, settings: Settings, engine: Engine, more: Mapping[str, Answer] | None = None
) -> AsyncIterator[None]:
    """Answer other processes' questions about the data folder, on the socket in it.

    Args:
        state: The folder, held.
        settings: With the data folder.
        engine: At work on it.
        more: Further requests and what answers them.
    """
    known = answers(state, settings, engine) | dict(more or {})
    listener = Listener(settings.data_dir, known, SLOW_ANSWERS, {"follow": Followers(engine).follow})
    await listener.open()
    try:
        yield
    finally:
        await listener.close()


@contextlib.contextmanager
def reading_folder(settings: Settings) -> Iterator[Callable[..., Any]]:
    """Ask the process that holds the folder, or open the folder when nobody does, for several questions.

    Yields:
        What takes a request and its arguments, and returns the answer as plain JSON values; bytes as base64 text.
    """
    if not (settings.data_dir / "FORMAT").exists():
        raise RefusedError(
            f"nothing is stored in {settings.data_dir} yet; choose the folder with --data-dir or HEADRACE_DATA_DIR"
        )
    with contextlib.ExitStack() as held:
        opened: list[RocksState] = []

        def asked(request: str, **arguments: Any) -> Any:
            if not opened:
                answer = ask(settings.data_dir, request, **arguments)
                if answer is not None:
                    return answer.value
                opened.append(held.enter_context(open_state(settings)))
            return msgspec.json.decode(msgspec.json.encode(answers(opened[0], settings, None)[request](arguments)))

        yield asked


def read_folder(settings: Settings, request: str, **arguments: Any) -> Any:
    """Ask one question; see ``reading_folder``."""
    with reading_folder(settings) as asked:
        return asked(request, **arguments)
