"""What the side bar leads to, and who sees it."""

from __future__ import annotations

from typing import Final, NamedTuple

from headrace.control.access import Permission


class Link(NamedTuple):
    """One entry.

    Attributes:
        key: Of its text (``nav.<key>``) and its icon.
        path: Where it leads.
        needs: Permissions without which the page would refuse.
    """

    key: str
    path: str
    needs: tuple[Permission, ...] = ()


_VIEW: Final = (Permission.VIEW_DESTINATIONS,)
_PEOPLE: Final = (Permission.VIEW_DESTINATIONS, Permission.VIEW_PROFILES)

SECTIONS: Final[tuple[tuple[str, tuple[Link, ...]], ...]] = (
    (
        "destinations",
        (
            Link("catalog", "/ui/catalog", _VIEW),
            Link("browse", "/ui/destinations", _VIEW),
            Link("accounts", "/ui/accounts", _VIEW),
            Link("audiences", "/ui/audiences", (Permission.VIEW_SEGMENTS,)),
            Link("attributes", "/ui/attributes", (Permission.VIEW_PROFILES,)),
        ),
    ),
    (
        "watch",
        (
            Link("monitoring", "/ui/monitoring", _VIEW),
            Link("live", "/ui/live", _PEOPLE),
            Link("profile", "/ui/profile", _PEOPLE),
            Link("letters", "/ui/dead-letters", _PEOPLE),
            Link("alerts", "/ui/alerts", _VIEW),
        ),
    ),
    (
        "manage",
        (
            Link("audit", "/ui/audit", (Permission.VIEW_ACTIVITY,)),
            Link("people", "/ui/people", (Permission.MANAGE_ACCESS,)),
            Link("settings", "/ui/settings"),
        ),
    ),
)
"""Groups of entries, in order."""
