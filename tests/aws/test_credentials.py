"""Keys come from where they should, are renewed, and never show."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from headrace.aws import (
    Credentials,
    CredentialsError,
    Role,
    StaticCredentials,
    assume_role,
    credentials_chain,
)
from headrace.aws.credentials import ResolvedCredentials
from tests import servers


def test_a_secret_shows_nowhere() -> None:
    """Neither in repr nor in a pickle."""
    keys = Credentials("AKIA", "the-secret", "the-token")
    for text in (repr(keys), str(keys), f"{[keys]}"):
        assert "AKIA" in text
        assert "the-" not in text
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(keys)


def test_a_given_pair_cannot_be_renewed() -> None:
    """An expired pair stays expired; hearing it of other keys is no news."""
    keys = Credentials("A", "s")
    provider = StaticCredentials(keys)
    assert asyncio.run(provider.get()) is keys
    assert not provider.expire(keys)
    assert Credentials("A", "s", "") == keys


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment in which botocore finds nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def test_the_chain_reads_the_environment(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every AWS tool does; with the session token."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
    assert asyncio.run(credentials_chain().get()) == Credentials("A", "s", "t")


def test_a_profile_is_read_and_read_again_after_expiry(no_aws: Path) -> None:
    """Rotating the file needs no restart: an expired answer makes it read again."""
    file = no_aws / "credentials"
    file.write_text("[writer]\naws_access_key_id=A\naws_secret_access_key=s1\n")

    async def run() -> list[Credentials]:
        provider = credentials_chain("writer")
        first = await provider.get()
        file.write_text("[writer]\naws_access_key_id=A\naws_secret_access_key=s2\n")
        kept = await provider.get()
        assert provider.expire(kept)
        return [first, kept, await provider.get()]

    assert [c.secret_key for c in asyncio.run(run())] == ["s1", "s1", "s2"]


def test_no_credentials_say_where_none_were(no_aws: Path) -> None:
    """An empty chain and an unknown profile are told apart."""
    with pytest.raises(CredentialsError, match="the default chain: it has none"):
        asyncio.run(credentials_chain().get())
    with pytest.raises(CredentialsError, match="profile 'nobody': ProfileNotFound"):
        asyncio.run(credentials_chain("nobody").get())


def test_keys_that_run_out_are_asked_for_again() -> None:
    """What botocore says needs renewal is loaded again; what does not is answered from memory."""

    class Found:
        def __init__(self) -> None:
            self.loads = 0
            self.due = False

        def refresh_needed(self) -> bool:
            return self.due

        def get_frozen_credentials(self) -> Any:
            self.loads += 1
            return Credentials("A", f"s{self.loads}")

    found = Found()

    async def run() -> list[str]:
        provider = ResolvedCredentials(lambda: found, "a test")
        keys = [(await provider.get()).secret_key, (await provider.get()).secret_key]
        found.due = True
        return [*keys, (await provider.get()).secret_key]

    assert asyncio.run(run()) == ["s1", "s1", "s2"]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with servers.moto() as url:
        yield url


@pytest.mark.moto
def test_a_role_is_assumed_and_chained(no_aws: Path, moto_url: str) -> None:
    """Keys of a role come with a token; a role assumed with them is another."""
    base = StaticCredentials(Credentials("AKIAIOSFODNN7EXAMPLE", "s"))

    def role(name: str) -> Role:
        return Role(f"arn:aws:iam::123456789012:role/{name}", "test", "external", "eu-west-1", moto_url)

    first = assume_role(role("one"), base)
    keys = asyncio.run(first.get())
    assert keys.token
    assert keys.access_key.startswith("ASIA")
    chained = asyncio.run(assume_role(role("two"), first).get())
    assert chained.access_key not in (keys.access_key, "AKIAIOSFODNN7EXAMPLE")
    who = boto3.client(
        "sts",
        endpoint_url=moto_url,
        region_name="eu-west-1",
        aws_access_key_id=chained.access_key,
        aws_secret_access_key=chained.secret_key,
        aws_session_token=chained.token,
    ).get_caller_identity()
    assert who["Arn"].endswith("assumed-role/two/test")


@pytest.mark.slow  # botocore tries three times before it gives up
def test_a_role_that_cannot_be_asked_for_is_an_error_without_secrets(no_aws: Path) -> None:
    """Nobody listens at the endpoint; the text names the role and the kind of failure."""
    base = StaticCredentials(Credentials("A", "the-secret"))
    role = Role("arn:aws:iam::123456789012:role/r", endpoint_url=f"http://127.0.0.1:{servers.free_port()}")
    with pytest.raises(CredentialsError, match="role arn:aws:iam::123456789012:role/r: ") as caught:
        asyncio.run(assume_role(role, base).get())
    assert "the-secret" not in str(caught.value)
