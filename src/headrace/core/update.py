"""Decode a raw update: a bare XDM record in AEP JSON, or the collection's envelope around one.

Duplicate keys: the last wins. Numbers: integers of 64 bits pass exactly, decimals as the nearest IEEE 754
double in its shortest form (``1.10`` leaves as ``1.1``, ``1E2`` as ``100.0``).
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgspec

from headrace.core.model import MAX_DEPTH, MAX_IDENTITY_CHARS, MAX_UPDATE_BYTES, Identity, MembershipChange
from headrace.core.times import canonical, to_ms
from headrace.errors import UpdateRefusedError

_decode: Final = msgspec.json.Decoder().decode
_new_tuple: Final = tuple.__new__
"""Makes an Identity without the interpreted function that its class begins with."""
_MAX_SHOWN_CHARS: Final = 64
_SHALLOW_BYTES: Final = 2 * MAX_DEPTH + 1
"""So many bytes cannot nest deeper than MAX_DEPTH: each level has two brackets."""
_MEMBER: Final = {"realized": True, "existing": True, "exited": False}


class Update:
    """A decoded profile update.

    Attributes:
        identities: At least one, distinct, sorted by (namespace, id).
        primary: The identity that names a new profile.
        memberships: Memberships it states.
        attributes: The XDM record's other top-level fields; null removes.
        update_id: The record's ``_id``, or None.
        stamp_ms: The update's own time where it states one, for mergeBy timestamp.
    """

    __slots__ = ("attributes", "identities", "memberships", "primary", "stamp_ms", "update_id")

    def __init__(
        self, identities: list[Identity], primary: Identity, memberships: list[MembershipChange],
        attributes: dict[str, Any], update_id: str | None = None, stamp_ms: int | None = None,
    ) -> None:  # fmt: skip
        self.identities, self.primary, self.memberships = identities, primary, memberships
        self.attributes, self.update_id, self.stamp_ms = attributes, update_id, stamp_ms


def _refuse(reason: str, place: str, problem: str) -> NoReturn:
    raise UpdateRefusedError(reason=reason, place=place, problem=problem)


def parse_update(body: bytes, *, stamped: bool = False) -> Update:
    """Decode and check one update.

    Args:
        body: One JSON text in UTF-8.
        stamped: Also read the update's own time (the envelope's ``header.createdAt``).

    Raises:
        UpdateRefusedError: With the reason's code, the place and the problem; never with values.
    """
    record, created = _record(body)
    memberships = record.pop("segmentMembership", None)
    update_id = record.pop("_id", None)
    if update_id is not None and (type(update_id) is not str or not 0 < len(update_id) <= MAX_IDENTITY_CHARS):
        _refuse("bad-update-id", "_id", "is not a string of 1 to 1,024 characters")
    identities, primary = _identities(record.pop("identityMap", None))
    return Update(
        identities,
        primary,
        _memberships(memberships) if memberships is not None else [],
        record,
        update_id,
        to_ms(canonical(created, "header.createdAt")) if stamped and created is not None else None,
    )


def _record(body: bytes) -> tuple[dict[str, Any], Any]:
    """The XDM record of an update, and its envelope's createdAt."""
    if len(body) > MAX_UPDATE_BYTES:
        _refuse("too-large", "", f"the update has {len(body)} bytes, more than {MAX_UPDATE_BYTES}")
    decoded: Any = None
    broken = ("", "")
    try:
        decoded = _decode(body)
    except RecursionError:
        broken = ("too-deep", f"the update is nested deeper than {MAX_DEPTH} levels")
    except msgspec.ValidationError:
        broken = ("number-out-of-range", "a number does not fit a 64-bit float")
    except UnicodeDecodeError:
        broken = ("not-json", f"the update is not UTF-8 (byte {_not_utf8(body)})")
    except msgspec.DecodeError as error:
        broken = ("not-json", f"the update is not JSON: {error}")
    if broken[0]:
        # Outside the handlers, so that the decoder's error, which may hold values, hangs on nothing (compiled, too).
        _refuse(broken[0], "", broken[1])
    if not isinstance(decoded, dict):
        _refuse("not-an-object", "", "the update is not a JSON object")
    # The number of brackets is a cheap upper bound of the depth; only a suspicious update is walked.
    if len(body) > _SHALLOW_BYTES and _brackets(body) > MAX_DEPTH and _deeper(decoded, MAX_DEPTH):
        _refuse("too-deep", "", f"the update is nested deeper than {MAX_DEPTH} levels")
    envelope = decoded.get("body")
    if not isinstance(envelope, dict) or "xdmEntity" not in envelope:
        return decoded, None
    record = envelope["xdmEntity"]
    if not isinstance(record, dict):
        _refuse("not-an-object", "body.xdmEntity", "is not a JSON object")
    header = decoded.get("header")
    return record, header.get("createdAt") if isinstance(header, dict) else None


def _brackets(body: bytes) -> int:
    """How many objects and arrays begin in it, at most; replacing looks for a byte at twice the speed of counting."""
    return len(body) - len(body.replace(b"{", b"").replace(b"[", b""))


def _not_utf8(body: bytes) -> int:
    """Where UTF-8 breaks off: the decoder counts from the beginning of a string."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _deeper(value: Any, levels: int) -> bool:
    """True when *value* nests more than *levels* objects and arrays; without recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not layer:
            return False
    return True


def _identities(found: Any) -> tuple[list[Identity], Identity]:
    """Distinct identities in (namespace, id) order, and the one that names a new profile."""
    if not isinstance(found, dict):
        _refuse("no-identity", "identityMap", "is missing, or is not an object")
    identities: list[Identity] = []
    primary: Identity | None = None
    code: str
    for code, entries in found.items():
        namespace = code.lower()
        if not isinstance(entries, list) or not 0 < len(namespace) <= MAX_IDENTITY_CHARS or "\0" in namespace:
            _refuse(
                "bad-identity",
                "identityMap",
                "a namespace is not of 1 to 1,024 characters, or does not hold an array",
            )
        for entry in entries:
            key = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(key, str) or not 0 < len(key) <= MAX_IDENTITY_CHARS:
                _refuse("bad-identity", "identityMap", "an identity's id is not a string of 1 to 1,024 characters")
            identity: Identity = _new_tuple(Identity, (namespace, key))
            identities.append(identity)
            if primary is None and isinstance(entry, dict) and entry.get("primary") is True:
                primary = identity
    if not identities:
        _refuse("no-identity", "identityMap", "holds no identity")
    if len(identities) > 1:
        identities = sorted(set(identities))
    return identities, primary or identities[0]


def _memberships(found: Any) -> list[MembershipChange]:
    if not isinstance(found, dict):
        _refuse("bad-membership", "segmentMembership", "is not an object")
    changes: list[MembershipChange] = []
    for namespace, segments in found.items():
        if not isinstance(segments, dict) or not namespace:
            _refuse("bad-membership", "segmentMembership", "a namespace is empty or does not hold an object")
        for segment_id, stated in segments.items():
            if not isinstance(stated, dict) or not segment_id:
                _refuse(
                    "bad-membership",
                    f"segmentMembership.{_shown(namespace)}",
                    "a membership has no audience id or is not an object",
                )
            status = stated.get("status", "realized")
            member = _MEMBER.get(status) if isinstance(status, str) else None
            if member is None:
                _refuse(
                    "bad-membership",
                    f"segmentMembership.{_shown(namespace)}.{_shown(segment_id)}.status",
                    "is not one of realized, existing, exited",
                )
            since = _time(stated, "lastQualificationTime", namespace, segment_id)
            if since is None:
                since = _time(stated, "timestamp", namespace, segment_id)
            until = _time(stated, "validUntil", namespace, segment_id)
            changes.append(MembershipChange(namespace, segment_id, member, since, until))
    return changes


def _time(stated: dict[str, Any], key: str, namespace: str, segment_id: str) -> str | None:
    value = stated.get(key)
    if value is None:
        return None
    problem = ""
    try:
        return canonical(value)
    except UpdateRefusedError as error:
        problem = error.problem
    _refuse("bad-time", f"segmentMembership.{_shown(namespace)}.{_shown(segment_id)}.{key}", problem)


def _shown(name: str) -> str:
    """A name of the update, for an error's text: short and on one line."""
    return name if len(name) <= _MAX_SHOWN_CHARS and name.isprintable() else "…"
