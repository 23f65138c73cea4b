"""Parameters of each way to authenticate become the keys, the endpoint and the way that they say."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from headrace.aws import Credentials, CredentialsError, StaticCredentials
from headrace.control import configuration, parameters
from headrace.core.report import Report
from headrace.destinations.base import AuthSpec, Outcome, Verdict
from headrace.destinations.kinesis import KINESIS
from headrace.destinations.kinesis.auth import AUTH
from headrace.errors import Mistake
from headrace.kinesis.connection import connect
from headrace.settings import Secret
from tests.aws.loopback import loopback, metadata, sts
from tests.destinations.contract import records
from tests.destinations.kinesis.raw_server import Got, RawServer, accepted, refused

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "kinesis.yaml"
KEYS, AMBIENT, ROLE, WEB = AUTH
ARN = "arn:aws:iam::123456789012:role/writer"
GIVEN = {"accessKeyId": "BASE", "secretKey": "the-secret", "region": "eu-west-1"}


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment in which nothing is found."""
    for name in [n for n in os.environ if n.startswith("AWS_") or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def read(way: AuthSpec, **params: Any) -> tuple[dict[str, Any], list[Mistake]]:
    """Parameters as a configuration is read: defaults filled in, secrets revealed; and the mistakes."""
    report = Report()
    found = parameters.read(report, params, way.parameters, "auth")
    return {n: v.reveal() if isinstance(v, Secret) else v for n, v in found.items()}, list(report.mistakes)


def keys_of(way: AuthSpec, **params: Any) -> Credentials:
    """The keys that these parameters lead to; no mistake is in them."""
    auth, wrong = read(way, region="eu-west-1", **params)
    assert wrong == []
    assert list(KINESIS.mistakes(auth, {"stream": "s"})) == []

    async def run() -> Credentials:
        provider = connect(auth).credentials
        try:
            return await provider.get()
        finally:
            await provider.close()

    return asyncio.run(run())


def test_given_keys() -> None:
    """As they are, with their token."""
    assert keys_of(KEYS, accessKeyId="A", secretKey="s") == Credentials("A", "s")
    assert keys_of(KEYS, accessKeyId="A", secretKey="s", sessionToken="t") == Credentials("A", "s", "t")
    assert isinstance(connect(GIVEN).credentials, StaticCredentials)


def test_keys_of_the_environment_and_of_a_profile(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the chain, and each alone."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    (no_aws / "credentials").write_text("[writer]\naws_access_key_id=PROFILE\naws_secret_access_key=s\n")
    assert keys_of(AMBIENT).access_key == "ENV"
    assert keys_of(AMBIENT, source="environment").access_key == "ENV"
    assert keys_of(AMBIENT, source="profile", profile="writer").access_key == "PROFILE"
    assert keys_of(AMBIENT, profile="writer").access_key == "PROFILE"


def test_keys_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its metadata endpoint."""
    with loopback(lambda asked: metadata(asked, 7, minutes=60)) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token")
        assert keys_of(AMBIENT, source="container").access_key == "KEY7"
        assert keys_of(AMBIENT).access_key == "KEY7"


def test_keys_of_a_role(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assumed with given keys or with those of a source, by a role in between or not, with what policies demand."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with loopback(sts) as server:
        role = {"roleArn": ARN, "stsEndpointUrl": server.url}
        assert keys_of(ROLE, **role).access_key == "writer-by-ENV"
        assert keys_of(ROLE, **role, accessKeyId="BASE", secretKey="s").access_key == "writer-by-BASE"
        via = {"viaRoleArn": ARN.replace("writer", "hub"), "viaExternalId": "one", "externalId": "two"}
        assert keys_of(ROLE, **role, **via, sessionName="us").access_key == "writer-by-hub-by-ENV"
    forms = [asked.form for asked in server.asked]
    assert [f.get("ExternalId") for f in forms] == [None, None, "one", "two"]
    assert [f["RoleSessionName"] for f in forms] == ["headrace", "headrace", "us", "us"]
    # A role in between is asked for with its own default: an hour is the most that it may give.
    assert [f.get("DurationSeconds") for f in forms] == ["3600", "3600", None, "3600"]


def test_keys_of_a_web_identity(no_aws: Path) -> None:
    """With the token in the file."""
    file = no_aws / "token"
    file.write_text("the-web-token")
    with loopback(sts) as server:
        found = keys_of(WEB, roleArn=ARN, tokenFile=str(file), stsEndpointUrl=server.url)
    assert found.access_key == "writer-by-nobody"
    assert server.asked[0].form["WebIdentityToken"] == "the-web-token"


def test_the_endpoint_is_the_one_that_is_asked_for() -> None:
    """The region's own, FIPS, dual-stack, or a given one."""

    def host(**params: Any) -> str:
        return connect({**GIVEN, "region": "us-east-1", **params}).endpoint.host

    assert host() == "kinesis.us-east-1.amazonaws.com"
    assert host(useFips=True) == "kinesis-fips.us-east-1.amazonaws.com"
    assert host(useDualStack=True) == "kinesis.us-east-1.api.aws"
    assert host(endpointUrl="https://vpce.example") == "vpce.example"


@pytest.mark.parametrize(
    ("params", "places"),
    [
        ({"source": "profile"}, ["auth.profile"]),
        ({"source": "container", "profile": "p"}, ["auth.profile"]),
        ({"accessKeyId": "A"}, ["auth.secretKey"]),
        ({"secretKey": "s"}, ["auth.accessKeyId"]),
        ({"proxyUser": "u", "proxyPassword": "the-secret"}, ["auth.proxyUser", "auth.proxyPassword"]),
        ({"proxyUrl": "none", "proxyUser": "u"}, ["auth.proxyUser"]),
        ({"proxyUrl": "http://p:1", "endpointUrl": "http://127.0.0.1:1"}, ["auth.proxyUrl"]),
        ({"useFips": True, "endpointUrl": "https://e"}, ["auth.endpointUrl"]),
        ({"region": "euwest-1"}, ["auth.region"]),
        ({"region": "us-iso-east-1", "useDualStack": True}, ["auth.region"]),
    ],
)
def test_what_does_not_go_together_is_a_mistake(params: dict[str, Any], places: list[str]) -> None:
    """Each with its place, and no secret in it; nothing is connected for it."""
    found = KINESIS.mistakes({"region": "eu-west-1", **params}, {"stream": "s"})
    assert [m.place for m in found] == places
    assert "the-secret" not in "".join(map(str, found))


def test_a_proxy_of_the_environment_that_is_none_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found when the configuration is read; its password is not told."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@p:1")
    (mistake,) = KINESIS.mistakes(GIVEN, {"stream": "s"})
    assert mistake.place == "auth.proxyUrl"
    assert "secret" not in str(mistake)
    check = asyncio.run(KINESIS.check(GIVEN, {"stream": "s"}))
    assert [p.verdict for p in check.permissions] == ["unknown"] * 3
    assert not check.ok


def test_wrong_forms_are_refused_by_the_description() -> None:
    """Of ARNs, proxies, sources, durations."""
    for way, name, wrong in (
        (ROLE, "roleArn", "writer"),
        (ROLE, "viaRoleArn", "arn:aws:iam::12:role/x"),
        (ROLE, "durationS", 10),
        (ROLE, "externalId", "x"),
        (AMBIENT, "source", "elsewhere"),
        (KEYS, "proxyUrl", "http://user:secret@proxy:1"),
        (KEYS, "proxyUser", "a:b"),
        (KEYS, "endpointUrl", "http://10.0.0.1"),
        (WEB, "stsEndpointUrl", "http://sts.example"),
    ):
        _, mistakes = read(way, **{name: wrong})
        assert f"auth.{name}" in [m.place for m in mistakes], name


@pytest.mark.parametrize("way", AUTH, ids=lambda way: way.name)
def test_every_secret_is_marked(way: AuthSpec) -> None:
    """Whatever is named like one is sealed, never shown."""
    for parameter in way.parameters:
        named_so = any(word in parameter.name.lower() for word in ("secret", "password", "sessiontoken"))
        assert parameter.secret == named_so, parameter.name


def test_keys_that_expire_under_way_are_renewed_without_a_stop(no_aws: Path) -> None:
    """The service says expired; the role is assumed again and the records are written by the second try."""
    made = [0]

    def numbered(asked: Any) -> bytes:
        made[0] += 1
        return sts(asked).replace(b"<AccessKeyId>", b"<AccessKeyId>N%d-" % made[0])

    def reply(got: Got) -> bytes:
        return refused("ExpiredTokenException") if "=N1-" in got.headers["authorization"] else accepted(1)

    async def run(url: str) -> list[Outcome]:
        async with RawServer(reply) as server:
            auth = {**GIVEN, "roleArn": ARN, "stsEndpointUrl": url, "endpointUrl": server.url}
            writer = KINESIS.writer(auth, {"stream": "s"})
            found = [*await writer.write(records(1)), *await writer.write(records(1))]
            await writer.close()
            return found

    with loopback(numbered) as server:
        found = asyncio.run(run(server.url))
    assert [o.verdict for o in found] == [Verdict.RETRY, Verdict.DELIVERED]
    assert made == [2]


def test_keys_in_a_file_count_from_the_next_reading_of_the_configuration(tmp_path: Path) -> None:
    """Rotation without a restart: the same configuration, read again, leads to the file's new keys."""
    (tmp_path / "secret").write_text("the-first\n")
    document = SAMPLE.read_text().replace("${env:AWS_SECRET_ACCESS_KEY}", "${file:secret}")

    def keys() -> Credentials:
        found = configuration.parse(
            document.encode(), {KINESIS.spec.id: KINESIS.spec}, folder=tmp_path, environ={"AWS_ACCESS_KEY_ID": "A"}
        )
        assert "the-first" not in repr(found)
        (target,) = found.targets.values()
        return asyncio.run(connect(target.revealed()).credentials.get())

    assert keys() == Credentials("A", "the-first")
    (tmp_path / "secret").write_text("second\n")
    assert keys() == Credentials("A", "second")


def test_no_keys_keep_the_records_and_say_where_none_were() -> None:
    """The writer is tried again; the check names the source."""
    auth = {"region": "eu-west-1", "source": "container", "endpointUrl": "http://127.0.0.1:9"}

    async def run() -> Outcome:
        writer = KINESIS.writer(auth, {"stream": "s"})
        (outcome,) = await writer.write(records(1))
        await writer.close()
        return outcome

    outcome = asyncio.run(run())
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "credentials")
    assert "container" in outcome.detail
    check = asyncio.run(KINESIS.check(auth, {"stream": "s"}))
    assert check.problems == ["no credentials from container: it has none"]
    with pytest.raises(CredentialsError):
        keys_of(AMBIENT, source="container")
