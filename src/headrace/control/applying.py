"""Use case: make the records what files say. One transaction: all of it, or nothing.

The plan is made by doing it: a dry run does everything and undoes it, so that it finds every mistake that applying
would find.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.errors import UseCaseError

from . import access, auth, base_connections, files, flows, segments, source_connections, target_connections
from .access import ACTIVATE, CONNECT, DEFINE, Caller
from .files import SECTIONS, Difference, Entry
from .resources import MASK, Kind, Resource, Scope
from .service import Control
from .store import Query, Reading, Writing

__all__ = ["Plan", "Step", "apply_files"]

_SEGMENT_CREATE: Final = (segments.create_segment, segments.create_audience)
_CREATE: Final[Mapping[Kind, Callable[..., Any]]] = {
    Kind.CONNECTION: base_connections.create_connection,
    Kind.SOURCE: source_connections.create_source_connection,
    Kind.TARGET: target_connections.create_target_connection,
    Kind.FLOW: flows.create_flow,
}
_PATCH: Final[Mapping[Kind, Callable[..., Any]]] = {
    Kind.SEGMENT: segments.update_segment,
    Kind.CONNECTION: base_connections.patch_connection,
    Kind.SOURCE: source_connections.patch_source_connection,
    Kind.TARGET: target_connections.patch_target_connection,
    Kind.FLOW: flows.patch_flow,
}
_DELETE: Final[Mapping[Kind, Callable[..., Any]]] = {
    Kind.SEGMENT: segments.delete_segment,
    Kind.CONNECTION: base_connections.delete_connection,
    Kind.SOURCE: source_connections.delete_source_connection,
    Kind.TARGET: target_connections.delete_target_connection,
    Kind.FLOW: flows.delete_flow,
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about one resource.

    Attributes:
        action: create, update, unchanged, delete, or unmanaged: in the database alone, and left there.
        kind: What it is.
        id: Its id.
        name: Its name.
        place: Where it stands in the files; empty for what they do not have.
        differences: What changes, secrets and referenced values masked.
        drifted: Who changed it in the database and when (epoch milliseconds), where that was not a file applied.
        problem: Why it cannot be done; empty when it can.
    """

    action: str
    kind: Kind
    id: str
    name: str
    place: str = ""
    differences: tuple[Difference, ...] = ()
    drifted: tuple[str, int] | None = None
    problem: str = ""


class Plan(msgspec.Struct, frozen=True):
    """Everything that is, or would be, done.

    Attributes:
        steps: In the order in which it is done.
    """

    steps: tuple[Step, ...]

    @property
    def problems(self) -> list[Step]:
        """What cannot be done; then nothing is."""
        return [each for each in self.steps if each.problem]

    @property
    def changes(self) -> list[Step]:
        """What is not as the files say."""
        return [each for each in self.steps if each.action in ("create", "update", "delete")]


class _Undone(Exception):  # noqa: N818 - undoes a transaction, nothing is wrong
    """Ends the transaction without effect."""


def apply_files(
    control: Control, caller: Caller, entries: Sequence[Entry], *, prune: bool = False, dry_run: bool = False
) -> Plan:
    """Make the records of a sandbox what files say; needs to connect, to activate and to define audiences.

    Args:
        control: The parts.
        caller: Who.
        entries: What the files hold, in the order in which it can be made.
        prune: Delete what the files do not have.
        dry_run: Undo everything.

    Returns:
        What was done; with problems in it, nothing was.

    Raises:
        UseCaseError: 2120-403.
    """
    access.require(caller, dict.fromkeys((*CONNECT, *ACTIVATE, *DEFINE)))
    plan = Plan(())
    touched: list[Scope] = []
    with contextlib.suppress(_Undone), control.store.write() as transaction:
        within = msgspec.structs.replace(control, store=_Within(transaction), changed=touched.append)
        work = _Applying(within, caller, transaction)
        steps = [work.entry(each) for each in entries]
        steps += work.rest({(each.kind, each.id) for each in entries}, prune=prune)
        plan = Plan(tuple(steps))
        if dry_run or plan.problems:
            raise _Undone
    if touched and not dry_run and not plan.problems:
        control.changed(caller.scope)
    return plan


class _Within:
    """A store whose transactions are all parts of one."""

    def __init__(self, transaction: Writing) -> None:
        self._transaction = transaction

    @contextlib.contextmanager
    def write(self) -> Iterator[Writing]:
        """See ``store.Store``."""
        yield self._transaction

    @contextlib.contextmanager
    def read(self) -> Iterator[Reading]:
        """See ``store.Store``."""
        yield self._transaction

    def close(self) -> None:
        """See ``store.Store``."""


class _Applying:
    """One application."""

    def __init__(self, control: Control, caller: Caller, transaction: Writing) -> None:
        self._control = control
        self._caller = caller
        self._transaction = transaction

    def entry(self, entry: Entry) -> Step:
        """Make one record what its entry says."""
        old = self._transaction.get(entry.kind, self._caller.scope, entry.id)
        name = str(entry.document.get("name", entry.id))
        step = Step(action="create", kind=entry.kind, id=entry.id, name=name, place=entry.place)
        try:
            if old is None:
                self._create(entry)
                self._note(entry)
                return step
            found = self._changes(entry, old)
            if not found:
                self._note(entry)
                return msgspec.structs.replace(step, action="unchanged")
            drifted = (old.updated_by, old.updated_ms) if old.updated_client not in ("system", "") else None
            step = msgspec.structs.replace(step, action="update", differences=tuple(found), drifted=drifted)
            self._update(entry, old)
            self._note(entry)
        except UseCaseError as error:
            places = "".join(f"; {each}" for each in error.mistakes)
            return msgspec.structs.replace(step, problem=f"{error.problem}{places}")
        return step

    def rest(self, known: set[tuple[Kind, str]], *, prune: bool) -> list[Step]:
        """What the database has beside the files."""
        steps = []
        for kind in reversed(SECTIONS.values()):
            for each in self._transaction.find(Query(kind=kind, scope=self._caller.scope)):
                if (kind, each.id) in known:
                    continue
                step = Step(action="delete" if prune else "unmanaged", kind=kind, id=each.id, name=each.name)
                if prune:
                    try:
                        _DELETE[kind](self._control, self._caller, each.id)
                    except UseCaseError as error:
                        step = msgspec.structs.replace(step, problem=error.problem)
                steps.append(step)
        return steps

    def _create(self, entry: Entry) -> None:
        """Make a record with the id of the file."""
        document = dict(entry.document)
        state = document.pop("state", "enabled")
        if entry.kind is Kind.SEGMENT:
            create = _SEGMENT_CREATE["expression" not in document]
            create(self._control, self._caller, {"id": entry.id, **document})
            return
        _CREATE[entry.kind](self._with_id(entry.id), self._caller, document)
        if state != "enabled":
            self._set_state(entry, state)

    def _with_id(self, resource_id: str) -> Control:
        """The control plane, with this for the first id that it makes; etags and all others are random."""
        first = iter((resource_id,))
        return msgspec.structs.replace(
            self._control, new_id=lambda: next(first, None) or self._control.new_id()
        )  # fmt: skip

    def _set_state(self, entry: Entry, state: Any) -> None:
        if entry.kind is Kind.FLOW:
            action = {"enabled": "enable", "disabled": "disable"}.get(str(state), str(state))
            flows.act_on_flow(self._control, self._caller, entry.id, action)
        elif entry.kind is Kind.CONNECTION:
            self._patch(entry, [{"op": "replace", "path": "/state", "value": state}])

    def _patch(self, entry: Entry, operations: list[dict[str, Any]]) -> None:
        now = self._transaction.get(entry.kind, self._caller.scope, entry.id)
        assert now is not None
        _PATCH[entry.kind](self._control, self._caller, entry.id, operations, now.etag)

    def _update(self, entry: Entry, old: Resource) -> None:
        before = files.stored(old, dict.fromkeys(old.hidden, MASK))
        wanted = dict(entry.document)
        state = wanted.pop("state", "enabled")
        before_state = before.pop("state", "enabled")
        operations = [{"op": "remove", "path": f"/{name}"} for name in before if name not in wanted]
        operations += [
            {"op": "add", "path": f"/{name}", "value": value}
            for name, value in wanted.items()
            if before.get(name) != value
        ]
        if entry.kind is Kind.SEGMENT and "lifecycleState" in before and "lifecycleState" not in wanted:
            operations = [each for each in operations if each["path"] != "/lifecycleState"]
            operations.append({"op": "add", "path": "/lifecycleState", "value": "published"})
        if operations:
            self._patch(entry, operations)
        if state != before_state:
            self._set_state(entry, state)

    def _changes(self, entry: Entry, old: Resource) -> list[Difference]:
        """What differs; a mask in the file stands for the secret that is stored."""
        secrets = (
            {name: each.reveal() for name, each in auth.opened(self._control, old).items()} if old.hidden else {}
        )
        before = files.stored(old, secrets)
        after = entry.document
        kept = [name for name in secrets if _param(after, name) == MASK]
        if kept:
            params = {**after["auth"]["params"], **{name: secrets[name] for name in kept}}
            after = {**after, "auth": {**after["auth"], "params": params}}
        secret = self._control.catalog.secret_names(str((after.get("connectionSpec") or {}).get("id")))
        hidden = frozenset(f"auth.params.{name}" for name in {*secrets, *secret, *entry.references})
        return files.differences(before, after, hidden)

    def _note(self, entry: Entry) -> None:
        """Keep the references of a connection with it, so that an export shows them in the place of secrets."""
        now = self._transaction.get(entry.kind, self._caller.scope, entry.id)
        if entry.kind is Kind.CONNECTION and now is not None and now.notes.get("references", {}) != entry.references:
            self._transaction.note(now, {**now.notes, "references": entry.references})


def _param(document: Mapping[str, Any], name: str) -> Any:
    account = document.get("auth")
    params = account.get("params") if isinstance(account, Mapping) else None
    return params.get(name) if isinstance(params, Mapping) else None
