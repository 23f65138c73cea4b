"""Every use case refuses whoever lacks one of its permissions, and lets nobody into another sandbox."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headrace.control
from headrace.control import (
    accounts,
    activity,
    applying,
    base_connections,
    exporting,
    flows,
    links,
    organisations,
    profile_schemas,
    runs,
    segments,
    sessions,
    source_connections,
    specs,
    target_connections,
)  # fmt: skip
from headrace.control.access import ACTIVATE, CONNECT, DEFINE, ROLES, Permission
from headrace.control.resources import Kind
from headrace.control.service import Control
from headrace.errors import UseCaseError

from .plane import ANN, caller, one_of_each, started
from .use_cases import ANY, CASES, Case

WITHOUT_PERMISSION = {
    "organisations.first_start": "for the process itself, before there is anybody",
    "organisations.system_caller": "for the process itself",
    "exporting.text": "computes",
    "links.redeem_link": "finds out who calls",
    "runs.hours_of": "computes",
    "runs.record_run": "for the engine",
    "runs.run_id": "computes",
    "runs.metrics": "computes",
    "sessions.identify": "finds out who calls",
    "sessions.sign_in_client": "finds out who calls",
    "sessions.sign_in_user": "finds out who calls",
    "specs.change_specs": "refuses everybody",
}


def test_every_use_case_is_in_the_table() -> None:
    """A function that a module of use cases exports stands in the table above, or says why it needs no permission."""
    modules = (
        accounts, activity, applying, base_connections, exporting, flows, links, organisations, profile_schemas,
        runs, segments, sessions, source_connections, specs, target_connections,
    )  # fmt: skip
    names = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name in module.__all__
        if callable(getattr(module, name)) and not isinstance(getattr(module, name), type)
    }
    assert names == {each.use_case.partition(" ")[0] for each in CASES} | set(WITHOUT_PERMISSION)


def test_every_module_that_takes_a_caller_is_known() -> None:
    """No other module of the room has a public function that takes the parts and a caller."""
    found = set()
    for path in Path(headrace.control.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                arguments = [each.arg for each in node.args.args[:2]]
                if arguments == ["control", "caller"]:
                    found.add(path.stem)
    assert found - {"service", "engine"} == {each.use_case.partition(".")[0] for each in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.use_case)
def test_a_use_case_needs_its_permissions_and_no_other(case: Case) -> None:
    """Without any one of its permissions it is refused, by its name; with exactly these it works."""
    for missing in case.needs:
        control, _ = started()
        made = one_of_each(control)
        with pytest.raises(UseCaseError) as refused:
            case.call(control, caller(set(Permission) - {missing}), made)
        assert refused.value.error_code == "2120-403"
        assert missing.value in str(refused.value)
    control, _ = started()
    made = one_of_each(control)
    case.call(control, caller(case.needs), made)


@pytest.mark.parametrize("case", [each for each in CASES if each.belongs_to_sandbox], ids=lambda case: case.use_case)
def test_another_sandbox_shows_and_changes_nothing(case: Case) -> None:
    """From another sandbox the same call finds nothing: an empty list, or that there is no such resource."""
    control, _ = started()
    organisations.create_sandbox(control, ANN, {"name": "dev"})
    made = one_of_each(control)
    kept = state(control)
    elsewhere = msgspec.structs.replace(caller(sandbox="dev"), sandbox_id="other")
    try:
        answer = case.call(control, elsewhere, made)
    except UseCaseError as error:
        answer = error.error_code
    assert answer in ([], "1101-404", "1430-400", "3000-400")
    if "delete" not in case.use_case and "runs." not in case.use_case:
        assert state(control) == kept


def state(control: Control) -> list[Any]:
    """Everything of the sandbox."""
    with control.store.read() as transaction:
        return [
            transaction.get(kind, ANN.scope, each["id"])
            for kind, listed in (
                (Kind.CONNECTION, base_connections.list_connections(control, ANN, ANY).items),
                (Kind.FLOW, flows.list_flows(control, ANN, ANY).items),
                (Kind.SEGMENT, segments.list_segments(control, ANN).items),
            )
            for each in listed
        ]


def test_specs_are_changed_by_nobody() -> None:
    """Whoever asks to make a spec is refused, with or without permission."""
    control, _ = started()
    for who, code in ((ANN, "1426-400"), (caller(()), "2120-403")):
        with pytest.raises(UseCaseError) as refused:
            specs.change_specs(control, who)
        assert refused.value.error_code == code


def test_roles_group_known_permissions() -> None:
    """The administrator has every permission, and every permission is in some other role or the administrator's."""
    assert set(ROLES["administrator"]) == set(Permission)
    assert all(set(permissions) <= set(Permission) for permissions in ROLES.values())
    assert set(CONNECT) <= set(ROLES["connector"])
    assert set(ACTIVATE) <= set(ROLES["activator"])
    assert set(DEFINE) <= set(ROLES["audience-manager"])
