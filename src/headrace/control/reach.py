"""Which addresses, and which of this machine's own credentials, a connection made through the API may use.

Whoever may make a connection is not whoever runs the machine: without these rules the API would let them reach the
services inside the network, or write with the machine's own cloud account. The configuration file, which whoever
runs the machine writes, is not bound by them.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.core.report import Report
from headrace.destinations.base import AuthSpec, Spec

_FILES: Final = ("caFile", "tokenFile", "profile")
"""Parameters of any destination that name something on the machine."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What a setting allows.

    Attributes:
        hosts: Hosts that a URL among the parameters may name; ``*`` stands for one label. A region's own endpoint
            needs no URL and no entry.
        machine: Allow what belongs to the machine: its credentials, profiles, token and certificate files.
    """

    hosts: tuple[str, ...] = ()
    machine: bool = False

    def check(self, report: Report, auth: Mapping[str, Any], spec: Spec, way: str, place: str) -> None:
        """Note every parameter that names what is not allowed.

        Args:
            report: Takes the mistakes.
            auth: Parameters of a base connection as they were given.
            spec: Of its destination.
            way: Name of the way to authenticate.
            place: Where they stand.
        """
        for name, value in auth.items():
            if name.endswith("Url") and isinstance(value, str) and value not in ("", "none"):
                host = _host(value)
                if not self.allows(host):
                    report.mistake(
                        f"{place}.{name}",
                        f"the host {host or '?'} is not among those that the settings allow",
                        ", ".join(self.hosts) or "leave it out",
                    )
            elif name in _FILES and value not in (None, "") and not self.machine:
                report.mistake(f"{place}.{name}", _MACHINE, "leave it out")
        keys = {each.name: _key(each) for each in spec.auth}
        needed = next(filter(None, keys.values()), None)
        if needed and not self.machine and not auth.get(keys.get(way) or ""):
            report.mistake(place, _MACHINE, f"give {needed}")

    def allows(self, host: str) -> bool:
        """True when a URL may name a host."""
        return any(
            re.fullmatch(re.escape(each.lower()).replace(r"\*", "[a-z0-9-]+"), host, re.ASCII) for each in self.hosts
        )


_MACHINE: Final = "uses what belongs to the machine, which the settings do not allow"


def _key(way: AuthSpec) -> str | None:
    """The parameter that holds the secret of whoever connects; None for a way that takes it from the machine."""
    return next((each.name for each in way.parameters if each.secret and not each.name.startswith("proxy")), None)


def _host(url: str) -> str:
    try:
        return (urllib.parse.urlsplit(url if "//" in url else f"//{url}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""
