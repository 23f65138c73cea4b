"""docs/control-plane.md has every error code, permission, role and state as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.control import flows
from headrace.control.access import ROLES, Permission
from headrace.control.problems import TABLE, Code
from headrace.control.resources import STATES, TRANSITIONS, Kind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "control-plane.md").read_text(encoding="utf-8")


def test_every_error_code_is_listed_as_the_table_says() -> None:
    """Code, title and meaning, in the table's order, and no other."""
    rows = re.findall(r"(?m)^\| `(\d+-\d+)` \| (.+) \| (.+) \|$", PAGE)
    assert rows == [(code.value, TABLE[code].title, TABLE[code].words) for code in Code]
    assert all(100 <= int(code.value.rpartition("-")[2]) < 600 for code in Code)


def test_every_role_is_listed_with_its_permissions() -> None:
    """As an organisation begins with them."""
    rows = dict(re.findall(r"(?m)^\| `([a-z-]+)` \| ((?:View|Manage|every).+) \|$", PAGE))
    assert rows == {
        name: "every permission" if set(permissions) == set(Permission) else ", ".join(permissions)
        for name, permissions in ROLES.items()
    }


def test_every_permission_and_state_is_explained() -> None:
    """Permissions by name, states of each kind that has more than two."""
    for permission in Permission:
        assert permission.value in PAGE, permission
    for kind in (Kind.CONNECTION, Kind.SOURCE, Kind.FLOW, Kind.RUN, Kind.SEGMENT, Kind.SANDBOX):
        for state in STATES[kind]:
            assert f"`{state}`" in PAGE, (kind, state)
    assert f"{flows.MAX_FLOWS} flows" in PAGE


def test_transitions_stay_within_the_states() -> None:
    """Every state that is named in a transition is one of its kind."""
    for kind, transitions in TRANSITIONS.items():
        assert set(transitions) | {state for reached in transitions.values() for state in reached} <= STATES[kind]
