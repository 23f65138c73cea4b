"""Keys to sign with: given, found by botocore's chain, or of an assumed role."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

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


class ResolvedCredentials:
    """Keys that one of botocore's resolvers finds and renews; every blocking part runs in a thread.

    Args:
        resolve: Returns botocore credentials, or None; called again after ``expire``.
        source: What it reads, for messages.
    """

    def __init__(self, resolve: Callable[[], Any], source: str) -> None:
        self._resolve = resolve
        self._source = source
        self._found: Any = None
        self._last: Credentials | None = None
        self._lock = threading.Lock()

    async def get(self) -> Credentials:
        """See ``CredentialsProvider``. botocore renews ahead of expiry when asked, so it is asked each time."""
        found = self._found
        if found is not None and self._last is not None and not self._renews(found):
            return self._last
        keys = await asyncio.to_thread(self._load)
        if self._last is None or (keys.access_key, keys.secret_key, keys.token) != (
            self._last.access_key,
            self._last.secret_key,
            self._last.token,
        ):
            self._last = Credentials(keys.access_key, keys.secret_key, keys.token)
        return self._last

    def expire(self, used: Credentials) -> bool:
        """See ``CredentialsProvider``."""
        if used == self._last:
            self._found = None
        return True

    @staticmethod
    def _renews(found: Any) -> bool:
        needed = getattr(found, "refresh_needed", None)
        return bool(needed and needed())

    def _load(self) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            with self._lock:
                found = self._found or self._resolve()
                self._found = found
                if found is not None:
                    return found.get_frozen_credentials()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise CredentialsError(problem=f"no credentials from {self._source}: refused with {code}") from None
        except BotoCoreError as error:
            raise CredentialsError(
                problem=f"no credentials from {self._source}: {type(error).__name__}; check its configuration"
            ) from None
        raise CredentialsError(problem=f"no credentials from {self._source}: it has none")


def credentials_chain(profile: str | None = None) -> ResolvedCredentials:
    """Keys from where every AWS tool looks: environment, profile, web identity, container, instance.

    Args:
        profile: Name of a profile of the shared configuration file; None for botocore's order.
    """

    def resolve() -> Any:
        return session(profile).get_credentials()

    return ResolvedCredentials(resolve, f"profile {profile!r}" if profile else "the default chain")


class Role(NamedTuple):
    """A role to assume.

    Attributes:
        arn: The role's ARN.
        session: Role session name; shows up in the account's audit trail.
        external_id: Demanded by the role's trust policy, or None.
        region: Region whose STS is asked.
        endpoint_url: Custom STS endpoint, or None.
    """

    arn: str
    session: str = "headrace"
    external_id: str | None = None
    region: str = "us-east-1"
    endpoint_url: str | None = None


def assume_role(role: Role, base: CredentialsProvider) -> ResolvedCredentials:
    """Keys of an assumed role, renewed ahead of expiry; *base* may itself be an assumed role (chaining)."""

    def resolve() -> Any:
        from botocore.credentials import (
            AssumeRoleCredentialFetcher,
            DeferredRefreshableCredentials,
        )
        from botocore.credentials import Credentials as Static

        keys = asyncio.run(base.get())
        extra = {"RoleSessionName": role.session}
        if role.external_id is not None:
            extra["ExternalId"] = role.external_id
        fetcher = AssumeRoleCredentialFetcher(
            functools.partial(session(None).create_client, region_name=role.region, endpoint_url=role.endpoint_url),
            Static(keys.access_key, keys.secret_key, keys.token),
            role.arn,
            extra,
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    return ResolvedCredentials(resolve, f"role {role.arn}")


def session(profile: str | None = None) -> Any:
    """A botocore session; importing botocore waits until one is needed."""
    import botocore.session

    return botocore.session.Session(profile=profile)
