"""Keys to sign with: given, or found and renewed. Where they are found is in ``aws.sources``."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable


class CredentialsError(RefusedError):
    """No credentials could be had; the text names the source, never a secret."""

    code = "credentials"

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem, problem=problem)


class Credentials:
    """One set of keys. Shows itself without its secrets.

    Attributes:
        access_key: Access key id.
        secret_key: Secret access key.
        token: Session token, or None.
    """

    __slots__ = ("access_key", "secret_key", "token")

    def __init__(self, access_key: str, secret_key: str, token: str | None = None) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token or None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, ***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credentials):
            return NotImplemented
        return (self.access_key, self.secret_key, self.token) == (other.access_key, other.secret_key, other.token)

    def __hash__(self) -> int:
        return hash((self.access_key, self.secret_key, self.token))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("credentials are not pickled")


class CredentialsProvider(Protocol):
    """Where keys come from. ``get`` is called before each request, so it answers from memory when it can."""

    async def get(self) -> Credentials:
        """The keys to sign with now.

        Raises:
            CredentialsError: None can be had.
        """
        ...

    def expire(self, used: Credentials) -> bool:
        """Hear that the service calls *used* expired; True when the next ``get`` may bring others."""
        ...

    async def close(self) -> None:
        """Give up what goes on in the background; ``get`` may be called again all the same."""
        ...


class StaticCredentials:
    """A pair that was given, with or without a session token; it never changes."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        """See ``CredentialsProvider``."""
        return self._credentials

    def expire(self, used: Credentials) -> bool:
        """See ``CredentialsProvider``: a given pair cannot be renewed."""
        return used != self._credentials

    async def close(self) -> None:
        """See ``CredentialsProvider``: there is nothing to give up."""


class RenewedCredentials:
    """Keys that are found somewhere and run out: renewed ahead of it, while the old ones still work.

    Everything that waits for a file, a server or a lock runs in a thread, once for all who ask.

    Args:
        resolve: Finds the keys, as botocore's credentials or None; called again after ``expire``. It may block.
        source: What it reads, for messages.
        monotonic_s: Paces attempts to renew keys that still work; when keys run out is told by botocore.
    """

    AHEAD_S: Final = 15 * 60
    """Seconds before expiry from which on newer keys are looked for, as botocore does."""
    LEAST_S: Final = 60
    """Seconds before expiry from which on nothing is signed with the old ones any more."""
    PAUSE_S: Final = 30
    """Seconds between two attempts to renew keys that still work."""

    def __init__(
        self, resolve: Callable[[], Any], source: str, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolve = resolve
        self._source = source
        self._monotonic_s = monotonic_s
        self._found: Any = None
        self._last: Credentials | None = None
        self._expired: Credentials | None = None
        self._stuck = False
        """The keys that were called expired came again."""
        self._renewal: asyncio.Task[Credentials] | None = None
        self._paused_until_s = 0.0

    async def get(self) -> Credentials:
        """See ``CredentialsProvider``. Waits only when there are no keys that work."""
        found, last = self._found, self._last
        if found is None or last is None or self._due(found, self.LEAST_S):
            return await asyncio.shield(self._renew())
        if self._due(found, self.AHEAD_S) and self._monotonic_s() >= self._paused_until_s:
            self._paused_until_s = self._monotonic_s() + self.PAUSE_S
            self._renewal = self._renew()
        return last

    def expire(self, used: Credentials) -> bool:
        """See ``CredentialsProvider``. False once the same keys were found again."""
        if used == self._last:
            self._found = None
            self._expired = used
        return not (self._stuck and used == self._expired)

    async def close(self) -> None:
        """See ``CredentialsProvider``."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    def _renew(self) -> asyncio.Task[Credentials]:
        renewal = self._renewal
        if renewal is None or renewal.done():
            renewal = self._renewal = asyncio.create_task(self._renewed(), name=f"credentials from {self._source}")
            renewal.add_done_callback(_heard)
        return renewal

    async def _renewed(self) -> Credentials:
        found, keys = await asyncio.to_thread(self._load, self._found)
        self._found = found
        self._stuck = keys == self._expired
        if keys != self._last or self._last is None:
            self._last = keys
        return self._last

    @staticmethod
    def _due(found: Any, ahead_s: int) -> bool:
        needed = getattr(found, "refresh_needed", None)
        return bool(needed and needed(refresh_in=ahead_s))

    def _load(self, found: Any) -> tuple[Any, Credentials]:
        from botocore.exceptions import ClientError

        try:
            found = found or self._resolve()
            if found is not None:
                keys = found.get_frozen_credentials()
                return found, Credentials(keys.access_key, keys.secret_key, keys.token)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise CredentialsError(problem=f"no credentials from {self._source}: refused with {code}") from None
        except Exception as error:  # noqa: BLE001 - whatever a source raises, the records must be kept
            raise CredentialsError(
                problem=f"no credentials from {self._source}: {type(error).__name__}; check its configuration"
            ) from None
        raise CredentialsError(problem=f"no credentials from {self._source}: it has none")


def _heard(renewal: asyncio.Task[Credentials]) -> None:
    """Whoever waits gets the error; nobody may, and then the next attempt tells."""
    if not renewal.cancelled():
        renewal.exception()
