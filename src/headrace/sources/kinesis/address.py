"""Which stream, where, and from where on: the text ``kinesis://STREAM?region=…&start=…`` of the command line.

Keys are never part of it: they are found where every AWS tool finds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from headrace.core.times import canonical, to_ms
from headrace.errors import RefusedError, UpdateRefusedError

SCHEME: Final = "kinesis://"
TRIM_HORIZON: Final = "TRIM_HORIZON"
LATEST: Final = "LATEST"
AT_TIMESTAMP: Final = "AT_TIMESTAMP"
_FORM: Final = "kinesis://STREAM?region=eu-west-1"
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_AUTH: Final = {
    "region": "region", "endpoint": "endpointUrl", "profile": "profile", "source": "source", "role": "roleArn",
    "external-id": "externalId", "proxy": "proxyUrl", "ca-file": "caFile",
}  # fmt: skip
"""Parameter of the address to parameter of a connection (docs/destinations)."""


class Start(msgspec.Struct, frozen=True):
    """Where a stream that was never read begins.

    Attributes:
        kind: TRIM_HORIZON, LATEST or AT_TIMESTAMP.
        at_ms: The time, for AT_TIMESTAMP; for LATEST the time of the first opening, once it is known.
    """

    kind: str = TRIM_HORIZON
    at_ms: int = 0


class Address(msgspec.Struct, frozen=True):
    """A stream to read.

    Attributes:
        stream: Its name.
        auth: Parameters of a connection, as a Kinesis destination has them.
        start: Where to begin.
    """

    stream: str
    auth: dict[str, Any]
    start: Start

    @property
    def id(self) -> str:
        """What a position belongs to: the stream in its region, however it is reached."""
        return f"kinesis:{self.auth['region']}/{self.stream}"


def parse(text: str, environ: Mapping[str, str]) -> Address:
    """Read an address.

    Args:
        text: ``kinesis://STREAM?region=…``; other parameters: endpoint, start (trim-horizon, latest, or a time),
            profile, source, role, external-id, proxy, ca-file.
        environ: The region is AWS_REGION or AWS_DEFAULT_REGION where it is not given.

    Raises:
        RefusedError: It is not such a text.
    """
    parts = urlsplit(text)
    if not _NAME.fullmatch(parts.netloc) or parts.path not in ("", "/"):
        raise RefusedError(f"{text} does not name a stream (allowed: {_FORM})")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(given.keys() - _AUTH.keys() - {"start"})
    if unknown:
        allowed = ", ".join(sorted([*_AUTH, "start"]))
        raise RefusedError(f"{text} has the parameter {unknown[0]}, which is not one (allowed: {allowed})")
    auth: dict[str, Any] = {name: given[short] for short, name in _AUTH.items() if given.get(short)}
    auth.setdefault("region", environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "")
    if not auth["region"]:
        raise RefusedError(f"{text} names no region, and neither does AWS_REGION (allowed: {_FORM})")
    return Address(parts.netloc, auth, _start(text, given.get("start", "trim-horizon")))


def _start(text: str, given: str) -> Start:
    kind = given.upper().replace("-", "_")
    if kind in (TRIM_HORIZON, LATEST):
        return Start(kind)
    try:
        return Start(AT_TIMESTAMP, to_ms(canonical(given)))
    except UpdateRefusedError:
        allowed = "trim-horizon, latest, or a time as 2026-01-31T14:30:00Z"
        raise RefusedError(f"{text}: start={given} is no place to start at (allowed: {allowed})") from None
