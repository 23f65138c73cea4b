"""Golden bytes: the message that the seed's page shows, and our own messages and stored forms, byte for byte.

The files in tests/golden are the format: a change of them is a change that consumers and data folders notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.core import canonical as configurations
from headrace.core.envelope import Envelope, decode, encode
from headrace.core.flow import MappedSegment
from headrace.core.model import FORMAT, Export, FlowMark
from headrace.core.times import canonical, to_ms
from headrace.errors import BugError

from .driving import Profiles, flow, snapshot, update

GOLDEN = Path(__file__).parents[1] / "golden"
LEFT, STAYED = "7841ba61-23c1-4bb3-a495-00d3g5fe1e93", "59bd2fkd-3c48-4b18-bf56-4f5c5e6967ae"


def test_the_seeds_sample() -> None:
    """Updates of one prospect, at set times, come to the message of the page that the product implements.

    They enter two audiences with an address, the second membership is confirmed, and the first one is left;
    the last change states no time of its own, so that it is the clock's.
    """
    of = flow(LEFT, STAYED, paths=("person.email",), status_model="seed")
    profiles = Profiles(snapshot(of), now_ms=to_ms(canonical("2020-05-25T21:24:39Z")))
    ecids = ("ECID:66478888669296734530114754794777368480", "ECID:14575006536349286404619648085736425115")
    emails = (
        "Email_LC_SHA256:655332b5fa2aea4498bf7a290cff017cb4",
        "Email_LC_SHA256:66baf76ef9de8b42df8903f00e0e3dc0b7",
    )
    profiles.apply(
        update(ecids[0], emails[1], into={LEFT: ("realized", "2020-05-20T10:00:00Z")}),
        update(ecids[1], emails[0], person={"email": "yourstruly@adobe.con", "name": {"firstName": "Ada"}}),
        update(ecids[0], ecids[1], into={STAYED: ("realized", "2020-05-21T10:00:00Z")}),
        update(ecids[0], into={STAYED: ("existing", "2020-05-25T23:37:33Z")}),
    )
    profiles.apply(update(ecids[1], into={LEFT: "exited"}))
    made = profiles.messages()
    assert made[-1] == msgspec.json.decode((GOLDEN / "seed.json").read_bytes())
    assert [{s: m["status"] for s, m in message["segmentMembership"]["ups"].items()} for message in made] == [
        {LEFT: "realized"},
        {LEFT: "existing", STAYED: "realized"},
        {LEFT: "exited", STAYED: "existing"},
    ]


def people() -> Profiles:
    """Two profiles of one person that are joined, for flows with each of the settings that change bytes."""
    named = MappedSegment(
        name="High propensity to convert", created_at_ms=1735689600000, updated_at_ms=1735776000000,
        mapping_created_ms=1735862400000, mapping_updated_ms=1735948800000,
    )  # fmt: skip
    everything: dict[str, Any] = {
        "id": "flow-everything", "name": "Everything", "spec_id": "s", "include_names": True,
        "include_timestamps": True, "metadata": True,
        "paths": ("person.name", "personalEmail.address", "loyalty.points"),
        "segments": {"ups": {"hot": named, "gone": MappedSegment()}},
    }  # fmt: skip
    profiles = Profiles(snapshot(
        configurations.build(**everything),
        flow("hot", id="flow-plain", paths=("personalEmail.address", "tags", "person.name.lastName")),
        flow("hot", id="flow-mapped", membership_scope="mapped", metadata=True, deliver="joinedLeft"),
    ))  # fmt: skip
    profiles.apply(
        update(
            "ECID:1",
            into={"hot": ("realized", "2025-12-01T10:00:00.25+01:00"), "aam/x": ("existing", "2025-11-01T00:00:00Z")},
            person={"name": {"firstName": "Chloé", "lastName": 'O"Neil'}}, loyalty={"points": 18446744073709551615},
        ),
        update(
            "Email:chloe@example.test", into={"gone": {"status": "realized", "validUntil": "2027-01-01T00:00:00Z"}},
            personalEmail={"address": "chloe@example.test"}, tags=["a", 1, 1.5, None, {"b": True}],
            loyalty={"points": 1.10},
        ),
        update("ECID:1", "Email:chloe@example.test", into={"gone": "exited"}, person={"birthYear": 1990}),
        update("ECID:1", person={"name": None}),
    )  # fmt: skip
    return profiles


def test_our_own_messages() -> None:
    """Current statuses, metadata block, names, timestamps, a merge: one message a line, flow by flow."""
    profiles = people()
    lines = [b"%b %b" % (flow_id.encode(), e.data) for flow_id, all_of in profiles.exports.items() for e in all_of]
    assert b"\n".join(lines) + b"\n" == (GOLDEN / "messages.jsonl.txt").read_bytes()


def test_stored_forms() -> None:
    """Envelope and exports as they lie on disk; old bytes are read back into the same values."""
    profiles = people()
    (stored,) = profiles.stored.values()
    golden_envelope, golden_exports = (bytes.fromhex(line) for line in (GOLDEN / "stored.hex").read_text().split())
    exports = [export for all_of in profiles.exports.values() for export in all_of]
    assert stored == golden_envelope
    assert msgspec.msgpack.encode(exports) == golden_exports
    assert encode(decode(golden_envelope)) == golden_envelope
    assert msgspec.msgpack.decode(golden_exports, type=list[Export]) == exports


def test_fields_may_be_appended() -> None:
    """Bytes without the last fields of a membership and a mark, which have defaults, are still read."""
    mark = FlowMark(1, 2, 3)
    old: list[Any] = [FORMAT, "p", 1, 1, {"a": ["1"]}, {}, {}, {"ups": {"vip": [True, "t"]}}, {"f": [1, 2, 3]}, 1]
    read = decode(msgspec.msgpack.encode(old))
    assert read.marks == {"f": mark}
    assert read.memberships["ups"]["vip"].ordinal == 0


def test_another_format_is_not_misread() -> None:
    """An envelope of a later format stops the process rather than being taken for today's."""
    later = Envelope(FORMAT + 1, "p", 1, 1, {}, {}, {}, {}, {}, 1)
    with pytest.raises(BugError, match=f"format {FORMAT + 1}"):
        decode(encode(later))
