"""What the engine says of an export, in the values of the core: cause, and the export itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.core.model import Cause, Export

from .texts import Texts


def cause_of(value: Any) -> Cause | None:
    """A cause as the engine's answers hold it: an array, or an object; None when there is none."""
    if isinstance(value, Mapping):
        known = {name: value[name] for name in Cause.__struct_fields__ if name in value}
        return Cause(**known) if "kind" in known else None
    return msgspec.convert(value, Cause) if isinstance(value, list) and value else None


def export_of(value: Any) -> Export | None:
    """An export as the engine's answers hold it, its message as bytes; None when there is none."""
    if not isinstance(value, list | Mapping) or not value:
        return None
    try:
        return msgspec.convert(value, Export)
    except msgspec.ValidationError:
        return None


def words(cause: Cause | None, t: Texts) -> str:
    """Why an export was made, in one line: ``joined ups/gold · changed person.name``."""
    if cause is None:
        return t("cause.unknown")
    parts = [] if cause.kind == "live" else [t.known(f"cause.{cause.kind}", cause.kind)]
    for key, found in (("joined", cause.joined), ("left", cause.left), ("paths", cause.paths)):
        if found:
            more = f" +{len(found) - 3}" if len(found) > 3 else ""
            parts.append(t(f"cause.{key}", names=", ".join(found[:3])) + more)
    if "identity" in cause.triggers:
        parts.append(t("cause.identity"))
    if "consent" in cause.triggers:
        parts.append(t("cause.consent"))
    if cause.absorbed:
        parts.append(t("cause.absorbed", count=len(cause.absorbed)))
    return " · ".join(parts) or t.known(f"cause.{cause.kind}", cause.kind)
