"""Credentials, endpoints, routes and signatures of AWS, for every part that talks to Kinesis.

botocore is the source of truth for endpoints, credential chains and Signature Version 4; it is imported on
first use, because importing it costs more than most commands take.
"""

from headrace.aws.credentials import (
    Credentials,
    CredentialsError,
    CredentialsProvider,
    RenewedCredentials,
    StaticCredentials,
)
from headrace.aws.endpoints import ENDPOINT_PATTERN, Endpoint, EndpointError, endpoint_for, regions
from headrace.aws.routes import PROXY_PATTERN, Route, RouteError, route_for
from headrace.aws.signing import Signer
from headrace.aws.sources import (
    SOURCES,
    Role,
    Source,
    Sts,
    ambient,
    assume_role,
    assumed,
    credentials_chain,
    given,
    web_identity,
)

__all__ = [
    "ENDPOINT_PATTERN",
    "PROXY_PATTERN",
    "SOURCES",
    "Credentials",
    "CredentialsError",
    "CredentialsProvider",
    "Endpoint",
    "EndpointError",
    "RenewedCredentials",
    "Role",
    "Route",
    "RouteError",
    "Signer",
    "Source",
    "StaticCredentials",
    "Sts",
    "ambient",
    "assume_role",
    "assumed",
    "credentials_chain",
    "endpoint_for",
    "given",
    "regions",
    "route_for",
    "web_identity",
]
