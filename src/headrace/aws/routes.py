"""The way to an endpoint: through which proxy, and whose certificates are believed.

TLS is 1.2 or later and always verified: there is no setting that turns it off.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from headrace.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY_PATTERN: Final = r"none|https?://([A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/?"
"""What an explicit proxy may look like; user and password are given apart."""
DIRECT: Final = "none"


class RouteError(RefusedError):
    """A proxy or a file of certificates that cannot be used."""

    code = "route"

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem, problem=problem)


class Route:
    """How an endpoint is reached. Shows itself without the proxy's password.

    Attributes:
        proxy: URL of the proxy without user and password; empty for none.
        user: User for the proxy, empty for none.
        password: The user's password.
        ca_file: File with the authorities to believe instead of the system's; empty for the system's.
        stated: True when somebody stated the proxy, or that there is none; False when the environment did.
    """

    __slots__ = ("ca_file", "password", "proxy", "stated", "user")

    def __init__(
        self, proxy: str = "", user: str = "", password: str = "", ca_file: str = "", *, stated: bool = False
    ) -> None:
        self.proxy = proxy
        self.user = user
        self.password = password
        self.ca_file = ca_file
        self.stated = stated

    def __repr__(self) -> str:
        return f"Route({self.proxy!r}, user={self.user!r}, ca_file={self.ca_file!r})"

    def tls(self) -> ssl.SSLContext:
        """What connections are made with.

        Raises:
            RouteError: The file of authorities cannot be read, or holds none.
        """
        return tls(self.ca_file)


@functools.cache
def _system_tls() -> ssl.SSLContext:
    """The system's authorities; loaded once, because loading takes longer than a handshake."""
    return _at_least_1_2(ssl.create_default_context())


def _at_least_1_2(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls(ca_file: str = "") -> ssl.SSLContext:
    """A context that believes the authorities of a file, or the system's.

    Args:
        ca_file: PEM file; it is read anew each time. Empty for the system's authorities.

    Raises:
        RouteError: The file cannot be read, or holds none.
    """
    if not ca_file:
        return _system_tls()
    try:
        return _at_least_1_2(ssl.create_default_context(cafile=ca_file))
    except ssl.SSLError:
        problem = "holds no certificate in PEM form"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise RouteError(problem=f"the file of authorities {ca_file} {problem}")


def route_for(
    url: str,
    environ: Mapping[str, str],
    *,
    proxy_url: str | None = None,
    user: str | None = None,
    password: str | None = None,
    ca_file: str | None = None,
) -> Route:
    """Find the way to an endpoint.

    Args:
        url: The endpoint's.
        environ: HTTPS_PROXY and NO_PROXY are looked up in it, lower case first, when no proxy is given.
        proxy_url: The proxy; ``none`` for none, whatever the environment says; None or empty to ask it.
        user: User for the given proxy.
        password: Its password.
        ca_file: PEM file of the authorities to believe; None or empty for the system's.

    Returns:
        The way. An endpoint on this machine is never reached through a proxy of the environment, and a plain
        one through none at all: a proxy would see every record.

    Raises:
        RouteError: The proxy that the environment names is no http or https URL.
    """
    ca = ca_file or ""
    parts = urlsplit(url)
    if proxy_url == DIRECT or parts.scheme == "http":
        return Route(ca_file=ca, stated=proxy_url == DIRECT)
    if proxy_url:
        return Route(proxy_url, user or "", password or "", ca, stated=True)
    found = environ.get("https_proxy") or environ.get("HTTPS_PROXY") or ""
    host = parts.hostname or ""
    if not found or _local(host):
        return Route(ca_file=ca)
    if _excepted(host, parts.port or 443, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return Route(ca_file=ca)
    return _of_environment(found, ca)


def _of_environment(found: str, ca: str) -> Route:
    try:
        parts = urlsplit(found if "://" in found else f"http://{found}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        # Without the text: it may hold a password.
        raise RouteError(problem="the proxy that HTTPS_PROXY names must be http://HOST[:PORT] or https://HOST[:PORT]")
    bare = f"[{host}]" if ":" in host else host
    proxy = f"{parts.scheme}://{bare}" + (f":{port}" if port else "")
    return Route(proxy, unquote(parts.username or ""), unquote(parts.password or ""), ca)


def _excepted(host: str, port: int, names: str) -> bool:
    """Whether NO_PROXY names the host: itself, a domain it is in, an address block, or everything."""
    for raw in names.split(","):
        name = raw.strip().lower()
        if name == "*":
            return True
        if not name:
            continue
        if _in_block(host, name):
            return True
        bare, _, suffix = name.rpartition(":")
        if bare and suffix.isdigit():
            if int(suffix) != port:
                continue
            name = bare
        name = name.removeprefix("*").strip("[]").lstrip(".")
        if name and (host == name or host.endswith("." + name)):
            return True
    return False


def _in_block(host: str, name: str) -> bool:
    try:
        return "/" in name and ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
