"""Passwords, tokens, and the brake on guessing them. Nothing here knows the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

import argon2
import jwt
import msgspec

from headrace.clock import Clock
from headrace.settings import Secret

from .problems import Code, problem

TOKEN_LIFE_S: Final = 86_399
"""What AEP's tokens live; clients renew them some minutes before."""
ISSUER: Final = "headrace"
MIN_PASSWORD_CHARS: Final = 12
MAX_PASSWORD_CHARS: Final = 1024


class Passwords:
    """Hashes and checks passwords and client secrets by Argon2id.

    Args:
        hasher: With other costs, for tests; the library's defaults (RFC 9106, low memory) otherwise.
    """

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        # Checked when there is no such account, so that the time taken does not tell.
        self._nobody = self._hasher.hash("nobody")

    def hash(self, password: Secret) -> str:
        """A salted hash."""
        return self._hasher.hash(password.reveal())

    def matches(self, hashed: str | None, password: Secret) -> bool:
        """True when it is the password; None stands for an account that is not there."""
        text = password.reveal()[: MAX_PASSWORD_CHARS + 1]
        try:
            self._hasher.verify(hashed or self._nobody, text)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        return hashed is not None


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says.

    Attributes:
        subject: Account id.
        kind: client or user.
        org: Organisation id.
        generation: The account's generation when the token was made; an account with another one refuses it.
    """

    subject: str
    kind: str
    org: str
    generation: int


class Tokens:
    """Signs and reads bearer tokens: JWT, HS256.

    Args:
        key: 32 bytes, from ``Sealer.derive``.
        clock: For issue and expiry.
        life_s: Seconds until expiry.
        older: Keys that tokens may still be signed under, after the key was rotated.
    """

    def __init__(
        self, key: bytes, clock: Clock, *, life_s: int = TOKEN_LIFE_S, older: tuple[bytes, ...] = ()
    ) -> None:
        self._keys = (key, *older)
        self._clock = clock
        self.life_s = life_s

    def __repr__(self) -> str:
        return f"Tokens(life_s={self.life_s})"

    def issue(self, claims: Claims) -> str:
        """A token that says this."""
        now_s = self._clock.now_ms() // 1000
        content = {
            "iss": ISSUER, "sub": claims.subject, "kind": claims.kind, "org": claims.org,
            "gen": claims.generation, "iat": now_s, "exp": now_s + self.life_s,
        }  # fmt: skip
        return jwt.encode(content, self._keys[0], algorithm="HS256")

    def read(self, token: str) -> Claims:
        """What a token says.

        Raises:
            UseCaseError: 401013-401, it is not ours, was changed, or is expired.
        """
        content = self._content(token)
        # The library would ask the machine's clock.
        if not isinstance(content.get("exp"), int) or content["exp"] <= self._clock.now_ms() // 1000:
            raise problem(Code.TOKEN_INVALID, "Oauth token is not valid: it is expired")
        return Claims(subject=content["sub"], kind=content["kind"], org=content["org"], generation=content["gen"])

    def _content(self, token: str) -> dict[str, Any]:
        for key in self._keys:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=["HS256"],
                    issuer=ISSUER,
                    options={
                        "require": ["exp", "sub", "kind", "org", "gen"],
                        "verify_exp": False, "verify_iat": False, "verify_nbf": False,
                    },
                )  # fmt: skip
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError):
                break
        raise problem(Code.TOKEN_INVALID, "Oauth token is not valid") from None


class FailedSignIns:
    """Slows down whoever guesses: after some failures for one name or from one address, all is refused for a while.

    Args:
        clock: Its monotonic time counts.
        most: Failures within the window before it closes.
        window_s: How long a failure counts.
        names: Most names and addresses remembered; the longest untouched is forgotten first.
    """

    def __init__(self, clock: Clock, *, most: int = 5, window_s: float = 300.0, names: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._window_s = window_s
        self._names = names
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, *names: str) -> None:
        """Refuse an attempt for a name or an address that failed too often; called before looking at the secret.

        Raises:
            UseCaseError: 3005-429, with the wait.
        """
        now_s = self._clock.monotonic_s()
        with self._lock:
            waits = [self._wait_s(name, now_s) for name in names]
        if wait_s := max(waits, default=0.0):
            raise problem(
                Code.TOO_MANY_SIGN_INS, f"too many failed sign-ins; try again in {int(wait_s) + 1} s", wait_s=wait_s
            )

    def _wait_s(self, name: str, now_s: float) -> float:
        recent = [at_s for at_s in self._failures.get(name, ()) if at_s > now_s - self._window_s]
        if not recent:
            self._failures.pop(name, None)
            return 0.0
        self._failures[name] = recent
        return recent[-self._most] + self._window_s - now_s if len(recent) >= self._most else 0.0

    def failed(self, *names: str) -> None:
        """Count a failure."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            for name in names:
                self._failures.setdefault(name, []).append(now_s)
                del self._failures[name][: -self._most]
                self._failures.move_to_end(name)
            while len(self._failures) > self._names:
                self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name (an address stays counted: one's own account must not clear it)."""
        with self._lock:
            self._failures.pop(name, None)
