"""Show an explanation on one page, in the order in which one would check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

_MOST_CONTENT: Final = 2_000
_STATES: Final = {
    "delivered": "delivered",
    "dead-letter": "never taken: it is a dead letter",
    "pending": "it waits to be sent",
    "unknown": "not known",
}


def page(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the page.

    Args:
        found: An ``Explanation`` as plain values.
    """
    yield from _input(found["input"])
    yield ""
    yield from _profile(found["profile"])
    for flow in found["flows"]:
        yield ""
        yield from _flow(flow)
    if found["unknown"]:
        yield ""
        yield "Not known"
        for sentence in found["unknown"]:
            yield f"  {sentence}"


def _rows(*rows: tuple[str, Any]) -> Iterator[str]:
    for name, value in rows:
        if value not in (None, "", []):
            yield f"  {name:15} {', '.join(map(str, value)) if isinstance(value, list) else value}"


def _input(facts: Mapping[str, Any] | None) -> Iterator[str]:
    if facts is None:
        yield "Input: no longer in the journal"
        return
    yield f"Input {facts['ordinal']}: {facts['kind']} of {facts['time']}"
    content = facts["content"]
    if len(content) > _MOST_CONTENT:
        content = content[:_MOST_CONTENT] + f"… ({len(facts['content']):,} characters; --json shows all)"
    yield from _rows(
        ("source", facts["source"]),
        ("attributes", facts["attributes"]),
        ("memberships", facts["memberships"]),
        ("as it came in", content),
    )


def _profile(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"Profile {facts['id'] or 'not known'}"
    before, after = facts["version_before"], facts["version_after"]
    if facts["made"]:
        version = "made by this input"
    elif facts["deleted"]:
        version = "forgotten by this input"
    elif after is None:
        version = ""
    elif before is None:
        version = f"{after} after"
    else:
        version = f"{before}, unchanged" if before == after else f"{before} before, {after} after"
    yield from _rows(
        ("version", version), ("joined", facts["joined"]), ("new identities", facts["identities_added"])
    )  # fmt: skip
    memberships = facts["memberships"]
    if memberships is None:
        yield "  memberships     not known"
        return
    if not memberships:
        yield "  memberships     none, before and after"
        return
    width = max(len("audience"), *(len(m["audience"]) for m in memberships))
    yield f"  {'audience':{width}}  before    after     since"
    for m in memberships:
        until = f"  until {m['valid_until']}" if m["valid_until"] else ""
        yield f"  {m['audience']:{width}}  {m['before']:8}  {m['after']:8}  {m['since']}{until}"


def _flow(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"Flow {facts['id']}" + (f" ({facts['name']})" if facts["name"] else "")
    if facts["exported"]:
        yield "  exported        yes"
        yield from _cause(facts["cause"])
    else:
        yield f"  exported        no, because of {facts['reason']}: {facts['meaning']}"
    yield from _force(facts)
    if facts["exported"]:
        yield from _export(facts)


def _cause(cause: Any) -> Iterator[str]:
    if cause is None:
        yield "  trigger         not known"
        return
    kind, triggers, paths, joined, left, absorbed = cause
    yield from _rows(
        ("cause", kind), ("trigger", triggers), ("wrote", paths), ("entered", joined), ("left", left),
        ("absorbed", absorbed),
    )  # fmt: skip


def _force(facts: Mapping[str, Any]) -> Iterator[str]:
    """What was in force: configuration, selectors, mapping, settings, consent."""
    audiences = [f"{name} ({title})" if title else name for name, title in facts["audiences"].items()]
    settings = facts["settings"]
    off = [name for name, on in settings["triggers"].items() if not on]
    shown = [f"{name} {str(value).lower() if isinstance(value, bool) else value}"
             for name, value in settings.items() if name != "triggers"]  # fmt: skip
    yield from _rows(
        ("configuration", facts["configuration"]),
        ("audiences", audiences or "none mapped"),
        ("mapping", facts["attributes"] or "no attributes"),
        ("settings", [*shown, *([f"triggers off: {' and '.join(off)}"] if off else [])]),
    )
    consent = facts["consent"]
    if consent is None:
        yield "  consent         not asked for"
        return
    allowed = ", ".join(msgspec.json.encode(value).decode() for value in consent["allowed"])
    says = f"; the profile says {msgspec.json.encode(consent['says']).decode()}" if "says" in consent else ""
    yield f"  consent         {consent['path']} must be {allowed}{says}"


def _export(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _rows(
        ("export", facts["export_id"]),
        ("seq", facts["seq"]),
        ("made", facts["made"]),
        ("partition key", facts["partition_key"]),
        ("message", facts["message"]),
        ("outcome", _STATES[facts["state"]]),
        ("code", facts["code"]),
        ("answer", facts["detail"]),
        ("shard", facts["shard"]),
        ("sequence number", facts["sequence"]),
        ("attempts", facts["attempts"]),
        ("settled", facts["settled"]),
        ("dead letter", f"headrace dead-letters show {facts['letter']}" if facts["letter"] else ""),
    )
