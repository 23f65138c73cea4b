"""Keys come from where they should, are renewed, and never show."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from headrace.aws import (
    Credentials,
    CredentialsError,
    RenewedCredentials,
    Role,
    StaticCredentials,
    Sts,
    ambient,
    assume_role,
    assumed,
    credentials_chain,
    given,
    web_identity,
)
from tests import servers
from tests.aws.loopback import Asked, loopback, metadata, sts


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
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
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


class Found:
    """Keys as botocore has them, with a time left that a test sets; each load gives others."""

    def __init__(self, left_s: float = 3600) -> None:
        self.left_s = left_s
        self.loads = 0
        self.fails = False
        self.hold: threading.Event | None = None

    def refresh_needed(self, refresh_in: float) -> bool:
        return self.left_s < refresh_in

    def get_frozen_credentials(self) -> Any:
        if self.hold is not None:
            assert self.hold.wait(10)
        if self.fails:
            raise RuntimeError("the-secret")
        self.loads += 1
        return Credentials("A", f"s{self.loads}")


def test_keys_are_renewed_ahead_of_expiry_while_the_old_ones_still_sign() -> None:
    """Nobody waits for the renewal; a minute before the end everybody does, and for one renewal together."""
    found = Found()
    now_s = 0.0

    async def run() -> None:
        nonlocal now_s
        provider = RenewedCredentials(lambda: found, "a test", lambda: now_s)
        assert [(await provider.get()).secret_key for _ in range(2)] == ["s1", "s1"]
        found.left_s, found.hold = 600, threading.Event()
        assert (await provider.get()).secret_key == "s1"
        assert (await provider.get()).secret_key == "s1"
        found.hold.set()
        assert provider._renewal is not None
        await provider._renewal
        assert (await provider.get()).secret_key == "s2"
        assert found.loads == 2
        # Still ten minutes left, so botocore gave no newer ones: it is asked again after a pause only.
        now_s = 31.0
        await provider.get()
        assert provider._renewal is not None
        await provider._renewal
        assert found.loads == 3
        found.left_s = 30
        keys = await asyncio.gather(*(provider.get() for _ in range(20)))
        assert {k.secret_key for k in keys} == {"s4"}
        await provider.close()

    asyncio.run(run())


def test_a_renewal_that_fails_is_nobodys_trouble_until_the_keys_run_out() -> None:
    """Then the error names the source and holds no word of what failed."""
    found = Found()

    async def run() -> None:
        provider = RenewedCredentials(lambda: found, "a test", lambda: 0.0)
        await provider.get()
        found.left_s, found.fails = 600, True
        assert (await provider.get()).secret_key == "s1"
        assert provider._renewal is not None
        await asyncio.wait([provider._renewal])
        assert (await provider.get()).secret_key == "s1"
        found.left_s = 0
        with pytest.raises(CredentialsError, match="no credentials from a test: RuntimeError") as caught:
            await provider.get()
        assert "the-secret" not in str(caught.value)
        found.fails = False
        assert (await provider.get()).secret_key == "s2"

    asyncio.run(run())


def test_the_event_loop_is_never_held_up() -> None:
    """While a source takes its time, others of the loop go on; cancelling one who waits leaves the rest waiting."""
    found = Found()
    found.hold = threading.Event()

    async def run() -> None:
        provider = RenewedCredentials(lambda: found, "a test")
        first, second = asyncio.create_task(provider.get()), asyncio.create_task(provider.get())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not first.done()
        first.cancel()
        assert found.hold is not None
        found.hold.set()
        assert (await second).secret_key == "s1"
        assert first.cancelled()

    asyncio.run(run())


def test_closing_gives_up_a_renewal() -> None:
    """No task is left, and nothing is raised."""
    found = Found()

    async def run() -> int:
        provider = RenewedCredentials(lambda: found, "a test")
        await provider.get()
        found.left_s = 600
        await provider.get()
        await provider.close()
        await provider.close()
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1


def test_keys_called_expired_are_looked_for_again_and_the_same_ones_are_the_end() -> None:
    """Many requests hear it at once; only when the source gives the same keys is there nothing to wait for."""

    class Same(Found):
        def get_frozen_credentials(self) -> Any:
            self.loads += 1
            return Credentials("A", "same")

    async def run() -> None:
        found = Same()
        provider = RenewedCredentials(lambda: found, "a test")
        keys = await provider.get()
        assert [provider.expire(keys) for _ in range(3)] == [True] * 3
        assert await provider.get() == keys
        assert found.loads == 2
        assert not provider.expire(keys)
        assert not provider.expire(keys)

    asyncio.run(run())


def test_keys_of_a_container_are_renewed(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that run out in 14 minutes are used, and others are fetched meanwhile."""
    number = [0]

    def reply(asked: Asked) -> bytes | int:
        number[0] += 1
        return metadata(asked, number[0], minutes=14 if number[0] <= 2 else 60)

    async def run() -> list[Credentials]:
        provider = RenewedCredentials(ambient("container"), "container")
        keys = [await provider.get(), await provider.get()]
        assert provider._renewal is not None
        await provider._renewal
        return [*keys, await provider.get()]

    with loopback(reply) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token")
        first, second, third = asyncio.run(run())
    # botocore itself renews keys once when it gives them out so late
    assert (first.access_key, third.access_key) == ("KEY2", "KEY3")
    assert second == first
    assert (third.secret_key, third.token) == ("the-secret-3", "the-token-3")


def test_keys_of_an_instance_are_fetched_again_when_they_expired(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2 of the metadata service, which wants a session first."""
    number = [0]

    def reply(asked: Asked) -> bytes | int:
        if asked.path.endswith("/the-role"):
            number[0] += 1
        return metadata(asked, number[0], minutes=60)

    async def run() -> list[Credentials]:
        provider = RenewedCredentials(ambient("instance"), "instance")
        keys = [await provider.get(), await provider.get()]
        assert provider.expire(keys[0])
        return [*keys, await provider.get()]

    with loopback(reply) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        first, second, third = asyncio.run(run())
    assert [k.access_key for k in (first, second, third)] == ["KEY1", "KEY1", "KEY2"]
    assert third.token == "the-token-2"
    assert [a.method for a in server.asked] == ["PUT", "GET", "GET"] * 2


def test_a_source_alone_looks_nowhere_else(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys in the environment, the container's are not there; and the other way round."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with pytest.raises(CredentialsError, match="container: it has none"):
        asyncio.run(RenewedCredentials(ambient("container"), "container").get())
    found = asyncio.run(RenewedCredentials(ambient("environment"), "environment").get())
    assert found == Credentials("A", "s")


def test_a_role_is_assumed_with_what_its_policy_demands(no_aws: Path) -> None:
    """External id, session name and duration go out; a role in between is assumed first, with its own."""
    base = given(Credentials("BASE", "s"))
    with loopback(sts) as server:
        via = assumed(Role("arn:aws:iam::123456789012:role/via", "us", "first"), base, Sts("eu-west-1", server.url))
        role = Role("arn:aws:iam::123456789012:role/last", "us", "second", 900)
        keys = asyncio.run(assume_role(role, via, Sts("eu-west-1", server.url)).get())
    assert keys.access_key == "last-by-via-by-BASE"
    first, second = (asked.form for asked in server.asked)
    assert (first["RoleArn"], first["ExternalId"]) == ("arn:aws:iam::123456789012:role/via", "first")
    assert "DurationSeconds" not in first
    assert (second["RoleSessionName"], second["ExternalId"], second["DurationSeconds"]) == ("us", "second", "900")
    assert "/eu-west-1/sts/" in server.asked[0].headers["authorization"]


def test_a_chain_is_renewed_from_its_beginning(no_aws: Path) -> None:
    """Keys in between that have run out are fetched anew when the last ones are."""
    base = given(Credentials("BASE", "s"))
    with loopback(lambda asked: sts(asked, minutes=5)) as server:
        via = assumed(Role("arn:aws:iam::123456789012:role/via"), base, Sts("eu-west-1", server.url))

        async def run() -> None:
            provider = assume_role(Role("arn:aws:iam::123456789012:role/last"), via, Sts("eu-west-1", server.url))
            await provider.get()
            await provider.get()
            assert provider._renewal is not None
            await provider._renewal

        asyncio.run(run())
    assert [a.form["RoleArn"].rpartition("/")[2] for a in server.asked] == ["via", "last", "via", "last"]


def test_a_web_identity_token_is_read_again_at_each_renewal(no_aws: Path) -> None:
    """Whoever rotates the file needs no restart; the request is not signed."""
    file = no_aws / "token"
    file.write_text("token-1")
    with loopback(sts) as server:
        find = web_identity(Role("arn:aws:iam::123456789012:role/w"), str(file), Sts("eu-west-1", server.url))

        async def run() -> Credentials:
            provider = RenewedCredentials(find, "a test")
            keys = await provider.get()
            file.write_text("token-2")
            assert provider.expire(keys)
            return await provider.get()

        keys = asyncio.run(run())
    assert keys.access_key == "w-by-nobody"
    assert [a.form["WebIdentityToken"] for a in server.asked] == ["token-1", "token-2"]
    assert {a.form["Action"] for a in server.asked} == {"AssumeRoleWithWebIdentity"}


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with servers.moto() as url:
        yield url


@pytest.mark.moto
def test_a_role_assumed_at_moto_is_who_it_says(no_aws: Path, moto_url: str) -> None:
    """Keys of a role come with a token; a role assumed with them is another."""
    where = Sts("eu-west-1", moto_url)
    base = assumed(
        Role("arn:aws:iam::123456789012:role/one", "test", "external"),
        given(Credentials("AKIAIOSFODNN7EXAMPLE", "s")),
        where,
    )
    keys = asyncio.run(assume_role(Role("arn:aws:iam::123456789012:role/two", "test"), base, where).get())
    assert keys.token
    assert keys.access_key.startswith("ASIA")
    who = boto3.client(
        "sts",
        endpoint_url=moto_url,
        region_name="eu-west-1",
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        aws_session_token=keys.token,
    ).get_caller_identity()
    assert who["Arn"].endswith("assumed-role/two/test")


def test_a_role_that_is_denied_is_an_error_without_secrets(no_aws: Path) -> None:
    """The text names the role and the code; an answer that is none of STS's is no end either."""
    denied = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>the-secret</Message></Error></ErrorResponse>"
    for reply, told in (((403, denied), "refused with AccessDenied"), (403, "ResponseParserError")):
        _denied(reply, told)


def _denied(reply: tuple[int, bytes] | int, told: str) -> None:
    with loopback(lambda _: reply) as server:
        role = Role("arn:aws:iam::123456789012:role/r")
        provider = assume_role(role, given(Credentials("A", "the-secret")), Sts("eu-west-1", server.url))
        with pytest.raises(CredentialsError, match=f"role arn:aws:iam::123456789012:role/r: {told}") as caught:
            asyncio.run(provider.get())
    assert "the-secret" not in str(caught.value)


@pytest.mark.slow  # botocore tries three times before it gives up
def test_nobody_listening_at_sts_is_an_error_without_secrets(no_aws: Path) -> None:
    """The text names the role and the kind of failure."""
    where = Sts("eu-west-1", f"http://127.0.0.1:{servers.free_port()}")
    role = Role("arn:aws:iam::123456789012:role/r")
    with pytest.raises(CredentialsError, match="role arn:aws:iam::123456789012:role/r: ") as caught:
        asyncio.run(assume_role(role, given(Credentials("A", "the-secret")), where).get())
    assert "the-secret" not in str(caught.value)
