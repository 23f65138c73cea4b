"""Previews of a changed configuration, on the profiles and the journal of a data folder or on nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.clock import System
from headrace.core import canonical
from headrace.core.flow import Snapshot
from headrace.errors import RefusedError
from headrace.runtimes.embedded.above import Above
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.preview import Inputs, Preview, preview
from headrace.runtimes.embedded.recent import Recent
from headrace.settings import Settings
from headrace.sources.jsonl import JsonLines
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import CONFIGURATION, Keys

from .acting import given
from .folder import installation_key

MOST: Final = 50_000
"""Inputs that are folded at the most: an answer is waited for."""

_AT_ONCE: Final = 1000
_NO_KEY: Final = bytes(32)


class Wanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be previewed.

    Attributes:
        new: Canonical text of the new configuration.
        old: Canonical text of the old one; "" for the one in force.
        input: Path of a file of updates; "" for the journal's.
        recent: How many inputs of the journal; 0 for the file's.
        limit: Updates of the file that are read at the most.
        rate: Updates a second for which shards are counted, of a file.
        empty: Begin without profiles, with a file.
    """

    new: str
    old: str = ""
    input: str = ""
    recent: int = 0
    limit: int = MOST
    rate: float = 1000.0
    empty: bool = False


def answer(state: State, settings: Settings, engine: Engine | None, wanted: Mapping[str, Any]) -> Preview:
    """Answer the question for a preview.

    Raises:
        RefusedError: Neither or both of file and journal are named, or the file cannot be read.
    """
    asked = given(Wanted, wanted)
    keys = Keys(settings.sandbox)
    new = canonical.compile_canonical(asked.new.encode())
    if asked.recent:
        recent = Recent(state, keys, min(asked.recent, MOST))
        if not recent.config:
            raise RefusedError("the journal is empty; preview on a file of updates with --input")
        old = _old(asked, engine) or _stored(state, keys, recent.config)
        found = preview(
            new, old, recent.inputs(), recent.base, keys, installation_key=installation_key(settings)
        )  # fmt: skip
        found.untold = recent.untold
        return found
    old = _old(asked, engine) or _stored(state, keys, Recent(state, keys, 0).config)
    return of_file(new, old, asked, settings, None if asked.empty else state)


def of_file(new: Snapshot, old: Snapshot, asked: Wanted, settings: Settings, state: State | None) -> Preview:
    """A preview on a file of updates, onto the profiles of a state or onto none."""
    stored = state.get_many([Keys(settings.sandbox).cursor])[0] if state is not None else None
    return preview(
        new, old, _read(Path(asked.input), min(asked.limit, MOST)), Above(state), Keys(settings.sandbox),
        installation_key=installation_key(settings) if state is not None else _NO_KEY,
        first=records.decode_cursor(stored).ordinal if stored else 1,
        dedup_window_ms=settings.dedup_window_hours * 3_600_000, rate=asked.rate,
    )  # fmt: skip


def _old(asked: Wanted, engine: Engine | None) -> Snapshot | None:
    if asked.old:
        return canonical.compile_canonical(asked.old.encode())
    return engine.in_force.configured if engine is not None else None


def _stored(state: State, keys: Keys, version: str) -> Snapshot:
    """A configuration that was in force; one without flows where there was none."""
    stored = state.get_many([keys.named(CONFIGURATION, version)])[0] if version else None
    return canonical.compile_canonical(stored) if stored else canonical.snapshot([])


def _read(path: Path, most: int) -> Iterator[Inputs]:
    """Updates of a file, a batch at a time, as a source reads them."""
    source = JsonLines(str(path), start="start")
    now_ms = System().now_ms()
    with asyncio.Runner() as runner:
        runner.run(source.open(None))
        try:
            while most > 0 and (batch := runner.run(source.read(min(most, _AT_ONCE)))) is not None:
                most -= len(batch.bodies)
                yield Inputs(now_ms, [batch])
        finally:
            runner.run(source.close())
