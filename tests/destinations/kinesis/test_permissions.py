"""The check's verdicts under real policies: moto with IAM enforced. After each check the stream is empty (C1)."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from headrace.destinations.base import Check, Verdict
from headrace.destinations.kinesis import KINESIS
from tests import servers
from tests.destinations.contract import records
from tests.destinations.kinesis.streams import client, create, read

pytestmark = pytest.mark.moto

REGION = "us-east-2"
ACCOUNT = "123456789012"
LIST, PUT, PUTS = KINESIS.spec.permissions


def policy(*statements: tuple[list[str], str]) -> str:
    """A policy that allows actions on resources."""
    allowed = [{"Effect": "Allow", "Action": actions, "Resource": resource} for actions, resource in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


class Account(NamedTuple):
    """An account with one stream, whose every call is judged by IAM."""

    url: str
    stream: str
    admin: Any
    iam: Any
    kinesis: Any

    def user(self, name: str, document: str) -> dict[str, str]:
        """Connection parameters of a new user with one policy."""
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "accessKeyId": key["AccessKeyId"],
            "secretKey": key["SecretAccessKey"],
            "region": REGION,
            "endpointUrl": self.url,
        }

    def check(self, auth: dict[str, str], stream: str | None = None) -> Check:
        """Check, then look: nothing was written."""
        found = asyncio.run(KINESIS.check(auth, {"stream": stream or self.stream}))
        assert read(self.kinesis, self.stream) == {}
        assert auth["secretKey"] not in repr(found)
        return found


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """moto, with enforcement switched on once an administrator exists."""
    with servers.moto() as url:
        iam = client(url, "iam", REGION)
        iam.create_user(UserName="admin")
        iam.put_user_policy(UserName="admin", PolicyName="p", PolicyDocument=policy((["*"], "*")))
        key = iam.create_access_key(UserName="admin")["AccessKey"]
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.request("POST", "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        assert connection.getresponse().status == 200
        connection.close()
        keys = {"accessKeyId": key["AccessKeyId"], "secretKey": key["SecretAccessKey"]}
        kinesis = client(url, "kinesis", REGION, keys)
        yield Account(url, create(kinesis), keys, client(url, "iam", REGION, keys), kinesis)


def verdicts(found: Check) -> dict[str, str]:
    """Action to verdict."""
    return {p.action: p.verdict for p in found.permissions}


def test_the_policy_of_the_destinations_page(account: Account) -> None:
    """Adobe's sample scopes all three to streams: ListStreams is denied, both puts work, the flow runs."""
    auth = account.user("seed", policy(([LIST, PUT, PUTS], f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/*")))
    found = account.check(auth)
    assert verdicts(found) == {LIST: "denied", PUT: "allowed", PUTS: "allowed"}
    assert found.permissions[0].statement == {"Effect": "Allow", "Action": LIST, "Resource": "*"}
    assert found.ok


def test_the_two_statement_policy(account: Account) -> None:
    """What the documentation gives instead allows all three, with nothing to complain of."""
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{account.stream}"
    found = account.check(account.user("two", policy(([LIST], "*"), ([PUT, PUTS], arn))))
    assert set(verdicts(found).values()) == {"allowed"}
    assert (found.problems, found.warnings) == ([], [])
    assert found.facts["streamArn"] == arn


@pytest.mark.parametrize("missing", [LIST, PUT, PUTS])
def test_one_permission_missing(account: Account, missing: str) -> None:
    """Exactly that one is denied; the statement shown for it mends it."""
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{account.stream}"
    resources = {LIST: "*", PUT: arn, PUTS: arn}
    granted = [([action], resource) for action, resource in resources.items() if action != missing]
    name = f"without-{missing.rpartition(':')[2]}"
    auth = account.user(name, policy(*granted))
    found = account.check(auth)
    assert verdicts(found) == {action: "denied" if action == missing else "allowed" for action in resources}
    assert found.ok == (missing != PUTS)
    (denied,) = (p for p in found.permissions if p.verdict == "denied")
    assert denied.request_id
    assert denied.statement is not None

    added = json.dumps({"Version": "2012-10-17", "Statement": [denied.statement]})
    account.iam.put_user_policy(UserName=name, PolicyName="added", PolicyDocument=added)
    assert set(verdicts(account.check(auth)).values()) == {"allowed"}


def test_no_permission_at_all(account: Account) -> None:
    """All three denied, with the account known from the refusals."""
    found = account.check(account.user("nobody", policy((["s3:ListBucket"], "*"))))
    assert set(verdicts(found).values()) == {"denied"}
    assert found.permissions[2].statement is not None
    assert found.permissions[2].statement["Resource"] == f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{account.stream}"


def test_wrong_keys(account: Account) -> None:
    """A wrong secret and an unknown id: one problem about the keys, nothing allowed or denied."""
    right = {**account.admin, "region": REGION, "endpointUrl": account.url}
    for wrong in ({**right, "secretKey": "another-secret-0000"}, {**right, "accessKeyId": "AKIANOBODY"}):
        found = account.check(wrong)
        assert set(verdicts(found).values()) == {"unknown"}
        (problem,) = found.problems
        assert "check access key id, secret key" in problem


def test_wrong_region_and_missing_stream(account: Account) -> None:
    """The stream is named with the region it was looked for in."""
    right = {**account.admin, "region": REGION, "endpointUrl": account.url}
    (problem,) = account.check({**right, "region": "eu-west-1"}).problems
    assert f"no stream '{account.stream}' in eu-west-1" in problem
    (problem,) = account.check(right, "not-there").problems
    assert f"no stream 'not-there' in {REGION}" in problem
    assert f"there: {account.stream}" in problem


def test_a_writer_without_the_permission_keeps_its_records(account: Account) -> None:
    """A denied write halts the flow, with the action and the user in its text."""
    auth = account.user("reader", policy(([LIST], "*")))

    async def write() -> Any:
        writer = KINESIS.writer(auth, {"stream": account.stream})
        try:
            return await writer.write(records(2))
        finally:
            await writer.close()

    answered = asyncio.run(write())
    assert [o.verdict for o in answered] == [Verdict.HALT] * 2
    assert "user/reader, kinesis:PutRecords" in answered[0].detail


def test_the_streams_to_choose_from(account: Account) -> None:
    """All of them, over pages; who may not list gets none, and how to be allowed; likewise with wrong keys."""
    names = sorted(f"choice-{number:03}" for number in range(120))
    for name in names:
        account.kinesis.create_stream(StreamName=name, ShardCount=1)
    right = {**account.admin, "region": REGION, "endpointUrl": account.url}
    found = asyncio.run(KINESIS.places(right))
    assert (set(names) <= set(found.names), list(found.names) == sorted(found.names)) == (True, True)
    assert (found.complete, found.problem, found.usable) == (True, "", True)
    assert [(each.action, each.verdict) for each in found.permissions] == [
        (LIST, "allowed"), (PUT, "unknown"), (PUTS, "unknown"),
    ]  # fmt: skip
    denied = asyncio.run(KINESIS.places(account.user("chooser", policy(([PUT, PUTS], "*")))))
    assert (denied.names, denied.complete) == ((), False)
    assert LIST in denied.problem
    assert 'Resource "*"' in denied.problem
    assert ([each.verdict for each in denied.permissions], denied.usable) == (["denied", "unknown", "unknown"], True)
    wrong = asyncio.run(KINESIS.places({**right, "secretKey": "another-secret-0000"}))
    assert (wrong.names, wrong.complete) == ((), False)
    assert "check access key id, secret key" in wrong.problem
    assert not wrong.usable
    assert "another-secret" not in repr(wrong)
