"""Every page, for somebody who may see it, for somebody who may not, on an empty installation, without the engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from headrace.console.texts import Texts, languages

from .pages import pages
from .sample import Sample
from .served import Visitor

Visit = Callable[..., Visitor]
MARKUP = re.compile(r"<[^>]+>")


def words(html: str) -> str:
    """The text of a page, without markup."""
    return " ".join(MARKUP.sub(" ", html).split())


def test_every_page_answers(installation: Sample, visit: Visit) -> None:
    """The administrator sees each page, in English and in Spanish, whole and with one heading."""
    visitor = visit(installation)
    for language in languages():
        visitor.post("/ui/preferences", language=language, next="/ui/settings")
        for name, path in pages(installation).items():
            answer = visitor.get(path)
            assert answer.status_code == 200, (name, answer.text[:500])
            assert answer.text.count("<h1") == 1, name
            assert f'lang="{language}"' in answer.text, name


def test_every_page_says_what_the_engine_does_not(installation: Sample, visit: Visit) -> None:
    """Without the engine each page is there all the same, and the ones that need it say that it does not answer."""
    visitor = visit(installation)
    installation.engine.down = True
    silent = Texts("en")("engine.silent")
    told = [name for name, path in pages(installation).items() if silent in _seen(visitor, path)]
    assert {"destinations", "destination", "destination-backfills", "monitoring", "dead-letters", "alerts"} <= set(
        told
    )


def _seen(visitor: Visitor, path: str) -> str:
    answer = visitor.get(path)
    assert answer.status_code in (200, 503), path
    return answer.text


def test_empty_pages_lead_on(fresh: Sample, visit: Visit) -> None:
    """On a new installation the lists lead to the catalog, and the catalog offers to set up."""
    visitor = visit(fresh)
    for path in ("/ui/destinations", "/ui/accounts", "/ui/activate"):
        assert 'href="/ui/catalog"' in visitor.get(path).text.split("<main")[1]
    assert "Set up" in words(visitor.get("/ui/catalog").text)


def test_catalog_states(installation: Sample, visit: Visit) -> None:
    """A connected destination offers to activate audiences, another one to be set up."""
    text = visit(installation).get("/ui/catalog").text
    cards = dict(zip(re.findall(r'<h3><a href="[^"]+">([^<]+)', text), text.split("<article")[1:], strict=True))
    assert "Activate audiences" in cards["Amazon Kinesis"]
    assert "Configure new destination" in cards["Amazon Kinesis"], "another one needs no detour"
    assert "Set up" in cards["Memory"]


def test_catalog_search(installation: Sample, visit: Visit) -> None:
    """Search, category and the filter on what is connected narrow the cards."""
    visitor = visit(installation)
    assert "Memory" not in visitor.get("/ui/catalog", q="kinesis").text.split('id="cards"')[1]
    assert "Memory" not in visitor.get("/ui/catalog", mine="true").text.split('id="cards"')[1]
    assert "Nothing matches" in visitor.get("/ui/catalog", q="zzz").text


def test_catalog_policy_document(installation: Sample, visit: Visit) -> None:
    """The rail holds the policy to copy, with ListStreams in a statement that no stream narrows."""
    text = words(visit(installation).get(pages(installation)["catalog"]).text)
    assert "kinesis:ListStreams" in text
    assert "arn:aws:kinesis:REGION:ACCOUNT:stream/STREAM" in text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "leads"}, ["Leads for the sales team"]),
        ({"q": "frankfurt"}, ["Loyalty offers"]),
        ({"state": "disabled"}, []),
        ({"sort": "name"}, ["Leads for the sales team", "Loyalty offers", "Warehouse mirror"]),
        ({"sort": "-name"}, ["Warehouse mirror", "Loyalty offers", "Leads for the sales team"]),
    ],
)
def test_browse_narrows_and_sorts(
    installation: Sample, visit: Visit, query: dict[str, str], names: list[str]
) -> None:
    """Browse shows what was asked for, in the order that was asked for."""
    text = visit(installation).get("/ui/destinations", **query).text
    assert re.findall(r'class="strong" href="/ui/destinations/[^"]+">([^<]+)', text) == names


def test_toggling_a_destination(installation: Sample, visit: Visit) -> None:
    """The switch disables and enables."""
    visitor, flow = visit(installation), installation.flows[0]
    for action, state in (("disable", "Disabled"), ("enable", "Enabled")):
        assert visitor.post(f"/ui/destinations/{flow}/state", action=action).status_code == 303
        page = visitor.get(f"/ui/destinations/{flow}").text
        assert state in re.findall(r'class="track"></span><span>(\w+)', page)


def test_editing_in_place(installation: Sample, visit: Visit) -> None:
    """Name and description change; with an etag of before nothing does, and the page says so."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/destinations/{flow}"
    etag = re.findall(r'name="etag" value="([^"]+)"', visitor.get(path + "?tab=configuration").text)[-1]
    etag = etag.replace("&#34;", '"')
    assert visitor.post(path + "/edit", etag=etag, name="Renamed", description="Now").status_code == 303
    assert "Renamed" in visitor.get(path).text
    again = visitor.post(path + "/edit", etag=etag, name="Lost", description="")
    assert again.status_code == 412
    assert "This was changed meanwhile" in again.text


def test_deleting_needs_a_second_page(installation: Sample, visit: Visit) -> None:
    """The first page says what will happen to how many records; the second request deletes."""
    visitor, flow = visit(installation), installation.flows[0]
    asked = words(visitor.get(f"/ui/destinations/{flow}/delete").text)
    assert "19 records that wait to be sent are discarded" in asked
    assert visitor.post(f"/ui/destinations/{flow}/delete").headers["location"] == "/ui/destinations"
    assert visitor.get(f"/ui/destinations/{flow}").status_code == 404


def test_backfills_are_steered(installation: Sample, visit: Visit) -> None:
    """Re-sending asks first, with audiences and size, and starts a run for them; a running one is paused."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/destinations/{flow}/backfill"
    asked = visitor.get(f"{path}?audience=crm-loyal").text
    assert "Audiences: Loyal customers" in words(asked)
    assert 'name="audience" value="crm-loyal"' in asked
    assert "backfill-start" not in dict(installation.engine.asked)
    assert visitor.post(path, kind="resend", audience="crm-loyal").status_code == 303
    assert (
        "backfill-start",
        {"flow": flow, "kind": "resend", "segments": ["crm-loyal"]},
    ) in installation.engine.asked
    assert visitor.post(f"{path}/b-1", action="pause").status_code == 303
    assert ("backfill-pause", {"run": "b-1"}) in installation.engine.asked
    assert "cannot be resumed" in visitor.get(f"{path}/b-1/cancel").text
    assert ("backfill-cancel", {"run": "b-1"}) not in installation.engine.asked
    assert visitor.post(f"{path}/b-1", action="cancel").status_code == 303
    assert ("backfill-cancel", {"run": "b-1"}) in installation.engine.asked
    assert (
        "31\N{NARROW NO-BREAK SPACE}400 of 48\N{NARROW NO-BREAK SPACE}211"
        in visitor.get(f"/ui/destinations/{flow}?tab=backfills").text
    )


def test_sending_a_test_record(installation: Sample, visit: Visit) -> None:
    """The page shows the record and what the destination answered, each with its name, or why nothing was sent."""
    visitor, flow = visit(installation), installation.flows[0]
    sent = visitor.post(f"/ui/destinations/{flow}/test").text
    assert "<dt>Shard</dt><dd><code>shardId-000000000001</code></dd>" in sent
    assert "<dt>Answered within</dt><dd><code>21" in sent
    assert "firstName" in sent
    assert f'href="/ui/live?flow={flow}"' not in sent, "the live view leaves it out"
    done = f"/ui/activate/{flow}/done"
    assert f'href="{done}"' not in sent
    assert f'href="{done}"' in visitor.post(f"/ui/destinations/{flow}/test", **{"from": "done"}).text
    assert 'id="tested"' in visitor.get(done).text
    del installation.engine.answers["send-test"]
    refused = visitor.post(f"/ui/destinations/{flow}/test")
    assert refused.status_code == 409
    assert "The test record was not sent" in refused.text


def test_monitoring_adds_up(installation: Sample, visit: Visit) -> None:
    """A window's figures are the sums of its runs; a longer window holds more."""
    visitor = visit(installation)
    seen = {}
    for window in ("24h", "7d", "30d"):
        found = re.findall(
            r"<dt>(Received|Activated|Excluded|Failed)</dt><dd>([^<]+)",
            visitor.get("/ui/monitoring", window=window).text,
        )
        seen[window] = {name: int(re.sub(r"\D", "", value)) for name, value in found}
        each = seen[window]
        assert each["Received"] == each["Activated"] + each["Excluded"] + each["Failed"]
    assert seen["24h"]["Received"] < seen["7d"]["Received"] < seen["30d"]["Received"]


def test_people(installation: Sample, visit: Visit) -> None:
    """A user is made, signs in with the password that was shown once, and is disabled."""
    visitor = visit(installation)
    made = visitor.post("/ui/people/users", name="grace", role="viewer")
    secret = re.findall(r"<dt>Secret</dt><dd><span class=\"copy-id\"><code title=\"([^\"]+)", made.text)[0]
    assert secret not in visitor.get("/ui/people").text
    other = visit(installation, "")
    assert other.sign_in("grace", secret).status_code == 303
    row = visitor.get("/ui/people").text.partition("<strong>grace</strong>")[2]
    account = re.findall(r'action="/ui/people/users/([^"]+)"', row)[0]
    visitor.post(f"/ui/people/users/{account}", action="disable")
    assert other.get("/ui/settings").status_code == 303, "a disabled user's session ends"


def test_the_last_administrator_stays(installation: Sample, visit: Visit) -> None:
    """What nobody could undo is refused, on the page."""
    visitor = visit(installation)
    rows = visitor.get("/ui/people?tab=clients").text
    client = re.findall(r'action="/ui/people/clients/([^"/]+)"', rows)[0]
    visitor.post(f"/ui/people/clients/{client}", action="disable")
    admin = re.findall(r'action="/ui/people/users/([^"/]+)"', visitor.get("/ui/people").text)
    answers = [visitor.post(f"/ui/people/users/{each}", action="disable") for each in dict.fromkeys(admin)]
    assert 409 in [each.status_code for each in answers]
    assert visitor.get("/ui/people").status_code == 200


def test_audiences_are_made_and_deleted(installation: Sample, visit: Visit) -> None:
    """One made elsewhere is defined by its id and namespace, in a form that is folded; one in use is not deleted."""
    visitor = visit(installation)
    assert visitor.post("/ui/audiences", name="New", audienceId="crm-new", namespace="crm").status_code == 303
    text = visitor.get("/ui/audiences").text
    assert "crm-new" in text
    assert '<details class="card make"><summary>' in text
    wrong = visitor.post("/ui/audiences", name="New", audienceId="crm-new", namespace="crm")
    assert '<details class="card make" open>' in wrong.text
    assert visitor.post("/ui/audiences/crm-new/delete").status_code == 303
    assert visitor.post("/ui/audiences/crm-loyal/delete").status_code == 400


def test_alerts_are_marked_read(installation: Sample, visit: Visit) -> None:
    """The bell counts what this user has not read; another user's bell still does."""
    visitor, other = visit(installation), visit(installation, "viewer")
    assert "1 open alert" in visitor.get("/ui/alerts/bell").text
    assert "Mark read" in visitor.get("/ui/alerts").text
    assert visitor.post("/ui/alerts/read").headers["location"] == "/ui/alerts"
    assert "open alert" not in visitor.get("/ui/alerts/bell").text
    assert "Mark read" not in visitor.get("/ui/alerts").text
    assert "1 open alert" in other.get("/ui/alerts/bell").text


@pytest.mark.parametrize("path", ["/ui/alerts", "/ui/settings"])
def test_who_is_told_of_alerts(installation: Sample, visit: Visit, path: str) -> None:
    """The channels of the settings, with addresses and without secrets."""
    found = words(visit(installation).get(path).text)
    assert "duty@example.com, data-team@example.com" in found
    assert "posted as JSON, signed" in found
    installation.engine.answers["alert-channels"] = []
    assert "Nobody: the settings name no channel." in words(visit(installation).get(path).text)


def test_a_deletion_is_followed_to_its_end(installation: Sample, visit: Visit) -> None:
    """The form leads to a page that asks again until it is done, and then shows the report."""
    visitor = visit(installation)
    to = visitor.post("/ui/profile/delete", namespace="email", id="ada@example.com").headers["location"]
    done = installation.engine.answers["profile-deletions"]
    installation.engine.answers["profile-deletions"] = lambda run: [installation.engine.answers["profile-delete"]()]
    under_way = visitor.get(to).text
    assert 'hx-trigger="every 1s"' in under_way
    assert "Leads for the sales team" in under_way.partition("These destinations have to settle first")[2]
    installation.engine.answers["profile-deletions"] = done
    over = visitor.get(to).text
    assert 'hx-trigger="every 1s"' not in over
    assert "Ledger entries made unreadable 14" in words(over)
    assert visitor.get("/ui/profile/deletions/d7").status_code == 404


def test_sizes_of_audiences_are_estimates(installation: Sample, visit: Visit) -> None:
    """About as many as the sample says, and how it was found; without the engine the list is there all the same."""
    visitor = visit(installation)
    shown = words(visitor.get("/ui/audiences").text)
    assert "about 9 800" in shown
    assert "fewer than 36" in shown
    assert "Estimated: members were counted in 4 000 of 48 211 profiles" in shown
    assert "about 9 800" in words(visitor.get(f"/ui/activate/{installation.flows[0]}").text)
    installation.engine.down = True
    assert "Loyal customers" in words(visitor.get("/ui/audiences").text)


def test_a_long_cause_can_be_read_whole(installation: Sample, visit: Visit) -> None:
    """Explain names all that changed; a person's list names three, and opens to the others."""
    cause = ["live", ["attribute"], ["a", "b", "c", "d", "e"], [], [], []]
    answers = installation.engine.answers
    entry, explained = answers["ledger"]()[0], answers["explain"]()
    explained["flows"][0]["cause"] = cause
    answers |= {"ledger": [{**entry, "cause": cause}], "explain": explained}
    visitor = visit(installation)
    whole = words(visitor.get(f"/ui/explain?export={4096:032x}").text)
    assert "Why changed a, b, c, d, e Export" in whole, whole
    listed = visitor.get(f"/ui/profile?profile={77:032x}").text
    assert "<details><summary>changed a, b, c +2</summary>changed a, b, c, d, e</details>" in listed


def test_what_is_not_there(installation: Sample, visit: Visit) -> None:
    """An unknown page and an unknown destination say so."""
    visitor = visit(installation)
    assert visitor.get("/ui/nothing").status_code == 404
    assert visitor.get("/ui/destinations/nothing").status_code == 404
    assert "There is no such page" in visitor.get("/ui/nothing").text


def test_a_page_that_fails_says_so(installation: Sample, visit: Visit) -> None:
    """What nobody foresaw becomes a page that promises nothing was changed, with the guarded headers."""
    visitor = visit(installation)
    installation.engine.answers["status"] = {"totals": "not an object"}
    answer = visitor.get("/ui/monitoring")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_dead_letters_are_sent_again(installation: Sample, visit: Visit) -> None:
    """A dry run says how many, and what stays; sending again asks the engine for those that were chosen."""
    visitor, flow = visit(installation), installation.flows[0]
    ids = re.findall(r'name="id" value="([^"]+)"', visitor.get("/ui/dead-letters", flow=flow).text)[:2]
    asked = words(visitor.client.get("/ui/dead-letters/replay", params={"flow": flow, "id": ids}).text)
    assert "Exported again 2 Stay 1" in asked
    assert "consent does not allow it" in asked.replace("&#39;", "'")
    done = visitor.post("/ui/dead-letters/replay", flow=flow, id=ids, original="true")
    assert done.status_code == 200
    assert installation.engine.asked[-1] == (
        "dead-letter-replay", {"ids": ids, "filter": {"flow": flow}, "dry_run": False, "original": True},
    )  # fmt: skip


def test_refused_updates_are_decided_again(installation: Sample, visit: Visit) -> None:
    """They belong to no destination; the audit log tells who did it."""
    visitor = visit(installation)
    letter = re.findall(r'href="(/ui/dead-letters/[^"/]+-0)"', visitor.get("/ui/dead-letters", kind="update").text)[
        -1
    ]
    path = re.findall(r'href="(/ui/dead-letters/replay[^"]+)"', visitor.get(letter).text)[0].replace("&amp;", "&")
    assert "Decided again 1" in words(visitor.get(path).text)
    visitor.post("/ui/dead-letters/replay", flow="", id=letter.rpartition("/")[2])
    assert installation.engine.asked[-1][1]["filter"] == {"kind": "update"}
    assert ">send again</span>" in visitor.get("/ui/audit", kind="deadLetters").text
    activator = visit(installation, "activator")
    assert activator.get(path).status_code == 403


def test_calls_are_those_of_the_api(installation: Sample, visit: Visit) -> None:
    """Every call that a page shows is one of the committed OpenAPI document, and holds no secret."""
    document = msgspec.json.decode((Path(__file__).parents[2] / "docs" / "openapi.json").read_bytes())
    known = {
        (method.upper(), re.compile("^" + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + "$"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    visitor = visit(installation)
    shown: set[tuple[str, str]] = set()
    for path in pages(installation).values():
        found = re.findall(r"curl -X (\w+) &#39;?http://console\.test(/[^\s?&]+)|curl -X (\w+) http://console\.test(/[^\s?&]+)",
                           visitor.get(path).text)  # fmt: skip
        shown |= {(one or two, first or second) for one, first, two, second in found}
    assert len(shown) > 5
    for method, path in shown:
        assert any(method == each and pattern.match(path) for each, pattern in known), (method, path)


def test_a_person_is_found_by_their_profile(installation: Sample, visit: Visit) -> None:
    """Explain links to the person; the profile's id alone is enough, and names nobody until asked to."""
    visitor, profile_id = visit(installation), f"{77:032x}"
    assert f'href="/ui/profile?profile={profile_id}"' in visitor.get(f"/ui/explain?export={4096:032x}").text
    for address in (f"/ui/profile?profile={profile_id}", f"/ui/profile?namespace=&id={profile_id}"):
        page = visitor.get(address).text
        assert "Loyal customers" in page
        assert "ada@example.com" not in page
    shown = visitor.get(f"/ui/profile?profile={profile_id}&unmask=true").text
    assert "ada@example.com" in shown
    assert "No profile has this identity" in visitor.get(f"/ui/profile?profile={78:032x}").text


def test_every_export_about_a_person_is_reached(installation: Sample, visit: Visit) -> None:
    """Page after page, the latest first, none twice and none left out."""
    made = [
        {**entry, "export_id": f"{number:032x}", "settled_ms": 1_000_000 - number * 10}
        for number in range(60)
        for entry in installation.engine.answers["ledger"]()[:1]
    ]
    installation.engine.answers["ledger"] = lambda profile_id, limit, until_ms=2_000_000: [
        each for each in made if each["settled_ms"] < until_ms
    ][:limit]
    visitor, path, found = visit(installation), "/ui/profile?namespace=email&id=ada@example.com", []
    for _ in range(3):
        page = visitor.get(path).text
        found += re.findall(r'class="strong" href="/ui/explain\?export=(\w+)"', page)
        following = re.findall(r'href="(/ui/profile\?[^"]+until=\d+)"', page)
        path = following[0].replace("&amp;", "&") if following else ""
    assert found == [each["export_id"] for each in made]
    assert not path
