"""Compiling a flow: what is accepted, and every mistake at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from headrace.core.compile import FLOW_SPEC_ID, Compilation, compile_flow
from headrace.core.flow import CompiledFlow, Consent, FlowAlerts, MappedSegment, PartitionKey, Segment
from headrace.core.flow_settings import FLOW_ALERTS


def flow(
    *,
    segments: list[Any] | None = None,
    attributes: list[Any] | None = None,
    headrace: Any = None,
    **members: Any,
) -> dict[str, Any]:
    """A flow of the API's shape."""
    params: dict[str, Any] = {
        "segmentSelectors": {"selectors": [{"type": "PLATFORM_SEGMENT", "value": each} for each in segments or []]},
        "profileSelectors": {"selectors": [{"type": "JSON_PATH", "value": each} for each in attributes or []]},
    }
    if headrace is not None:
        params["headrace"] = headrace
    return {
        "id": "f",
        "name": "Flow",
        "flowSpec": {"id": FLOW_SPEC_ID, "version": "1.0"},
        "transformations": [{"name": "GeneralTransform", "params": params}],
        **members,
    }


def compiled(given: Any, segments: dict[str, Segment] | None = None, **params: Any) -> Compilation:
    return compile_flow(given, segments=segments, params=params, spec_id="spec", place="flows[0]")


def made(given: Any, segments: dict[str, Segment] | None = None, **params: Any) -> CompiledFlow:
    result = compiled(given, segments, **params)
    assert result.mistakes == []
    assert result.flow is not None
    return result.flow


def report(given: Any, segments: dict[str, Segment] | None = None) -> list[str]:
    result = compiled(given, segments)
    assert (result.flow is None) == bool(result.mistakes)
    return [str(mistake).removeprefix("flows[0].") for mistake in result.mistakes]


def test_a_flow_as_the_tutorial_creates_it() -> None:
    """Selectors become segments of the platform's namespace and paths, in their order."""
    found = made(
        flow(segments=[{"id": "S", "name": "n"}], attributes=[{"operator": "EXISTS", "path": "b.c"}, {"path": "a"}])
    )
    assert found.segments == {"ups": {"S": MappedSegment(name="n")}}
    assert found.paths == ("b.c", "a")
    assert (found.id, found.name, found.spec_id, found.paused) == ("f", "Flow", "spec", False)
    assert (found.include_names, found.include_timestamps) == (False, False)


def test_the_target_toggles_are_taken_from_the_connection() -> None:
    """Names and timestamps are parameters of the target connection."""
    found = made(flow(segments=[{"id": "S"}]), includeSegmentNames=True, includeSegmentTimestamps=True)
    assert (found.include_names, found.include_timestamps) == (True, True)


def test_what_a_segment_is_comes_from_the_segments() -> None:
    """Name, times and namespace of the segment win over what the selector repeats; mapping times are seconds."""
    known = {"S": Segment(id="S", name="now", namespace="aam", created_at_ms=1, updated_at_ms=2)}
    selector = {
        "id": "S",
        "name": "before",
        "createTime": "1767225600",
        "updateTime": 1767225601,
        "schedule": {"startDate": "2026-01-01", "endDate": "2026-01-31", "frequency": "DAILY"},
        "filenameTemplate": "x",
    }
    found = made(flow(segments=[selector]), known).segments
    day = 86_400_000
    assert found == {
        "aam": {
            "S": MappedSegment(
                name="now",
                created_at_ms=1,
                updated_at_ms=2,
                mapping_created_ms=1767225600000,
                mapping_updated_ms=1767225601000,
                start_date="2026-01-01",
                end_date="2026-01-31",
                start_ms=1767225600000,
                end_ms=1767225600000 + 31 * day,
            )
        }
    }


def test_an_external_audience_has_the_selectors_namespace() -> None:
    """A selector with a namespace uses it; the same id in two namespaces is two audiences."""
    selectors = [{"id": "S", "namespace": "aamSegments", "systemSegmentId": "x"}, {"id": "S"}]
    assert set(made(flow(segments=selectors)).segments) == {"aamSegments", "ups"}


def test_an_audience_may_be_mapped_for_one_day() -> None:
    """Both days are included, so the first may be the last."""
    schedule = {"startDate": "1970-01-02", "endDate": "1970-01-02"}
    mapped = made(flow(segments=[{"id": "S", "schedule": schedule}])).segments["ups"]["S"]
    assert (mapped.start_ms, mapped.end_ms) == (86_400_000, 2 * 86_400_000)


def test_every_setting_is_read() -> None:
    """Each setting other than its default arrives in its field."""
    found = made(
        flow(
            segments=[{"id": "S"}],
            headrace={
                "statusModel": "seed",
                "membershipScope": "mapped",
                "triggers": {"segment": False, "identity": False, "attribute": False},
                "sameValue": False,
                "metadata": True,
                "partitionKey": "attribute:xdm:a.b",
                "deliver": "joinedLeft",
                "pauseMode": "skip",
                "ordering": "none",
                "consent": {"path": "consents.x", "allowed": ["y", True, 1]},
                "onDelete": "exit",
                "alerts": {"lagSeconds": 60, "mute": ["lag"], "mailTo": ["a@example.com"]},
            },
            state="disabled",
        )
    )
    assert (found.status_model, found.membership_scope, found.deliver) == ("seed", "mapped", "joinedLeft")
    assert (found.trigger_segment, found.trigger_identity, found.trigger_attribute) == (False, False, False)
    assert (found.same_value, found.metadata, found.paused) == (False, True, True)
    assert (found.pause_mode, found.ordering, found.on_delete) == ("skip", "none", "exit")
    assert found.partition_key == PartitionKey("attribute", steps=("a", "b"))
    assert found.consent == Consent(("consents", "x"), ("y", True, 1))
    assert found.alerts == FlowAlerts(lag_s=60, mute=("lag",), mail_to=("a@example.com",))


def test_a_setting_with_its_default_changes_nothing() -> None:
    """Absent, null and the default said out loud compile to the same flow."""
    defaults = {
        "statusModel": "current",
        "membershipScope": "all",
        "triggers": {"segment": True, "identity": True, "attribute": True},
        "sameValue": True,
        "metadata": False,
        "partitionKey": "profileId",
        "deliver": "all",
        "pauseMode": "keep",
        "ordering": "profile",
        "consent": None,
        "onDelete": "nothing",
    }
    bare = made(flow(segments=[{"id": "S"}]))
    assert made(flow(segments=[{"id": "S"}], headrace=defaults)) == bare
    assert made(flow(segments=[{"id": "S"}], headrace=dict.fromkeys(defaults))) == bare


def test_the_partition_key_of_a_namespace_ignores_case() -> None:
    """Namespaces compare in lower case."""
    found = made(flow(segments=[{"id": "S"}], headrace={"partitionKey": "identity:Email_LC_SHA256"}))
    assert found.partition_key == PartitionKey("identity", namespace="email_lc_sha256")


def test_an_answer_of_the_api_can_be_pasted() -> None:
    """What GET adds to a flow is accepted and without effect."""
    pasted = flow(
        segments=[{"id": "S"}],
        createdAt=1,
        updatedAt=2,
        createdBy="u",
        updatedBy="u",
        createdClient="exc_app",
        updatedClient="exc_app",
        sandboxId="s",
        sandboxName="prod",
        imsOrgId="o",
        version='"1"',
        etag='"1"',
        state="enabled",
        inheritedAttributes={"properties": {"isDestinationFlow": True}},
        runs="/runs?property=flowId==f",
        lastOperation={},
        lastRunDetails={},
        sourceConnectionIds=["s"],
        targetConnectionIds=["t"],
        description="d",
    )
    assert made(pasted) == made(flow(segments=[{"id": "S"}]))


def test_selectors_may_be_absent() -> None:
    """A flow that maps nothing yet is a flow; a warning says that it exports nothing."""
    bare = flow()
    nothing: list[list[Any]] = [[], [{"params": None}], [{"params": {}}], [{"params": {"segmentSelectors": None}}]]
    for transformations in nothing:
        result = compiled({**bare, "transformations": transformations})
        assert result.flow is not None
        assert "exports nothing" in result.warnings[0]


def test_what_is_always_sent_is_accepted_and_ignored() -> None:
    """Mapping identities or memberships warns and maps nothing."""
    paths = [{"path": "segmentMembership.status"}, {"path": "identityMap.ECID"}, {"path": "a"}]
    result = compiled(flow(segments=[{"id": "S"}], attributes=paths))
    assert result.flow is not None
    assert result.flow.paths == ("a",)
    assert [warning.split(": ")[1][:10] for warning in result.warnings] == ["segmentMem", "identityMa"]


def test_a_path_that_another_holds_is_warned_of() -> None:
    """The swallowed path is named, and the one that holds it."""
    result = compiled(flow(segments=[{"id": "S"}], attributes=[{"path": "a.b.c"}, {"path": "a"}]))
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(
        "flows[0].transformations[0].params.profileSelectors.selectors[0].value.path"
    )
    assert "selectors[1]" in result.warnings[0]


def test_guardrails_warn() -> None:
    """More than 250 audiences or 50 attributes work and are warned of; as many do not."""
    segments = [{"id": f"s{index}"} for index in range(251)]
    attributes = [{"path": f"a{index}"} for index in range(51)]
    assert len(compiled(flow(segments=segments, attributes=attributes)).warnings) == 2
    assert compiled(flow(segments=segments[1:], attributes=attributes[1:])).warnings == []


def test_policies_are_not_silently_ignored() -> None:
    """Usage policies are warned of as long as nothing enforces them."""
    policy = {"enforcementRefs": ["/dulepolicy/marketingActions/core/exportToThirdParty"]}
    assert "not enforced" in compiled(flow(segments=[{"id": "S"}], policy=policy)).warnings[0]


AT = "transformations[0].params."
SEGMENT = AT + "segmentSelectors.selectors[0].value"
PATH = AT + "profileSelectors.selectors[0].value"
SET = AT + "headrace."


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (flow(id=None), "id: is missing"),
        (flow(id=7), "id: must be text, not a number; put it in quotes"),
        (flow(id="a b"), "id: 'a b' is not an id (allowed: 1 to 128 letters, digits, . _ -)"),
        (flow(name=" "), "name: is empty"),
        (flow(name="a\x00"), "name: holds a control character"),
        (flow(state="paused"), "state: 'paused' is not known (allowed: enabled, disabled)"),
        (flow(flowSpec=None), f"flowSpec: is missing (allowed: id {FLOW_SPEC_ID}, version 1.0)"),
        (flow(flowSpec={"id": "x"}), f"flowSpec.id: 'x' is not a known flow spec (allowed: {FLOW_SPEC_ID})"),
        (flow(flowSpec={"id": FLOW_SPEC_ID, "version": "2"}), "flowSpec.version: '2' is not known (allowed: 1.0)"),
        (flow(flowSpec={}), "flowSpec.id: is missing"),
        (flow(flowSpec={"version": "1.0"}), "flowSpec.id: is missing"),
        (flow(flowSpec=[]), "flowSpec: must be an object, not a list"),
        (flow(transformations=None), "transformations: is missing"),
        (flow(transformations={}), "transformations: must be a list, not an object"),
        (flow(transformations=[{}, {}]), "transformations[1]: a flow has one transformation"),
        (
            flow(transformations=[{"params": {"x": 1}}]),
            AT + "x: unknown key (allowed: segmentSelectors, profileSelectors, headrace)",
        ),
        (flow(segments=[{}]), SEGMENT + ".id: is missing"),
        (flow(segments=[{"id": 1}]), SEGMENT + ".id: must be text, not a number; put it in quotes"),
        (flow(segments=["S"]), SEGMENT + ": must be an object"),
        (
            flow(segments=[{"id": "S", "schedule": {"startDate": "2026-02-30"}}]),
            SEGMENT + ".schedule.startDate: '2026-02-30' is not a date (allowed: YYYY-MM-DD)",
        ),
        (
            flow(segments=[{"id": "S", "schedule": {"endDate": "20260201"}}]),
            SEGMENT + ".schedule.endDate: '20260201' is not a date (allowed: YYYY-MM-DD)",
        ),
        (
            flow(segments=[{"id": "S", "schedule": {"startDate": "2026-02-02", "endDate": "2026-02-01"}}]),
            SEGMENT + ".schedule.endDate: 2026-02-01 is before startDate 2026-02-02",
        ),
        (
            flow(segments=[{"id": "S", "createTime": "1767225600000"}]),
            SEGMENT + ".createTime: '1767225600000' is not a time "
            '(allowed: seconds since 1970 as text: "1767225600")',
        ),
        (
            flow(segments=[{"id": "S", "updateTime": True}]),
            SEGMENT + '.updateTime: true is not a time (allowed: seconds since 1970 as text: "1767225600")',
        ),
        (
            flow(segments=[{"id": "S"}, {"id": "S"}]),
            AT + f"segmentSelectors.selectors[1].value.id: is there twice, first at flows[0].{SEGMENT}.id",
        ),
        (flow(attributes=[{}]), PATH + ".path: is missing"),
        (
            flow(attributes=[{"path": "a..b"}]),
            PATH + ".path: 'a..b' is not a path: at position 2, a name is missing",
        ),
        (
            flow(attributes=[{"path": "_headrace.x"}]),
            PATH + ".path: _headrace is the block that Headrace itself may add",
        ),
        (flow(attributes=[{"path": "a", "operator": "IN"}]), PATH + ".operator: 'IN' is not known (allowed: EXISTS)"),
        (
            flow(attributes=[{"path": "xdm:a.b"}, {"path": "a['b']"}]),
            AT + f"profileSelectors.selectors[1].value.path: is there twice, first at flows[0].{PATH}.path",
        ),
        (flow(headrace=[]), AT + "headrace: must be an object, not a list"),
        (flow(headrace={"statusModel": "x"}), SET + "statusModel: 'x' is not known (allowed: current, seed)"),
        (flow(headrace={"membershipScope": 1}), SET + "membershipScope: 1 is not known (allowed: all, mapped)"),
        (flow(headrace={"deliver": []}), SET + "deliver: a list is not known (allowed: all, joinedLeft)"),
        (flow(headrace={"pauseMode": "x"}), SET + "pauseMode: 'x' is not known (allowed: keep, skip)"),
        (flow(headrace={"ordering": "x"}), SET + "ordering: 'x' is not known (allowed: profile, none)"),
        (flow(headrace={"onDelete": "x"}), SET + "onDelete: 'x' is not known (allowed: nothing, exit)"),
        (
            flow(headrace={"sameValue": "no"}),
            SET + "sameValue: must be true or false, not 'no' (allowed: true, false)",
        ),
        (
            flow(headrace={"triggers": {"segments": True}}),
            SET + "triggers.segments: unknown key (allowed: segment, identity, attribute)",
        ),
        (
            flow(headrace={"partitionKey": "identity:"}),
            SET + "partitionKey: 'identity:' is not known (allowed: profileId, identity:NAMESPACE, attribute:PATH)",
        ),
        (
            flow(headrace={"partitionKey": "attribute:"}),
            SET + "partitionKey: 'attribute:' is not known (allowed: profileId, identity:NAMESPACE, attribute:PATH)",
        ),
        (
            flow(headrace={"partitionKey": "attribute:a[0]"}),
            SET + "partitionKey: 'attribute:a[0]' is not a path: at position 2, "
            "[ opens a quoted name, so ' must follow; a path does not step into arrays",
        ),
        (
            flow(headrace={"alerts": {"lagSeconds": 0}}),
            SET + "alerts.lagSeconds: must be a whole number, not 0 (allowed: 1 to 31536000)",
        ),
        (
            flow(headrace={"alerts": {"mute": ["noise"]}}),
            SET + f"alerts.mute: 'noise' is no alert of a flow (allowed: {', '.join(FLOW_ALERTS)})",
        ),
        (
            flow(headrace={"alerts": {"mailTo": ["a b"]}}),
            SET + "alerts.mailTo: 'a b' is not an address (allowed: as ops@example.com)",
        ),
        (flow(headrace={"consent": "y"}), SET + "consent: must be an object, not text"),
        (flow(headrace={"consent": {"allowed": ["y"]}}), SET + "consent.path: is missing"),
        (flow(headrace={"consent": {"path": "a"}}), SET + "consent.allowed: is missing"),
        (
            flow(headrace={"consent": {"path": "a", "allowed": []}}),
            SET + "consent.allowed: is empty, so nothing would ever be exported",
        ),
        (
            flow(headrace={"consent": {"path": "a", "allowed": [None]}}),
            SET + "consent.allowed[0]: must be text, a number, true or false, not null",
        ),
    ],
)
def test_one_mistake_is_one_line(given: dict[str, Any], line: str) -> None:
    """Each mistake is reported once, at its place, with what is allowed."""
    assert report(given) == [line]


def test_selectors_of_an_unknown_type() -> None:
    """A selector of another type, or of none, is a mistake."""
    given = flow()
    params = given["transformations"][0]["params"]
    params["segmentSelectors"]["selectors"] = [{"type": "JSON_PATH", "value": {"id": "S"}}, "S", {"value": {}}]
    params["profileSelectors"]["selectors"] = [
        {"type": "PLATFORM_SEGMENT", "value": {"path": "a"}},
        {"type": "JSON_PATH"},
    ]
    assert report(given) == [
        AT + "segmentSelectors.selectors[0].type: 'JSON_PATH' is not known (allowed: PLATFORM_SEGMENT)",
        AT + "segmentSelectors.selectors[1]: must be an object with type and value",
        AT + "segmentSelectors.selectors[2].type: null is not known (allowed: PLATFORM_SEGMENT)",
        AT + "profileSelectors.selectors[0].type: 'PLATFORM_SEGMENT' is not known (allowed: JSON_PATH)",
        AT + "profileSelectors.selectors[1].value: must be an object",
    ]


def test_a_segment_must_be_among_those_that_are_there() -> None:
    """With a list of segments an id that is not in it is a mistake; so is another namespace than the segment's."""
    known = {f"s{index}": Segment(id=f"s{index}", namespace="aam") for index in range(12)}
    assert report(flow(segments=[{"id": "S"}]), known) == [
        SEGMENT + ".id: 'S' is not among the segments (allowed: "
        "'s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9' and 2 more)"
    ]
    assert report(flow(segments=[{"id": "s1", "namespace": "ups"}]), known) == [
        SEGMENT + ".namespace: 'ups' is not the namespace that the segment states"
    ]


def test_all_mistakes_at_once() -> None:
    """Nothing hides behind the first mistake."""
    given = flow(
        id=None,
        nmae="x",
        flowSpec={"id": "x"},
        segments=[{}, {"id": "S", "schdule": {}}],
        attributes=[{"path": "a b"}, {"path": "c", "operator": "x"}],
        headrace={"statusModel": "x", "colour": 1, "consent": {"path": "["}},
    )
    before = copy.deepcopy(given)
    places = [line.split(":")[0] for line in report(given)]
    assert places == [
        "nmae",
        "id",
        "flowSpec.id",
        SEGMENT + ".id",
        AT + "segmentSelectors.selectors[1].value.schdule",
        PATH + ".path",
        AT + "profileSelectors.selectors[1].value.operator",
        SET + "colour",
        SET + "statusModel",
        SET + "consent.path",
        SET + "consent.allowed",
    ]
    assert given == before
