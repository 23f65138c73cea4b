"""Credentials, endpoints and signatures of AWS, for every part that talks to Kinesis.

botocore is the source of truth for endpoints, credential chains and Signature Version 4; it is imported on
first use, because importing it costs more than most commands take.
"""

from headrace.aws.credentials import (
    Credentials,
    CredentialsError,
    CredentialsProvider,
    ResolvedCredentials,
    Role,
    StaticCredentials,
    assume_role,
    credentials_chain,
)
from headrace.aws.endpoints import ENDPOINT_PATTERN, Endpoint, EndpointError, endpoint_for, regions
from headrace.aws.signing import Signer

__all__ = [
    "ENDPOINT_PATTERN",
    "Credentials",
    "CredentialsError",
    "CredentialsProvider",
    "Endpoint",
    "EndpointError",
    "ResolvedCredentials",
    "Role",
    "Signer",
    "StaticCredentials",
    "assume_role",
    "credentials_chain",
    "endpoint_for",
    "regions",
]
