"""The state in memory keeps the contract; a crash takes what was not synced, and only that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.state.memory import MemoryState
from tests.state.contract import Model, StateContract, apply, changes, everything


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


class TestMemoryState(StateContract):
    """T1 to T5 in memory."""


@given(st.lists(st.tuples(changes, st.booleans(), st.booleans())))
def test_t3_a_crash_goes_back_to_the_last_sync(
    steps: list[tuple[list[tuple[str, bytes, bytes]], bool, bool]],
) -> None:
    """Any run of commits, syncs and crashes: after a crash there is what was there at the last sync."""
    state = MemoryState()
    model: Model = {}
    durable: Model = {}
    for made, syncs, crashes in steps:
        apply(state, model, made)
        if syncs:
            state.sync()
            durable = dict(model)
        if crashes:
            state.crash()
            model = dict(durable)
        assert everything(state) == model
