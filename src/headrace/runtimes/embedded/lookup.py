"""Profiles, identities and update ids as a batch under way sees them.

What an input of the batch has changed comes first, then what caches keep of former batches, then the state. Reads
the state only ahead, for many inputs at once (``prefetch``); what was changed is put into the batch at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from headrace.core.envelope import Envelope, decode
from headrace.core.link import Row, name
from headrace.core.model import Identity
from headrace.runtimes.embedded.parsed import Parsed
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import TIMER, Keys

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A bounded cache in two generations: what was not used during the last one is dropped.

    Turned over between batches only, so that nothing a batch has changed can fall out before it is stored.
    """

    __slots__ = ("_most", "_old", "young")

    def __init__(self, most: int) -> None:
        self._most = most
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What is kept, from now on as used; None for nothing."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.young[key] = found
        return found

    def drop(self, key: K) -> None:
        """Keep it no more."""
        self.young.pop(key, None)
        self._old.pop(key, None)

    def turn(self) -> None:
        """Begin a generation, when the present one is full."""
        if len(self.young) > self._most:
            self._old = self.young
            self.young = {}


class Lookup:
    """See the module; one for each batch.

    Args:
        state: Where profiles, identities and update ids lie.
        keys: Of the sandbox.
        rows: Cache of the identity index, kept from batch to batch.
        profiles: Cache of profiles, likewise.
        installation_key: Names profiles.
        now_ms: Time of the batch.

    Attributes:
        at_hand: Profiles decoded for the input at hand; whoever begins another clears it.
        seen: Digest of an update id to whether it came before.
        rows: Whose each identity is that was read ahead.
    """

    def __init__(
        self, state: State, keys: Keys, rows: Recent[Identity, Row], profiles: Recent[str, bytes],
        installation_key: bytes, now_ms: int,
    ) -> None:  # fmt: skip
        self._state, self._keys = state, keys
        self._rows, self._profiles = rows, profiles
        self._installation_key, self._now_ms = installation_key, now_ms
        self._dirty: dict[str, bytes | None] = {}
        self._index: dict[Identity, Row | None] = {}
        self._names: dict[Identity, str] = {}
        """What profiles to be made of identities are called."""
        self._asked: list[bytes] = []
        self._new_ids: list[bytes] = []
        self.at_hand: dict[str, Envelope] = {}
        self.seen: dict[bytes, bool] = {}
        self.rows = rows.young

    # -- ahead ------------------------------------------------------------------------------------

    def ask(self, digest: bytes) -> None:
        """The next ``prefetch`` finds out whether this update id came before."""
        if digest not in self.seen:
            self._asked.append(digest)

    def prefetch(self, updates: Sequence[Parsed]) -> None:
        """One read for identities and update ids, one for profiles."""
        rows = self._rows
        ids: set[str] = set()
        wanted: dict[Identity, None] = {}
        unknown: list[Parsed] = []
        for update in updates:
            known = False
            for identity in update.identities:
                row = rows.get(identity)
                if row is None:
                    wanted[identity] = None
                else:
                    ids.add(row.profile_id)
                    known = True
            if not known:
                unknown.append(update)
        digests, self._asked = self._asked, []
        keys = self._keys
        asked = [keys.identity(namespace, key) for namespace, key in wanted]
        asked += [keys.update_id(digest) for digest in digests]
        stored = self._state.get_many(asked)
        for identity, value in zip(wanted, stored, strict=False):
            if value is not None:
                found = records.decode_index_row(value)
                rows.young[identity] = Row(found.profile_id, found.epoch)
                ids.add(found.profile_id)
        for digest, value in zip(digests, stored[len(wanted) :], strict=True):
            self.seen[digest] = value is not None and int.from_bytes(value, "big") > self._now_ms
        for update in unknown:
            if not any(identity in rows.young for identity in update.identities):
                made = self._names[update.primary] = name(self._installation_key, update.primary)
                ids.add(made)
        self.prefetch_profiles(ids)

    def prefetch_profiles(self, ids: Iterable[str]) -> None:
        """One read for the profiles that are neither changed nor kept."""
        recent, dirty, keys = self._profiles, self._dirty, self._keys
        wanted = [one for one in ids if one not in dirty and recent.get(one) is None]
        stored = self._state.get_many([keys.profile(profile_id) for profile_id in wanted])
        for profile_id, value in zip(wanted, stored, strict=True):
            if value is not None:
                recent.young[profile_id] = value

    # -- now --------------------------------------------------------------------------------------

    def stored(self, profile_id: str) -> bytes | None:
        """A profile's bytes as of now; None when it does not exist."""
        changed = self._dirty.get(profile_id)
        if changed is not None:
            return changed
        return None if profile_id in self._dirty else self._profiles.young.get(profile_id)

    def profile(self, profile_id: str) -> Envelope | None:
        """A profile as of now, decoded once an input."""
        found = self.at_hand.get(profile_id)
        if found is None:
            stored = self.stored(profile_id)
            if stored is None:
                return None
            found = self.at_hand[profile_id] = decode(stored)
        return found

    def existing(self, profile_id: str, *, fresh: bool = False) -> Envelope:
        """The same, of a profile that exists; with *fresh* decoded anew, and not kept at hand."""
        if fresh:
            stored = self.stored(profile_id)
            assert stored is not None
            return decode(stored)
        found = self.profile(profile_id)
        assert found is not None
        return found

    def count(self, profile_id: str) -> int:
        """How many identities it has."""
        profile = self.profile(profile_id)
        return sum(map(len, profile.identities.values())) if profile else 0

    def new_name(self, primary: Identity, ordinal: int, before: str = "") -> str:
        """What a profile to be made of an identity is called: otherwise, by the input too, where that name is taken.

        Args:
            primary: The identity.
            ordinal: The input's.
            before: What it was called, when a journal is folded again: a profile erased since may have had the name.
        """
        plain = self._names.get(primary) or name(self._installation_key, primary)
        taken = self.stored(plain) is not None
        if taken or (before and before != plain):
            other = name(self._installation_key, primary, ordinal)
            if taken or before == other:
                return other
        return plain

    def stale(self, flow_ids: Sequence[str], profile_id: str) -> list[bool]:
        """For each flow whether the profile was marked as stale before this batch."""
        marks = self._state.get_many([self._keys.stale(flow_id, profile_id) for flow_id in flow_ids])
        return [mark is not None for mark in marks]

    # -- changes ----------------------------------------------------------------------------------

    def put(self, profile_id: str, encoded: bytes | None) -> None:
        """A profile is this from now on; None for gone."""
        self._dirty[profile_id] = encoded

    def point(self, identity: Identity, row: Row) -> None:
        """An identity is of this profile from now on."""
        self.rows[identity] = row
        self._index[identity] = row

    def unpoint(self, identity: Identity) -> None:
        """An identity is of no profile any more."""
        self._rows.drop(identity)
        self._index[identity] = None

    def came(self, digest: bytes) -> None:
        """An update id has come now."""
        self.seen[digest] = True
        self._new_ids.append(digest)

    def take_back(self, digest: bytes) -> None:
        """Its update was refused after all."""
        self.seen[digest] = False
        self._new_ids.remove(digest)

    def write(self, batch: Batch, first: int, window_ms: int) -> None:
        """Put all changes into the batch, and keep the profiles.

        Args:
            batch: To be committed.
            first: Ordinal of the batch's first input.
            window_ms: How long update ids are remembered.
        """
        keys, recent = self._keys, self._profiles
        for profile_id, encoded in self._dirty.items():
            if encoded is None:
                batch.delete(keys.profile(profile_id))
                recent.drop(profile_id)
            else:
                batch.put(keys.profile(profile_id), encoded)
                recent.young[profile_id] = encoded
        for identity, row in self._index.items():
            if row is None:
                namespace, key = identity
                batch.delete(keys.identity(namespace, key))
            else:
                namespace, key = identity
                batch.put(keys.identity(namespace, key), records.encode((row.profile_id, row.epoch)))
        if self._new_ids:
            expiry = self._now_ms + window_ms
            for digest in self._new_ids:
                batch.put(keys.update_id(digest), expiry.to_bytes(8, "big"))
            batch.put(keys.numbered(TIMER, expiry, 0, first), b"".join(self._new_ids))
