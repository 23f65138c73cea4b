"""Whom the sample's engine heard of lately, and the last inputs about one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

ADA: Final = f"{77:032x}"
"""Profile of ada@example.com."""
LAST: Final = 80_112
"""Ordinal of the last input about her."""
_CAME: Final[tuple[tuple[str, list[str], list[str]], ...]] = (
    ("update", ["person"], ["crm/crm-high-propensity"]),
    ("update", ["loyalty", "personalEmail"], []),
    ("tick", [], []),
    ("repeat", ["person"], []),
)
_REASONS: Final = ("", "no-relevant-change", "not-a-member")


def seen(now_ms: int) -> Callable[..., dict[str, Any]]:
    """As the engine answers ``profiles-seen``."""
    people = [
        {"profile_id": ADA, "at_ms": now_ms - 40_000, "sent": True,
         "identities": [_one("ecid", "14575006536349286404619648085736425115"), _one("email", "ada@example.com")]},
        {"profile_id": f"{78:032x}", "at_ms": now_ms - 95_000, "sent": True,
         "identities": [_one("email", "grace@example.com")]},
        {"profile_id": f"{79:032x}", "at_ms": now_ms - 4_000, "sent": False,
         "identities": [_one("ecid", "60118231549310924415612930418923711034")]},
    ]  # fmt: skip
    return lambda most: {"namespaces": ["crmid", "ecid", "email"], "profiles": people[:most]}


def _one(namespace: str, id: str) -> dict[str, str]:
    return {"namespace": namespace, "id": id}


def inputs(names: Sequence[str], now_ms: int, count: int = 24) -> Callable[..., list[dict[str, Any]]]:
    """As the engine answers ``profile-inputs``.

    Args:
        names: Of the flows.
        now_ms: The time.
        count: Inputs that there are about Ada; nobody else has any.
    """
    made = []
    for number in range(count):
        kind, attributes, memberships = _CAME[number % len(_CAME)]
        decided: dict[str, list[str]] = {}
        for index, name in enumerate(names):
            reason = "repeat" if kind == "repeat" else _REASONS[(number + index) % len(_REASONS)]
            decided.setdefault(reason, []).append(name)
        made.append({
            "ordinal": LAST - 317 * number, "at_ms": now_ms - number * 600_000 - 40_000, "kind": kind,
            "source": "http" if kind != "tick" else "", "profile_id": ADA, "attributes": attributes,
            "memberships": memberships, "sent": len(sent := decided.pop("", [])), "exported": sent[:6],
            "held": {reason: len(each) for reason, each in decided.items()},
            "not_sent": [name for each in decided.values() for name in each] if len(names) <= 6 else [],
        })  # fmt: skip
    return lambda profile_id, most: made[:most] if profile_id == ADA else []
