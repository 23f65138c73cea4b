"""Make the parts of a connection out of its parameters: where to, by which way, with which keys.

Which way of authenticating it is shows from the parameters themselves; those of ``auth.AUTH`` are distinct.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from headrace import settings
from headrace.aws import (
    Credentials,
    CredentialsProvider,
    Endpoint,
    EndpointError,
    RenewedCredentials,
    Role,
    Route,
    RouteError,
    Source,
    StaticCredentials,
    Sts,
    ambient,
    assumed,
    endpoint_for,
    given,
    route_for,
    web_identity,
)
from headrace.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Connection(NamedTuple):
    """Where to, by which way, and with which keys.

    Attributes:
        region: Region of the stream and of the signatures.
        endpoint: From ``aws.endpoint_for``.
        credentials: Keys.
        route: The way to the endpoint.
    """

    region: str
    endpoint: Endpoint
    credentials: CredentialsProvider
    route: Route = Route()


def connect(auth: Mapping[str, Any]) -> Connection:
    """Build a connection. Nothing is asked of anybody yet.

    Args:
        auth: Parameters that were checked against the spec.

    Raises:
        EndpointError: The region or the endpoint URL cannot be used.
        RouteError: The proxy of the environment cannot be used.
    """
    endpoint = _endpoint(auth)
    return Connection(auth["region"], endpoint, _credentials(auth), _route(auth, endpoint.url))


def _endpoint(auth: Mapping[str, Any]) -> Endpoint:
    return endpoint_for(
        "kinesis",
        auth["region"],
        auth.get("endpointUrl"),
        fips=bool(auth.get("useFips")),
        dual_stack=bool(auth.get("useDualStack")),
    )


def _route(auth: Mapping[str, Any], url: str) -> Route:
    return route_for(
        url,
        settings.environment(),
        proxy_url=auth.get("proxyUrl"),
        user=auth.get("proxyUser"),
        password=auth.get("proxyPassword"),
        ca_file=auth.get("caFile"),
    )


def _credentials(auth: Mapping[str, Any]) -> CredentialsProvider:
    if auth.get("roleArn"):
        return _of_role(auth)
    if auth.get("accessKeyId"):
        return StaticCredentials(_keys(auth))
    source, profile = auth.get("source") or "chain", auth.get("profile")
    return RenewedCredentials(ambient(source, profile), f"{source} {profile!r}" if profile else source)


def _keys(auth: Mapping[str, Any]) -> Credentials:
    return Credentials(auth["accessKeyId"], auth["secretKey"], auth.get("sessionToken"))


def _of_role(auth: Mapping[str, Any]) -> RenewedCredentials:
    session, duration_s = auth.get("sessionName") or "headrace", auth.get("durationS")
    url = auth.get("stsEndpointUrl")
    sts = Sts(auth["region"], url, _route(auth, url or "https://sts.amazonaws.com/"))
    role = Role(auth["roleArn"], session, auth.get("externalId"), duration_s)
    if auth.get("tokenFile"):
        found = web_identity(role, auth["tokenFile"], sts)
    else:
        base: Source = (
            given(_keys(auth))
            if auth.get("accessKeyId")
            else ambient(auth.get("source") or "chain", auth.get("profile"))
        )
        if auth.get("viaRoleArn"):
            base = assumed(Role(auth["viaRoleArn"], session, auth.get("viaExternalId")), base, sts)
        found = assumed(role, base, sts)
    return RenewedCredentials(found, f"role {role.arn}")


def mistakes(auth: Mapping[str, Any]) -> Sequence[Mistake]:
    """What is wrong between the parameters of a connection; places begin at ``auth.``."""
    found = []
    if auth.get("source") == "profile" and not auth.get("profile"):
        found.append(Mistake("auth.profile", "is missing: the source is a profile", "name of a profile"))
    if auth.get("profile") and auth.get("source") not in ("profile", "chain", None):
        found.append(Mistake("auth.profile", f"is not used by the source {auth['source']}", "nothing"))
    if bool(auth.get("accessKeyId")) != bool(auth.get("secretKey")):
        missing = "secretKey" if auth.get("accessKeyId") else "accessKeyId"
        found.append(Mistake(f"auth.{missing}", "is missing: the two belong together"))
    if auth.get("proxyUrl") in (None, "", "none"):
        found += [
            Mistake(f"auth.{name}", "is not used without a proxy URL", "nothing, or proxyUrl as well")
            for name in ("proxyUser", "proxyPassword")
            if auth.get(name)
        ]
    elif str(auth.get("endpointUrl") or "").startswith("http:"):
        found.append(Mistake("auth.proxyUrl", "is not used for a plain endpoint URL", "nothing"))
    try:
        _endpoint(auth)
    except EndpointError as error:
        place = "auth.endpointUrl" if auth.get("endpointUrl") else "auth.region"
        found.append(Mistake(place, str(error)))
    try:
        _route(auth, "https://kinesis.invalid/").tls()
    except RouteError as error:
        found.append(Mistake("auth.caFile" if auth.get("caFile") else "auth.proxyUrl", str(error)))
    return found
