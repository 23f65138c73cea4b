"""What source and target connections share: the two ends of a flow, which differ in what is checked of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from headrace.core.compile import READ_ONLY

from . import inherited
from .access import CONNECT, Caller, Permission
from .lists import Page, listed
from .paging import Listing
from .resources import Kind, Resource, changeable
from .service import (
    Change,
    Control,
    Written,
    body_of,
    check_if_match,
    found,
    patched,
    reading,
    stated,
    unused,
    writing,
)

__all__ = ["KEYS", "End"]

KEYS: Final = ("name", "description", "baseConnectionId", "connectionSpec", "data", "params")
"""What a body holds."""
_VIEW: Final = Permission.VIEW_DESTINATIONS


class End(msgspec.Struct, frozen=True):
    """One kind of end; the modules of the two say what each use case needs and raises.

    Attributes:
        kind: Of its records.
        checked: Checks a body within a transaction, and gives what is stored.
        shown: What its answers hold besides, and may be sent back without effect.
    """

    kind: Kind
    checked: Callable[[Change, dict[str, Any]], dict[str, Any]]
    shown: frozenset[str] = READ_ONLY | {"id", "state"}

    def create(self, control: Control, caller: Caller, body: Any) -> Written:
        """Make one."""
        with writing(control, caller, *CONNECT) as change:
            document = self.checked(change, stated(body_of(body, KEYS, self.shown)))
            made = change.insert(
                Resource(
                    kind=self.kind, id=control.new_id(), scope=caller.scope, body=document, refers=_refers(document)
                )
            )
            return Written(id=made.id, etag=made.etag)

    def list(self, control: Control, caller: Caller, listing: Listing) -> Page:
        """A part of them."""
        with reading(control, caller, _VIEW) as transaction:
            return listed(
                transaction, caller, self.kind, listing,
                lambda records: inherited.connections(transaction, records, caller.sandbox_id),
            )  # fmt: skip

    def get(self, control: Control, caller: Caller, resource_id: str) -> dict[str, Any]:
        """One."""
        with reading(control, caller, _VIEW) as transaction:
            resource = found(transaction, self.kind, caller.scope, resource_id)
            return inherited.connections(transaction, [resource], caller.sandbox_id)[0]

    def patch(
        self, control: Control, caller: Caller, resource_id: str, operations: Any, if_match: str | None
    ) -> Written:
        """Change one by a patch."""
        with writing(control, caller, *CONNECT) as change:
            old = change.found(self.kind, resource_id)
            changeable(old)
            body = body_of(patched(control, old, old.body, operations, if_match), KEYS)
            document = self.checked(change, stated(body))
            made = change.replace(old, msgspec.structs.replace(old, body=document, refers=_refers(document)))
            return Written(id=made.id, etag=made.etag)

    def delete(self, control: Control, caller: Caller, resource_id: str, if_match: str | None = None) -> None:
        """Remove one that no flow uses."""
        with writing(control, caller, *CONNECT) as change:
            resource = change.found(self.kind, resource_id)
            check_if_match(control, resource, if_match)
            changeable(resource)
            unused(change, resource)
            change.remove(resource)


def _refers(document: dict[str, Any]) -> tuple[str, ...]:
    return (document["baseConnectionId"],) if document.get("baseConnectionId") else ()
