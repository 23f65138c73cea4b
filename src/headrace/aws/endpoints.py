"""Where a service is reached: AWS's own endpoints out of botocore's data, or one that the user gave."""

from __future__ import annotations

import difflib
import functools
import ipaddress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from headrace.aws.sources import session
from headrace.errors import RefusedError

ENDPOINT_PATTERN: Final = r"(https://[A-Za-z0-9_.\-]+|https://\[[0-9A-Fa-f:]+\]|http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\]))(:[0-9]{1,5})?/?"
"""What a custom endpoint may look like: https anywhere, http only to this machine."""


class EndpointError(RefusedError):
    """A region or endpoint that cannot be used."""

    code = "endpoint"

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem, problem=problem)


class Endpoint(NamedTuple):
    """Where a service is reached.

    Attributes:
        url: Scheme, host and port, with the closing slash.
        host: What the Host header says: the port is left out when it is the scheme's own.
        partition: ``aws``, ``aws-cn``, ``aws-us-gov``, ...: the second part of its ARNs.
        custom: True when the user gave it, so that it may be anything that speaks the protocol.
    """

    url: str
    host: str
    partition: str
    custom: bool


def endpoint_for(
    service: str, region: str, endpoint_url: str | None = None, *, fips: bool = False, dual_stack: bool = False
) -> Endpoint:
    """Find the endpoint of a service in a region, or check the one given.

    Args:
        service: Endpoint prefix, for example ``kinesis``.
        region: Region name.
        endpoint_url: Custom endpoint; None or empty for AWS's own.
        fips: AWS's own endpoint with cryptography validated by FIPS 140.
        dual_stack: AWS's own endpoint that has an IPv6 address as well.

    Raises:
        EndpointError: The region is not one or has no such endpoint; or the URL is no URL, has a path, user or
            query, or is plain http to another machine, which would show every record on the wire.
    """
    if endpoint_url and (fips or dual_stack):
        raise EndpointError(problem="FIPS and dual-stack are AWS's own endpoints; leave out the endpoint URL")
    try:
        found = _resolver().construct_endpoint(
            service, region, use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack
        )
    except _no_variant():
        found = None
    if found is None and (fips or dual_stack) and region in regions(service):
        wanted = " and ".join(["FIPS"] * fips + ["dual-stack"] * dual_stack)
        raise EndpointError(problem=f"{region!r} has no {wanted} endpoint")
    if endpoint_url:
        return _custom(endpoint_url, "aws" if found is None else found["partition"])
    if found is None:
        near = difflib.get_close_matches(region, regions(service), 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; give one like 'eu-west-1'"
        raise EndpointError(problem=f"{region!r} is not a region of AWS{hint}")
    host = str(found["hostname"])
    return Endpoint(f"https://{host}/", host, str(found["partition"]), custom=False)


def _no_variant() -> type[Exception]:
    from botocore.exceptions import EndpointVariantError

    return EndpointVariantError  # type: ignore[no-any-return]


@functools.cache
def _resolver() -> Any:
    from botocore.regions import EndpointResolver

    return EndpointResolver(session().get_data("endpoints"))


@functools.cache
def regions(service: str) -> tuple[str, ...]:
    """Regions that botocore knows *service* in, of all partitions."""
    botocore = session()
    names: list[str] = []
    for partition in botocore.get_available_partitions():
        names += botocore.get_available_regions(service, partition)
    return tuple(names)


def _custom(endpoint_url: str, partition: str) -> Endpoint:
    try:
        parts = urlsplit(endpoint_url)
        port, name = parts.port, parts.hostname
    except ValueError:
        parts, port, name = urlsplit(""), None, None
    if (
        parts.scheme not in ("http", "https")
        or not name
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise EndpointError(problem="the endpoint URL must be https://HOST[:PORT], without a path")
    if parts.username is not None:
        raise EndpointError(problem="the endpoint URL must not hold a user or password")
    if parts.scheme == "http" and not _loopback(name):
        raise EndpointError(
            problem=f"http to {name} would send every record unencrypted: use https; http is for this machine only"
        )
    bare = f"[{name}]" if ":" in name else name
    default = 443 if parts.scheme == "https" else 80
    host = bare if port in (None, default) else f"{bare}:{port}"
    return Endpoint(f"{parts.scheme}://{host}/", host, partition, custom=True)


def _loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
