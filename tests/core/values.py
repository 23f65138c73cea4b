"""Generated attributes, updates and flows."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from headrace.core.flow import CompiledFlow

from .driving import flow

NAMES = st.sampled_from("abc")
SCALARS = (
    st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, -1.5, 1e300, 2**63, -(2**63), 2**64 - 1])
    | st.text(max_size=3)
    | st.sampled_from(["é☃😀", '"\\/', "\x7f\u2028"])
)
IN_ARRAYS = st.recursive(
    SCALARS | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2)
)
ARRAYS = st.lists(IN_ARRAYS, max_size=3)
PATCH_VALUES = st.recursive(
    SCALARS | st.none() | ARRAYS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
"""What an update may say of a field."""
PATCHES = st.dictionaries(NAMES, PATCH_VALUES, max_size=3)
VALUES = st.recursive(SCALARS | ARRAYS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
"""What a profile may hold in a field: as above without null."""
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=3)
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(".".join), max_size=4, unique=True).map(tuple)

TIMES = st.sampled_from([f"2025-01-0{day}T00:00:00Z" for day in range(1, 5)])
SEGMENTS = ("vip", "new", "aam/x", "other")


@st.composite
def updates(
    draw: st.DrawFn, *, pool: tuple[str, ...] = ("ECID:1", "ECID:2", "ECID:3", "Email:1", "Email:2")
) -> bytes:
    """An update about one to three of a few identities."""
    ids = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
    identity_map: dict[str, list[dict[str, Any]]] = {}
    for text in ids:
        namespace, _, key = text.partition(":")
        identity_map.setdefault(namespace, []).append({"id": key})
    record: dict[str, Any] = {"identityMap": identity_map, **draw(PATCHES)}
    for text in draw(st.lists(st.sampled_from(SEGMENTS), max_size=2, unique=True)):
        namespace, _, segment_id = text.rpartition("/")
        stated: dict[str, Any] = {"status": draw(st.sampled_from(["realized", "existing", "exited"]))}
        since = draw(st.none() | TIMES)
        if since:
            stated["lastQualificationTime"] = since
        record.setdefault("segmentMembership", {}).setdefault(namespace or "ups", {})[segment_id] = stated
    return msgspec.json.encode(record)


HISTORIES = st.lists(updates(), min_size=1, max_size=14)


@st.composite
def plain_flows(draw: st.DrawFn, id: str) -> CompiledFlow:
    """A flow whose settings change what triggers and which memberships are sent."""
    return flow(
        *draw(st.lists(st.sampled_from(SEGMENTS[:3]), min_size=1, max_size=3, unique=True)),
        id=id,
        paths=draw(PATHS),
        membership_scope=draw(st.sampled_from(["all", "mapped"])),
        trigger_segment=draw(st.booleans()),
        trigger_identity=draw(st.booleans()),
        trigger_attribute=draw(st.booleans()),
    )


FLOWS = st.tuples(plain_flows("f"), plain_flows("g"), plain_flows("h"))
