"""Steps: each kind of input, the partition key, what an export carries; P2 is held by the driver for every input."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from headrace.core.export import bucket_of
from headrace.core.flow import Consent, PartitionKey
from headrace.core.link import digest, name
from headrace.core.model import BUCKETS, Backfill, Delete, Export, Identity, Replay, Tick
from headrace.core.times import canonical, from_ms, to_ms

from .driving import KEY, NOW_MS, T1, T2, Profiles, flow, snapshot, update

JOIN = update("A:1", into={"vip": ("realized", T1)}, x=1)
FAR = "2030-01-01T00:00:00Z"


def only(profiles: Profiles, flow_id: str = "f") -> Export:
    """The last export, which the last step made."""
    export = profiles.exports[flow_id][-1]
    assert export in [made for _, _, made in profiles.last.exports]
    return export


def test_the_first_export() -> None:
    """A new profile's export says everything about itself."""
    config = snapshot(flow("vip", paths=("x",)))
    profiles = Profiles(config)
    profiles.apply(update("B:9"), update("A:1", "A:0", into={"vip": ("realized", T1)}, x=1, primary="A:1"))
    export = only(profiles)
    profile_id = name(KEY, Identity("a", "1"))
    assert export == Export(
        ordinal=2, profile_id=profile_id, seq=1, version=1, epoch=2, key=profile_id, made_ms=NOW_MS,
        export_id=digest(f"f\0{profile_id}\0002\0001\0{config.flows[0].digest}\0"), config=config.version, after=[],
        data=b'{"x":1,"segmentMembership":{"ups":{"vip":{"lastQualificationTime":"2025-01-01T00:00:00Z",'
             b'"status":"realized"}}},"identityMap":{"a":[{"id":"0"},{"id":"1"}]}}',
        cause=export.cause,
    )  # fmt: skip
    assert profiles.last.exports[0][:2] == (0, bucket_of(profile_id))


def test_p3_one_input_makes_one_export_a_flow() -> None:
    """Status, identity and attribute at once: one export for each flow that maps any of it."""
    profiles = Profiles(snapshot(flow("vip", id="f", paths=("x",)), flow("new", id="g"), flow("vip", "new", id="h")))
    profiles.apply(update("A:1", "B:1", into={"vip": "realized"}, x=1, y={"z": 2}))
    assert profiles.last.held == ["", "not-a-member", ""]
    assert [index for index, _, _ in profiles.last.exports] == [0, 2]


@pytest.mark.parametrize("same_value", [True, False])
def test_p4_an_immediate_repeat(same_value: bool) -> None:
    """The same again changes nothing kept; without sameValue it stores not a byte."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",), same_value=same_value)))
    line = update("A:1", "B:1", into={"vip": "realized", "new": ("exited", T1)}, x={"a": [1]}, y=None)
    profiles.apply(line)
    (before,) = profiles.stored.values()
    kept = profiles.of("a:1")
    done = profiles.apply(line)
    again = profiles.of("a:1")
    assert (again.identities, again.attributes, again.stamps, again.memberships) == (
        kept.identities, kept.attributes, kept.stamps, kept.memberships,
    )  # fmt: skip
    assert done.changed is same_value
    assert ([before] == list(profiles.stored.values())) is not same_value


def test_seq_and_version_grow() -> None:
    """``seq`` by one per export of the flow; the version by one per input that changed something or exported."""
    profiles = Profiles(snapshot(flow("vip", id="f", paths=("x",)), flow("new", id="g")))
    profiles.apply(
        JOIN, update("A:1", y=1), update("A:1"), update("A:1", into={"new": "realized"}, x=2), update("A:1", x=2)
    )
    assert [(e.seq, e.version) for e in profiles.exports["f"]] == [(1, 1), (2, 3), (3, 4)]
    assert [(e.seq, e.version) for e in profiles.exports["g"]] == [(1, 3)]
    assert profiles.of("a:1").version == 4
    assert profiles.of("a:1").ordinal == 5


def test_the_metadata_block_is_the_exports_own() -> None:
    """What the message says of itself is what the outbox knows."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",), metadata=True)))
    profiles.apply(JOIN, update("B:1", into={"vip": "realized"}), update("A:1", "B:1", x=5))
    export, block = only(profiles), profiles.messages()[-1]["_headrace"]
    assert block == {
        "exportId": export.export_id, "flowId": "f", "profileId": export.profile_id, "seq": 2, "profileVersion": 2,
        "epoch": 1, "configuration": export.config,
        "absorbed": [profiles.born[1]],
        "cause": {"kind": "live", "triggers": ["identity", "attribute"], "paths": ["x"], "joined": [], "left": []},
    }  # fmt: skip


# -- partition keys ---------------------------------------------------------------------------------


def test_a_bucket_is_the_top_of_the_keys_md5() -> None:
    """As Kinesis maps keys to shards; all buckets are in use."""
    found = {key: bucket_of(key) for key in map(str, range(2000))}
    assert all(b == int.from_bytes(hashlib.md5(k.encode()).digest(), "big") >> 122 for k, b in found.items())
    assert set(found.values()) == set(range(BUCKETS))


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        (PartitionKey(), ""),
        (PartitionKey("identity", namespace="b"), "1"),
        (PartitionKey("identity", namespace="long"), "é" * 256),
        (PartitionKey("identity", namespace="none"), ""),
        (PartitionKey("attribute", steps=("t",)), "text"),
        (PartitionKey("attribute", steps=("o", "i")), "7"),
        (PartitionKey("attribute", steps=("o", "f")), "1.5"),
        (PartitionKey("attribute", steps=("o", "b")), "true"),
        (PartitionKey("attribute", steps=("o", "z")), "0"),
        (PartitionKey("attribute", steps=("long",)), "x" * 256),
        (PartitionKey("attribute", steps=("empty",)), ""),
        (PartitionKey("attribute", steps=("o",)), ""),
        (PartitionKey("attribute", steps=("a",)), ""),
        (PartitionKey("attribute", steps=("o", "none")), ""),
        (PartitionKey("attribute", steps=("t", "none")), ""),
    ],
    ids=str,
)
def test_partition_keys(rule: PartitionKey, key: str) -> None:
    """The least identity of the namespace, or a scalar as JSON writes it, in 256 characters; else the profile id."""
    profiles = Profiles(snapshot(flow("vip", partition_key=rule)))
    profiles.apply(update(
        "B:2", "B:1", "A:1", "Long:" + "é" * 300, into={"vip": "realized"}, t="text", long="x" * 300, empty="",
        o={"i": 7, "f": 1.5, "b": True, "z": 0}, a=[1],
    ))  # fmt: skip
    export = only(profiles)
    assert export.key == (key or export.profile_id)
    assert profiles.last.exports[0][1] == bucket_of(export.key)


def test_a_change_of_key_waits_for_the_export_under_the_old_one() -> None:
    """The old place goes into ``after``; under the same bucket there is nothing to say."""
    profiles = Profiles(snapshot(flow("vip", partition_key=PartitionKey("attribute", steps=("k",)))))
    profiles.apply(update("A:1", into={"vip": "realized"}, k="one"), update("A:1", "B:1"))
    assert only(profiles).after == []
    profiles.apply(update("A:1", "C:1", k="two"))
    assert bucket_of("one") != bucket_of("two")
    assert only(profiles).after == [(bucket_of("one"), 2)]
    profiles.apply(update("A:1", "D:1"))
    assert only(profiles).after == []
    profiles.apply(update("A:1", "E:1", k=None))
    assert only(profiles).after == [(bucket_of("two"), 4)]
    assert only(profiles).key == profiles.born[0]


def test_a_merge_and_a_change_of_key_wait_for_both() -> None:
    """The exports of absorbed profiles first, then the survivor's own old place."""
    profiles = Profiles(snapshot(flow("vip", partition_key=PartitionKey("attribute", steps=("k",)))))
    profiles.apply(
        update("A:1", into={"vip": "realized"}, k="one"),
        update("B:1", into={"vip": "realized"}, k="two"),
        update("A:1", "B:1", k="three"),
    )
    assert only(profiles).after == [(bucket_of("two"), 2), (bucket_of("one"), 1)]


# -- other inputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [Tick("p"), Backfill("p", "f", "r"), Delete("p"), Replay("p", "f", "l")])
def test_an_unknown_profile_explains_itself(what: Any) -> None:
    """Every flow gets the reason, and nothing is stored."""
    profiles = Profiles(snapshot(flow("vip", id="f"), flow("vip", id="g")))
    assert profiles.held(what) == ["unknown-profile"] * 2
    assert (profiles.last.changed, profiles.stored) == (False, {})


def test_time_ends_memberships_that_were_valid_until_then() -> None:
    """At validUntil, not before; with that time; once."""
    until = from_ms(NOW_MS + 5000)
    profiles = Profiles(snapshot(flow("vip", "new")))
    profiles.apply(update("A:1", into={
        "vip": {"lastQualificationTime": T1, "validUntil": until}, "new": {"lastQualificationTime": T1},
    }))  # fmt: skip
    tick = Tick(profiles.born[0])
    profiles.now_ms += 4999
    assert profiles.held(tick) == ["no-relevant-change"]
    assert not profiles.last.changed
    profiles.now_ms += 1
    assert profiles.held(tick) == [""]
    assert only(profiles).cause.left == ["ups/vip"]
    assert profiles.messages()[-1]["segmentMembership"]["ups"]["vip"] == {
        "lastQualificationTime": until[:19] + "Z", "status": "exited",
    }  # fmt: skip
    assert profiles.held(tick) == ["no-relevant-change"]
    assert profiles.of("a:1").memberships["ups"]["new"].member


def test_an_end_before_the_beginning_ends_at_the_beginning() -> None:
    """A membership whose validUntil is before its lastQualificationTime leaves at the latter."""
    profiles = Profiles(snapshot(flow("vip")), now_ms=to_ms(canonical(T1)) - 1)
    profiles.apply(update("A:1", into={"vip": {"lastQualificationTime": T2, "validUntil": T1}}))
    profiles.now_ms += 1
    assert profiles.held(Tick(profiles.born[0])) == [""]
    assert profiles.messages()[-1]["segmentMembership"]["ups"]["vip"]["lastQualificationTime"] == T2


@pytest.mark.parametrize("kind", ["backfill", "re-send"])
def test_a_backfill_restates_members_to_one_flow(kind: str) -> None:
    """The current state, whatever changed; other flows are not concerned; each run has export ids of its own."""
    profiles = Profiles(snapshot(flow("vip", id="f", paths=("x",), status_model="seed"), flow("vip", id="g")))
    profiles.apply(JOIN)
    profile_id = profiles.born[0]
    ids = {only(profiles).export_id}
    for run in ("r1", "r1", "r2"):
        assert profiles.held(Backfill(profile_id, "f", run, kind)) == ["", "no-relevant-change"]
        export = only(profiles)
        ids.add(export.export_id)
        assert (export.cause.kind, export.cause.triggers) == (kind, [])
        assert profiles.messages()[-1]["segmentMembership"]["ups"]["vip"]["status"] == "existing"
    assert len(ids) == 4
    assert [e.seq for e in profiles.exports["f"]] == [1, 2, 3, 4]
    assert len(profiles.exports["g"]) == 1
    assert profiles.held(Backfill(profile_id, "none", "r", kind)) == ["no-relevant-change"] * 2
    assert not profiles.last.changed
    profiles.apply(update("A:1", into={"vip": ("exited", FAR)}))
    assert profiles.held(Backfill(profile_id, "f", "r3", kind)) == ["not-a-member", "no-relevant-change"]
    assert not profiles.last.changed


def test_a_backfill_leaves_out_who_was_told_since() -> None:
    """An export from the named ordinal on says all of it; without one the state is told in any case."""
    profiles = Profiles(snapshot(flow("vip", id="f")))
    profiles.apply(JOIN)
    profile_id, told = profiles.born[0], only(profiles).ordinal
    assert profiles.held(Backfill(profile_id, "f", "r", unless_since=told)) == ["told-since"]
    assert not profiles.last.changed
    assert profiles.held(Backfill(profile_id, "f", "r", unless_since=told + 1)) == [""]
    assert profiles.held(Backfill(profile_id, "f", "r")) == [""]


def test_a_replay_restates_whoever_is_left() -> None:
    """In place of a dead letter comes the current state, also of somebody who has left since."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",))))
    profiles.apply(JOIN, update("A:1", into={"vip": ("exited", FAR)}))
    replay = Replay(profiles.born[0], "f", "letter")
    assert profiles.held(replay) == [""]
    assert only(profiles).cause.kind == "replay"
    assert profiles.messages()[-1] == profiles.messages()[-2]
    assert only(profiles).export_id != profiles.exports["f"][-2].export_id


def test_restating_asks_for_consent_and_keeps_the_order() -> None:
    """No consent, no export; what waits for a merge waits here too."""
    of = flow("vip", consent=Consent(("c",), ("y",)))
    profiles = Profiles(snapshot(of))
    profiles.apply(update("A:1", c="n"), update("B:1", into={"vip": "realized"}, c="y"))
    bucket = bucket_of(profiles.born[1])
    profiles.apply(update("A:1", c="n"), update("B:1", c="n"), update("A:1", "B:1"))
    profile_id = profiles.born[0]
    assert profiles.held(Backfill(profile_id, "f", "r")) == ["consent"]
    assert profiles.held(Replay(profile_id, "f", "r")) == ["consent"]
    profiles = Profiles(snapshot(flow("vip", trigger_identity=False)))
    profiles.apply(
        update("A:1", into={"vip": ("realized", T1)}),
        update("B:1", into={"vip": ("realized", T1)}),
        update("A:1", "B:1"),
    )
    assert profiles.last.held == ["trigger-off"]
    assert profiles.held(Backfill(profile_id, "f", "r")) == [""]
    assert only(profiles).after == [(bucket, 2)]
    assert only(profiles).cause.absorbed == [profiles.born[1]]


def test_a_deletion_forgets_the_profile() -> None:
    """By default nothing is exported; the same person begins anew, with another epoch and other export ids."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",))))
    profiles.apply(JOIN)
    first = only(profiles)
    assert profiles.held(Delete(first.profile_id)) == ["no-relevant-change"]
    assert profiles.last.envelope is None
    assert (profiles.stored, profiles.index) == ({}, {})
    profiles.apply(JOIN)
    again = only(profiles)
    assert again.profile_id == first.profile_id
    assert (again.seq, again.version, again.epoch, again.data) == (1, 1, 3, first.data)
    assert again.export_id != first.export_id


def test_a_deletion_may_tell_the_exit() -> None:
    """With onDelete exit, flows that know the profile get one last message: mapped memberships, all exited."""
    profiles = Profiles(snapshot(
        flow("vip", "gone", id="f", paths=("x",), on_delete="exit"), flow("vip", id="g"),
        flow("new", id="h", on_delete="exit"),
        flow("vip", id="i", on_delete="exit", consent=Consent(("c",), ("y",))),
    ))  # fmt: skip
    profiles.apply(update(
        "A:1", into={"vip": ("realized", T1), "gone": ("exited", T1), "other": ("realized", T1)}, x=1, c="y"
    ), update("A:1", c="n"))  # fmt: skip
    no = "no-relevant-change"
    assert profiles.held(Delete(profiles.born[0])) == ["", no, no, "consent"]
    export = only(profiles)
    assert (export.cause.kind, export.cause.left, export.seq) == ("delete", ["ups/vip"], 2)
    now = from_ms(NOW_MS)[:19] + "Z"
    assert profiles.messages()[-1] == {
        "x": 1,
        "segmentMembership": {"ups": {
            "gone": {"lastQualificationTime": T1, "status": "exited"},
            "vip": {"lastQualificationTime": now, "status": "exited"},
        }},
        "identityMap": {"a": [{"id": "1"}]},
    }  # fmt: skip


def test_what_happened_is_counted() -> None:
    """Notes of one input: ignored, replaced, joined."""
    profiles = Profiles(snapshot(flow("vip")))
    profiles.apply(update("A:1", into={"vip": ("realized", T2)}, x={"a": 1}), update("B:1"))
    done = profiles.apply(update("A:1", "B:1", into={"vip": ("exited", T1)}, x=1))
    assert done.notes == {"older-membership": 1, "type-conflict": 1, "merged": 1}
    assert profiles.of("a:1").attributes == {"x": 1}


def test_exports_survive_the_outbox() -> None:
    """What is written to the outbox is read back as it was."""
    profiles = Profiles(snapshot(flow("vip", metadata=True)))
    profiles.apply(
        update("A:1", into={"vip": "realized"}), update("B:1", into={"vip": "realized"}), update("A:1", "B:1")
    )
    stored = msgspec.msgpack.encode(profiles.exports["f"])
    assert msgspec.msgpack.decode(stored, type=list[Export]) == profiles.exports["f"]
