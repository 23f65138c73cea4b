"""A profile before and after an input, and the parts of messages that flows share, made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.core import message
from headrace.core.envelope import Envelope
from headrace.core.merge import Moved


class View:
    """One input's effect on one profile.

    Attributes:
        before: The profile as it was; an empty one where the input makes it.
        after: The profile as it is to be.
        sides: ``before`` and the profiles that the input joined into it: what consumers may have been told of.
        moved: Memberships that changed.
        patch: The attributes that the input wrote.
        grew: Identities were added.
        kind: Kind of a cause: live, delete, ….
        ordinal: The input's ordinal.
        now_ms: Time of its batch.
        config: Version of the configuration.
        bucket: Outbox bucket of the profile id; -1 until it is asked for.
    """

    __slots__ = ("_identity", "_plain", "after", "before", "bucket", "config", "grew", "kind", "moved", "now_ms",
                 "ordinal", "patch", "sides")  # fmt: skip

    def __init__(
        self, before: Envelope, after: Envelope, moved: Sequence[Moved], patch: dict[str, Any], *, grew: bool,
        kind: str, now_ms: int, config: str, absorbed: Sequence[Envelope] = (),
    ) -> None:  # fmt: skip
        self.before, self.after, self.moved, self.patch = before, after, moved, patch
        self.sides = (before, *absorbed)
        self.grew, self.kind = grew, kind
        self.ordinal, self.now_ms, self.config = after.ordinal, now_ms, config
        self.bucket = -1
        self._identity = self._plain = b""

    def identity_part(self) -> bytes:
        """``identityMap``, rendered once for all flows."""
        if not self._identity:
            self._identity = message.identity_part(self.after.identities)
        return self._identity

    def plain_membership_part(self) -> bytes:
        """``segmentMembership`` of flows without settings of their own, likewise."""
        if not self._plain:
            self._plain = message.plain_membership_part(self.after.memberships)
        return self._plain
