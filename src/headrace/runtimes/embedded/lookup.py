"""Profiles, identities and update ids as a batch under way sees them.

What an input of the batch has changed comes first, then what caches keep of former batches, then the state. Reads
the state only ahead, for many inputs at once (``prefetch``); what was changed is put into the batch at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from headrace.core import plain
from headrace.core.envelope import Envelope, decode
from headrace.core.link import Guards, Row, name
from headrace.core.model import Identity
from headrace.core.times import from_ms
from headrace.runtimes.embedded.parsed import Parsed
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import TIMER, Keys

K = TypeVar("K")
V = TypeVar("V")


Needs = tuple[Sequence[bytes], Sequence[str], Sequence[list[bytes]], Sequence[bytes]]
"""What updates need: keys of identities; ids of profiles; of each update about nobody who is at hand the keys of its
identities, the primary one first; digests of update ids."""

NO_NEEDS: Final[Needs] = ((), (), (), ())


class Recent(Generic[K, V]):
    """A bounded cache in two generations: what was not used during the last one is dropped.

    Turned over between batches only, so that nothing a batch has changed can fall out before it is stored.

    Attributes:
        young: What was used during this generation.
        old: What was during the last one.
    """

    __slots__ = ("_most", "old", "young")

    def __init__(self, most: int) -> None:
        self._most = most
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What is kept, from now on as used; None for nothing."""
        found = self.young.get(key)
        if found is None:
            found = self.old.get(key)
            if found is not None:
                self.young[key] = found
        return found

    def drop(self, key: K) -> None:
        """Keep it no more."""
        self.young.pop(key, None)
        self.old.pop(key, None)

    def turn(self) -> None:
        """Begin a generation, when the present one is full."""
        if len(self.young) > self._most:
            self.old = self.young
            self.young = {}


class Lookup:
    """See the module; one for each batch.

    Args:
        state: Where profiles, identities and update ids lie.
        keys: Of the sandbox.
        rows: Cache of the identity index by key, kept from batch to batch.
        profiles: Cache of profiles, likewise.
        installation_key: Names profiles.
        now_ms: Time of the batch.

    Attributes:
        at_hand: Profiles decoded for the input at hand; whoever begins another clears it.
        seen: Digest of an update id to whether it came before.
        new_ids: Digests of the update ids that came in this batch.
        rows: Whose each identity is that was read ahead, by its key.
        names: What profiles to be made of identities are called, by key.
        changed: Profiles that the batch changed, None for gone.
        pointed: Rows of the identity index that it wrote, by key, None for gone.
    """

    def __init__(
        self, state: State, keys: Keys, rows: Recent[bytes, Row], profiles: Recent[str, bytes],
        installation_key: bytes, now_ms: int,
    ) -> None:  # fmt: skip
        self._state, self._keys = state, keys
        self._rows, self._profiles = rows, profiles
        self._installation_key, self._now_ms = installation_key, now_ms
        self.changed: dict[str, bytes | None] = {}
        self.pointed: dict[bytes, Row | None] = {}
        self.names: dict[bytes, str] = {}
        self._asked: list[bytes] = []
        self.new_ids: list[bytes] = []
        self.at_hand: dict[str, Envelope] = {}
        self.seen: dict[bytes, bool] = {}
        self.rows = rows.young

    def by_c(
        self, plan: Any, columns: tuple[object, ...], exports: list[Any], base_from: int, guards: Guards, *,
        heeds_ids: bool,
    ) -> Any:  # fmt: skip
        """What has C decide on what this keeps (``plain.Slice``).

        Args:
            plan: From ``plain.plan``.
            columns: Of the journal's block (``Entries``).
            exports: Per flow the list that its exports go to.
            base_from: See ``Decider``.
            guards: What may not be joined.
            heeds_ids: False where it is known which updates are repeats.
        """
        rows, profiles = self._rows, self._profiles
        return plain.Slice(
            (
                plan, Row, self._keys.identities, rows.young, rows.old, profiles.young, profiles.old, self.changed,
                self.pointed, self.names, self.seen, self.new_ids, *columns, exports,
            ),
            self._now_ms, from_ms(self._now_ms), base_from, guards.most, not guards.unstitchable, heeds_ids,
        )  # fmt: skip

    # -- ahead ------------------------------------------------------------------------------------

    def ask(self, digest: bytes) -> None:
        """The next ``prefetch`` finds out whether this update id came before."""
        if digest not in self.seen:
            self._asked.append(digest)

    def prefetch(self, updates: Sequence[Parsed], more: Needs = NO_NEEDS) -> None:
        """One read for identities and update ids, one for profiles.

        Args:
            updates: What is decided next.
            more: What else is needed.
        """
        rows = self._rows
        wanted, unread, unknown, digests = list(more[0]), list(more[1]), list(more[2]), list(more[3])
        for update in updates:
            known = False
            keys = [self.key(identity) for identity in update.identities]
            for key in keys:
                row = rows.get(key)
                if row is None:
                    wanted.append(key)
                else:
                    unread.append(row.profile_id)
                    known = True
            if not known:
                unknown.append([self.key(update.primary), *keys])
        digests += self._asked
        self._asked = []
        self._read(wanted, unread, unknown, digests)

    def _read(
        self, wanted: list[bytes], unread: list[str], unknown: list[list[bytes]], digests: list[bytes]
    ) -> None:  # fmt: skip
        rows, keys = self._rows.young, self._keys
        wanted, ids = list(dict.fromkeys(wanted)), dict.fromkeys(unread)
        stored = self._state.get_many([*wanted, *(keys.update_id(digest) for digest in digests)])
        for key, value in zip(wanted, stored, strict=False):
            if value is not None:
                found = records.decode_index_row(value)
                rows[key] = Row(found.profile_id, found.epoch)
                ids[found.profile_id] = None
        for digest, value in zip(digests, stored[len(wanted) :], strict=True):
            self.seen[digest] = value is not None and int.from_bytes(value, "big") > self._now_ms
        for of_one in unknown:
            if not any(key in rows for key in of_one):
                made = self.names[of_one[0]] = name(self._installation_key, keys.identity_of(of_one[0]))
                ids[made] = None
        self.prefetch_profiles(ids)

    def prefetch_profiles(self, ids: Iterable[str]) -> None:
        """One read for the profiles that are neither changed nor kept."""
        recent, changed, keys = self._profiles, self.changed, self._keys
        wanted = [one for one in ids if one not in changed and recent.get(one) is None]
        stored = self._state.get_many([keys.profile(profile_id) for profile_id in wanted])
        for profile_id, value in zip(wanted, stored, strict=True):
            if value is not None:
                recent.young[profile_id] = value

    # -- now --------------------------------------------------------------------------------------

    def key(self, identity: Identity) -> bytes:
        """Key of an identity's row."""
        return self._keys.identity(identity.namespace, identity.id)

    def row(self, identity: Identity) -> Row | None:
        """Whose an identity is that was read ahead."""
        return self.rows.get(self.key(identity))

    def stored(self, profile_id: str) -> bytes | None:
        """A profile's bytes as of now; None when it does not exist."""
        changed = self.changed.get(profile_id)
        if changed is not None:
            return changed
        return None if profile_id in self.changed else self._profiles.young.get(profile_id)

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
        plain = self.names.get(self.key(primary), "")
        if not plain:
            # Not read ahead: another identity of the update is known, but may not join.
            plain = name(self._installation_key, primary)
            self.prefetch_profiles([plain])
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
        self.changed[profile_id] = encoded

    def point(self, identity: Identity, row: Row) -> None:
        """An identity is of this profile from now on."""
        key = self.key(identity)
        if self.rows.get(key) != row:
            self.rows[key] = self.pointed[key] = row

    def unpoint(self, identity: Identity) -> None:
        """An identity is of no profile any more."""
        key = self.key(identity)
        self._rows.drop(key)
        self.pointed[key] = None

    def came(self, digest: bytes) -> None:
        """An update id has come now."""
        self.seen[digest] = True
        self.new_ids.append(digest)

    def take_back(self, digest: bytes) -> None:
        """Its update was refused after all."""
        self.seen[digest] = False
        self.new_ids.remove(digest)

    def write(self, batch: Batch, first: int, window_ms: int) -> None:
        """Put all changes into the batch, and keep the profiles.

        Args:
            batch: To be committed.
            first: Ordinal of the batch's first input.
            window_ms: How long update ids are remembered.
        """
        keys, recent = self._keys, self._profiles
        put = plain.NATIVE.put_profiles if plain.COMPILED else _put_profiles
        put(batch.put, keys.profiles, self.changed, recent.young)
        for profile_id in [one for one, encoded in self.changed.items() if encoded is None]:
            batch.delete(keys.profile(profile_id))
            recent.drop(profile_id)
        for key, row in self.pointed.items():
            if row is None:
                batch.delete(key)
            else:
                batch.put(key, records.encode(row))
        if self.new_ids:
            expiry = self._now_ms + window_ms
            for digest in self.new_ids:
                batch.put(keys.update_id(digest), expiry.to_bytes(8, "big"))
            batch.put(keys.numbered(TIMER, expiry, 0, first), b"".join(self.new_ids))


def _put_profiles(
    put: Callable[[bytes, bytes], object], prefix: bytes, profiles: dict[str, bytes | None], cache: dict[str, bytes]
) -> None:  # fmt: skip
    """Those that are there go to the batch, and to the cache."""
    for profile_id, encoded in profiles.items():
        if encoded is not None:
            put(prefix + profile_id.encode(), encoded)
            cache[profile_id] = encoded
