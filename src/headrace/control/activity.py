"""Use case: read the audit log. Nothing changes or removes a line of it."""

from __future__ import annotations

from typing import Any

import msgspec

from .access import Caller, Permission
from .problems import Code, problem
from .service import Control, reading
from .store import AuditEntry, AuditQuery

__all__ = ["ActivityPage", "list_activity"]

MAX_LIMIT = 1000


class ActivityPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the audit log, the latest first.

    Attributes:
        items: Lines, each with id, at, subject, client, action, kind, resourceId, name, before and after.
        before: What the next part is asked for with; None at the end.
    """

    items: list[dict[str, Any]]
    before: int | None


def list_activity(
    control: Control,
    caller: Caller,
    *,
    subject: str | None = None,
    action: str | None = None,
    kind: str | None = None,
    resource_id: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    before: int | None = None,
    limit: int = 100,
    organisation: bool = False,
) -> ActivityPage:
    """A part of the sandbox's audit log; needs View User Activity Log.

    Args:
        control: The parts.
        caller: Who.
        subject: Only by this account.
        action: Only this action.
        kind: Only of this kind of record.
        resource_id: Only of this record.
        from_ms: Not earlier, epoch milliseconds.
        to_ms: Earlier than this.
        before: Of an earlier part.
        limit: Most lines, 1 to 1000.
        organisation: Also what belongs to the organisation and to its other sandboxes; needs Manage Access too.

    Raises:
        UseCaseError: 1451-400.
    """
    needed = [Permission.VIEW_ACTIVITY, *([Permission.MANAGE_ACCESS] if organisation else [])]
    with reading(control, caller, *needed) as transaction:
        if not 1 <= limit <= MAX_LIMIT:
            raise problem(Code.BAD_PARAMETER, f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit}")
        query = AuditQuery(
            org=caller.scope.org, sandbox=None if organisation else caller.scope.sandbox, subject=subject,
            action=action, kind=kind, resource_id=resource_id, from_ms=from_ms, to_ms=to_ms, before=before,
            limit=limit + 1,
        )  # fmt: skip
        found = transaction.audit(query)
    kept = found[:limit]
    return ActivityPage(
        items=[_item(each) for each in kept], before=kept[-1].sequence if len(found) > limit else None
    )


def _item(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": str(entry.sequence),
        "at": entry.at_ms,
        "sandboxName": entry.scope.sandbox,
        "subject": entry.subject,
        "client": entry.client,
        "action": entry.action,
        "kind": entry.kind,
        "resourceId": entry.resource_id,
        "name": entry.name,
        "before": entry.before,
        "after": entry.after,
    }
