"""Which topic, where, and from where on: the text ``kafka://HOST:PORT,…/TOPIC?start=…`` of the command line.

What the client needs beside it (TLS, users, passwords) is in a file of its own settings, never in the address.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from headrace.core.times import canonical, to_ms
from headrace.errors import RefusedError, UpdateRefusedError

SCHEME: Final = "kafka://"
EARLIEST: Final = "earliest"
LATEST: Final = "latest"
_FORM: Final = "kafka://HOST:PORT,HOST:PORT/TOPIC"
_BROKERS: Final = re.compile(r"[A-Za-z0-9_.\-]+(:\d{1,5})?(,[A-Za-z0-9_.\-]+(:\d{1,5})?)*")
_TOPIC: Final = re.compile(r"[A-Za-z0-9_.\-]{1,249}")
_PARAMETERS: Final = ("config", "group", "start")


class Address(msgspec.Struct, frozen=True):
    """A topic to read.

    Attributes:
        brokers: Where to ask first, ``HOST:PORT,…``.
        topic: Its name.
        group: What the position belongs to beside the topic, and what the client calls itself; no group is joined.
        start: earliest, latest, or empty for ``at_ms``.
        at_ms: The time to begin at, epoch milliseconds.
        config: File with further settings of the client; empty for none.
    """

    brokers: str
    topic: str
    group: str = "headrace"
    start: str = EARLIEST
    at_ms: int = 0
    config: str = ""

    @property
    def id(self) -> str:
        """What a position belongs to, whichever brokers are asked."""
        return f"kafka:{self.group}/{self.topic}"


def parse(text: str) -> Address:
    """Read an address.

    Args:
        text: ``kafka://HOST:PORT,…/TOPIC``; parameters: group, start (earliest, latest, or a time), config (a file
            with a setting of librdkafka a line, as ``security.protocol=SASL_SSL``).

    Raises:
        RefusedError: It is not such a text.
    """
    parts = urlsplit(text)
    brokers, topic = parts.netloc, parts.path.removeprefix("/")
    if not _BROKERS.fullmatch(brokers) or not _TOPIC.fullmatch(topic):
        # Not the text itself: it may hold a user and a password where none belong.
        raise RefusedError(f"the kafka:// address does not name brokers and a topic (allowed: {_FORM})")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(given.keys() - set(_PARAMETERS))
    if unknown:
        raise RefusedError(
            f"kafka://{brokers}/{topic} has the parameter {unknown[0]}, which is not one "
            f"(allowed: {', '.join(_PARAMETERS)}); settings of the client go into the file that config names"
        )
    start, at_ms = _start(given.get("start", EARLIEST))
    return Address(brokers, topic, given.get("group") or "headrace", start, at_ms, given.get("config", ""))


def _start(given: str) -> tuple[str, int]:
    if given.lower() in (EARLIEST, LATEST):
        return given.lower(), 0
    try:
        return "", to_ms(canonical(given))
    except UpdateRefusedError:
        allowed = "earliest, latest, or a time as 2026-01-31T14:30:00Z"
        raise RefusedError(f"start={given} is no place to start at (allowed: {allowed})") from None
