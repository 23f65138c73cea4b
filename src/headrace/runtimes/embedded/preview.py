"""What a changed configuration would do to real updates: both are folded beside each other, and nothing is stored.

Updates come from a file, onto the profiles that are stored, or from the end of the journal, onto the profiles as they
were before. The messages of a flow about the same input are compared; what says how a message was made (the block
``_headrace``) is no difference. Backfills and replays in the journal are left out: they are not updates.

Keeps (tests/runtimes/test_preview.py checks each by its number):
    V1  Counts and bytes are those of a real run of the new configuration on the same updates from the same profiles.
    V2  added + altered + same = messages of the new one; removed + altered + same = messages of the old one.
    V3  Nothing is written to the state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from headrace.core.flow import Snapshot
from headrace.core.model import Export
from headrace.runtimes.embedded.above import Above
from headrace.runtimes.embedded.decide import Decider
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.sources.base import Batch as SourceBatch
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import Keys

SHARD_RECORDS: Final = 1000
SHARD_BYTES: Final = 1 << 20
"""What Kinesis grants a shard a second (destinations/rates.py)."""

EXAMPLES: Final = 3
_DIFFERENCES: Final = 20
_WINDOW_MS: Final = 60_000


class Inputs(NamedTuple):
    """Inputs that are decided at once.

    Attributes:
        now_ms: The time, epoch milliseconds.
        batches: Updates.
        commands: Other inputs.
        repeats: Indexes of updates that are known to be repeats; None where their ids tell.
        first: Ordinal of the first one, where it is known.
    """

    now_ms: int
    batches: Sequence[SourceBatch]
    commands: Sequence[Command] = ()
    repeats: frozenset[int] | None = None
    first: int | None = None


class Example(msgspec.Struct, kw_only=True):
    """One message that differs.

    Attributes:
        what: added, removed or altered.
        input: Number of the input among those folded, from 1.
        profile: Id of the profile.
        old: The message as it is; None where there is none.
        new: The message as it would be.
        differences: ``path: old → new`` of what is altered.
    """

    what: str
    input: int
    profile: str
    old: str | None = None
    new: str | None = None
    differences: list[str] = []


class Side(msgspec.Struct, kw_only=True):
    """One configuration's messages to one flow.

    Attributes:
        messages: How many.
        bytes: Of the messages.
        held: Inputs without message, by reason.
        shards: Needed in the busiest minute of the updates; or, where they have no times, for 1,000 updates a second.
    """

    messages: int = 0
    bytes: int = 0
    held: dict[str, int] = {}
    shards: int = 0


class FlowPreview(msgspec.Struct, kw_only=True):
    """One flow under both configurations; a side is None where there is no such flow.

    Attributes:
        id: Flow id.
        name: On screen, as the new configuration has it.
        old: As it is.
        new: As it would be.
        added: Messages where there was none.
        removed: Messages that there would be no more.
        altered: Messages with other content, or another partition key.
        same: Messages that stay.
        examples: Some of those that differ.
    """

    id: str
    name: str
    old: Side | None = None
    new: Side | None = None
    added: int = 0
    removed: int = 0
    altered: int = 0
    same: int = 0
    examples: list[Example] = []


class Preview(msgspec.Struct, kw_only=True):
    """The answer.

    Attributes:
        inputs: Inputs folded.
        refused: Updates that the new configuration would refuse, by reason.
        untold: Inputs left out: erased, or the journal does not tell what their profile was before.
        from_ms: Time of the first input; 0 where they have no times of their own.
        until_ms: Time of the last one.
        flows: By id.
    """

    inputs: int = 0
    refused: dict[str, int] = {}
    untold: int = 0
    from_ms: int = 0
    until_ms: int = 0
    flows: list[FlowPreview] = []


class _Fold:
    """One configuration, folding."""

    def __init__(self, snapshot: Snapshot, base: State, keys: Keys, key: bytes, window_ms: int) -> None:
        self.snapshot = snapshot
        self.state = Above(base)
        self.totals = records.Totals()
        self._decider = Decider(self.state, keys, snapshot, key, dedup_window_ms=window_ms)
        self._busy: dict[str, dict[int, list[int]]] = {}

    def decide(self, inputs: Inputs, first: int) -> tuple[Decision, dict[tuple[str, int], Export]]:
        """The decision, and its exports by flow id and place among the inputs of the batch."""
        now_ms, batches, commands, repeats, _ = inputs
        batch = self.state.batch()
        made = self._decider.decide(batches, commands, first, now_ms, self.totals, batch, repeats=repeats)
        self.state.commit(batch)
        places = _accepted(batches, commands, made)
        found = {}
        for flow, exports in zip(self.snapshot.flows, made.exports, strict=True):
            load = self._busy.setdefault(flow.id, {}).setdefault(now_ms // _WINDOW_MS, [0, 0])
            for p in exports:
                found[flow.id, places[p.ordinal - first]] = p.export
                load[0] += 1
                load[1] += p.size
        return made, found

    def side(self, flow_id: str, rate: float | None) -> Side:
        """What came of a flow; *rate* is how often a second the inputs would come, None where they have times."""
        totals = self.totals.flows.get(flow_id) or records.FlowTotals()
        windows = list(self._busy.get(flow_id, {}).values())
        if rate is None:
            loads = [(count * 1000 / _WINDOW_MS, size * 1000 / _WINDOW_MS) for count, size in windows]
        else:
            inputs = max(self.totals.received, 1)
            whole = (sum(count for count, _ in windows), sum(size for _, size in windows))
            loads = [(whole[0] * rate / inputs, whole[1] * rate / inputs)]
        shards = max((max(count / SHARD_RECORDS, size / SHARD_BYTES) for count, size in loads), default=0.0)
        return Side(
            messages=totals.exported, bytes=totals.bytes, held=dict(totals.held), shards=math.ceil(shards)
        )  # fmt: skip


def _accepted(batches: Sequence[SourceBatch], commands: Sequence[Command], made: Decision) -> list[int]:
    """For each ordinal of a batch, counted from its first, its place among all inputs."""
    places = []
    at = 0
    for batch, refused in zip(batches, made.refused, strict=True):
        away = {one.index for one in refused}
        places += [at + index for index in range(len(batch.bodies)) if index not in away]
        at += len(batch.bodies)
    return places + list(range(at, at + len(commands)))


def preview(
    new: Snapshot, old: Snapshot, inputs: Iterable[Inputs], base: State, keys: Keys, *, installation_key: bytes,
    first: int = 1, dedup_window_ms: int = 0, rate: float | None = None,
) -> Preview:  # fmt: skip
    """Fold inputs under both configurations.

    Args:
        new: As it would be.
        old: As it is.
        inputs: In order.
        base: Holds the profiles from which both begin; only read.
        keys: Of the sandbox.
        installation_key: Names profiles.
        first: Ordinal of the first input, unless the inputs name their own.
        dedup_window_ms: How long an update's id is remembered.
        rate: Updates a second for which shards are counted, where inputs have no times of their own.
    """
    sides = [_Fold(one, base, keys, installation_key, dedup_window_ms) for one in (old, new)]
    was, would = sides
    flows = {
        flow_id: FlowPreview(id=flow_id, name=(new.by_id.get(flow_id) or old.by_id[flow_id]).name)
        for flow_id in sorted({*old.by_id, *new.by_id})
    }
    found = Preview(flows=list(flows.values()))
    for each in inputs:
        first = each.first or first
        before, of_old = was.decide(each, first)
        after, of_new = would.decide(each, first)
        for flow_id, place in sorted(of_old.keys() | of_new.keys()):
            _compare(
                flows[flow_id], found.inputs + place + 1, of_old.get((flow_id, place)), of_new.get((flow_id, place))
            )  # fmt: skip
        first = max(before.last, after.last) + 1
        found.inputs += sum(len(batch.bodies) for batch in each.batches) + len(each.commands)
        if rate is None:
            found.from_ms, found.until_ms = found.from_ms or each.now_ms, each.now_ms
    found.refused = dict(would.totals.refused)
    for flow_id, flow in flows.items():
        flow.old = was.side(flow_id, rate) if flow_id in old.by_id else None
        flow.new = would.side(flow_id, rate) if flow_id in new.by_id else None
    return found


def _compare(flow: FlowPreview, number: int, old: Export | None, new: Export | None) -> None:
    """Count one input's messages to one flow, and keep an example of each way in which they differ."""
    if old is not None and new is not None:
        differences = _differences(old, new)
        if not differences:
            flow.same += 1
            return
        what = "altered"
    else:
        what, differences = ("removed" if new is None else "added"), []
    count = getattr(flow, what) + 1
    setattr(flow, what, count)
    if count <= EXAMPLES:
        shown = old or new
        assert shown is not None
        flow.examples.append(
            Example(
                what=what, input=number, profile=shown.profile_id, differences=differences,
                old=_text(old), new=_text(new),
            )
        )  # fmt: skip


def _text(export: Export | None) -> str | None:
    return export.data.decode() if export is not None else None


def _differences(old: Export, new: Export) -> list[str]:
    """Each path with its values, the partition key among them; at most so many."""
    if old.key == new.key and old.data == new.data:
        return []
    found = [] if old.key == new.key else [f"(partition key): {old.key} → {new.key}"]
    was, now = (msgspec.json.decode(each.data) for each in (old, new))
    if "_headrace" in was and "_headrace" in now:
        del was["_headrace"], now["_headrace"]
    found += _paths(was, now, "")
    return found[:_DIFFERENCES]


def _paths(old: Any, new: Any, at: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            yield from _paths(old.get(name, _NOTHING), new.get(name, _NOTHING), f"{at}.{name}" if at else name)
    elif type(old) is not type(new) or old != new:
        yield f"{at}: {_shown(old)} → {_shown(new)}"


class _Nothing:
    """Stands where there is no value."""


_NOTHING: Final = _Nothing()


def _shown(value: Any) -> str:
    return "(none)" if value is _NOTHING else msgspec.json.encode(value).decode()
