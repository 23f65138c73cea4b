"""Pauses on the pages: why a destination sends nothing, how it goes on, and what is made up for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.control import flows
from headrace.control.organisations import system_caller

from .sample import NOW_MS, Sample, standing
from .served import Visitor
from .test_pages import words

Visit = Callable[..., Visitor]


def stands(installation: Sample, **fields: Any) -> str:
    """Let the first destination stand so; its id."""
    flow_id, *others = installation.flows
    found = [standing(flow_id, **fields), *map(standing, others)]
    installation.engine.answers["flows"] = lambda flow="": [each for each in found if flow in ("", each["flow"])]
    return flow_id


def capped(installation: Sample) -> str:
    """Let the cap on dead letters have paused the first destination."""
    return stands(installation, paused=True, pause={"mode": "keep", "since_ms": NOW_MS, "reason": "dead-letters"})


def test_a_pause_of_the_cap_is_told_and_lifted(installation: Sample, visit: Visit) -> None:
    """In Browse as a chip, on the page with its reason, the way to the dead letters, and Resume."""
    visitor, flow_id = visit(installation), capped(installation)
    listed = visitor.get("/ui/destinations").text
    assert listed.count(">Paused</a>") == 1
    text = visitor.get(f"/ui/destinations/{flow_id}").text
    assert "too many records became dead letters" in text
    assert f'href="/ui/destinations/{flow_id}?tab=letters"' in text
    assert "too many records" not in visitor.get(f"/ui/destinations/{installation.flows[1]}").text
    installation.engine.answers["flow-resume"] = {**standing(flow_id), "run": None}
    done = visitor.post(f"/ui/destinations/{flow_id}/resume")
    assert (done.status_code, done.headers["location"]) == (303, f"/ui/destinations/{flow_id}?tab=runs")
    assert ("flow-resume", {"flow": flow_id, "catch_up": False}) in installation.engine.asked


def test_a_disabled_destination_says_so(installation: Sample, visit: Visit) -> None:
    """With what becomes of changes, and with the button that enables it; a viewer sees no button."""
    visitor, flow_id = visit(installation), installation.flows[0]
    at = f"/ui/destinations/{flow_id}"
    assert "sends nothing until it is enabled" not in visitor.get(at).text
    visitor.post(f"{at}/state", action="disable", changes="keep")
    page = visitor.get(at).text
    assert "sends nothing until it is enabled What changes meanwhile waits" in words(page)
    assert "> Enable</button>" in page
    assert "> Enable</button>" not in visit(installation, "viewer").get(at).text
    visitor.post(f"{at}/state", action="enable")
    assert "sends nothing until it is enabled" not in visitor.get(at).text


def test_only_who_connects_resumes(installation: Sample, visit: Visit) -> None:
    """A viewer sees why, without the button, and is refused."""
    visitor, flow_id = visit(installation, "viewer"), capped(installation)
    text = visitor.get(f"/ui/destinations/{flow_id}").text
    assert "too many records became dead letters" in text
    assert "/resume" not in text
    assert visitor.post(f"/ui/destinations/{flow_id}/resume").status_code == 403
    assert not [each for each in installation.engine.asked if each[0] == "flow-resume"]


def test_what_was_skipped_is_caught_up_with(installation: Sample, visit: Visit) -> None:
    """At once with the resumption, or later; either leads to the run."""
    visitor = visit(installation)
    flow_id = stands(
        installation, paused=True, pause={"mode": "skip", "since_ms": 1, "reason": "operator"}, skipped=7
    )
    assert "Resume and catch up 7 skipped changes" in words(visitor.get(f"/ui/destinations/{flow_id}").text)
    installation.engine.answers["flow-resume"] = {**standing(flow_id), "run": "b-9"}
    done = visitor.post(f"/ui/destinations/{flow_id}/resume", catch_up="true")
    assert done.headers["location"] == f"/ui/destinations/{flow_id}?tab=backfills"
    assert ("flow-resume", {"flow": flow_id, "catch_up": True}) in installation.engine.asked
    stands(installation, skipped=7, catch_up=True)
    assert "Catch up 7 skipped" in words(visitor.get(f"/ui/destinations/{flow_id}").text)
    installation.engine.answers["flow-catch-up"] = {"run": "b-10"}
    assert visitor.post(f"/ui/destinations/{flow_id}/catch-up").status_code == 303
    assert ("flow-catch-up", {"flow": flow_id}) in installation.engine.asked


def test_what_the_engine_refuses_is_told(installation: Sample, visit: Visit) -> None:
    """On the page, in the engine's words."""
    visitor, flow_id = visit(installation), installation.flows[0]
    answer = visitor.post(f"/ui/destinations/{flow_id}/catch-up")
    assert (answer.status_code, "unknown request" in answer.text) == (409, True)


def test_disabling_asks_what_becomes_of_changes(installation: Sample, visit: Visit) -> None:
    """The choice becomes the flow's setting and is the one that is chosen next time; enabling can catch up."""
    visitor, flow_id = visit(installation), installation.flows[0]
    assert '<option value="keep" selected' in visitor.get(f"/ui/destinations/{flow_id}").text
    assert visitor.post(f"/ui/destinations/{flow_id}/state", action="disable", changes="skip").status_code == 303
    stands(installation, paused=True, skipped=5)
    assert "Enable and catch up 5 skipped" in words(visitor.get(f"/ui/destinations/{flow_id}").text)
    found = flows.get_flow(installation.control, system_caller(installation.control), flow_id)
    settings = found["transformations"][0]["params"]["headrace"]
    assert (found["state"], settings["pauseMode"]) == ("disabled", "skip")
    stands(installation, skipped=5, catch_up=True)
    installation.engine.answers["flow-catch-up"] = {"run": "b-9"}
    visitor.post(f"/ui/destinations/{flow_id}/state", action="enable", catch_up="true")
    assert ("flow-catch-up", {"flow": flow_id}) in installation.engine.asked
    assert '<option value="skip" selected' in visitor.get(f"/ui/destinations/{flow_id}").text
