"""A destination's page: what was sent of each audience, its own alerts, and what leads to its dead letters."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from headrace.control import flows, runs
from headrace.control.organisations import system_caller
from headrace.control.runs import Count, Figures
from tests.control import plane
from tests.control.plane import KINESIS_ID

from .sample import AUDIENCES, HOUR_MS, NOW_MS, Sample
from .served import Visitor
from .test_pages import words

Visit = Callable[..., Visitor]


def document(sample: Sample, flow_id: str) -> dict[str, Any]:
    """A flow as it is stored."""
    return flows.get_flow(sample.control, system_caller(sample.control), flow_id)


def own(sample: Sample, flow_id: str) -> dict[str, Any]:
    """Its settings of ours."""
    found: dict[str, Any] = document(sample, flow_id)["transformations"][0]["params"].get("headrace", {})
    return found


def test_what_was_sent_of_each_audience(installation: Sample, visit: Visit) -> None:
    """Of the last 24 hours, for each that is mapped."""
    flow_id, sent = installation.flows[0], AUDIENCES[0][0]
    for age in (1, 2, 40):
        figures = Figures(delivered=1_200, segments={sent: 1_200}, completed=True)
        runs.record_run(installation.control, plane.SCOPE, flow_id, NOW_MS - age * HOUR_MS, figures)
    text = visit(installation).get(f"/ui/destinations/{flow_id}", tab="activation").text
    assert re.findall(r'class="num" data-label="Sent in 24 hours">([^<]*)<', text) == ["2\u202f400", "0"]


def test_what_failed_leads_to_dead_letters_and_what_was_excluded_does_not(installation: Sample, visit: Visit) -> None:
    """What was excluded was never exported, so there is nothing to lead to; nor for who may not see people."""
    flow_id = installation.flows[1]
    figures = Figures(
        received=3, failed=1, skipped=2, completed=True,
        failures=(Count(code="record-too-large", message="m", count=1),),
        skips=(Count(code="not-a-member", message="m", count=2),),
    )  # fmt: skip
    run = runs.record_run(installation.control, plane.SCOPE, flow_id, NOW_MS - HOUR_MS, figures)
    for login, expected in (("admin", ["record-too-large"]), ("viewer", [])):
        text = visit(installation, login).get(f"/ui/destinations/{flow_id}/runs/{run}").text
        assert "record-too-large" in text, login
        assert "not-a-member" in text, login
        assert re.findall(r"/ui/dead-letters\?flow=[^&]+&amp;reason=([^\"]+)", text) == expected, login


def test_own_alerts_are_changed_in_place(installation: Sample, visit: Visit) -> None:
    """Beside the settings that the flow has; an emptied form leaves no trace."""
    visitor, flow_id = visit(installation), installation.flows[0]
    visitor.post(f"/ui/destinations/{flow_id}/state", action="disable", changes="skip")
    at = f"/ui/destinations/{flow_id}/alerts"
    given: dict[str, Any] = {"mute": ["lag", "skip-rate"], "lagSeconds": "60", "mailTo": "a@b.example, c@d.example"}
    assert visitor.post(at, etag=document(installation, flow_id)["etag"], **given).status_code == 303
    alerts = {"mute": ["lag", "skip-rate"], "lagSeconds": 60, "mailTo": ["a@b.example", "c@d.example"]}
    assert own(installation, flow_id) == {"pauseMode": "skip", "alerts": alerts}
    text = visitor.get(f"/ui/destinations/{flow_id}", tab="configuration").text
    assert re.findall(r'name="mute" value="([^"]+)" checked', text) == ["lag", "skip-rate"]
    assert 'value="a@b.example, c@d.example"' in text
    visitor.post(at, etag=document(installation, flow_id)["etag"])
    assert own(installation, flow_id) == {"pauseMode": "skip"}


def test_wrong_alerts_are_told_at_their_fields(installation: Sample, visit: Visit) -> None:
    """With what is allowed and what was typed; nothing changes."""
    visitor, flow_id = visit(installation), installation.flows[0]
    etag = document(installation, flow_id)["etag"]
    given = {"lagSeconds": "soon", "skipPercent": "101", "mailTo": "nobody"}
    answer = visitor.post(f"/ui/destinations/{flow_id}/alerts", etag=etag, **given)
    assert answer.status_code == 400
    for name, typed in given.items():
        field = answer.text.partition(f'id="f-{name}"')[2][:700]
        assert f'value="{typed}"' in field, name
        assert 'class="wrong"' in field, name
    assert document(installation, flow_id)["etag"] == etag
    viewer = visit(installation, "viewer")
    assert "mailTo" not in viewer.get(f"/ui/destinations/{flow_id}", tab="configuration").text
    assert viewer.post(f"/ui/destinations/{flow_id}/alerts", etag=etag).status_code == 403


def test_the_wizard_sets_own_alerts(installation: Sample, visit: Visit) -> None:
    """For who may activate; others see that alerts are the installation's."""
    details = f"/ui/connect/{KINESIS_ID}/{installation.accounts[0]}/{installation.targets[0]}"
    visitor = visit(installation)
    assert "Every alert is raised, except" in words(visitor.get(details).text)
    wrong = visitor.post(details, name="More", skipPercent="-1", then="exit")
    assert wrong.status_code == 400
    assert 'class="wrong"' in wrong.text.partition('id="f-skipPercent"')[2][:700]
    done = visitor.post(details, name="More", skipPercent="5", then="exit")
    assert own(installation, done.headers["location"].rpartition("/")[2]) == {"alerts": {"skipPercent": 5}}
    connector = visit(installation, "connector")
    assert "Every alert is raised, except" not in words(connector.get(details).text)
    plain = connector.post(details, name="Plain", then="exit").headers["location"]
    assert own(installation, plain.rpartition("/")[2]) == {}


def test_what_was_excluded_is_explained_beside_the_figures(installation: Sample, visit: Visit) -> None:
    """The tile counts what runs count; a sentence has the commonest reason, and leads to all of the latest run's."""
    flow_id, visitor = installation.flows[0], visit(installation)
    standing = installation.engine.answers["status"]["totals"]["flows"][flow_id]
    standing |= {"held": {"no-relevant-change": 608, "not-a-member": 20_100}, "discarded": {"operator": 2}}
    page = visitor.get(f"/ui/destinations/{flow_id}").text
    assert "Excluded 20 710" in words(page)
    assert "up to half a minute behind" in words(page)
    assert "for this reason: The profile is in none of the destination's audiences" in html.unescape(words(page))
    (to,) = re.findall(r'href="(/ui/destinations/[^"]+)#excluded"', page)
    assert 'id="excluded"' in visitor.get(to).text
    assert "All reasons are in its runs" in words(visitor.get(f"/ui/destinations/{flow_id}?tab=backfills").text)
    standing |= {"held": {}, "discarded": {}}
    assert "for this reason" not in words(visitor.get(f"/ui/destinations/{flow_id}").text)
