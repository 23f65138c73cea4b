"""Our signatures are botocore's, byte for byte."""

from __future__ import annotations

import datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.aws import Credentials, Signer

JSON = "application/x-amz-json-1.1"
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


def botocore_headers(
    credentials: Credentials,
    region: str,
    host: str,
    target: str,
    body: bytes,
    now_ms: int,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """What botocore would send."""
    at = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: at)
    request = AWSRequest(
        "POST", f"https://{host}/", {"Content-Type": JSON, "X-Amz-Target": target, "Host": host}, data=body
    )
    keys = BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    SigV4Auth(keys, "kinesis", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items() if name.lower() != "host"}


@settings(deadline=None)
@given(
    access=VISIBLE,
    secret=VISIBLE,
    token=st.none() | VISIBLE,
    host=st.sampled_from(["kinesis.eu-west-1.amazonaws.com", "127.0.0.1:4568", "[::1]:9"]),
    body=st.binary(max_size=200),
    now_ms=st.integers(0, 4_000_000_000_000),
)
def test_headers_are_those_of_botocore(
    access: str, secret: str, token: str | None, host: str, body: bytes, now_ms: int
) -> None:
    """Any keys, token, host, body and time give the same headers."""
    keys = Credentials(access, secret, token)
    ours = Signer("kinesis", "eu-west-1", host, JSON).headers(keys, "Kinesis_20131202.PutRecords", body, now_ms)
    with pytest.MonkeyPatch.context() as patch:
        theirs = botocore_headers(keys, "eu-west-1", host, "Kinesis_20131202.PutRecords", body, now_ms, patch)
    assert {name.lower(): value for name, value in ours.items()} == theirs


def test_the_kept_key_follows_the_day_and_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signer that has signed before signs as a new one does: after midnight, with new keys, with the old again."""
    first, second = Credentials("A", "1"), Credentials("B", "2", "token")
    signer = Signer("kinesis", "eu-west-1", "h", JSON)
    day_ms = 86_400_000
    for keys, now_ms in ((first, 0), (first, day_ms - 1), (first, day_ms), (second, day_ms), (first, 5)):
        ours = signer.headers(keys, "T", b"body", now_ms)
        theirs = botocore_headers(keys, "eu-west-1", "h", "T", b"body", now_ms, monkeypatch)
        assert {name.lower(): value for name, value in ours.items()} == theirs
