"""Use cases about pauses: how flows stand, who lifts a pause, and what enabling and disabling carry."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import msgspec
import pytest

from headrace.control import activity, flows, pauses
from headrace.control.access import CONNECT, Permission
from headrace.control.resources import Kind
from headrace.control.service import Control
from headrace.control.store import Store
from tests.api.engine import Engine

from .asking import places, refused, stored
from .plane import ANN, caller, flow_body, one_of_each, started

CAPPED = {"mode": "keep", "since_ms": 7, "reason": "dead-letters"}
CONNECTOR = caller(CONNECT)


class Place(NamedTuple):
    """A control plane with one flow, and an engine that runs it."""

    control: Control
    engine: Engine
    flow: str

    def switched(self, action: str, **more: Any) -> Any:
        """Enable or disable the flow."""
        return pauses.switch_flow(self.control, self.engine, ANN, self.flow, action, **more)

    @property
    def setting(self) -> Any:
        """The flow's ``pauseMode``."""
        body = stored(self.control, Kind.FLOW, self.flow).body
        return body["transformations"][0]["params"].get("headrace", {}).get("pauseMode")


@pytest.fixture
def place(store: Store) -> Place:
    """See ``Place``."""
    control, _ = started(store)
    engine, made = Engine(), one_of_each(control)
    engine.flows += [made.flow, "another sandbox's"]
    return Place(control, engine, made.flow)


def test_how_flows_stand(place: Place) -> None:
    """The sandbox's own, with the reason of a pause though the engine leaves out what is as by default."""
    (running,) = pauses.list_standings(place.control, place.engine, ANN)
    assert (running["flow"], running["paused"], running["pause"]) == (place.flow, False, None)
    place.engine.pauses[place.flow] = {"mode": "skip", "since_ms": 7}
    paused = pauses.get_standing(place.control, place.engine, ANN, place.flow)
    assert paused["pause"] == {"mode": "skip", "since_ms": 7, "reason": "operator"}
    place.engine.flows.remove(place.flow)
    missing = refused(lambda: pauses.get_standing(place.control, place.engine, ANN, place.flow))
    assert (missing.error_code, "does not know" in missing.problem) == ("3017-400", True)


def test_pause_and_resume_are_audited(place: Place) -> None:
    """With mode and catch-up; the flow's record stays as it is."""
    before = stored(place.control, Kind.FLOW, place.flow).etag
    told = pauses.pause_flow(place.control, place.engine, ANN, place.flow, {"mode": "skip"})
    assert told["pause"]["mode"] == "skip"
    place.engine.skipped[place.flow] = 4
    resumed = pauses.resume_flow(place.control, place.engine, ANN, place.flow, {"catchUp": True})
    assert (resumed["pause"], resumed["skipped"]) == (None, 0)
    assert place.engine.backfills[resumed["run"]]["kind"] == "catch-up"
    resume, pause = activity.list_activity(place.control, ANN, limit=2).items
    assert (pause["action"], pause["after"]) == ("pause", {"mode": "skip"})
    assert (resume["action"], resume["after"]) == ("resume", {"catchUp": resumed["run"]})
    assert stored(place.control, Kind.FLOW, place.flow).etag == before
    again = refused(lambda: pauses.resume_flow(place.control, place.engine, ANN, place.flow))
    assert again.error_code == "3017-400"


def test_a_catch_up_needs_what_activation_needs(place: Place) -> None:
    """Whoever connects may resume; to export what was skipped takes more, and nothing is resumed without it."""
    place.engine.pauses[place.flow], place.engine.skipped[place.flow] = dict(CAPPED), 4
    given = (place.control, place.engine, CONNECTOR, place.flow)
    assert refused(lambda: pauses.resume_flow(*given, {"catchUp": True})).error_code == "2120-403"
    assert refused(lambda: pauses.catch_up(*given)).error_code == "2120-403"
    assert refused(lambda: pauses.switch_flow(*given, "enable", catches_up=True)).error_code == "2120-403"
    assert place.flow in place.engine.pauses
    assert pauses.resume_flow(*given)["run"] is None
    assert pauses.catch_up(place.control, place.engine, ANN, place.flow)["kind"] == "catch-up"


def test_enabling_lifts_a_pause_of_the_cap(place: Place) -> None:
    """Of a flow that is enabled already, too; then nothing of the record changes."""
    place.engine.pauses[place.flow] = dict(CAPPED)
    before = stored(place.control, Kind.FLOW, place.flow).etag
    made, run = place.switched("ENABLE")
    assert (made.etag, made.warnings, run, place.engine.pauses) == (before, (), "", {})
    assert activity.list_activity(place.control, ANN, limit=1).items[0]["action"] == "resume"
    assert place.switched("enable")[0].warnings == ()


def test_disabling_carries_what_becomes_of_changes(place: Place) -> None:
    """It becomes the flow's own setting, whatever its state was; enabling makes up for what was skipped."""
    place.switched("disable", changes="skip")
    assert (place.setting, stored(place.control, Kind.FLOW, place.flow).state) == ("skip", "disabled")
    place.switched("disable", changes="keep")
    assert place.setting == "keep"
    place.switched("disable", changes="skip")
    place.engine.skipped[place.flow] = 9
    made, run = place.switched("enable", catches_up=True)
    assert place.engine.backfills[run]["flow"] == place.flow
    assert (place.setting, made.warnings, place.engine.skipped) == ("skip", (), {})
    assert ("configure", {}) in place.engine.asked


def test_a_flow_without_settings_is_disabled_with_a_choice(place: Place) -> None:
    """What it has of its transformation stays, and it compiles as before."""
    made = stored(place.control, Kind.FLOW, place.flow)
    body = flow_body(made.body["sourceConnectionIds"][0], made.body["targetConnectionIds"][0])
    bare = flows.create_flow(place.control, ANN, {**body, "name": "bare", "transformations": []})
    pauses.switch_flow(place.control, place.engine, ANN, bare.id, "disable", changes="skip")
    shown = flows.get_flow(place.control, ANN, bare.id)
    assert shown["transformations"][0]["params"] == {"headrace": {"pauseMode": "skip"}}
    operation = [{"op": "replace", "path": "/name", "value": "barer"}]
    assert flows.patch_flow(place.control, ANN, bare.id, operation, shown["etag"]).id == bare.id


def test_wrong_choices_are_refused(place: Place) -> None:
    """Each with the allowed values, and before anything changes."""
    place.engine.pauses[place.flow] = dict(CAPPED)
    wrong = [
        partial(place.switched, "disable", changes="x"),
        partial(place.switched, "enable", changes="keep"),
        partial(place.switched, "disable", catches_up=True),
    ]
    assert [refused(call).error_code for call in wrong] == ["1451-400"] * 3
    assert places(lambda: pauses.pause_flow(place.control, place.engine, ANN, place.flow, {"mode": "x"})) == ["mode"]
    given = {"catchUp": "yes"}
    assert places(lambda: pauses.resume_flow(place.control, place.engine, ANN, place.flow, given)) == ["catchUp"]
    assert place.engine.pauses == {place.flow: CAPPED}


def test_a_flow_is_enabled_without_the_engine(place: Place) -> None:
    """The record counts; that a pause stays is a warning. In a sandbox without an engine nobody is asked."""
    place.switched("disable")
    place.engine.absent = True
    made, run = place.switched("enable")
    assert (stored(place.control, Kind.FLOW, place.flow).state, run) == ("enabled", "")
    assert [("a pause in the engine" in each, "headrace serve" in each) for each in made.warnings] == [(True, True)]
    place.engine.asked.clear()
    elsewhere = msgspec.structs.replace(place.control, sandbox="dev")
    assert pauses.switch_flow(elsewhere, place.engine, ANN, place.flow, "enable")[0].warnings == ()
    assert place.engine.asked == []
    with_view = caller((Permission.VIEW_DESTINATIONS,))
    absent = refused(lambda: pauses.list_standings(elsewhere, place.engine, with_view))
    assert absent.error_code == "3016-503"
