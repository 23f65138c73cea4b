"""Now and then: what is too old goes (journal, ledger, update ids), and profiles are journaled whole anew."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

from headrace.clock import Clock
from headrace.runtimes.embedded.decide import Decider
from headrace.runtimes.embedded.options import Options
from headrace.state.base import Batch, State
from headrace.state.keys import TIMER, Keys
from headrace.state.pages import Roll

_EVERY_S: Final = 60.0
_BASES: Final = 4
"""How often within the journal's age a profile is kept as it was before an input."""


class Housekeeping:
    """See the module.

    Args:
        state: Where everything lies.
        keys: Of the sandbox.
        clock: Time.
        options: Ages and sizes.
        decider: Told from which input on profiles are journaled whole.
        journal: The journal.
        ledger: The ledger.
        sweep: Removes what else is not needed any more.
    """

    def __init__(
        self, state: State, keys: Keys, clock: Clock, options: Options, decider: Decider, journal: Roll, ledger: Roll,
        sweep: Callable[[Batch], None],
    ) -> None:  # fmt: skip
        self._state, self._keys, self._clock, self._options = state, keys, clock, options
        self._decider, self._journal, self._ledger = decider, journal, ledger
        self._sweep = sweep
        self._swept_s = 0.0
        self._based_s = clock.monotonic_s()

    def begin(self, ordinal: int) -> None:
        """A process starts; *ordinal* is that of its first input."""
        self._decider.base_from = ordinal

    def look(self, now_ms: int, ordinal: int) -> None:
        """Called between commits; does something once a minute."""
        now_s = self._clock.monotonic_s()
        if now_s - self._swept_s < _EVERY_S:
            return
        self._swept_s = now_s
        if not gc.isenabled():
            gc.collect()
        write = self._state.batch()
        options = self._options
        self._journal.sweep(write, now_ms, options.journal_ms, options.journal_bytes)
        self._ledger.sweep(write, now_ms, options.ledger_ms, options.ledger_bytes)
        if now_s - self._based_s >= options.journal_ms / 1000 / _BASES:
            # Profiles are kept anew with their next input, so that the journal tells what it found.
            self._based_s, self._decider.base_from = now_s, ordinal
        for key, value in self._state.scan(self._keys.space(TIMER)[0], self._keys.numbered(TIMER, now_ms)):
            ids = [self._keys.update_id(value[at : at + 16]) for at in range(0, len(value), 16)]
            for update_id, expiry in zip(ids, self._state.get_many(ids), strict=True):
                # One that came again after its time has a new one.
                if expiry is not None and int.from_bytes(expiry, "big") <= now_ms:
                    write.delete(update_id)
            write.delete(key)
        self._sweep(write)
        self._state.commit(write)
