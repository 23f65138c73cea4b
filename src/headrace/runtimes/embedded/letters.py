"""Replay of dead letters: updates are decided again, exports made again, each letter gone in the commit that did it.

What is to be replayed is kept in the state until it is through, so a kill in the midst loses nothing and replays
nothing twice. A letter that comes to nothing again stays: an update that is refused still, an export whose flow or
profile is gone or whose consent is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from headrace.core.flow import Snapshot
from headrace.core.model import Replay
from headrace.core.step import CATCH_UP
from headrace.errors import RefusedError
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.inner import Given
from headrace.runtimes.embedded.settle import KEPT_BYTES
from headrace.sources.base import Batch as SourceBatch
from headrace.state import reading, records
from headrace.state.base import Batch, State
from headrace.state.keys import DEAD_LETTER, FACT, Keys

_AT_ONCE: Final = 200
SOURCE: Final = "dead-letters"
"""Id of the source of updates that are replayed."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which dead letters; empty fields stand for all.

    Attributes:
        kind: update or export.
        reason: With this reason.
        flow: Of this flow.
    """

    kind: str = ""
    reason: str = ""
    flow: str = ""

    def takes(self, letter: records.DeadLetter) -> bool:
        """Whether a letter is among them."""
        return (
            (not self.kind or letter.kind == self.kind)
            and (not self.reason or letter.reason == self.reason)
            and (not self.flow or letter.flow == self.flow)
        )


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        ids: Ids of letters; None for those of the filter.
        filter: Which, without ids or among them.
        dry_run: Only count.
        original: Send the messages of exports as they were.
        wait: Answer when all is decided, and tell how the updates came out.
    """

    ids: list[str] | None = None
    filter: Filter = Filter()
    dry_run: bool = False
    original: bool = False
    wait: bool = False


class Outcome(msgspec.Struct):
    """How the updates of a replay came out so far.

    Attributes:
        applied: Dead letters no more.
        refused: Refused again; they stay.
        done: All of the replay is decided, exports too.
    """

    applied: int = 0
    refused: int = 0
    done: bool = False


class _Task(msgspec.Struct, array_like=True):
    """A replay under way: ids that are left (None for all of the filter); after which key it goes on; its last."""

    ids: list[str] | None
    filter: Filter
    original: bool
    after: bytes
    last: bytes


_decode_tasks: Final = msgspec.msgpack.Decoder(list[_Task]).decode


class Letters:
    """An inner source; see the module and runtimes/embedded/inner.py.

    Args:
        state: Where dead letters lie.
        keys: Of the sandbox.
        snapshot: Gives the configuration in force.
        totals: Counted into.
        wake: Wakes the loop.
    """

    def __init__(
        self, state: State, keys: Keys, *, snapshot: Callable[[], Snapshot], totals: records.Totals,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._state, self._keys = state, keys
        self._snapshot, self._totals, self._wake = snapshot, totals, wake
        self._key = keys.named(FACT, "replays")
        stored = state.get_many([self._key])[0]
        self._tasks = _decode_tasks(stored) if stored is not None else []
        self._outcomes = [Outcome() for _ in self._tasks]
        self._deciding, self._ends = Outcome(), False
        self._updates: list[tuple[bytes, records.DeadLetter]] = []
        self._exports: list[tuple[bytes, records.DeadLetter]] = []

    # -- asked for --------------------------------------------------------------------------------

    def replay(self, wanted: Wanted) -> dict[str, Any]:
        """Count what a replay would do, and begin it unless it is a dry run.

        Returns:
            ``updates`` and ``exports`` that are replayed, and under ``left`` those that stay, by why they do. With
            ``wait`` also ``decided``, an ``Outcome`` that is counted on.

        Raises:
            RefusedError: A letter does not exist.
        """
        counts: dict[str, Any] = {"updates": 0, "exports": 0, "left": {}, "dry_run": wanted.dry_run}
        for letter_id in wanted.ids or ():
            if reading.dead_letter(self._state, self._keys, letter_id) is None:
                raise RefusedError(f"there is no dead letter {letter_id}; see: headrace dead-letters list")
        last = b""
        ids = list(dict.fromkeys(wanted.ids)) if wanted.ids is not None else None
        task = _Task(ids, wanted.filter, wanted.original, b"", self._keys.space(DEAD_LETTER)[1])
        for key, letter in self._ahead(task):
            last = key
            why = self._why_left(letter)
            if why:
                counts["left"][why] = counts["left"].get(why, 0) + 1
            else:
                counts[f"{letter.kind}s"] += 1
        begins = not wanted.dry_run and counts["updates"] + counts["exports"] > 0
        outcome = Outcome(done=not begins)
        if wanted.wait:
            counts["decided"] = outcome
        if begins:
            # Letters that this makes anew are not of it.
            task.last = last
            self._tasks.append(task)
            self._outcomes.append(outcome)
            batch = self._state.batch()
            batch.put(self._key, msgspec.msgpack.encode(self._tasks))
            self._state.commit(batch)
            self._state.sync()
            self._wake()
        return counts

    def _why_left(self, letter: records.DeadLetter) -> str:
        if letter.kind == "update":
            return "truncated" if len(letter.body) >= KEPT_BYTES else ""
        if letter.export is None or letter.flow not in self._snapshot().by_id:
            return "flow-gone"
        profile = self._keys.profile(letter.export.profile_id)
        return "" if self._state.get_many([profile])[0] is not None else "profile-gone"

    def _ahead(self, task: _Task) -> Iterator[tuple[bytes, records.DeadLetter]]:
        """Letters of a replay that were not looked at."""
        if task.ids is not None:
            for letter_id in task.ids:
                letter = reading.dead_letter(self._state, self._keys, letter_id)
                at_ms, _, number = letter_id.partition("-")
                key = self._keys.numbered(DEAD_LETTER, int(at_ms), int(number))
                if letter is not None and key > task.after and task.filter.takes(letter):
                    yield key, letter
            return
        start, end = self._keys.space(DEAD_LETTER)
        for key, value in self._state.scan(max(start, task.after + b"\0" if task.after else start), end):
            if key > task.last:
                return
            letter = records.decode_letter(value)
            if task.filter.takes(letter):
                yield key, letter

    # -- given to the loop ------------------------------------------------------------------------

    def due_ms(self, now_ms: int) -> int | None:
        """See ``Inner``."""
        return now_ms if self._tasks else None

    def take(self, most: int, now_ms: int, batch: Batch) -> Given:
        """See ``Inner``: the next letters of the first replay."""
        task = self._tasks[0]
        self._deciding, self._ends = self._outcomes[0], False
        self._updates, self._exports = [], []
        room = min(most, _AT_ONCE)
        for looked, (key, letter) in enumerate(self._ahead(task)):
            if looked >= room:
                break
            if task.ids is None:
                task.after = key
            else:
                task.ids = task.ids[task.ids.index(letter.id) + 1 :]
            if not self._why_left(letter):
                (self._updates if letter.kind == "update" else self._exports).append((key, letter))
        else:
            self._tasks.pop(0)
            self._outcomes.pop(0)
            self._ends = True
        batch.put(self._key, msgspec.msgpack.encode(self._tasks))
        commands: list[Command] = [_replay(letter, original=task.original) for _, letter in self._exports]
        updates = None
        if self._updates:
            bodies = [letter.body for _, letter in self._updates]
            updates = SourceBatch(SOURCE, bodies, str, None, lambda _: None, keep_refused=False)
        return Given(commands, updates)

    def decided(self, answers: Sequence[tuple[str, ...]], decision: Decision, now_ms: int, batch: Batch) -> None:
        """See ``Inner``: what came through is no dead letter any more."""
        refused = {one.index for one in decision.refused[-1]} if self._updates else set()
        gone = [key for index, (key, _) in enumerate(self._updates) if index not in refused]
        places = {flow.id: index for index, flow in enumerate(self._snapshot().flows)}
        for answer, (key, letter) in zip(answers, self._exports, strict=True):
            if answer[places[letter.flow]] in ("", CATCH_UP):
                gone.append(key)
        for key in gone:
            batch.delete(key)
        self._totals.dead_letters -= len(gone)
        self._deciding.applied += len(self._updates) - len(refused)
        self._deciding.refused += len(refused)
        self._deciding.done = self._ends
        self._updates, self._exports = [], []


def _replay(letter: records.DeadLetter, *, original: bool) -> Replay:
    export = letter.export
    assert export is not None
    if original:
        return Replay(export.profile_id, letter.flow, letter.id, bytes(export.data), export.key)
    return Replay(export.profile_id, letter.flow, letter.id)
