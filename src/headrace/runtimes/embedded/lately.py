"""Whom the folder heard of lately, and the last inputs about one profile: for whoever does not know what to ask for.

Every read is bounded, whatever the folder holds: namespaces cost one seek each, profiles are taken from the ends of
ledger and journal, and inputs about a profile are looked for no further back than the one that made it.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from headrace.core.envelope import Envelope, decode
from headrace.core.update import Update, parse_update
from headrace.errors import RefusedError, UpdateRefusedError
from headrace.runtimes.embedded.facts import KINDS
from headrace.runtimes.embedded.past import Line, Past
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import IDENTITY, MOST, Keys
from headrace.state.ledger import Ledger, Query

MOST_NAMESPACES: Final = 50
MOST_PROFILES: Final = 50
MOST_INPUTS: Final = 100
MOST_NAMED: Final = 6
"""Flows that are named for each input: what was decided about more of them is told as numbers."""
MOST_JOINED: Final = 16
"""Absorbed profiles whose inputs are told with those of the one that absorbed them."""
_LOOKED_AT: Final = 1000
"""Exports, and inputs, among whose profiles are those that are told."""


class ProfileSeen(msgspec.Struct, kw_only=True):
    """A profile that something was sent about, or that an input named.

    Attributes:
        profile_id: Opaque.
        at_ms: When the last export about it settled; when the last input came in where none is known.
        sent: True for the former.
        identities: The first of each namespace, as ``namespace`` and ``id``.
    """

    profile_id: str
    at_ms: int
    sent: bool
    identities: list[dict[str, str]]


class Lately(msgspec.Struct, kw_only=True):
    """What the folder knows of people.

    Attributes:
        namespaces: Of identities that some profile has, sorted.
        profiles: Those of the last exports first, then those of the last inputs.
    """

    namespaces: list[str]
    profiles: list[ProfileSeen]


class InputSeen(msgspec.Struct, kw_only=True):
    """One input about a profile.

    Attributes:
        ordinal: Its ordinal.
        at_ms: When its batch was decided.
        kind: Of ``facts.KINDS``.
        source: Id of its source; "" for a command.
        profile_id: The id the profile had then.
        attributes: Top-level attributes that it stated, sorted.
        memberships: Audiences that it stated, as ``namespace/id``, sorted.
        sent: Number of the flows for which an export was made.
        exported: Names of the first ``MOST_NAMED`` of them; the id of one without a name.
        held: Why none was made to the number of flows for which none was.
        not_sent: Their names, where there were no more than ``MOST_NAMED`` flows in all.
    """

    ordinal: int
    at_ms: int
    kind: str
    source: str
    profile_id: str
    attributes: list[str]
    memberships: list[str]
    sent: int
    exported: list[str]
    held: dict[str, int]
    not_sent: list[str]


def namespaces(state: State, keys: Keys, most: int = MOST_NAMESPACES) -> list[str]:
    """The namespaces of identities, sorted; a seek for each, however many identities there are."""
    start, end = keys.space(IDENTITY)
    begin, found = len(start), list[str]()
    while len(found) < most:
        for key, _ in state.scan(start, end):
            name, _, _ = key[begin:].partition(b"\0")
            break
        else:
            break
        found.append(name.decode())
        start = keys.named(IDENTITY, found[-1]) + b"\1"
    return found


def profiles(state: State, keys: Keys, most: int) -> list[ProfileSeen]:
    """Profiles that exist, of the last exports, and then of the last inputs."""
    found: list[ProfileSeen] = []
    known: set[str] = set()
    for sent, seen in ((True, _exported(state, keys)), (False, _heard_of(state, keys))):
        for number, (profile_id, at_ms) in enumerate(seen):
            if len(found) >= most or number >= _LOOKED_AT:
                break
            if profile_id in known or not profile_id:
                continue
            known.add(profile_id)
            envelope = _stored(state, keys, profile_id)
            # A profile that another one absorbed, or that was deleted, is nobody to look up.
            if envelope is not None:
                first = [{"namespace": name, "id": ids[0]} for name, ids in envelope.identities.items() if ids]
                found.append(ProfileSeen(profile_id=profile_id, at_ms=at_ms, sent=sent, identities=first))
    return found


def _exported(state: State, keys: Keys) -> Iterator[tuple[str, int]]:
    for entry in Ledger(state, keys).find(Query(), back=True):
        yield entry.profile_id, entry.settled_ms


def _heard_of(state: State, keys: Keys) -> Iterator[tuple[str, int]]:
    reader = Past(state, keys).reader
    for first, stored in reader.stored(0, MOST, back=True):
        block = reader.journal(first, stored)
        for place in reversed(range(block.rows)):
            yield records.unpack_id(block.profiles, place), block.now_ms


def _stored(state: State, keys: Keys, profile_id: str) -> Envelope | None:
    stored = state.get_many([keys.profile(profile_id)])[0]
    return decode(stored) if stored is not None else None


def inputs(state: State, keys: Keys, profile_id: str, most: int) -> list[InputSeen]:
    """The last inputs about a profile and those that it absorbed, the newest first.

    Args:
        state: Where the journal lies.
        keys: Of the sandbox.
        profile_id: The profile.
        most: At most so many.
    """
    if records.unpack_id(records.pack_ids([profile_id]), 0) != profile_id:
        # Rows about nobody would match what is no id of ours.
        return []
    past = Past(state, keys)
    found: list[InputSeen] = []
    for line in _lineage(state, keys, past, profile_id):
        if len(found) >= most:
            break
        found.append(_told(past, line))
    return found


def _lineage(state: State, keys: Keys, past: Past, profile_id: str) -> Iterator[Line]:
    """The inputs about a profile under each id it had, the newest first."""
    envelope = _stored(state, keys, profile_id)
    known = {profile_id}
    waiting: list[tuple[int, Line, Iterator[Line]]] = []

    def await_next(lines: Iterator[Line]) -> None:
        line = next(lines, None)
        if line is not None:
            heapq.heappush(waiting, (-line.ordinal, line, lines))

    # Nothing is about a profile before the input that made it, so that a search ends there.
    born = envelope.epoch if envelope is not None else 0
    await_next(past.about(profile_id, first=born, back=True))
    while waiting:
        _, line, lines = heapq.heappop(waiting)
        yield line
        await_next(lines)
        bases = line.block.bases.get(line.place, [])
        for number, absorbed in enumerate(line.absorbed, 1):
            if absorbed not in known and len(known) <= MOST_JOINED:
                known.add(absorbed)
                born = decode(bases[number]).epoch if number < len(bases) else 0
                await_next(past.about(absorbed, first=born, last=line.ordinal, back=True))


def _told(past: Past, line: Line) -> InputSeen:
    update = _update(line)
    flows, decided = past.snapshot(line.block.config).flows, line.held
    held = Counter(decided)
    sent = held.pop("", 0)
    exported = itertools.islice((flow for flow, reason in zip(flows, decided, strict=True) if not reason), MOST_NAMED)
    named = zip(flows, decided, strict=True) if len(flows) <= MOST_NAMED else ()
    return InputSeen(
        ordinal=line.ordinal, at_ms=line.block.now_ms, kind=KINDS[line.kind], source=line.source,
        profile_id=line.profile_id, attributes=sorted(update.attributes) if update else [],
        memberships=sorted(f"{m.namespace}/{m.segment_id}" for m in update.memberships) if update else [],
        sent=sent, exported=[flow.name or flow.id for flow in exported], held=dict(held),
        not_sent=[flow.name or flow.id for flow, reason in named if reason],
    )  # fmt: skip


def _update(line: Line) -> Update | None:
    if line.kind not in (records.UPDATE, records.REPEAT):
        return None
    try:
        return parse_update(line.body)
    except UpdateRefusedError:
        return None


def people(state: State, keys: Keys, wanted: Mapping[str, Any]) -> Lately:
    """Answer a question of plain values: ``most`` profiles, 0 for none."""
    most = min(max(int(wanted.get("most", 8)), 0), MOST_PROFILES)
    return Lately(namespaces=namespaces(state, keys), profiles=profiles(state, keys, most))


def last_inputs(state: State, keys: Keys, wanted: Mapping[str, Any]) -> list[InputSeen]:
    """Answer a question of plain values: ``profile_id`` and ``most``.

    Raises:
        RefusedError: No profile is named.
    """
    profile_id = str(wanted.get("profile_id") or "")
    if not profile_id:
        raise RefusedError("name a profile: profile_id")
    most = min(max(int(wanted.get("most", 20)), 1), MOST_INPUTS)
    return inputs(state, keys, profile_id, most)
