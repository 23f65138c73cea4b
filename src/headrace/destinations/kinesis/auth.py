"""The ways to authenticate at Kinesis, as data. The first is Experience Platform's; the others are ours."""

from __future__ import annotations

from typing import Final

from headrace.aws import ENDPOINT_PATTERN, PROXY_PATTERN, SOURCES
from headrace.destinations.base import AuthSpec, Parameter

REGION_PATTERN: Final = r"[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}"
ROLE_PATTERN: Final = r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9/_+=,.@\-]{1,512}"
REGION_FORM: Final = "the name of a region, like eu-west-1"
_ROLE_FORM: Final = "begins with arn:aws:iam::, like arn:aws:iam::123456789012:role/stream-writer"
_ENDPOINT_FORM: Final = (
    "begins with https:// (or http://localhost on this machine) and has no path, like https://localhost:4566"
)
_EXTERNAL_FORM: Final = "2 to 1224 letters, digits and _+=,.@:/-"
_SESSION_PATTERN: Final = r"[A-Za-z0-9_+=,.@\-]{2,64}"
_EXTERNAL_PATTERN: Final = r"[A-Za-z0-9_+=,.@:/\-]{2,1224}"


def _keys(*, required: bool) -> tuple[Parameter, ...]:
    return (
        Parameter(
            "accessKeyId", "Access key ID",
            "Of the user that writes." if required else "Of the user that assumes the role, instead of the source.",
            required=required, pattern=r"[!-~]{1,128}",
            form="1 to 128 characters without spaces",
        ),
        Parameter(
            "secretKey", "Secret access key", "Belongs to the access key ID.",
            required=required, secret=True, pattern=r"[!-~]{1,256}",
            form="1 to 256 characters without spaces",
        ),
    )  # fmt: skip


_TOKEN: Final = Parameter(
    "sessionToken", "Session token", "Only with temporary keys; they stop working when it expires.",
    secret=True, pattern=r"[!-~]{1,8192}",
    form="1 to 8192 characters without spaces",
)  # fmt: skip
_REGION: Final = Parameter(
    "region",
    "Region",
    "AWS region of the stream, for example eu-west-1.",
    required=True,
    pattern=REGION_PATTERN,
    form=REGION_FORM,
)
_WAY: Final = (
    Parameter(
        "endpointUrl", "Endpoint URL",
        "Only for an endpoint other than the region's own: a VPC endpoint or a local server. "
        "https, or http to this machine.",
        pattern=ENDPOINT_PATTERN, form=_ENDPOINT_FORM,
    ),
    Parameter(
        "useFips", "FIPS endpoint", "Use the region's endpoint with cryptography validated by FIPS 140.",
        "boolean", default=False,
    ),
    Parameter(
        "useDualStack", "Dual-stack endpoint", "Use the region's endpoint that has an IPv6 address as well.",
        "boolean", default=False,
    ),
    Parameter(
        "proxyUrl", "Proxy URL",
        "Proxy for requests over TLS; none for no proxy. Without it HTTPS_PROXY and NO_PROXY count.",
        pattern=PROXY_PATTERN, form="none, or begins with http:// or https://, like http://proxy.example.com:3128",
    ),
    Parameter("proxyUser", "Proxy user", "User for the proxy of the proxy URL.", pattern=r"[!-9;-~]{1,256}",
              form="1 to 256 characters without spaces and colons"),
    Parameter("proxyPassword", "Proxy password", "The proxy user's password.", secret=True),
    Parameter(
        "caFile", "File of authorities",
        "PEM file of the certificate authorities to believe instead of this machine's.",
    ),
)  # fmt: skip
_PROFILE: Final = Parameter(
    "profile",
    "Profile",
    "Name of a profile of the shared AWS configuration files.",
    pattern=r"[^\x00-\x1f]{1,256}",
    form="one line of 1 to 256 characters",
)
_SOURCE: Final = Parameter(
    "source", "Source",
    "Where the keys are found: as AWS tools do (chain), or only in the environment, a profile, the container's or "
    "the instance's role.",
    default="chain", choices=SOURCES,
)  # fmt: skip


def _role(what: str) -> tuple[Parameter, ...]:
    return (
        Parameter("roleArn", "Role ARN", f"Role that writes, {what}.", required=True,
            pattern=ROLE_PATTERN, form=_ROLE_FORM,
        ),
        Parameter(
            "sessionName", "Session name", "Name of the session, for the account's audit trail.",
            default="headrace", pattern=_SESSION_PATTERN, form="2 to 64 letters, digits and _+=,.@-",
        ),
        Parameter(
            "durationS", "Session duration",
            "Seconds that the role's keys last; they are renewed ahead of it.", "integer",
            default=3600, least=900, most=43_200,
        ),
        Parameter(
            "stsEndpointUrl", "STS endpoint URL",
            "Only for a Security Token Service other than the region's own.",
            pattern=ENDPOINT_PATTERN, form=_ENDPOINT_FORM,
        ),
    )  # fmt: skip


AUTH: Final = (
    AuthSpec(
        "Aws Kinesis authentication credentials", "KeyBased", (*_keys(required=True), _REGION, _TOKEN, *_WAY)
    ),
    AuthSpec("Aws Kinesis ambient credentials", "Ambient", (_SOURCE, _PROFILE, _REGION, *_WAY)),
    AuthSpec(
        "Aws Kinesis assumed role",
        "AssumedRole",
        (
            *_role("assumed with the keys given here or those of the source"),
            Parameter(
                "externalId", "External ID", "Demanded by the role's trust policy, if it does.",
                pattern=_EXTERNAL_PATTERN, form=_EXTERNAL_FORM,
            ),
            Parameter(
                "viaRoleArn", "Role in between", "Role to assume first, which then assumes the role that writes.",
                pattern=ROLE_PATTERN, form=_ROLE_FORM,
            ),
            Parameter(
                "viaExternalId", "External ID in between", "Demanded by the trust policy of the role in between.",
                pattern=_EXTERNAL_PATTERN, form=_EXTERNAL_FORM,
            ),
            _SOURCE,
            _PROFILE,
            *_keys(required=False),
            _TOKEN,
            _REGION,
            *_WAY,
        ),
    ),
    AuthSpec(
        "Aws Kinesis web identity",
        "WebIdentity",
        (
            *_role("assumed with a web identity token"),
            Parameter(
                "tokenFile", "Token file", "File with the token; it is read again at each renewal.", required=True
            ),
            _REGION,
            *_WAY,
        ),
    ),
)  # fmt: skip
"""Ways to authenticate, in the order they are offered."""
