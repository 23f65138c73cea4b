"""Who may do what: permissions, the roles they are grouped in, and the check that each use case makes.

Permissions are those of AEP's access control (Destinations, Segments, Profiles, Sandboxes, User Activity Log); what
they are needed for is in ``docs/control-plane.md``. ``Manage Access`` is ours: accounts and roles.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from .problems import Code, problem
from .resources import Scope


class Permission(enum.StrEnum):
    """One permission; the text is its name in the API."""

    VIEW_DESTINATIONS = "View Destinations"
    MANAGE_DESTINATIONS = "Manage Destinations"
    ACTIVATE_DESTINATIONS = "Activate Destinations"
    VIEW_SEGMENTS = "View Segments"
    MANAGE_SEGMENTS = "Manage Segments"
    VIEW_PROFILES = "View Profiles"
    MANAGE_PROFILES = "Manage Profiles"
    VIEW_SANDBOXES = "View Sandboxes"
    VIEW_ACTIVITY = "View User Activity Log"
    MANAGE_ACCESS = "Manage Access"


CONNECT: Final = (Permission.VIEW_DESTINATIONS, Permission.MANAGE_DESTINATIONS)
"""Making and changing connections and flows."""
ACTIVATE: Final = (
    Permission.VIEW_DESTINATIONS,
    Permission.ACTIVATE_DESTINATIONS,
    Permission.VIEW_PROFILES,
    Permission.VIEW_SEGMENTS,
)
"""Changing what a flow maps."""
DEFINE: Final = (Permission.VIEW_SEGMENTS, Permission.MANAGE_SEGMENTS)
"""Making and changing audiences."""

ROLES: Final[dict[str, tuple[Permission, ...]]] = {
    "administrator": tuple(Permission),
    "connector": (*CONNECT, Permission.VIEW_SANDBOXES),
    "activator": (*ACTIVATE, Permission.VIEW_SANDBOXES),
    "audience-manager": (*DEFINE, Permission.VIEW_SANDBOXES),
    "viewer": (Permission.VIEW_DESTINATIONS, Permission.VIEW_SEGMENTS, Permission.VIEW_SANDBOXES),
}
"""Roles that every organisation begins with."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls a use case, and where.

    Attributes:
        scope: Organisation and sandbox.
        sandbox_id: The sandbox's id.
        subject: Account id: of a client, a user, or ``system``.
        client: Client through which the call comes.
        kind: client, user or system.
        permissions: What the account may do.
    """

    scope: Scope
    subject: str
    sandbox_id: str = ""
    client: str = ""
    kind: str = "client"
    permissions: frozenset[Permission] = frozenset()


def system(scope: Scope, sandbox_id: str = "") -> Caller:
    """The process itself: first start, the command line on the same machine, files that are applied."""
    return Caller(
        scope=scope,
        sandbox_id=sandbox_id,
        subject="system",
        client="system",
        kind="system",
        permissions=frozenset(Permission),
    )


def require(caller: Caller, permissions: Iterable[Permission]) -> None:
    """Refuse a caller who lacks one of the permissions.

    Raises:
        UseCaseError: 2120-403, with the names of those that are missing.
    """
    missing = [each.value for each in permissions if each not in caller.permissions]
    if missing:
        raise problem(
            Code.FORBIDDEN,
            f"the account lacks {'the permission' if len(missing) == 1 else 'the permissions'} "
            f"{', '.join(missing)}; contact the administrator",
        )
