"""What can be asked about one person: the profile, everything that is held, and that it be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.core.envelope import Envelope, decode
from headrace.core.model import Identity, Unlink
from headrace.core.times import from_ms
from headrace.errors import RefusedError
from headrace.runtimes.embedded import deletions
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.past import Past
from headrace.runtimes.socket import Answer
from headrace.state import ledger, reading, records
from headrace.state.base import State
from headrace.state.keys import Keys

_LETTERS: Final = 100_000


def answers(state: State, keys: Keys, engine: Engine | None) -> dict[str, Answer]:
    """Requests and what answers them; without an engine nothing is deleted."""

    def profile(wanted: Mapping[str, Any]) -> Any:
        profile_id = wanted.get("profile_id")
        found = _stored(state, keys, str(profile_id)) if profile_id else _profile(state, keys, *_identity(wanted))
        return _shown(found) if found is not None else None

    def held(wanted: Mapping[str, Any]) -> Any:
        found = _profile(state, keys, *_identity(wanted))
        return _held(state, keys, found) if found is not None else None

    reading_only: dict[str, Answer] = {"profile": profile, "profile-held": held}
    if engine is None:
        return {**reading_only, "profile-deletions": lambda wanted: _chosen(deletions.stored(state, keys), wanted)}
    own = engine.deletions

    async def unlink(wanted: Mapping[str, Any]) -> Any:
        namespace, key = _identity(wanted)
        found = _profile(state, keys, namespace, key)
        if found is None:
            raise RefusedError("no profile has this identity")
        if sum(map(len, found.identities.values())) == 1:
            raise RefusedError("the profile has no other identity; delete the profile instead")
        await engine.carry_out(Unlink(found.profile_id, namespace, key))
        left = _stored(state, keys, found.profile_id)
        return _shown(left) if left is not None else None

    return {
        **reading_only,
        "profile-unlink": unlink,
        "profile-delete": lambda wanted: own.told(own.start(*_identity(wanted)).id),
        "profile-deletions": lambda wanted: _chosen([own.told(one) for one in own.all], wanted),
    }


def _chosen(reports: list[dict[str, Any]], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in reports if wanted.get("run") in (None, "", each["run"])]


def _identity(wanted: Mapping[str, Any]) -> tuple[str, str]:
    namespace, key = str(wanted.get("namespace") or ""), str(wanted.get("id") or "")
    if not namespace or not key:
        raise RefusedError("name an identity: namespace and id")
    return namespace.lower(), key


def _profile(state: State, keys: Keys, namespace: str, key: str) -> Envelope | None:
    row = state.get_many([keys.identity(*Identity(namespace, key))])[0]
    if row is None:
        return None
    return _stored(state, keys, records.decode_index_row(row).profile_id)


def _stored(state: State, keys: Keys, profile_id: str) -> Envelope | None:
    stored = state.get_many([keys.profile(profile_id)])[0]
    return decode(stored) if stored is not None else None


def _shown(profile: Envelope) -> dict[str, Any]:
    memberships = {
        namespace: {
            segment_id: {
                "status": "realized" if m.member else "exited", "lastQualificationTime": m.since,
                **({"validUntil": m.valid_until} if m.valid_until is not None else {}),
            }
            for segment_id, m in ids.items()
        }
        for namespace, ids in profile.memberships.items()
    }  # fmt: skip
    return {
        "profileId": profile.profile_id,
        "epoch": profile.epoch,
        "version": profile.version,
        "identities": [{"namespace": n, "id": i} for n, ids in profile.identities.items() for i in ids],
        "attributes": profile.attributes,
        "memberships": memberships,
        "flows": {flow_id: {"seq": mark.seq} for flow_id, mark in profile.marks.items()},
    }


def _held(state: State, keys: Keys, profile: Envelope) -> dict[str, Any]:
    """Everything that names the person: profile, inputs, exports, dead letters."""
    inputs = [
        {
            "input": line.ordinal, "time": from_ms(line.block.now_ms), "source": line.source,
            "content": line.body.decode(errors="backslashreplace") if line.kind == records.UPDATE else "",
        }
        for line in Past(state, keys).about(profile.profile_id)
    ]  # fmt: skip
    exports = ledger.answer(state, keys, {"profile_id": profile.profile_id, "limit": 10_000})
    needles = [msgspec.json.encode(i) for ids in profile.identities.values() for i in ids]
    letters = [
        letter
        for letter in reading.dead_letters(state, keys, limit=_LETTERS)
        if (letter.export is not None and letter.export.profile_id == profile.profile_id)
        or any(needle in letter.body for needle in needles)
    ]
    return {"profile": _shown(profile), "inputs": inputs, "exports": exports, "dead_letters": letters}
