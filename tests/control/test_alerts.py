"""Use cases about alerts: who has read which, and who is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.control import activity, alerts
from headrace.control.access import Caller, Permission
from headrace.control.accounts import create_user
from headrace.control.service import Control
from headrace.control.store import Store
from tests.api.engine import Engine, alert

from .asking import refused
from .plane import ANN, caller, started


def account(control: Control, name: str) -> Caller:
    """A user who has an account."""
    made = create_user(control, ANN, {"name": name, "roles": ["viewer"]})
    return msgspec.structs.replace(caller(kind="user"), subject=made.id)


def engine() -> Engine:
    """One with two open alerts and one that is over."""
    made = Engine()
    made.alerts += [alert("3"), alert("2"), alert("1", until_ms=9)]
    return made


def read(control: Control, runtime: Engine, by: Caller, **more: Any) -> dict[str, bool]:
    """Alert id to whether it was read."""
    return {each["id"]: each["read"] for each in alerts.list_alerts(control, runtime, by, **more)}


def test_each_account_has_read_its_own(store: Store) -> None:
    """Marking is of what is open then, for this account alone, and leaves no line in the audit log."""
    (control, _), runtime = started(store), engine()
    ada, bob = account(control, "ada"), account(control, "bob")
    lines = len(activity.list_activity(control, ANN).items)
    assert read(control, runtime, ada) == {"3": False, "2": False}
    assert alerts.mark_read(control, runtime, ada) == 2
    runtime.alerts.insert(0, alert("4"))
    assert read(control, runtime, ada, state="all") == {"4": False, "3": True, "2": True, "1": False}
    assert read(control, runtime, bob) == {"4": False, "3": False, "2": False}
    assert len(activity.list_activity(control, ANN).items) == lines


def test_a_mark_is_kept_where_a_file_rules(store: Store) -> None:
    """It changes nothing of the installation."""
    (control, _), runtime = started(store), engine()
    ada = account(control, "ada")
    ruled = msgspec.structs.replace(control, read_only=True)
    alerts.mark_read(ruled, runtime, ada)
    assert all(read(ruled, runtime, ada).values())


def test_who_has_no_account_has_read_nothing(store: Store) -> None:
    """The process itself may ask and mark; nothing is kept."""
    (control, _), runtime = started(store), engine()
    assert alerts.mark_read(control, runtime, ANN) == 2
    assert not any(read(control, runtime, ANN).values())


@pytest.mark.parametrize("question", [alerts.list_alerts, alerts.mark_read, alerts.list_channels])
def test_it_needs_view_destinations(store: Store, question: Any) -> None:
    """Without it nothing is asked; another sandbox has no engine."""
    (control, _), runtime = started(store), engine()
    held = [each for each in Permission if each is not Permission.VIEW_DESTINATIONS]
    assert refused(lambda: question(control, runtime, caller(held))).error_code == "2120-403"
    assert refused(lambda: question(control, runtime, caller(sandbox="dev"))).error_code == "3016-503"
    assert runtime.asked == []


def test_channels_are_told(store: Store) -> None:
    """As the engine says."""
    (control, _), runtime = started(store), engine()
    assert alerts.list_channels(control, runtime, ANN) == [{"name": "log"}]
