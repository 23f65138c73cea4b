"""The fields of a destination's own alerts in forms: which kinds are not raised, from when on, who gets a mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.core.flow_settings import FLOW_ALERTS

from .visit import Visit

KINDS: Final = FLOW_ALERTS
"""Kinds of alerts about a destination."""
PREFIX: Final = "transformations[0].params.headrace.alerts."
"""Of the places of what is wrong."""
_NUMBERS: Final = ("lagSeconds", "skipPercent")


def typed(visit: Visit) -> dict[str, Any]:
    """What a form says, as the setting ``alerts``; empty for what the installation's settings say."""
    found: dict[str, Any] = {}
    if mute := visit.fields("mute"):
        found["mute"] = mute
    for name in _NUMBERS:
        if text := visit.field(name):
            # What is no number is stored nowhere: the use case says what is allowed.
            found[name] = int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else text
    if addresses := [each.strip() for each in visit.field("mailTo").split(",") if each.strip()]:
        found["mailTo"] = addresses
    return found


def shown(alerts: Mapping[str, Any]) -> dict[str, Any]:
    """The setting as fields show it."""
    return {
        "mute": list(alerts.get("mute") or ()),
        **{name: alerts.get(name, "") for name in _NUMBERS},
        "mailTo": ", ".join(map(str, alerts.get("mailTo") or ())),
    }
