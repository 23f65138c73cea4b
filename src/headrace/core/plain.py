"""Plain updates, decided by C on the bytes of profiles: what most updates are, several times as fast.

Plain is an update that joins no profiles, writes attributes or states memberships without an end, to flows without
settings that are seldom used. Everything else, and every mistake, is left to ``core.update`` and ``core.step``, which
decide plain updates too, byte for byte alike: ``tests/core/test_plain.py`` compares them. Where C was not compiled
(``make compiled``) they decide everything.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.core.flow import CompiledFlow, Snapshot
from headrace.core.model import NOTHING, Cause, Export, Identity

try:
    from headrace.core import _native
except ImportError:
    _native = None  # type: ignore[assignment]
else:
    _native.use(Identity, Cause, Export, NOTHING)

NATIVE: Final[Any] = _native
"""What C is compiled to; None where it is not."""

COMPILED: Final[bool] = _native is not None
"""Whether plain updates are decided by C."""

scan: Final[Any] = _native.scan if COMPILED else None
"""Read a plain update: its identities in order, the primary one, its id or None, and a note for ``apply``. None for
an update that ``core.update`` has to read."""

apply: Final[Any] = _native.apply if COMPILED else None
"""Fold a note into a profile, as ``Slice`` does it: for looking at one update. None where ``core.step`` has to.

Args:
    stored: The profile's bytes; None for one that this update makes.
    note: From ``scan``.
    identities: From ``scan``.
    profile_id: What it is, or is to be, called.
    ordinal: The input's.
    now_ms: Time of the batch.
    now: The same as canonical text.
    plan: From ``plan``.
    exports: Per flow a list, to which its export is appended, as it waits (``destinations.pending.Pending``).

Returns:
    The profile's bytes, or None where nothing changed; per flow the reason why nothing was exported; ordinal and
    version of the profile before, and its epoch; how many memberships came too late; and those that may end by
    themselves as (namespace, member, since).
"""

Slice: Final[Any] = _native.Slice if COMPILED else None
"""Some updates at once, decided without an object for any but what is kept of them: at most ``AT_ONCE``.

One is decided where all its identities are of one profile or all are new; the others, and what ``scan`` or ``apply``
leave, stop ``decide``, to be decided by whoever called it. ``runtimes.embedded.decide`` drives it.

Args:
    given: What it reads and writes, in this order: the plan; type of a row; what stands before a namespace in the key
        of an identity; caches of rows by such a key and of profiles' bytes by id, each young and old (``Recent``);
        profiles that the batch changed, rows that it wrote; names of profiles to be made, by key; digests of update
        ids to whether they came before, and those that came in this batch; of the journal's block (``Entries``)
        kinds, bodies, sources, profiles, decisions by index, the different decisions, bases; and exports, as of
        ``apply``.
    now_ms: Time of the batch.
    now: The same as canonical text.
    base_from: See ``Decider``.
    most_identities: Of a profile.
    stitches_all: No namespace is kept from joining profiles.
    heeds_ids: Look at ids of updates; else none is a repeat.
"""

AT_ONCE: Final = 64

_KINDS: Final = {"profileId": 0, "identity": 1, "attribute": 2}
_MOST_FLOWS: Final = 256
_json: Final = msgspec.json.Encoder().encode


def plan(snapshot: Snapshot) -> Any:
    """A snapshot as ``apply`` reads it; None where its updates are not decided by C."""
    if not COMPILED or snapshot.merge_by == "timestamp" or len(snapshot.flows) > _MOST_FLOWS:
        return None
    if not all(_is_plain(flow) for flow in snapshot.flows):
        return None
    flows = [
        (
            flow.id, flow.digest, _json(flow.id), flow.metadata, flow.trigger_segment, flow.trigger_identity,
            flow.trigger_attribute, flow.same_value, flow.paused and flow.pause_mode == "skip",
            flow.id in snapshot.overflowing, _KINDS[flow.partition_key.kind], flow.partition_key.namespace,
            tuple(flow.partition_key.steps),
            _tree(flow.tree), [(namespace, one) for namespace, ids in flow.segments.items() for one in ids],
        )
        for flow in snapshot.flows
    ]  # fmt: skip
    return _native.plan(snapshot.version, _json(snapshot.version), flows)


def _is_plain(flow: CompiledFlow) -> bool:
    return flow.plain and not flow.dated and flow.consent is None and flow.deliver == "all"


def _tree(tree: dict[str, Any]) -> list[tuple[str, bytes, Any]]:
    """A projection tree as (name, name in JSON with its colon, mapped path or the tree below)."""
    return [
        (name, _json(name) + b":", below if isinstance(below, str) else _tree(below)) for name, below in tree.items()
    ]
