"""The activation wizard: what it carries, what it shows, and that it stores what was reviewed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.console.drafts import USUAL, schema_tree
from headrace.control import compiling, flows
from headrace.control.organisations import system_caller

from .sample import PATHS, Sample
from .served import Visitor

Visit = Callable[..., Visitor]
MARKUP = re.compile(r"<[^>]+>")


def carried(text: str) -> dict[str, list[str]]:
    """Fields that a page's form would send: hidden ones and checked boxes."""
    form = text.partition('id="draft"')[2].partition("</form>")[0]
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]+>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        checked = "checkbox" not in tag or " checked" in tag
        if name and checked:
            found.setdefault(name[1], []).append((value[1] if value else "").replace("&#34;", '"'))
    found.pop("csrf", None)
    return found


def shown(text: str) -> Any:
    """The message of a preview."""
    code = text.partition('<pre class="code"')[2].partition(">")[2].partition("</pre>")[0]
    plain = MARKUP.sub("", code).replace("&#34;", '"').replace("&#39;", "'")
    return msgspec.json.decode(plain)


def flow_of(sample: Sample, flow_id: str) -> dict[str, Any]:
    """The stored flow."""
    return flows.get_flow(sample.control, system_caller(sample.control), flow_id)


def test_steps_carry_everything_and_finish_stores_it(installation: Sample, visit: Visit) -> None:
    """Through the steps nothing is stored; finishing stores the draft and begins the backfill of what is new."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/activate/{flow}"
    before = flow_of(installation, flow)
    fields = carried(visitor.get(path).text)
    fields["audience"].append("crm-whitepaper")
    fields["start.crm-whitepaper"], fields["end.crm-whitepaper"] = ["2026-12-01"], ["2027-01-31"]
    fields = carried(visitor.post(path, step="attributes", **fields).text)
    assert fields["path"] == sorted(PATHS), "what is mapped is checked in the tree"
    fields["path"].append("mobilePhone.number")
    fields["switch.metadata"] = ["true"]
    review = visitor.post(path, step="review", **fields).text
    assert flow_of(installation, flow) == before
    assert "Audiences: 3, of at most 250 recommended" in review
    assert "Downloaded the white paper" in review
    done = visitor.get(visitor.post(path, step="finish", **carried(review)).headers["location"]).text
    assert "3 audiences are activated" in done
    assert "curl -X PATCH" in done
    stored = flow_of(installation, flow)
    assert [each["id"] for each in compiling.selectors(stored)] == [
        "crm-high-propensity",
        "crm-loyal",
        "crm-whitepaper",
    ]
    added = list(compiling.selectors(stored))[-1]
    assert added["schedule"] == {"startDate": "2026-12-01", "endDate": "2027-01-31"}
    params = stored["transformations"][0]["params"]
    assert [each["value"]["path"] for each in params["profileSelectors"]["selectors"]][-1] == "mobilePhone.number"
    assert params["headrace"] == {"metadata": True}
    begun = [given for question, given in installation.engine.asked if question == "backfill-mapped"]
    assert begun == [{"flow": flow, "segments": ["crm-whitepaper"]}]


def test_a_new_flow_begins_with_the_usual_fields(fresh: Sample, visit: Visit) -> None:
    """AEP's fields are there before anything was chosen, and what tells a repeat; no audience is said at once."""
    visitor = visit(fresh)
    step = visitor.post("/ui/connect/5c0a5e35-7f0e-4d41-9d1c-8f6d0b8f2a11", name="Memory", use="new").headers[
        "location"
    ]
    checked = visitor.post(step, **{"p.stream": "leads"}).text
    details = re.findall(rf'href="({step}/[^"]+)"', checked)[0]
    path = visitor.post(details, name="Leads", then="activate").headers["location"]
    fields = carried(visitor.get(path).text)
    assert fields["path"] == list(USUAL)
    assert fields["switch.metadata"] == ["true"]
    assert fields["switch.onDelete"] == ["false"]
    told = visitor.post(path, step="attributes", **fields).text
    assert "No audience is ticked" in told
    review = visitor.post(path, step="review", **carried(visitor.post(path, step="without", **fields).text)).text
    assert "profileSelectors" not in review
    assert "transformations[0]" not in review.split("<main")[1]
    assert re.search(r'<button class="button" name="step" value="finish">', review), "nothing would be sent"


def test_preview_is_what_the_core_would_send(installation: Sample, visit: Visit) -> None:
    """Attributes, memberships and identities of the draft, also for a real profile, masked unless asked otherwise."""
    visitor, flow = visit(installation), installation.flows[0]
    fields: dict[str, str | list[str]] = {
        "audience": ["crm-loyal"],
        "path": ["person.name.lastName", "loyalty.points"],
    }
    message = shown(visitor.post(f"/ui/activate/{flow}/preview", **fields).text)
    assert list(message) == ["person", "loyalty", "segmentMembership", "identityMap"]
    assert message["loyalty"] == {"points": 7}, "an integer, as observed"
    assert ("observed-schema", {"most": 300}) in installation.engine.asked
    installation.engine.asked.clear()
    assert list(message["segmentMembership"]["crm"]) == ["crm-loyal"]
    real: dict[str, str | list[str]] = {**fields, "sample_namespace": "email", "sample_id": "ada@example.com"}
    assert shown(visitor.post(f"/ui/activate/{flow}/preview", **real).text)["person"]["name"]["lastName"] == "E•••"
    unmasked = shown(visitor.post(f"/ui/activate/{flow}/preview", **real, unmask="true").text)
    assert unmasked["loyalty"]["points"] == 4120
    assert unmasked["identityMap"]["email"] == [{"id": "ada@example.com"}]
    alone = shown(
        visitor.post(f"/ui/activate/{flow}/preview", **fields, sample_id="ada@example.com", unmask="true").text
    )
    assert alone == unmasked, "whoever has an address need not know its namespace"
    assert "observed-schema" not in {question for question, _ in installation.engine.asked}


def test_preview_says_why_nothing_would_be_sent(installation: Sample, visit: Visit) -> None:
    """Somebody in none of the audiences, nobody at all, and a draft with mistakes."""
    visitor, flow = visit(installation), installation.flows[0]
    preview = f"/ui/activate/{flow}/preview"
    real = {"sample_namespace": "email", "sample_id": "ada@example.com"}
    assert (
        "in none of the destination&#39;s audiences" in visitor.post(preview, audience="crm-whitepaper", **real).text
    )
    assert (
        "no profile has this identity"
        in visitor.post(preview, audience="crm-loyal", **{**real, "sample_id": "x"}).text
    )
    assert "no profile has this identity" in visitor.post(preview, audience="crm-loyal", sample_id="x").text
    wrong = visitor.post(preview, audience="crm-loyal", path="a..b").text
    assert "This needs another look" in wrong
    assert "profileSelectors" not in wrong, "places in the document are for those who see it"


def test_two_people_at_once(installation: Sample, visit: Visit) -> None:
    """Whoever finishes second is told that the flow changed meanwhile, and loses nothing."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/activate/{flow}"
    fields = carried(visitor.get(path).text)
    stored = visitor.post(path, step="finish", **fields)
    assert stored.status_code == 303, "reloading what follows stores nothing again"
    late = visitor.post(path, step="finish", **fields)
    assert late.status_code == 412
    assert "This was changed meanwhile" in late.text
    assert f'<a href="{path}">Load again</a>' in late.text
    assert carried(late.text)["audience"] == fields["audience"]


def test_paths_are_added_and_removed(installation: Sample, visit: Visit) -> None:
    """A typed path joins the draft, and leaves it again; an audience of elsewhere joins with its namespace."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/activate/{flow}"
    fields = carried(visitor.post(path, step="attributes", **carried(visitor.get(path).text)).text)
    fields = carried(visitor.post(path, step="attributes", **{**fields, "new_path": ["_tenant.score"]}).text)
    assert "_tenant.score" in fields["path"]
    fields = carried(visitor.post(path, remove="_tenant.score", **fields).text)
    assert "_tenant.score" not in fields["path"]
    more = {"external_id": "abc", "external_namespace": "dmp"}
    page = visitor.post(path, step="audiences", **fields, **more).text
    assert carried(page)["namespace.abc"] == ["dmp"]


def test_schema_tree() -> None:
    """Paths become a tree, also where a value and fields below it were both seen."""
    seen = [{"path": path, "type": "string"} for path in ("a.b", "a.b.c", "d", "e['f.g']")]
    tree = schema_tree(seen)
    assert tree["d"]["path"] == "d"
    assert tree["a"]["b"]["path"] == "a.b"
    assert tree["a"]["b."]["c"]["path"] == "a.b.c"
    assert tree["e"]["f.g"]["path"] == "e['f.g']"


def test_a_test_record_is_the_drafts_message(installation: Sample, visit: Visit) -> None:
    """What is sent is what the preview shows; nothing is stored; a refusal is told in its words."""
    visitor, flow = visit(installation), installation.flows[0]
    path = f"/ui/activate/{flow}"
    fields = carried(visitor.get(path).text)
    before = flow_of(installation, flow)
    answer = visitor.post(path, step="test", **fields).text
    for each in ("shardId-000000000001", "49590338271490", "442 B", "21 ms"):
        assert f"<dd><code>{each}</code></dd>" in answer
    sent = [given for question, given in installation.engine.asked if question == "send-test"]
    assert sent == [{"flow": flow, "message": shown(answer)}]
    assert flow_of(installation, flow) == before
    del installation.engine.answers["send-test"]
    assert "The test record was not sent" in visitor.post(path, step="test", **fields).text
