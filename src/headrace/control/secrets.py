"""Seal secrets before they are stored, under keys that are kept elsewhere.

A sealed text is ``v1.<key id>.<base64url of nonce and ciphertext>``, AES-256-GCM with a random nonce. It is bound to
the place it was sealed for, so that a sealed secret copied to another record does not open there.
Keys come from a file, from a setting or from a command's output: one key a line, 32 bytes as base64 or 64
hexadecimal digits. The first key seals, all of them open: to rotate, put the new key first, seal anew
(``accounts.seal_anew``), then drop the old one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headrace.errors import ConfigurationError, Mistake
from headrace.settings import Secret

from .problems import Code, problem

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_COMMAND_TIMEOUT_S: Final = 30.0
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_PLACE: Final = "HEADRACE_SEALING_KEY"


class Sealer:
    """Seals and opens texts.

    Args:
        keys: 32 bytes each; the first one seals.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_key_id(key): AESGCM(key) for key in keys}
        self._current = _key_id(keys[0])
        self._root = keys[0]

    def __repr__(self) -> str:
        return f"Sealer({', '.join(self._keys)})"

    def seal(self, text: str, place: str) -> str:
        """Seal a text for a place: organisation, sandbox, record and parameter."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, text.encode(), place.encode())
        return f"v1.{self._current}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> Secret:
        """The text that was sealed for this place.

        Raises:
            UseCaseError: 3010-503, it was sealed under a key that is not given, or for another place.
        """
        version, _, rest = sealed.partition(".")
        key_id, _, content = rest.partition(".")
        key = self._keys.get(key_id)
        if version != "v1" or key is None:
            raise problem(
                Code.NOT_SEALED,
                f"a stored secret was sealed under the key {key_id[:16]!r}, which is not among those given",
            )
        try:
            raw = base64.urlsafe_b64decode(content)
            return Secret(key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode())
        except (InvalidTag, ValueError):
            raise problem(Code.NOT_SEALED, "a stored secret was changed, or belongs to another place") from None

    def current(self, sealed: str) -> bool:
        """True when it was sealed under the key that seals now."""
        return sealed.startswith(f"v1.{self._current}.")

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose, that follows from the first key."""
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"headrace {purpose}".encode()).derive(self._root)


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"headrace sealing key" + key).hexdigest()[:8]


def new_key() -> str:
    """A random key as a line of a key file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_keys(text: Secret, place: str = _PLACE) -> list[bytes]:
    """The keys of a text: one a line, empty lines and those that begin with ``#`` apart.

    Args:
        text: The lines.
        place: Where they came from, for mistakes, which never show a key.

    Raises:
        ConfigurationError: There is no key, or a line that is none.
    """
    keys = []
    for number, line in enumerate(text.reveal().splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key = _key(stripped)
        if key is None:
            raise _mistake(f"{place}, line {number}", "is no key", "32 bytes as base64, or 64 hexadecimal digits")
        keys.append(key)
    if not keys:
        raise _mistake(place, "holds no key", "32 bytes as base64, or 64 hexadecimal digits")
    return keys


def _key(line: str) -> bytes | None:
    if _HEX.fullmatch(line):
        return bytes.fromhex(line)
    try:
        key = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def keys_from_file(path: Path) -> list[bytes]:
    """The keys of a file, which nobody but its owner may read.

    Raises:
        ConfigurationError: It cannot be read, others may read it, or as of ``read_keys``.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise _mistake(str(path), f"cannot be read: {reason}") from None
    if os.name == "posix" and mode & 0o077:
        raise _mistake(str(path), "may be read by others", f"chmod 600 {path}")
    return read_keys(Secret(content), str(path))


def keys_from_command(command: str) -> list[bytes]:
    """The keys that a command prints; it is run without a shell, for 30 seconds at the most.

    Raises:
        ConfigurationError: It cannot be run, fails, or as of ``read_keys``.
    """
    place = "the command for the sealing key"
    try:
        arguments = shlex.split(command)
        done = subprocess.run(  # noqa: S603  # whoever sets the command is whoever runs the process
            arguments, check=False, capture_output=True, timeout=_COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise _mistake(place, f"cannot be run: {type(error).__name__}") from None
    if done.returncode:
        # What it printed may hold the key.
        raise _mistake(place, f"ended with status {done.returncode}")
    return read_keys(Secret(done.stdout.decode(errors="replace")), place)


def _mistake(place: str, problem_text: str, allowed: str = "") -> ConfigurationError:
    return ConfigurationError(mistakes=[Mistake(place, problem_text, allowed)])
