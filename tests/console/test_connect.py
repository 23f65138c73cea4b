"""The connect wizard, on the destination in memory and on a scripted Kinesis."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.console.rendering import environment
from headrace.console.texts import Texts
from headrace.control import flows
from headrace.control.organisations import system_caller
from headrace.control.reach import Reach
from headrace.destinations.registry import destinations
from tests.control.plane import KINESIS_ID, MEMORY_ID

from .sample import Sample
from .served import Visitor

Visit = Callable[..., Visitor]


def test_fields_are_drawn_from_the_spec(fresh: Sample, visit: Visit) -> None:
    """Each parameter of the way to authenticate has its field, a secret one hides what is typed."""
    visitor = visit(fresh)
    for way in destinations()[KINESIS_ID].spec.auth:
        text = visitor.get(f"/ui/connect/{KINESIS_ID}", use="new", way=way.name).text
        shown = dict(re.findall(r'name="p\.(\w+)"(?: type="(\w+)")?', text))
        assert set(shown) == {each.name for each in way.parameters}
        for each in way.parameters:
            if each.secret:
                assert shown[each.name] == "password", each.name


def test_mistakes_stand_beside_their_fields(fresh: Sample, visit: Visit) -> None:
    """What is wrong is told at the field; what was typed is still there, but for the secret."""
    visitor = visit(fresh)
    answer = visitor.post(
        f"/ui/connect/{KINESIS_ID}", name="Account", use="new", way="Aws Kinesis authentication credentials",
        **{"p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "typed-secret", "p.region": "nowhere!"},
    )  # fmt: skip
    assert answer.status_code == 400
    field = answer.text.partition('id="p-region"')[2][:600]
    assert 'class="wrong"' in field
    assert 'value="AKIDEXAMPLE"' in answer.text
    assert "typed-secret" not in answer.text


def test_from_account_to_flow(fresh: Sample, visit: Visit) -> None:
    """Account, place, check and details make one enabled flow that maps nothing, and lead to activation."""
    visitor = visit(fresh)
    step = visitor.post(f"/ui/connect/{MEMORY_ID}", name="Memory", use="new").headers["location"]
    way = destinations()[MEMORY_ID].spec.target[0].name
    checked = visitor.post(step, **{f"p.{way}": "leads"})
    assert checked.status_code == 200
    assert "Connected" in checked.text
    assert "curl -X POST" in checked.text
    details = re.findall(rf'href="({step}/[^"]+)"', checked.text)[0]
    assert "Marketing actions" in visitor.get(details).text
    done = visitor.post(
        details, name="Leads", description="d", marketing=["analytics", "emailTargeting"], own_action="ours",
        then="activate",
    )  # fmt: skip
    flow_id = done.headers["location"].rpartition("/")[2]
    assert done.headers["location"] == f"/ui/activate/{flow_id}"
    flow = flows.get_flow(fresh.control, system_caller(fresh.control), flow_id)
    assert flow["state"] == "enabled"
    assert flow["policy"] == {"marketingActions": ["analytics", "emailTargeting", "ours"]}
    again = visitor.get(f"/ui/connect/{MEMORY_ID}").text
    assert "Existing account" in again
    assert "Memory" in again


def test_a_second_try_changes_the_same_place(fresh: Sample, visit: Visit) -> None:
    """Connecting again with another name leaves one target connection, not two."""
    visitor = visit(fresh)
    step = visitor.post(f"/ui/connect/{MEMORY_ID}", name="Memory", use="new").headers["location"]
    way = destinations()[MEMORY_ID].spec.target[0].name
    first = visitor.post(step, **{f"p.{way}": "one"})
    target = re.findall(r'name="target" value="([^"]+)"', first.text)[0]
    second = visitor.post(step, target=target, **{f"p.{way}": "two"})
    assert re.findall(r'name="target" value="([^"]+)"', second.text) == [target]


def test_an_unreachable_account_says_what_to_do(fresh: Sample, visit: Visit) -> None:
    """Nobody listens there: the check says so, with three verdicts, and one may go on anyway."""
    fresh.control = msgspec.structs.replace(fresh.control, reach=Reach(hosts=("127.0.0.1",)))
    visitor = visit(fresh)
    step = visitor.post(
        f"/ui/connect/{KINESIS_ID}", name="Local", use="new", way="Aws Kinesis authentication credentials",
        **{
            "p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "s" * 20, "p.region": "eu-west-1",
            "p.endpointUrl": "http://127.0.0.1:1",
        },
    ).headers["location"]  # fmt: skip
    account = f'href="/ui/accounts/{step.rpartition("/")[2]}">Change the account Local</a>'
    page = visitor.get(step).text
    assert "The streams could not be listed" in page
    assert account in page, "the endpoint was mistyped, not the stream"
    checked = visitor.post(step, **{"p.stream": "leads"}).text
    assert "This stops the destination" in checked
    assert account in checked.partition('id="checked"')[2]
    assert [
        v
        for v in ("kinesis:ListStreams", "kinesis:PutRecord", "kinesis:PutRecords")
        if f"<code>{v}</code>" in checked
    ]
    assert checked.count('class="verdict unknown"') == 3
    assert "Go on anyway" in checked


def test_an_address_that_is_not_allowed(fresh: Sample, visit: Visit) -> None:
    """The settings' word on hosts reaches the page."""
    answer = visit(fresh).post(
        f"/ui/connect/{KINESIS_ID}", name="Local", use="new", way="Aws Kinesis authentication credentials",
        **{
            "p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "s" * 20, "p.region": "eu-west-1",
            "p.endpointUrl": "https://inside.example",
        },
    )  # fmt: skip
    assert answer.status_code == 403
    assert "not among those that the settings allow" in answer.text.replace("&#39;", "'")


def test_editing_an_account_keeps_its_secret(installation: Sample, visit: Visit) -> None:
    """Left empty, the secret stays; the name changes; a wrong region is told."""
    visitor, account = visit(installation), installation.accounts[0]
    path = f"/ui/accounts/{account}"
    etag = re.findall(r'name="etag" value="([^"]+)"', visitor.get(path).text)[0].replace("&#34;", '"')
    fields = {"p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "", "p.region": "eu-west-1"}
    assert visitor.post(path, etag=etag, name="Renamed", **fields).status_code == 303
    text = visitor.get(path).text
    assert "Renamed" in text
    etag = re.findall(r'name="etag" value="([^"]+)"', text)[0].replace("&#34;", '"')
    wrong = visitor.post(path, etag=etag, name="Renamed", **{**fields, "p.region": "?"})
    assert wrong.status_code == 400
    assert 'class="wrong"' in wrong.text


def test_a_mistyped_account_is_said_in_words(fresh: Sample, visit: Visit) -> None:
    """No regular expression; and that the secret has to be typed again, which is never sent back."""
    page = visit(fresh).post(
        f"/ui/connect/{KINESIS_ID}", name="Local", use="new", way="Aws Kinesis authentication credentials",
        **{
            "p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "s" * 20, "p.region": "Ireland",
            "p.endpointUrl": "localhost:4566",
        },
    ).text  # fmt: skip
    assert "like eu-west-1" in page
    assert "begins with https://" in page
    assert "[a-z]" not in page
    assert "Type it once more" in page
    assert "s" * 20 not in page


def test_listed_streams_are_a_choice() -> None:
    """What the account lists is picked from; a name that is not listed can be typed instead."""
    macros: Any = environment(Texts("en")).get_template("macros.html").module
    parameter = destinations()[KINESIS_ID].spec.target[0]
    drawn = macros.input(parameter, None, "", Texts("en"), names=("leads", "other"))
    assert re.findall(r'<option value="([^"]*)"', drawn) == ["", "leads", "other"]
    for value, wrong, names in (("third", "", ("leads",)), ("leads", "is wrong", ("leads",)), (None, "", ())):
        typed = macros.input(parameter, value, wrong, Texts("en"), names=names)
        assert '<input id="p-stream"' in typed
