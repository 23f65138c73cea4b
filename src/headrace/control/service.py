"""What every use case is made of: the parts it needs, and the steps that all share.

A use case is one function ``use_case(control, caller, …)`` in ``base_connections``, ``source_connections``,
``target_connections``, ``flows``, ``runs``, ``segments``, ``specs``, ``accounts`` or ``activity``. Each checks its
permissions itself, first. A change, the check that it may be made and its line in the audit log are one transaction.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from headrace.clock import Clock
from headrace.core.report import Report
from headrace.core.report import kind as kind_of
from headrace.destinations.base import Destination
from headrace.errors import Mistake

from . import access, filters, patch
from .access import Caller, Permission
from .catalog import Catalog
from .problems import Code, not_found, problem, refuse
from .reach import Reach
from .resources import Kind, Resource, Scope, secrets_masked
from .secrets import Sealer
from .sign_in import FailedSignIns, Passwords, Tokens
from .store import AuditEntry, Query, Reading, Store, Writing


def random_id() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


def _nobody(_scope: Scope) -> None:
    """Tells nobody of a change."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a control plane.

    Attributes:
        store: Keeps the records.
        catalog: What can be connected.
        destinations: Connection spec id to destination, for checks.
        sealer: Seals secrets.
        tokens: Signs bearer tokens.
        passwords: Hashes passwords.
        sign_ins: The brake on guessing.
        clock: For every time that is stored.
        reach: Addresses that connections may name.
        strict_if_match: Refuse an If-Match without double quotes.
        read_only: The configuration file rules; every change is refused.
        organisation: The organisation whose profiles the engine keeps; empty where there is only one.
        sandbox: The sandbox that the engine works in; profiles and backfills are there alone.
        collection_url: Where the collection listens, for the addresses of inlets.
        changed: Told after a change of flows, connections or audiences is stored; must not wait.
        new_id: Makes ids and etags.
    """

    store: Store
    catalog: Catalog
    destinations: Mapping[str, Destination]
    sealer: Sealer
    tokens: Tokens
    passwords: Passwords
    sign_ins: FailedSignIns
    clock: Clock
    reach: Reach = Reach()
    strict_if_match: bool = True
    read_only: bool = False
    organisation: str = ""
    sandbox: str = "prod"
    collection_url: str = "http://127.0.0.1:8088"
    changed: Callable[[Scope], None] = _nobody
    new_id: Callable[[], str] = random_id


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a change.

    Attributes:
        id: Of the record.
        etag: Its new etag.
        warnings: What was accepted, but is hardly meant.
        mapped: (namespace, audience id) of the audiences that a flow has since this change.
    """

    id: str
    etag: str
    warnings: tuple[str, ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()


_CONFIGURES: Final = frozenset({Kind.CONNECTION, Kind.SOURCE, Kind.TARGET, Kind.FLOW, Kind.SEGMENT})


class Change:
    """One transaction of a use case that writes; ``writing`` makes it.

    Args:
        control: The parts.
        caller: Who.
        transaction: The store's.
    """

    def __init__(self, control: Control, caller: Caller, transaction: Writing) -> None:
        self.control = control
        self.caller = caller
        self.transaction = transaction
        self.configures = False

    def found(self, kind: Kind, resource_id: str, scope: Scope | None = None) -> Resource:
        """A record; as of ``found``."""
        return found(self.transaction, kind, scope or self.caller.scope, resource_id)

    def insert(self, resource: Resource, action: str = "create") -> Resource:
        """Keep a new record, stamped.

        Raises:
            UseCaseError: 3003-409, its id or its name is taken.
        """
        now_ms = self.control.clock.now_ms()
        made = msgspec.structs.replace(
            resource, created_ms=now_ms, created_by=self.caller.subject, created_client=self.caller.client
        )
        made = self._stamped(made, now_ms)
        if not self.transaction.insert(made):
            raise problem(Code.TAKEN, f"the id or the name of {made.name or made.id!r} is taken in {made.kind}")
        self._log(action, None, made)
        return made

    def replace(self, old: Resource, new: Resource, action: str = "update") -> Resource:
        """Put a changed record in the place of the one that was read.

        Raises:
            UseCaseError: 3003-409, its new name is taken.
        """
        made = self._stamped(new, self.control.clock.now_ms())
        if not self.transaction.replace(made, old.etag):
            # Nobody else writes within this transaction, so it is not the etag.
            raise problem(Code.TAKEN, f"the name {made.name!r} is taken in {made.kind}")
        self._log(action, old, made)
        return made

    def remove(self, resource: Resource, action: str = "delete") -> None:
        """Remove the record that was read."""
        self.transaction.remove(resource)
        self._log(action, resource, None)

    def _stamped(self, resource: Resource, now_ms: int) -> Resource:
        return msgspec.structs.replace(
            resource,
            name=str(resource.body.get("name", resource.name)),
            updated_ms=now_ms,
            updated_by=self.caller.subject,
            updated_client=self.caller.client,
            etag=f'"{self.control.new_id()}"',
        )

    def _log(self, action: str, before: Resource | None, after: Resource | None) -> None:
        resource = after or before
        assert resource is not None
        self.configures |= resource.kind in _CONFIGURES
        self.transaction.append([entry(self.control, self.caller, action, resource, before, after)])


def entry(
    control: Control,
    caller: Caller,
    action: str,
    resource: Resource,
    before: Resource | None = None,
    after: Resource | None = None,
) -> AuditEntry:
    """A line for the audit log, without what is hidden."""
    return AuditEntry(
        at_ms=control.clock.now_ms(),
        scope=resource.scope,
        subject=caller.subject,
        client=caller.client,
        action=action,
        kind=resource.kind.value,
        resource_id=resource.id,
        name=resource.name,
        before=None if before is None else {"state": before.state, **secrets_masked(before)},
        after=None if after is None else {"state": after.state, **secrets_masked(after)},
    )


@contextlib.contextmanager
def writing(control: Control, caller: Caller, *permissions: Permission) -> Iterator[Change]:
    """A transaction of a use case that writes, for a caller with these permissions.

    Raises:
        UseCaseError: 2120-403, or 3006-409 when the configuration file rules.
    """
    access.require(caller, permissions)
    if control.read_only:
        raise problem(Code.FILE_RULES, "the configuration file rules here; change the file instead")
    with control.store.write() as transaction:
        change = Change(control, caller, transaction)
        yield change
    if change.configures:
        control.changed(caller.scope)


@contextlib.contextmanager
def reading(control: Control, caller: Caller, *permissions: Permission) -> Iterator[Reading]:
    """A transaction of a use case that reads, for a caller with these permissions.

    Raises:
        UseCaseError: 2120-403.
    """
    access.require(caller, permissions)
    with control.store.read() as transaction:
        yield transaction


def found(transaction: Reading, kind: Kind, scope: Scope, resource_id: str) -> Resource:
    """A record of a scope.

    Raises:
        UseCaseError: 1101-404.
    """
    resource = transaction.get(kind, scope, resource_id) if filters.storable(resource_id) else None
    if resource is None:
        raise not_found(kind.value, resource_id if filters.storable(resource_id) else "?")
    return resource


def patched(
    control: Control, resource: Resource, document: Mapping[str, Any], operations: Any, if_match: str | None
) -> dict[str, Any]:
    """The document after a patch by somebody who has seen the current version.

    Args:
        control: The parts.
        resource: As it was read within this transaction.
        document: Its members that a patch may change, with secrets masked.
        operations: The request's body.
        if_match: The request's header.

    Raises:
        UseCaseError: 1403-400, 1404-412, 1405-400, 1434-400 or 1455-400.
    """
    patch.check_version(
        if_match, resource.etag, resource=f"{resource.kind}/{resource.id}", strict=control.strict_if_match
    )
    return patch.apply(document, patch.operations(operations))


def body_of(value: Any, keys: Collection[str], dropped: Collection[str] = ()) -> dict[str, Any]:
    """The object of a request, whose keys are known.

    Args:
        value: The body.
        keys: What it may hold.
        dropped: What it may hold besides, without effect: an answer of the API can be sent back.

    Raises:
        UseCaseError: 1405-400 or 3000-400.
    """
    if value is None or value == {}:
        raise problem(Code.EMPTY_BODY, "the request body cannot be null or empty")
    if not isinstance(value, dict):
        refuse([Mistake("body", f"must be an object, not {kind_of(value)}", "")])
    report = Report()
    members = report.members(value, "", keys, dropped)
    refuse(report.mistakes)
    return {name: each for name, each in members.items() if name in keys}


def stated(document: dict[str, Any]) -> dict[str, Any]:
    """A document without members that are null, which count as absent: an answer holds what its schema says.

    At every depth but within lists, whose places count; the document itself is left as it is.
    """
    return {name: _without_nulls(each) for name, each in document.items() if each is not None}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return stated(value)
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def check_if_match(control: Control, resource: Resource, if_match: str | None) -> None:
    """Refuse when an etag was given and is not the current one; deletes and actions need none."""
    if if_match is not None:
        patch.check_version(
            if_match, resource.etag, resource=f"{resource.kind}/{resource.id}", strict=control.strict_if_match
        )


def unused(change: Change, resource: Resource, reference: str | None = None) -> None:
    """Refuse while flows use a record.

    Args:
        change: The transaction.
        resource: The record.
        reference: How flows refer to it; None for by its id.

    Raises:
        UseCaseError: 1447-400.
    """
    refers = frozenset({reference or resource.id})
    using = change.transaction.find(Query(kind=Kind.FLOW, scope=resource.scope, refers=refers))
    if using:
        raise problem(
            Code.USED_BY_FLOWS,
            f"Found active flows containing id {resource.id}: {', '.join(each.id for each in using[:10])}",
        )
