"""From an empty service to messages in the stream, through an outage, by hand in a browser; then a denied permission.

Everything is real: the service of two processes, a local Kinesis, a browser.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.server import Server, serving
from tests.servers import moto

from .browser import Tab, chromium
from .outage import Door, door

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.moto, pytest.mark.timeout(300)]
REGION = "eu-west-1"
STREAM = "leads"
ADMIN = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "s" * 20}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module."""
    with chromium() as found:
        yield found


@pytest.fixture
def kinesis() -> Iterator[str]:
    """URL of a local Kinesis with a stream."""
    with moto() as url:
        boto3.client("kinesis", endpoint_url=url, region_name=REGION, **ADMIN).create_stream(
            StreamName=STREAM, ShardCount=2
        )
        yield url


def count(url: str) -> int:
    """Messages in the stream."""
    client: Any = boto3.client("kinesis", endpoint_url=url, region_name=REGION, **ADMIN)
    found = 0
    for shard in client.describe_stream(StreamName=STREAM)["StreamDescription"]["Shards"]:
        at = client.get_shard_iterator(StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        found += len(client.get_records(ShardIterator=at["ShardIterator"])["Records"])
    return found


def update(person: str, tier: str) -> dict[str, Any]:
    """An update of a member of the audience."""
    return {
        "identityMap": {"email": [{"id": f"{person}@example.com", "primary": True}]},
        "person": {"name": {"firstName": person.title(), "lastName": "Example"}},
        "loyalty": {"tier": tier},
        "segmentMembership": {
            "crm": {"gold": {"status": "realized", "lastQualificationTime": "2026-01-01T00:00:00Z"}}
        },
    }


def connect(tab: Tab, endpoint: str, keys: dict[str, str]) -> None:
    """The first two steps of the wizard: an account, and the stream that it lists."""
    page = tab.page
    page.get_by_role("link", name="Set up").first.click()
    page.get_by_label("Account name").fill("Local")
    page.get_by_label("Access key ID").fill(keys["aws_access_key_id"])
    page.get_by_label("Secret access key").fill(keys["aws_secret_access_key"])
    page.get_by_label("Region", exact=True).fill(REGION)
    page.get_by_text("More settings", exact=True).click()
    page.locator("#p-endpointUrl").fill(endpoint)
    page.get_by_role("button", name="Next").click()
    page.locator("#p-stream").select_option(STREAM)
    page.get_by_role("button", name="Connect").click()


def activate(tab: Tab) -> None:
    """The activation wizard, with one audience that is defined on the way."""
    page = tab.page
    page.get_by_label("Gold customers", exact=True).check()
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Type a path").fill("loyalty.tier")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#preview")).to_contain_text("tier")
    expect(page.locator("#preview")).to_contain_text("gold")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Audiences: 1, of at most 250")).to_be_visible()
    page.get_by_role("button", name="Send test record").click()
    expect(page.locator("#tested")).to_contain_text("shardId-")
    page.get_by_role("button", name="Finish").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audiences activated")


def test_from_nothing_to_messages_and_through_an_outage(browser: Browser, kinesis: str, tmp_path: Path) -> None:
    """Connect, activate, preview, watch, break, see it wait, mend, see it drain: in the browser alone."""
    port = urllib.parse.urlsplit(kinesis).port
    assert port is not None
    with door(port) as way, serving(tmp_path / "data") as server:
        tab = Tab(browser, server.api)
        tab.sign_in(server.keys.login, server.keys.password)
        tab.open("/ui/audiences")
        tab.page.get_by_label("Name", exact=True).fill("Gold customers")
        tab.page.get_by_label("Audience id").fill("gold")
        tab.page.get_by_label("Namespace").fill("crm")
        tab.page.get_by_role("button", name="Create").click()
        tab.open("/ui/destinations")
        tab.page.get_by_role("link", name="Open the catalog").click()
        connect(tab, way.url, ADMIN)
        expect(tab.page.locator(".verdict.allowed")).to_have_count(3)
        expect(tab.page.locator(".verdict.allowed").first).to_be_hidden()
        expect(tab.page.locator("#checked")).to_be_focused()
        expect(tab.page.get_by_role("link", name="Next")).to_be_in_viewport()
        tab.page.get_by_role("link", name="Next").click()
        tab.page.get_by_label("Name", exact=True).fill("Leads")
        tab.page.get_by_role("button", name="Next: activate audiences").click()
        activate(tab)
        _watch(tab, server, way, kinesis)
        assert not tab.complaints
        assert not tab.outside()
        tab.close()


def _watch(tab: Tab, server: Server, way: Door, kinesis: str) -> None:
    page = tab.page
    page.get_by_role("link", name="Watch it live").click()
    expect(page.locator("#pulse")).to_have_text("Live")
    server.post(update("ada", "silver"), update("grace", "gold"))
    expect(page.locator("#settled > li")).to_have_count(2)
    page.locator("#settled summary").first.click()
    expect(page.locator("#settled details[open] pre")).to_contain_text("crm")
    expect(page.locator("#settled details[open] pre")).not_to_contain_text("example.com")
    page.get_by_role("link", name="Explain").first.click()
    expect(page.get_by_text("entered Gold customers").first).to_be_visible()
    way.shut()
    server.post(update("ada", "gold"), update("alan", "gold"), update("edsger", "gold"))
    tab.open("/ui/destinations")
    expect(page.locator('td[data-label="Waiting"]')).to_contain_text("3")
    assert count(kinesis) == 3, "the test record, and two"
    page.get_by_role("link", name="Leads").first.click()
    expect(page.locator(".figure.warn dd")).to_have_text("3")
    _see_the_alert(tab)
    page.get_by_role("link", name="Browse").click()
    page.get_by_role("link", name="Leads").first.click()
    way.open()
    expect(page.locator(".figure.good dd")).to_have_text("5", timeout=60_000)
    assert count(kinesis) == 6
    _look_somebody_up(tab)


def _look_somebody_up(tab: Tab) -> None:
    """Somebody seen lately, a person's memberships, inputs, what was sent, and what was seen of all profiles."""
    page = tab.page
    tab.open("/ui/profile")
    expect(page.locator("#namespaces option")).to_have_count(1)
    expect(page.locator("tbody a.strong")).to_have_count(4)
    page.locator("tbody a.strong").first.click()
    expect(page.get_by_text("Gold customers").first).to_be_visible()
    tab.open("/ui/profile?namespace=email&id=ada@example.com")
    expect(page.get_by_text("Gold customers").first).to_be_visible()
    expect(page.locator("a[href^='/ui/explain?export=']").first).to_be_visible()
    expect(page.locator("#main")).not_to_contain_text("Ada")
    expect(page.locator("#inputs tbody tr")).to_have_count(2)
    page.locator("#inputs tbody a").last.click()
    expect(page.locator("#inputs tbody tr").last).to_contain_text("shown above")
    expect(page.get_by_text("entered Gold customers").first).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Show values").click()
    expect(page.locator("#main")).to_contain_text("Ada")
    tab.open("/ui/destinations")
    page.get_by_role("link", name="Leads").first.click()
    page.get_by_role("link", name="Activate audiences").first.click()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".leaf", has_text="firstName")).to_be_visible()


def _see_the_alert(tab: Tab) -> None:
    """The bell counts it, and its page says what to do."""
    tab.open("/ui/alerts")
    silent = tab.page.get_by_text("the destination does not answer", exact=False)
    expect(silent.first).to_be_visible(timeout=60_000)
    tab.open("/ui/alerts")
    expect(tab.page.locator(".bell .count")).to_have_text("1")
    expect(tab.page.get_by_text("Nothing is lost").first).to_be_visible()


def test_a_denied_permission_is_shown_with_what_to_add(browser: Browser, kinesis: str, tmp_path: Path) -> None:
    """Keys that may not put: the verdict is denied, and the statement to add stands beside it."""
    iam: Any = boto3.client("iam", endpoint_url=kinesis, region_name=REGION, **ADMIN)
    iam.create_user(UserName="reader")
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "kinesis:ListStreams", "Resource": "*"}],
    }
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=msgspec.json.encode(document).decode())
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    httpx.post(f"{kinesis}/moto-api/reset-auth", content=b"0", headers={"content-type": "text/plain"}, timeout=20)
    with serving(tmp_path / "data") as server:
        tab = Tab(browser, server.api)
        tab.sign_in(server.keys.login, server.keys.password)
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        connect(tab, kinesis, keys)
        denied = tab.page.locator(".verdict.denied")
        expect(denied).to_have_count(2)
        expect(denied.first).to_contain_text('"Action": "kinesis:PutRecord"')
        expect(tab.page.locator(".verdict.allowed")).to_contain_text("kinesis:ListStreams")
        expect(tab.page.get_by_role("link", name="Go on anyway")).to_be_visible()
        assert not tab.faults()
        tab.close()
