"""Use cases about what was refused for good: who may, what is asked of the engine, what the audit log keeps."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.control import activity, dead_letters
from headrace.control.access import Permission
from headrace.control.store import Store
from tests.api.engine import Engine, refused_update

from .asking import places, refused
from .plane import ANN, caller, plane


def engine() -> Engine:
    """One that holds two refused updates."""
    made = Engine()
    for key in ("1-1", "1-2"):
        made.letters[key] = refused_update(key)
    return made


def lines(control: Any) -> list[Any]:
    """What the audit log has of replays."""
    return [each["after"] for each in activity.list_activity(control, ANN, action="replay").items]


def test_refused_updates_are_decided_again(store: Store) -> None:
    """A dry run changes nothing and leaves no line; the replay takes those that were named, with a line."""
    control, runtime = plane(store), engine()
    everything = dead_letters.replay_updates(control, runtime, ANN, {"dryRun": True})
    assert (everything["updates"], len(runtime.letters), lines(control)) == (2, 2, [])
    done = dead_letters.replay_updates(control, runtime, ANN, {"ids": ["1-2"], "reason": "no-identity"})
    assert done["updates"] == 1
    assert list(runtime.letters) == ["1-1"]
    assert lines(control) == [{"ids": ["1-2"], "reason": "no-identity"}]
    assert dead_letters.replay_updates(control, runtime, ANN, None)["updates"] == 1


@pytest.mark.parametrize("missing", dead_letters.REPLAY_UPDATES)
def test_each_permission_is_needed(store: Store, missing: Permission) -> None:
    """Without any one of them nothing is asked of the engine."""
    control, runtime = plane(store), engine()
    held = [each for each in Permission if each is not missing]
    error = refused(lambda: dead_letters.replay_updates(control, runtime, caller(held), None))
    assert error.error_code == "2120-403"
    assert runtime.asked == []


def test_mistakes_are_told_by_their_places(store: Store) -> None:
    """All at once."""
    control, runtime = plane(store), engine()
    wrong = {"ids": [1, "a"], "reason": 2, "dryRun": "yes", "original": True}
    found = places(lambda: dead_letters.replay_updates(control, runtime, ANN, wrong))
    assert sorted(found) in (["original"], ["dryRun", "ids[0]", "reason"])
    del wrong["original"]
    assert sorted(places(lambda: dead_letters.replay_updates(control, runtime, ANN, wrong))) == [
        "dryRun", "ids[0]", "reason",
    ]  # fmt: skip
    elsewhere = caller(sandbox="dev")
    assert refused(lambda: dead_letters.replay_updates(control, runtime, elsewhere, None)).error_code == "3016-503"
