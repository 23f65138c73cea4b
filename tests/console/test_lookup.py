"""Looking a person up: what to type, whom to open, and which of their inputs to have explained."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.bootstrap import people
from headrace.console import overview
from headrace.control import flows
from headrace.control.organisations import system_caller
from headrace.runtimes.embedded import explain, lately
from tests.runtimes.road import KEYS, update
from tests.runtimes.test_explain import Small

from .sample import NAMES, NOW_MS, Sample
from .sample_people import ADA, LAST, inputs
from .served import Visitor
from .test_pages import words

Visit = Callable[..., Visitor]
AT = "/ui/profile"
PERSON = f"{AT}?profile={ADA}"


def offered(page: str) -> list[str]:
    """Namespaces that the field offers."""
    listed = re.search(r'name="namespace"[^>]* list="([^"]+)"', page)
    if listed is None:
        return []
    within = page.partition(f'<datalist id="{listed[1]}">')[2].partition("</datalist>")[0]
    return re.findall(r'<option value="([^"]+)">', within)


def links(page: str) -> list[tuple[str, str]]:
    """Text of each row's link in the main part, and where it leads."""
    found = re.findall(r'<a class="strong(?: nowrap)?" href="([^"]+)"[^>]*>([^<]+)</a>', page.partition("<main")[2])
    return [(text, html.unescape(to)) for to, text in found]


def rows(page: str) -> list[str]:
    """Words of each row of the choice of inputs."""
    table = page.partition('id="inputs"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [words(each) for each in table.split("</tr>") if each.strip()]


def test_what_to_type_is_offered(installation: Sample, visit: Visit) -> None:
    """The namespaces in use, in the field's own list and in a sentence; when a person is shown, too."""
    visitor = visit(installation)
    for path in (AT, PERSON, f"{AT}?namespace=email&id=nobody"):
        page = visitor.get(path).text
        assert offered(page) == ["crmid", "ecid", "email"], path
        assert "Namespaces in use: crmid, ecid, email" in words(page), path
    asked = [given["most"] for question, given in installation.engine.asked if question == "profiles-seen"]
    assert asked == [8, 0, 0], "people are looked for only where they are shown"


def test_a_person_is_found_without_a_namespace(installation: Sample, visit: Visit) -> None:
    """An address alone is enough, and so is the way Live view writes it; the page then names the namespace."""
    visitor = visit(installation)
    for typed in ("ada@example.com", "Email:ada@example.com"):
        page = visitor.get(AT, namespace="", id=typed).text
        assert "Loyal customers" in page, typed
        assert re.search(r'name="namespace"[^>]* value="email"', page), typed
        assert re.search(r'name="id"[^>]* value="ada@example.com"', page), typed
    missing = words(visitor.get(AT, namespace="", id="nobody").text)
    assert "No profile has this identity" in missing
    assert "Whom do you look for?" not in missing


def test_people_seen_lately_are_opened_from_the_page(installation: Sample, visit: Visit) -> None:
    """Masked as elsewhere, with when they were heard of; a link leads to the person."""
    visitor = visit(installation)
    page = visitor.get(AT).text
    found = links(page)
    assert [text for text, _ in found] == ["ecid 1••• · email a•••", "email g•••", "ecid 6•••"]
    assert "message 40 seconds ago" in words(page)
    assert "update just now" in words(page)
    for value in ("ada@example.com", "grace@example.com", "14575006536349286404619648085736425115"):
        assert value not in page
    person = visitor.get(found[0][1]).text
    assert "Loyal customers" in person
    assert "ada@example.com" not in person


def test_a_page_in_spanish_offers_the_same(installation: Sample, visit: Visit) -> None:
    """Its words, and the same people."""
    visitor = visit(installation)
    visitor.post("/ui/preferences", language="es", next="/ui/settings")
    page = visitor.get(AT).text
    assert "Espacios de nombres en uso: crmid, ecid, email" in words(page)
    assert len(links(page)) == 3
    assert "Elegir otra entrada" in visitor.get(PERSON).text


def test_with_nobody_known_the_page_leads_on(fresh: Sample, visit: Visit) -> None:
    """To where updates go; the form is there, without a list."""
    fresh.engine.answers["profiles-seen"] = {"namespaces": [], "profiles": []}
    page = visit(fresh).get(AT).text
    assert "Nobody is known yet" in words(page)
    assert re.findall(r'<a class="button" href="([^"]+)">Where updates go</a>', page) == ["/ui/settings"]
    assert offered(page) == []
    assert "Namespaces in use" not in page


def test_people_of_long_ago_are_still_asked_for_by_identity(fresh: Sample, visit: Visit) -> None:
    """Where journal and ledger no longer tell of anybody, the namespaces are offered all the same."""
    fresh.engine.answers["profiles-seen"] = {"namespaces": ["email"], "profiles": []}
    page = visit(fresh).get(AT).text
    assert offered(page) == ["email"]
    assert "Whom do you look for?" in words(page)
    assert "Nobody is known yet" not in page


def test_without_the_engine_the_form_is_there(installation: Sample, visit: Visit) -> None:
    """And why nobody is offered."""
    installation.engine.down = True
    page = visit(installation).get(AT)
    assert page.status_code == 200
    assert "The engine does not tell this at the moment" in page.text
    assert 'name="namespace"' in page.text
    assert "Nobody is known yet" not in page.text


def test_whoever_may_not_view_profiles_learns_of_nobody(installation: Sample, visit: Visit) -> None:
    """The engine is not even asked."""
    visitor = visit(installation, "viewer")
    for path in (AT, PERSON, f"/ui/explain?ordinal={LAST}"):
        assert visitor.get(path).status_code == 403
    assert not {"profiles-seen", "profile-inputs"} & {question for question, _ in installation.engine.asked}


def test_a_persons_last_inputs_are_a_choice(installation: Sample, visit: Visit) -> None:
    """Twenty, the newest first, with what came in and what was decided for each destination; then the others."""
    visitor = visit(installation)
    page = visitor.get(PERSON).text
    found = rows(page)
    assert len(found) == 20
    to = [to for _, to in links(page)[-20:]]
    assert to == [f"/ui/explain?ordinal={LAST - 317 * number}" for number in range(20)]
    assert f"Input {LAST} · 40 seconds ago" in found[0]
    assert "update person · High propensity to convert" in found[0]
    assert f"Exported {NAMES[0]} Not sent {NAMES[1]}, {NAMES[2]}" in found[0]
    assert "date reached" in found[2]
    (more,) = re.findall(r'href="([^"]+inputs=all[^"]*)"', page)
    whole = visitor.get(html.unescape(more)).text
    assert len(rows(whole)) == 24
    assert "inputs=all" not in whole


def test_an_input_leads_to_its_explanation_and_on_to_the_others(installation: Sample, visit: Visit) -> None:
    """The one that is explained is marked; unmasked stays unmasked."""
    visitor = visit(installation)
    for page in (visitor.get(f"/ui/explain?ordinal={LAST}").text, visitor.get(PERSON).text):
        assert [number for number, row in enumerate(rows(page)) if "shown above" in row] == [0]
        assert page.count('aria-current="true"') == 1
    assert installation.engine.asked[-1] == ("profile-inputs", {"profile_id": ADA, "most": 21})
    page = visitor.get(f"/ui/explain?ordinal={LAST}&unmask=true").text
    assert all("unmask=true" in to for _, to in links(page))
    assert f"/ui/profile?profile={ADA}&inputs=all&unmask=true#inputs" in html.unescape(page)


def test_many_destinations_are_summed_up(installation: Sample, visit: Visit) -> None:
    """More than six make a line that opens and tells numbers by reason; the explanation it leads to names all."""
    many = [f"Destination {number}" for number in range(24)]
    installation.engine.answers["profile-inputs"] = inputs(many, NOW_MS, count=3)
    page = visit(installation).get(PERSON).text
    assert "<summary>8 exported, 16 not sent</summary>" in page
    found = rows(page)[0]
    assert "Exported " + ", ".join(f"Destination {number}" for number in range(0, 18, 3)) + " +2 " in found
    assert "Not sent 8 Nothing that the destination maps" in found
    assert "Destination 1," not in found
    within = page.partition("<summary>8 exported")[2].partition("</details>")[0]
    assert re.findall(r'href="([^"]+)"', within) == [f"/ui/explain?ordinal={LAST}"]
    assert "inputs=all" not in page


def test_what_many_destinations_decided_is_told_by_reason(installation: Sample, visit: Visit) -> None:
    """What was exported stands for itself; each of the others leads to what it decided, with the rules in force."""
    whole = installation.engine.answers["explain"]()
    sent, held = whole["flows"]
    reasons = ("no-relevant-change", "not-a-member")
    others = [
        held | {"id": f"o {number}", "name": f"Other {number}", "reason": reasons[number % 3 == 0]}
        for number in range(30)
    ]
    installation.engine.answers["explain"] = lambda flow="", **_: (
        whole | {"flows": [each for each in (sent, *others) if flow in ("", each["id"])]}
    )
    visitor = visit(installation)
    for page in (visitor.get(PERSON).text, visitor.get(f"/ui/explain?ordinal={LAST}").text):
        told = words(page.partition('<ol class="timeline">')[2].partition("</ol>")[0])
        assert told.count("Rules in force") == 1
        assert "20 destinations Not sent Nothing that the destination maps was touched. no-relevant-change" in told
        assert "10 destinations Not sent The profile is in none" in told
        assert "Other 0 , Other 3 , Other 6 " in told
    (to,) = re.findall(r'href="([^"]+)">Other 3</a>', page)
    assert html.unescape(to) == f"/ui/explain?ordinal={LAST}&flow=o%203"
    one = words(visitor.get(html.unescape(to)).text.partition('<ol class="timeline">')[2].partition("</ol>")[0])
    assert "Other 3 Not sent" in one
    assert "Rules in force" in one
    assert "Other 4" not in one


def test_names_of_flows_are_read_by_their_ids(installation: Sample) -> None:
    """Whatever an id holds, and however many there are; those that are gone have none."""
    control = installation.control
    caller = system_caller(control, "prod", None)
    ids = [each["id"] for each in overview.every(control, caller, flows.list_flows)]
    gone = (f"{number}" for number in range(1500))
    found = overview.flow_names(control, caller, {*ids, *gone, 'a","b', "back\\", "x,y"})
    assert sorted(found) == sorted(ids)
    assert set(found.values()) == set(NAMES)
    assert overview.flow_names(control, caller, ()) == {}


def test_where_nothing_is_known_of_inputs(installation: Sample, visit: Visit) -> None:
    """No empty table; an engine that refuses is quoted."""
    installation.engine.answers["profile-inputs"] = []
    assert 'id="inputs"' not in visit(installation).get(PERSON).text
    del installation.engine.answers["profile-inputs"]
    assert "The engine does not tell this" in visit(installation).get(PERSON).text


def test_what_the_engine_stored_is_chosen_from(fresh: Sample, visit: Visit) -> None:
    """With a journal as the engine writes it: the person is found, and each of their inputs is explained."""
    quiet = b'{"identityMap": {"email": [{"id": "ada@example.com"}]}, "unmapped": 1}'
    small = Small(
        update(1, "email:ada@example.com", vip=True), quiet,
        update(3, "email:ada@example.com", vip=False), update(4, "ecid:4711"),
    ).run()  # fmt: skip
    state = small.disk.state

    def plain(answer: Callable[..., Any]) -> Callable[..., Any]:
        return lambda **given: msgspec.json.decode(msgspec.json.encode(answer(state, KEYS, given)))

    fresh.engine.answers |= {
        "profiles-seen": plain(lately.people), "profile-inputs": plain(lately.last_inputs),
        "explain": plain(explain.answer), "ledger": [],
        "profile": plain(lambda *at: people.answers(at[0], at[1], None)["profile"](at[2])),
    }  # fmt: skip
    visitor = visit(fresh)
    page = visitor.get(AT).text
    assert offered(page) == ["ecid", "email"]
    person = visitor.get(dict(links(page))["email a•••"]).text
    found = rows(person)
    assert ["Exported" in row for row in found] == [True, False, True]
    assert "unmapped Not sent f Nothing that the destination maps was touched." in found[1]
    assert "n · ups/vip" in found[0]
    for number, (_, to) in zip((3, 2, 1), links(person)[-3:], strict=True):
        explained = words(visitor.get(to).text)
        assert f"Input {number} · update" in explained
        assert ("Not sent" in explained.partition("Choose another input")[0]) == (number == 2)
