"""Drive the core without a runtime: updates in short, flows in short, and profiles kept as bytes in a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.core import canonical
from headrace.core.envelope import Envelope, decode, encode
from headrace.core.flow import CompiledFlow, MappedSegment, Snapshot
from headrace.core.link import Guards, Link, Row, link, name
from headrace.core.model import Export, Identity
from headrace.core.step import Input, Step, step
from headrace.core.update import Update, parse_update

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000
KEY = bytes(range(32))
T1, T2, T3 = "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", "2025-01-03T00:00:00Z"


def update(*ids: str, into: Mapping[str, Any] | None = None, primary: str = "", **fields: Any) -> bytes:
    """An update about ids like ``ECID:1``.

    Args:
        ids: Identities.
        into: ``namespace/id`` or ``id`` (of ups) to a status, to (status, time), or to the whole membership.
        primary: The one of *ids* that is primary.
        fields: Other top-level fields.
    """
    identity_map: dict[str, list[dict[str, Any]]] = {}
    for text in ids:
        namespace, _, key = text.partition(":")
        identity_map.setdefault(namespace, []).append({"id": key} | ({"primary": True} if text == primary else {}))
    record: dict[str, Any] = {"identityMap": identity_map, **fields}
    for text, stated in (into or {}).items():
        namespace, _, segment_id = text.rpartition("/")
        if isinstance(stated, str):
            stated = {"status": stated}
        elif isinstance(stated, tuple):
            stated = {"status": stated[0], "lastQualificationTime": stated[1]}
        record.setdefault("segmentMembership", {}).setdefault(namespace or "ups", {})[segment_id] = stated
    return msgspec.json.encode(record)


def flow(*segments: str, id: str = "f", paths: tuple[str, ...] = (), **fields: Any) -> CompiledFlow:
    """A flow that maps audiences like ``vip`` (of ups) or ``aam/vip``."""
    mapped: dict[str, dict[str, MappedSegment]] = {}
    for text in segments:
        namespace, _, segment_id = text.rpartition("/")
        mapped.setdefault(namespace or "ups", {})[segment_id] = MappedSegment()
    return canonical.build(**{
        "id": id, "name": id.upper(), "spec_id": "spec", "segments": mapped, "paths": paths, **fields,
    })  # fmt: skip


def snapshot(*made: CompiledFlow, **settings: Any) -> Snapshot:
    return canonical.snapshot(made, **settings)


class Profiles:
    """Profiles in a dict, kept as bytes between inputs; every input is applied through ``link`` and ``step``."""

    def __init__(self, config: Snapshot, *, now_ms: int = NOW_MS) -> None:
        self.config, self.now_ms = config, now_ms
        self.stored: dict[str, bytes] = {}
        self.index: dict[Identity, Row] = {}
        self.exports: dict[str, list[Export]] = {f.id: [] for f in config.flows}
        self.born: list[str] = []
        self.ordinal = 0
        self.last = Step(None, False, [], [], {})

    def apply(self, *what: bytes | Input) -> Step:
        """Apply inputs in order; the last one's step."""
        for one in what:
            change = parse_update(one, stamped=self.config.merge_by == "timestamp") if isinstance(one, bytes) else one
            self.ordinal += 1
            found = self._link(change) if isinstance(change, Update) else Link(change.profile_id, (), [])
            self._step(change, found)
        return self.last

    def _link(self, change: Update) -> Link:
        rows = {i: self.index.get(i) for i in change.identities}
        guards = Guards(self.config.max_identities, self.config.unstitchable)
        return link(
            change.identities,
            change.primary,
            rows,
            lambda i: sum(map(len, self.profile(i).identities.values())),
            guards,
        )

    def _step(self, change: Input, found: Link) -> None:
        profile_id = found.profile_id
        if not profile_id and isinstance(change, Update):
            profile_id = name(KEY, change.primary)
            if profile_id in self.stored:
                profile_id = name(KEY, change.primary, self.ordinal)
        before = self.stored.get(profile_id)
        envelope = decode(before) if before else None
        absorbed = [self.profile(i) for i in found.absorbed]
        done = step(envelope, absorbed, change, found.identities, profile_id, self.ordinal, self.now_ms, self.config)
        # P2 and the version hold for every input that any test ever applies.
        exporting = [index for index, _, _ in done.exports]
        assert exporting == [index for index, reason in enumerate(done.held) if reason == ""]
        assert len(done.held) == len(self.config.flows)
        if done.changed and done.envelope and envelope:
            assert done.envelope.version == envelope.version + 1
        encoded = (
            encode(done.envelope) if done.envelope and done.changed else b""
        )  # refused here, nothing has happened
        if before is None and encoded:
            self.born.append(profile_id)
        for index, _, export in done.exports:
            self.exports[self.config.flows[index].id].append(export)
        for gone in found.absorbed:
            del self.stored[gone]
        if done.envelope is None:
            self.stored.pop(profile_id, None)
            self.index = {i: row for i, row in self.index.items() if row.profile_id != profile_id}
        elif done.changed:
            self.stored[profile_id] = encoded
            for namespace, ids in done.envelope.identities.items():
                for key in ids:
                    self.index[Identity(namespace, key)] = Row(profile_id, done.envelope.epoch)
        self.last = done

    def profile(self, profile_id: str) -> Envelope:
        return decode(self.stored[profile_id])

    def of(self, identity: str) -> Envelope:
        """The profile of an identity like ``ecid:1``."""
        namespace, _, key = identity.partition(":")
        return self.profile(self.index[Identity(namespace, key)].profile_id)

    def messages(self, flow_id: str = "f") -> list[dict[str, Any]]:
        return [msgspec.json.decode(export.data) for export in self.exports[flow_id]]

    def held(self, *what: bytes | Input) -> list[str]:
        """Apply inputs; per flow the reason of the last one, "" where it exported."""
        return self.apply(*what).held

    def partition(self) -> frozenset[frozenset[Identity]]:
        """The identities, by the profile they belong to."""
        owners: dict[str, set[Identity]] = {}
        for identity, row in self.index.items():
            owners.setdefault(row.profile_id, set()).add(identity)
        return frozenset(map(frozenset, owners.values()))
