"""The configuration file: what it gives, every mistake at once, and no secret anywhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.control import configuration, connection_rules
from headrace.control.configuration import Configuration
from headrace.core import canonical, compile, flow_settings, selectors
from headrace.core import flow as flows
from headrace.destinations import registry
from headrace.errors import ConfigurationError
from headrace.settings import Secret

from .sample import OPEN, SPECS, root

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"


def parse(given: Any, **environ: str) -> Configuration:
    return configuration.parse(msgspec.json.encode(given), SPECS, environ=environ)


def mistakes(given: Any, **environ: str) -> list[str]:
    content = given if isinstance(given, bytes) else msgspec.json.encode(given)
    with pytest.raises(ConfigurationError) as caught:
        configuration.parse(content, SPECS, environ=environ)
    return [str(mistake) for mistake in caught.value.mistakes]


def outcome(given: Any, **environ: str) -> Configuration | ConfigurationError:
    content = given if isinstance(given, bytes) else msgspec.json.encode(given)
    try:
        return configuration.parse(content, SPECS, environ=environ)
    except ConfigurationError as error:
        return error


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value below."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in members:
        yield (*way, key)
        yield from places(below, (*way, key))


def replaced(way: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The sample with another value at a place."""
    changed = root()
    here: Any = changed
    for step in way[:-1]:
        here = here[step]
    here[way[-1]] = value
    return changed


def test_what_a_configuration_gives() -> None:
    """A snapshot with compiled flows, and for each flow where its exports go."""
    found = parse(root())
    assert found.warnings == []
    (flow,) = found.snapshot.flows
    assert flow.segments == {"ups": {"S": flows.MappedSegment(name="Gold", created_at_ms=1767225600000)}}
    assert (flow.id, flow.spec_id, flow.include_names, flow.include_timestamps) == ("flow", "spec-1", True, False)
    snapshot = found.snapshot
    assert (snapshot.merge_by, snapshot.max_identities, snapshot.unstitchable) == ("timestamp", 7, frozenset({"ip"}))
    target = found.targets["flow"]
    assert (target.spec_id, target.auth_name) == ("spec-1", "Keys")
    assert target.auth == {"keyId": "k", "secretKey": Secret("hidden"), "region": "eu-1"}
    assert target.revealed() == {"keyId": "k", "secretKey": "hidden", "region": "eu-1"}
    assert target.params == {
        "stream": "leads",
        "includeSegmentNames": True,
        "includeSegmentTimestamps": False,
        "most": 500,
    }


def test_the_defaults_of_the_engine() -> None:
    """Without settings the last write wins and fifty identities are the most."""
    given = root()
    del given["settings"]
    snapshot = parse(given).snapshot
    assert (snapshot.merge_by, snapshot.max_identities, snapshot.unstitchable) == ("arrival", 50, frozenset())


def test_the_canonical_text_gives_the_same_snapshot_without_secrets() -> None:
    """What lies in the journal rebuilds version and digests, and holds no credential."""
    found = parse(root())
    assert canonical.compile_canonical(found.canonical) == found.snapshot
    for secret in (b"hidden", b"keyId", b"eu-1"):
        assert secret not in found.canonical


def test_credentials_and_order_do_not_change_the_version() -> None:
    """Rotating a key, moving entries or writing YAML instead of JSON leaves the version alone."""
    version = parse(root()).snapshot.version
    rotated = replaced(("connections", 0, "auth", "params", "secretKey"), "other")
    assert parse(rotated).snapshot.version == version
    turned = dict(reversed(root().items()))
    assert parse(turned).snapshot.version == version
    text = yaml.safe_dump(root()).encode()
    assert configuration.parse(text, SPECS, environ={}).snapshot.version == version
    assert parse(replaced(("flows", 0, "name"), "Other")).snapshot.version != version


def test_a_destination_without_authentication_needs_none() -> None:
    """No auth is fine where nothing is required, and the one way is taken."""
    given = root()
    given["connections"][0] = {"id": "base", "name": "Pond", "connectionSpec": {"id": OPEN.id}}
    given["targetConnections"][0] |= {"connectionSpec": {"id": OPEN.id, "version": 1.0}, "params": {"pool": 3}}
    target = parse(given).targets["flow"]
    assert (target.spec_id, target.auth_name, target.auth) == ("spec-2", "Anyone", {})
    del given["targetConnections"][0]["connectionSpec"]
    assert parse(given).targets["flow"] == target


def test_answers_of_the_api_can_be_pasted() -> None:
    """Read-only members of each entity are accepted and change nothing."""
    given = root()
    common = {
        "createdAt": 1767225600000,
        "updatedAt": 1767225600000,
        "createdBy": "u",
        "etag": '"x"',
        "version": '"x"',
    }
    common |= {
        "imsOrgId": "o",
        "sandboxId": "s",
        "sandboxName": "prod",
        "state": "enabled",
        "inheritedAttributes": {},
    }
    for section in ("connections", "targetConnections", "flows"):
        given[section][0] |= common
    given["connections"][0]["auth"]["authorizedDate"] = "2026-01-01"
    given["targetConnections"][0]["data"] = {"format": "json"}
    given["sourceConnections"] = [{"id": "profiles"}]
    segment = {"expression": {"type": "PQL"}, "creationTime": 1, "mergePolicyId": "m", "ttlInDays": 30, "_etag": "e"}
    given["segments"][0] |= segment
    found = parse(given)
    assert found.snapshot == parse(root()).snapshot
    assert ["not evaluated" in warning for warning in found.warnings] == [True]


def test_a_segment_definitions_own_times_are_taken() -> None:
    """creationTime and updateTime stand in for createdAt and updatedAt."""
    given = root()
    given["segments"][0] = {"id": "S", "name": "n", "creationTime": 1572021085000, "updateTime": 1572021086000}
    mapped = parse(given).snapshot.flows[0].segments["ups"]["S"]
    assert (mapped.created_at_ms, mapped.updated_at_ms) == (1572021085000, 1572021086000)


def test_without_segments_any_audience_may_be_mapped() -> None:
    """The section may be left out; then nothing is known of the audiences but what the selectors say."""
    given = root()
    del given["segments"]
    assert parse(given).snapshot.flows[0].segments == {"ups": {"S": flows.MappedSegment()}}
    given["segments"] = []
    assert mistakes(given) == [
        "flows[0].transformations[0].params.segmentSelectors.selectors[0].value.id: 'S' is not among the segments"
    ]


def test_a_secret_may_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """References are resolved beside the file, and a loaded file gives the same as its text."""
    given = replaced(("connections", 0, "auth", "params", "secretKey"), "${file:key}")
    given["connections"][0]["auth"]["params"]["token"] = "${env:TOKEN}"
    (tmp_path / "key").write_text("fromfile\n")
    (tmp_path / "c.json").write_bytes(msgspec.json.encode(given))
    auth = configuration.load(tmp_path / "c.json", SPECS, {"TOKEN": "t"}).targets["flow"].revealed()
    assert (auth["secretKey"], auth["token"]) == ("fromfile", "t")


def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path) -> None:
    """The path and the reason are told."""
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml: cannot be read: No such file"):
        configuration.load(tmp_path / "nothing.yaml", SPECS)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "configuration: is empty (allowed: settings, segments, connections, targetConnections, flows)"),
        (
            b"[]",
            "configuration: must be an object (allowed: settings, segments, connections, targetConnections, flows)",
        ),
        (b"segments: []", "configuration: has no flows (allowed: flows: [] for none)"),
        (b"flows: {}", "flows (line 1): must be a list"),
        (b"flows: [x]", "flows[0] (line 1): must be an object"),
    ],
)
def test_a_cut_off_file_does_not_pass_for_an_empty_one(content: bytes, line: str) -> None:
    """Flows are never dropped by accident: the section must be there."""
    assert mistakes(content) == [line]
    assert configuration.parse(b"flows: []", SPECS, environ={}).targets == {}


def test_the_whole_report() -> None:
    """All mistakes of a file, in its order, each with its line and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        configuration.load(HERE / "wrong.yaml", SPECS, {"REGION": "TOPS3CRET"})
    assert str(caught.value) + "\n" == (HERE / "wrong.txt").read_text()


@pytest.mark.parametrize(
    ("way", "value", "line"),
    [
        (("targetConnections", 0, "params", "region"), "us-1", "targetConnections[0].params.region: differs from the "
         "base connection's, which counts (allowed: leave it out of targetConnections[0].params)"),
        (("targetConnections", 0, "params", "secretKey"), "x", "targetConnections[0].params.secretKey: unknown key "
         "(allowed: stream, includeSegmentNames, includeSegmentTimestamps, most, mode)"),
        (("targetConnections", 0, "connectionSpec", "id"), "spec-2", None),
        (("targetConnections", 0, "data"), {"format": "csv"}, "targetConnections[0].data.format: 'csv' is not known "
         "(allowed: json)"),
        (("targetConnections", 0, "baseConnectionId"), None, "targetConnections[0].baseConnectionId: is missing"),
        (("segments", 0, "createdAt"), 99_999_999_999, "segments[0].createdAt: 99999999999 is not a time "
         "(allowed: milliseconds since 1970: 1767225600000)"),
        (("segments", 0, "updatedAt"), "1767225600000", "segments[0].updatedAt: '1767225600000' is not a time "
         "(allowed: milliseconds since 1970: 1767225600000)"),
        (("connections", 0, "auth"), None, "connections[0].auth: is missing (allowed: specName, params)"),
        (("connections", 0, "auth"), "x", "connections[0].auth: must be an object, not text"),
        (("connections", 0, "auth", "specName"), None, "connections[0].auth.specName: is missing"),
        (("connections", 0, "connectionSpec"), None, "connections[0].connectionSpec: is missing "
         "(allowed: spec-1 (River), spec-2 (Pond))"),
        (("connections", 0, "connectionSpec"), {}, "connections[0].connectionSpec.id: is missing"),
        (("flows", 0, "targetConnectionIds"), None, "flows[0].targetConnectionIds: is missing"),
        (("flows", 0, "targetConnectionIds"), [], "flows[0].targetConnectionIds: holds 0 ids (allowed: exactly one)"),
        (("flows", 0, "targetConnectionIds"), [7], "flows[0].targetConnectionIds[0]: 7 is not in targetConnections "
         "(allowed: 'target')"),
        (("flows", 0, "sourceConnectionIds"), "x", "flows[0].sourceConnectionIds: must be a list, not text"),
        (("settings",), [], "settings: must be an object, not a list"),
        (("settings", "unstitchableNamespaces"), "ip", "settings.unstitchableNamespaces: must be a list, not text"),
    ],
)  # fmt: skip
def test_one_mistake_of_a_file(way: tuple[Any, ...], value: Any, line: str | None) -> None:
    """Each is told at its place and does not drag others along."""
    found = mistakes(replaced(way, value))
    if line is None:
        assert found[0] == "targetConnections[0].connectionSpec.id: is not the base connection's (allowed: spec-1)"
    else:
        assert found == [line]


@pytest.mark.parametrize("section", ["segments", "connections", "targetConnections", "flows"])
def test_ids_are_there_once(section: str) -> None:
    """An id that is there twice within a section is a mistake that names the first."""
    given = root()
    given[section].append(copy.deepcopy(given[section][0]))
    assert mistakes(given) == [f"{section}[1].id: is there twice, first at {section}[0].id"]


@pytest.mark.parametrize("way", list(places(root())), ids=lambda way: ".".join(map(str, way)))
def test_what_was_referenced_is_in_no_report(way: tuple[Any, ...]) -> None:
    """What is referenced at any place, wrong or not, is in no mistake or warning; no credential is canonical."""
    leak = "L3AK/+ value"
    found = outcome(replaced(way, "${env:LEAK}"), LEAK=leak)
    if isinstance(found, ConfigurationError):
        assert leak not in str(found)
        assert leak not in repr(found.mistakes)
    else:
        assert leak not in str(found.warnings)
        if way[0] == "connections":
            assert leak.encode() not in found.canonical
            assert canonical.canonical(found.snapshot) == found.canonical


def test_no_text_of_a_configuration_holds_a_secret() -> None:
    """repr, str and JSON of what was read do not show it."""
    found = parse(root())
    assert "hidden" not in repr(found)
    assert "hidden" not in str(found.targets)
    with pytest.raises(TypeError):
        msgspec.json.encode(found.targets)


def there(value: Any, step: Any) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


ANY: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        2**63,
        "",
        "x",
        "a..b",
        "${env:X}",
        "${x}",
        [],
        [None],
        ["x"],
        {},
        {"id": "x"},
        {"": 1},
        [[]],
    ]
)


@given(st.lists(st.tuples(st.sampled_from(list(places(root()))), ANY), min_size=1, max_size=3))
def test_any_change_is_a_configuration_or_a_report(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever stands anywhere, nothing but a report is raised, and what is accepted survives its canonical text."""
    given = root()
    for way, value in changes:
        here: Any = given
        for step in way[:-1]:
            here = here[step] if there(here, step) else None
        if isinstance(here, dict) or there(here, way[-1]):
            here[way[-1]] = copy.deepcopy(value)  # one object in two places could come to hold itself
    found = outcome(given)
    if isinstance(found, ConfigurationError):
        assert found.mistakes
    else:
        assert canonical.compile_canonical(found.canonical) == found.snapshot


def test_every_cut_of_a_file_is_a_configuration_or_a_report() -> None:
    """A file read while it is written raises nothing but a report; cut before its flows it is refused."""
    content = (EXAMPLES / "advanced.yaml").read_bytes()
    for end in range(0, len(content), 7):
        found = outcome(content[:end])
        if b"\nflows:" not in content[:end]:
            assert isinstance(found, ConfigurationError)


def specs() -> dict[str, Any]:
    return {spec_id: destination.spec for spec_id, destination in registry.destinations().items()}


ENVIRON = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "verysecret"}


def test_the_minimal_example_is_right() -> None:
    """The example of the docs is a configuration without warnings."""
    found = configuration.load(EXAMPLES / "minimal.yaml", specs(), ENVIRON)
    assert found.warnings == []
    assert found.targets["leads"].params["stream"] == "leads"


def test_the_advanced_example_is_right_and_whole(tmp_path: Path) -> None:
    """It shows every setting of a flow and of the engine, and has no warnings."""
    content = (EXAMPLES / "advanced.yaml").read_bytes()
    (tmp_path / "kinesis-secret-key").write_text("verysecret\n")
    found = configuration.parse(content, specs(), folder=tmp_path, environ=ENVIRON)
    assert found.warnings == []
    shown = content.decode()
    for key in (*configuration.ROOT_KEYS, *configuration.SETTING_KEYS, *flow_settings.KEYS):
        assert f"{key}:" in shown
    (audit,) = (flow for flow in found.snapshot.flows if flow.id == "audit")
    assert (audit.paused, audit.status_model, audit.deliver) == (True, "seed", "joinedLeft")


def test_every_key_is_documented() -> None:
    """A key that the page does not name is not there for anybody."""
    page = (HERE.parents[1] / "docs" / "configuration.md").read_text()
    keys = {*configuration.ROOT_KEYS, *configuration.SETTING_KEYS, *flow_settings.KEYS, *compile.FLOW_KEYS}
    keys |= {*configuration.SEGMENT_KEYS, *connection_rules.CONNECTION_KEYS, *connection_rules.TARGET_KEYS}
    keys |= {*selectors.SEGMENT_KEYS, *selectors.SCHEDULE_KEYS}
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []
