"""Records from files and back: whole or not at all, the same again changes nothing, and no secret is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.control import auth, base_connections, files, flows
from headrace.control.applying import Plan, apply_files
from headrace.control.exporting import export_files, text
from headrace.control.paging import Listing
from headrace.control.resources import Kind, Scope
from headrace.control.service import Control
from headrace.control.store import Query, Store
from headrace.errors import ConfigurationError

from .one_flow import one_flow
from .plane import ANN, SCOPE, SECRET, one_of_each, platform_body, started

FILE = one_flow(variable="SECRET_KEY", stream="profiles", path="person.name.lastName")
ENVIRON = {"SECRET_KEY": SECRET}


def entries(folder: Path, content: str = FILE, environ: dict[str, str] | None = None) -> list[files.Entry]:
    """The entries of a file."""
    (folder / "all.yaml").write_text(content)
    return files.read(folder, ENVIRON if environ is None else environ)


def actions(plan: Plan) -> dict[str, str]:
    """What is done about each resource."""
    assert not plan.problems, plan
    return {each.id: each.action for each in plan.steps}


def all_records(control: Control) -> list[Any]:
    """Everything that the sandbox holds, and the audit log's length."""
    with control.store.read() as transaction:
        return [msgspec.to_builtins(transaction.find(Query(kind=kind, scope=SCOPE))) for kind in Kind]


def test_applying_twice_changes_nothing_the_second_time(store: Store, tmp_path: Path) -> None:
    """Records have the ids of the file; what the file may leave out is made; the second time all is unchanged."""
    told: list[Scope] = []
    control, _ = started(store, changed=told.append)
    first = apply_files(control, ANN, entries(tmp_path))
    assert actions(first) == dict.fromkeys(("vip", "account", "profiles", "stream", "main"), "create")
    assert flows.get_flow(control, ANN, "main")["state"] == "enabled"
    assert told == [SCOPE]
    before = all_records(control)
    second = apply_files(control, ANN, entries(tmp_path))
    assert set(actions(second).values()) == {"unchanged"}
    assert all_records(control) == before
    assert told == [SCOPE]
    assert len({each["id"] for each in flows.list_flows(control, ANN, Listing()).items}) == 1


def test_a_dry_run_and_a_mistake_change_nothing(store: Store, tmp_path: Path) -> None:
    """A dry run has the plan of the real run; one mistake anywhere undoes everything."""
    control, _ = started(store)
    before = all_records(control)
    assert actions(apply_files(control, ANN, entries(tmp_path), dry_run=True))["main"] == "create"
    assert all_records(control) == before
    plan = apply_files(control, ANN, entries(tmp_path, FILE.replace("path: person.name", "path: person..name")))
    assert [each.id for each in plan.problems] == ["main"]
    assert "all.yaml: flows[0]" in plan.problems[0].place
    assert all_records(control) == before


def test_changes_are_shown_without_secrets(store: Store, tmp_path: Path) -> None:
    """Each place that differs is named; a secret that differs is masked; who changed it in the database is told."""
    control, _ = started(store)
    apply_files(control, ANN, entries(tmp_path))
    changed = FILE.replace("eu-west-1", "eu-central-1").replace("name: Main", "name: Other\n    state: disabled")
    plan = apply_files(control, ANN, entries(tmp_path, changed, {"SECRET_KEY": "other+SECRET"}))
    found = {each.id: each for each in plan.steps if each.action == "update"}
    assert set(found) == {"account", "main"}
    assert {(d.path, d.before, d.after) for d in found["account"].differences} == {
        ("auth.params.region", "'eu-west-1'", "'eu-central-1'"),
        ("auth.params.secretKey", "****", "****"),
    }
    assert {d.path for d in found["main"].differences} == {"name", "state"}
    assert SECRET not in str(plan)
    assert "other+SECRET" not in str(plan)
    item = flows.get_flow(control, ANN, "main")
    assert (item["name"], item["state"]) == ("Other", "disabled")
    with control.store.read() as transaction:
        connection = transaction.get(Kind.CONNECTION, SCOPE, "account")
    assert connection is not None
    assert auth.opened(control, connection)["secretKey"].reveal() == "other+SECRET"
    flows.act_on_flow(control, msgspec.structs.replace(ANN, subject="bob"), "main", "enable")
    drifted = [each for each in apply_files(control, ANN, entries(tmp_path, changed, ENVIRON)).steps if each.drifted]
    assert [(each.id, each.drifted and each.drifted[0]) for each in drifted if each.id == "main"] == [("main", "bob")]
    assert flows.get_flow(control, ANN, "main")["state"] == "disabled"


def test_an_account_without_auth_shows_none_of_it(tmp_path: Path) -> None:
    """Where the whole account differs, its values are masked as one."""
    before = {"auth": {"params": {"secretKey": SECRET}}}
    found = files.differences(before, {}, frozenset({"auth.params.secretKey"}))
    assert [(each.path, each.before, each.after) for each in found] == [("auth", "****", "")]


def test_what_the_files_do_not_have(store: Store, tmp_path: Path) -> None:
    """It is named and left, or deleted where that is asked for."""
    control, _ = started(store)
    made = one_of_each(control)
    plan = apply_files(control, ANN, entries(tmp_path))
    assert {i for i, action in actions(plan).items() if action == "unmanaged"} == set(
        msgspec.to_builtins(made).values()
    )
    plan = apply_files(control, ANN, entries(tmp_path), prune=True)
    assert actions(plan)[made.flow] == "delete"
    assert [each["id"] for each in flows.list_flows(control, ANN, Listing()).items] == ["main"]
    assert {each["id"] for each in base_connections.list_connections(control, ANN, Listing()).items} == {"account"}


def test_what_is_exported_can_be_applied(store: Store, tmp_path: Path) -> None:
    """References come back as they were; unreferenced secrets as the mask, which keeps them; nothing differs."""
    control, _ = started(store)
    apply_files(control, ANN, entries(tmp_path))
    one_of_each(control)
    exported = text(export_files(control, ANN))
    assert "secretKey: ${env:SECRET_KEY}" in exported
    assert "secretKey: '****'" in exported
    assert SECRET not in exported
    (tmp_path / "out").mkdir()
    plan = apply_files(control, ANN, entries(tmp_path / "out", exported), dry_run=True)
    assert set(actions(plan).values()) == {"unchanged"}, [each for each in plan.steps if each.differences]
    # In another place it is the same but for the secrets, which the masks do not hold.
    other, _ = started()
    again = apply_files(other, ANN, entries(tmp_path / "out", exported.replace("'****'", "${env:SECRET_KEY}")))
    assert set(actions(again).values()) == {"create"}
    assert text(export_files(other, ANN)).count("${env:SECRET_KEY}") == 2


@pytest.mark.parametrize("value", ["1e3", "0o17", "0123", "yes", "2026-01-01", "${env:HOME}", "a: b", "~", ""])
def test_texts_stay_texts(tmp_path: Path, value: str) -> None:
    """What looks like a number, a time or a reference is read back as the text that it was."""
    control, _ = started()
    base_connections.create_connection(
        control, ANN, {**platform_body(), "name": "x" + value, "description": value}
    )  # fmt: skip
    again = entries(tmp_path, text(export_files(control, ANN)))
    assert again[0].document.get("description", "") == value
    assert again[0].document["name"] == "x" + value


def test_mistakes_of_files_are_listed_together(tmp_path: Path) -> None:
    """Over all files, each with its file, place and line."""
    (tmp_path / "a.yaml").write_text("flows: {}\nsegment: []\n")
    (tmp_path / "b.yml").write_text('segments:\n  - {name: x}\n  - {id: a, name: "${env:NOWHERE}"}\n')
    (tmp_path / "c.json").write_text('{"segments": [{"id": "a"}]}')
    with pytest.raises(ConfigurationError) as error:
        files.read(tmp_path, {})
    said = [str(each) for each in error.value.mistakes]
    assert any(each.startswith("a.yaml: flows (line 1): must be a list") for each in said), said
    assert any(each.startswith("a.yaml: segment") for each in said), said
    assert any(each.startswith("b.yml: segments[0].id") for each in said), said
    assert any("NOWHERE is not set" in each for each in said), said
    assert any(each.startswith("c.json: segments[0]: has the id of b.yml") for each in said), said
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigurationError, match="holds no files"):
        files.read(empty)
