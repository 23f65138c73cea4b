"""What somebody new to the console meets: few fields at first, in an order that helps, and words that people know."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from headrace.console.texts import Texts, catalog, languages
from headrace.control import base_connections, flows
from headrace.control.organisations import system_caller
from headrace.destinations.registry import destinations
from tests.control import plane
from tests.control.plane import KINESIS_ID, MEMORY_ID

from .sample import Sample, observed
from .served import Visitor
from .test_activate import carried
from .test_pages import words

Visit = Callable[..., Visitor]
KEYS = "Aws Kinesis authentication credentials"
USUAL = "personalEmail.address"


class _Fields(HTMLParser):
    """The fields of a page, each with whether it is folded away."""

    def __init__(self) -> None:
        super().__init__()
        self.folded: dict[str, bool] = {}
        self._details: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "details":
            self._details.append("open" not in given)
        elif tag in ("input", "select", "textarea") and given.get("type") != "hidden":
            self.folded[given.get("name") or ""] = any(self._details)

    def handle_endtag(self, tag: str) -> None:
        if tag == "details":
            self._details.pop()


def folded(page: str) -> dict[str, bool]:
    """Name of each field that can be seen to whether it is within a part that is closed, in order."""
    found = _Fields()
    found.feed(page.partition("<main")[2])
    return found.folded


def account(**more: str) -> dict[str, str]:
    """A new account of Amazon Kinesis, as its form sends it."""
    keys = {"p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "s" * 20, "p.region": "eu-west-1"}
    return {"name": "Local", "use": "new", "way": KEYS, **keys, **more}


@pytest.mark.parametrize("number", range(len(destinations()[KINESIS_ID].spec.auth)))
def test_what_few_need_is_folded_and_begins_with_the_endpoint(fresh: Sample, visit: Visit, number: int) -> None:
    """What an account must have stands open, the rest is under More settings; a sentence leads there."""
    way = destinations()[KINESIS_ID].spec.auth[number]
    page = visit(fresh).get(f"/ui/connect/{KINESIS_ID}", use="new", way=way.name).text
    fields = folded(page)
    needed = [f"p.{each.name}" for each in way.parameters if each.required]
    rest = [f"p.{each.name}" for each in way.parameters if not each.required and each.name != "endpointUrl"]
    shown = [name for name in fields if name.startswith("p.")]
    assert shown == [*needed, "p.endpointUrl", *rest]
    assert [name for name in shown if not fields[name]] == needed
    seen = words(page)
    assert seen.index("give its Endpoint URL under More settings.") < seen.index("Endpoint URL optional")


def test_nothing_is_said_of_an_endpoint_where_there_is_none(fresh: Sample, visit: Visit) -> None:
    """The destination in memory has no address."""
    assert "Endpoint URL" not in visit(fresh).get(f"/ui/connect/{MEMORY_ID}", use="new").text


def test_a_mistake_opens_what_is_folded(fresh: Sample, visit: Visit) -> None:
    """The part with a wrong field is open, so that the mistake is seen; one without stays closed."""
    visitor = visit(fresh)
    within = visitor.post(f"/ui/connect/{KINESIS_ID}", **account(**{"p.endpointUrl": "localhost:4566"}))
    assert within.status_code == 400
    assert not folded(within.text)["p.endpointUrl"]
    outside = visitor.post(f"/ui/connect/{KINESIS_ID}", **account(**{"p.region": "Ireland"}))
    assert outside.status_code == 400
    assert folded(outside.text)["p.endpointUrl"]


def test_details_ask_for_a_name_and_fold_the_rest(installation: Sample, visit: Visit) -> None:
    """Alerts and marketing actions are closed and called optional; what was chosen, or is wrong, comes back open."""
    visitor = visit(installation)
    path = f"/ui/connect/{KINESIS_ID}/{installation.accounts[0]}/{installation.targets[0]}"
    page = visitor.get(path).text
    fields = folded(page)
    assert [name for name, closed in fields.items() if not closed] == ["name", "description"]
    assert {"mute", "lagSeconds", "skipPercent", "mailTo", "marketing", "own_action"} < fields.keys()
    for part in ("Alerts", "Marketing actions"):
        assert f"<summary>{part} (optional)</summary>" in page
    wrong = visitor.post(path, name="More", skipPercent="-1", marketing="analytics", then="exit")
    assert wrong.status_code == 400
    fields = folded(wrong.text)
    assert not fields["skipPercent"]
    assert not fields["marketing"]


def test_own_alerts_are_folded_until_there_are_some(installation: Sample, visit: Visit) -> None:
    """On the Configuration tab as in the wizard; closed, it offers no button that would save it."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/destinations/{flow}"
    page = visitor.get(path, tab="configuration").text
    fields = folded(page)
    assert not fields["name"]
    assert fields["mute"]
    assert fields["mailTo"]
    assert "<summary>Alerts (optional)</summary>" in page
    wrong = visitor.post(f"{path}/alerts", etag=_etag(installation, flow), lagSeconds="soon")
    assert wrong.status_code == 400
    assert not folded(wrong.text)["lagSeconds"]
    late = visitor.post(f"{path}/alerts", etag='"of before"', lagSeconds="60")
    assert late.status_code == 412
    assert not folded(late.text)["lagSeconds"], "what was typed is still seen"
    assert visitor.post(f"{path}/alerts", etag=_etag(installation, flow), mailTo="a@b.example").status_code == 303
    assert not folded(visitor.get(path, tab="configuration").text)["mailTo"]


def _etag(sample: Sample, flow: str) -> str:
    return str(flows.get_flow(sample.control, system_caller(sample.control), flow)["etag"])


def test_what_is_ticked_beforehand_is_said(fresh: Sample, visit: Visit) -> None:
    """The sentence names each attribute that is ticked, that it is personal, and what to do; nothing else is."""
    visitor = visit(fresh)
    fresh.engine.answers["observed-schema"] = observed()
    path = _unmapped(visitor)
    page = visitor.post(path, step="without", **carried(visitor.get(path).text)).text
    ticked = re.findall(r'name="path" value="([^"]+)" checked', page)
    assert USUAL in ticked
    typed = re.findall(r'<li><code>([^<]+)</code><input type="hidden" name="path"', page)
    (named,) = re.findall(r"Ticked for you to begin with: ([^<]+)\. They are personal data; untick", page)
    assert sorted(html.unescape(named).split(", ")) == sorted([*ticked, *typed])
    fields = carried(page)
    fields["path"].remove(USUAL)
    assert USUAL not in _sentence(visitor.post(path, step="attributes", **fields).text)
    fields["path"] = []
    assert "Ticked for you" not in visitor.post(path, step="attributes", **fields).text


def _sentence(page: str) -> str:
    return page.partition("Ticked for you to begin with")[2].partition("</p>")[0]


def _unmapped(visitor: Visitor) -> str:
    """The first step of the activation of a new destination."""
    step = visitor.post(f"/ui/connect/{MEMORY_ID}", name="Memory", use="new").headers["location"]
    details = re.findall(rf'href="({step}/[^"]+)"', visitor.post(step, **{"p.stream": "leads"}).text)[0]
    return visitor.post(details, name="Leads", then="activate").headers["location"]


def test_nothing_is_said_to_be_ticked_where_somebody_chose(installation: Sample, visit: Visit) -> None:
    """A destination that maps attributes keeps them, and they are nobody's suggestion."""
    visitor, path = visit(installation), f"/ui/activate/{installation.flows[0]}"
    page = visitor.post(path, step="attributes", **carried(visitor.get(path).text)).text
    assert f'value="{USUAL}" checked' in page
    assert "Ticked for you" not in page


def test_an_account_is_called_as_its_form_calls_it(installation: Sample, visit: Visit) -> None:
    """In the list, on its page and in the wizard; the API's name for it is in none of them."""
    visitor, one = visit(installation), installation.accounts[0]
    for language, said in (("en", "Access key and secret"), ("es", "Clave de acceso y secreto")):
        visitor.post("/ui/preferences", language=language, next="/ui/settings")
        form = visitor.get(f"/ui/connect/{KINESIS_ID}", use="new").text
        assert f'<option value="{KEYS}" selected>{said}</option>' in form
        for path in ("/ui/accounts", f"/ui/accounts/{one}", f"/ui/connect/{KINESIS_ID}"):
            seen = words(visitor.get(path).text)
            assert said in seen, (path, language)
            assert KEYS not in seen, (path, language)
    assert base_connections.get_connection(
        installation.control, system_caller(installation.control), one
    )["auth"]["specName"] == KEYS, "the API keeps its name"  # fmt: skip


def test_every_way_to_sign_in_has_words(fresh: Sample, visit: Visit) -> None:
    """In each language; an account without any says that it needs none."""
    kinds = {way.type for each in destinations().values() for way in each.spec.auth}
    for language in languages():
        assert {f"way.{kind}" for kind in kinds} <= catalog(language).keys(), language
    visitor, caller = visit(fresh), system_caller(fresh.control)
    made = base_connections.create_connection(fresh.control, caller, plane.memory_body()).id
    needs_none = Texts("en")("connect.no_auth")
    assert needs_none in words(visitor.get("/ui/accounts").text)
    assert needs_none in words(visitor.get(f"/ui/accounts/{made}").text)
