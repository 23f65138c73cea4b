"""What the demo prints: each message with its cause, and the summary. Plain values in, text on a console out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from rich.console import Console, Group
from rich.highlighter import JSONHighlighter
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_format: Final = msgspec.json.format
_HIGHLIGHT: Final = JSONHighlighter()
_BLOCK: Final = "_headrace"
_TRIGGERS: Final = {
    "segment": "an audience was entered or left",
    "identity": "an identity was added",
    "attribute": "a mapped attribute was written",
}


class DemoSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a demo.

    Attributes:
        updates: Profile updates taken in, refused ones too.
        refused_updates: Those of them that could not be applied, now dead letters.
        profiles: Profiles kept at the end.
        exports: Messages made.
        exports_by_trigger: Trigger (segment, identity, attribute) to the messages it fired for; one message can
            have several.
        delivered: Messages that the stream confirmed.
        dead_lettered: Messages that it will not take.
        possible_duplicates: Sent again because their fate was unknown.
        read_back: Messages read from the stream.
        order_violations: Of those, the ones that came before an earlier change of the same profile.
        p50_ms: Half of the messages were confirmed within this time of their update's acceptance; None without any.
        p99_ms: The same for 99 in 100.
        elapsed_s: Seconds the sample took.
        data_dir: Where the state lies, or empty when it is removed at the end.
    """

    updates: int
    refused_updates: int
    profiles: int
    exports: int
    exports_by_trigger: Mapping[str, int]
    delivered: int
    dead_lettered: int
    possible_duplicates: int
    read_back: int
    order_violations: int
    p50_ms: float | None
    p99_ms: float | None
    elapsed_s: float
    data_dir: str = ""


def show_message(
    console: Console, shard: str, sequence: str, data: bytes, names: Mapping[str, str] | None = None
) -> None:
    """Print one message: where it lies, why it was sent, and its JSON in colours.

    Args:
        console: Where to.
        shard: Id of its shard.
        sequence: Its sequence number there.
        data: The message. Whatever is not a JSON object is shown as it is, and said so.
        names: ``namespace/id`` of an audience to its name; the id is shown where there is none.
    """
    title = Text(f"{shard} #{sequence}", style="dim")
    try:
        message = _decode(data)
    except msgspec.DecodeError:
        message = None
    if not isinstance(message, dict):
        console.print(Panel(Text(repr(data)), title=title, subtitle="not a message", border_style="red"))
        return
    block = message.pop(_BLOCK, None)
    body = _HIGHLIGHT(Text("\n".join(_lines(message))))
    console.print(Panel(Group(_why(block, names or {}), body), title=title, title_align="left", border_style="blue"))


def _lines(message: Mapping[str, Any]) -> list[str]:
    """A message as JSON that is easy to take in: a line a top-level field, and a line an audience."""
    fields: list[str] = []
    for key, value in message.items():
        if key == "segmentMembership" and isinstance(value, dict) and value:
            fields.append(f"  {_json(key)}: {{\n" + ",\n".join(_audiences(value)) + "\n  }")
        else:
            fields.append(f"  {_json(key)}: {_json(value)}")
    return ["{", ",\n".join(fields), "}"]


def _audiences(memberships: Mapping[str, Any]) -> Iterable[str]:
    for namespace, audiences in memberships.items():
        if not isinstance(audiences, dict):
            yield f"    {_json(namespace)}: {_json(audiences)}"
            continue
        inner = ",\n".join(f"      {_json(segment)}: {_json(entry)}" for segment, entry in audiences.items())
        yield f"    {_json(namespace)}: {{\n{inner}\n    }}"


def _json(value: Any) -> str:
    """One value as one line of JSON with spaces in it."""
    return _format(_encode(value), indent=0).decode()


def _why(block: Any, names: Mapping[str, str]) -> Text:
    """The cause of a message in words, from its ``_headrace`` block."""
    if not isinstance(block, dict) or not isinstance(block.get("cause"), dict):
        return Text("cause unknown: the flow has metadata off", style="dim")
    cause = block["cause"]
    why = Text()
    why.append("why  ", style="bold")
    parts = [f"entered {names.get(audience, audience)}" for audience in cause.get("joined", ())]
    parts += [f"left {names.get(audience, audience)}" for audience in cause.get("left", ())]
    triggers = cause.get("triggers", ())
    if not parts and "segment" in triggers:
        parts.append(_TRIGGERS["segment"])
    if "identity" in triggers:
        parts.append(_TRIGGERS["identity"])
    if paths := cause.get("paths"):
        parts.append("wrote " + ", ".join(paths))
    elif "attribute" in triggers:
        parts.append(_TRIGGERS["attribute"])
    if absorbed := block.get("absorbed"):
        parts.append(f"absorbed {len(absorbed)} profile{'s' if len(absorbed) != 1 else ''}")
    if cause.get("kind", "live") != "live":
        parts.append(str(cause["kind"]))
    why.append("; ".join(parts) or "unknown", style="green")
    why.append(f"   export {str(block.get('exportId', '?'))[:8]}… seq {block.get('seq', '?')}", style="dim")
    return why


class OrderCheck:
    """Counts order violations as messages come, each shard's in its order. Needs the ``_headrace`` block.

    Messages about one profile share a partition key, and so a shard. A message is out of order when another with
    a higher ``seq`` of that profile came before it; one whose export id was seen is a repeat, not a violation.
    Right for a stream that one flow writes to.

    Attributes:
        read: Messages seen.
        repeats: Those with an export id seen before.
        violations: Those out of order.
        unreadable: Those without a readable block: nothing can be said of them.
    """

    def __init__(self) -> None:
        self.read = self.repeats = self.violations = self.unreadable = 0
        self._last: dict[str, tuple[int, int]] = {}
        self._seen: set[str] = set()

    def add(self, key: str, data: bytes) -> None:
        """Take the next message of its shard.

        Args:
            key: Its partition key.
            data: The message.
        """
        self.read += 1
        try:
            block = _decode(data)[_BLOCK]
            export_id, place = str(block["exportId"]), (int(block["epoch"]), int(block["seq"]))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            self.unreadable += 1
            return
        if export_id in self._seen:
            self.repeats += 1
            return
        self._seen.add(export_id)
        if place <= self._last.get(key, (-1, -1)):
            self.violations += 1
        else:
            self._last[key] = place


def show_summary(console: Console, summary: DemoSummary) -> None:
    """Print the figures of a demo and where to go next."""
    table = Table(title="What happened", title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column()
    for name, figure, remark in _rows(summary):
        table.add_row(name, figure, remark)
    console.print()
    console.print(table)
    console.print()
    console.print(_next_steps(summary.data_dir), soft_wrap=True)


def _rows(summary: DemoSummary) -> Iterable[tuple[str, str, str | Text]]:
    yield (
        "profile updates",
        _count(summary.updates),
        f"in {summary.elapsed_s:.1f} s, about {summary.profiles:,} profiles",
    )
    yield "  refused", _count(summary.refused_updates), "malformed; kept with their reasons"
    yield "exports", _count(summary.exports), "one message per change that a flow exports"
    for trigger, count in sorted(summary.exports_by_trigger.items(), key=lambda pair: -pair[1]):
        yield f"  {trigger}", _count(count), _TRIGGERS.get(trigger, "")
    yield (
        "delivered",
        _count(summary.delivered),
        _verdict(summary.delivered == summary.exports, "every export", "not every export"),
    )
    yield (
        "  dead-lettered",
        _count(summary.dead_lettered),
        _verdict(summary.dead_lettered == 0, "none refused", "read why below"),
    )
    yield "  sent again", _count(summary.possible_duplicates), "fate unknown, so possible duplicates"
    yield "read back", _count(summary.read_back), "with GetRecords"
    yield (
        "  out of order",
        _count(summary.order_violations),
        _verdict(summary.order_violations == 0, "in order per profile", "order lost"),
    )
    if summary.p50_ms is not None and summary.p99_ms is not None:
        yield "accepted to confirmed", f"{summary.p50_ms:,.0f} ms", f"p50; p99 {summary.p99_ms:,.0f} ms"


def _count(figure: int) -> str:
    return f"{figure:,}"


def _verdict(good: bool, yes: str, no: str) -> Text:
    return Text(f"✓ {yes}", style="green") if good else Text(f"✗ {no}", style="red")


def _next_steps(data_dir: str) -> Text:
    text = Text("Where to go next\n", style="bold")
    steps = [
        ("check a configuration of your own", "headrace check --config my.yaml"),
        ("send your own updates to your own stream", "headrace run --config my.yaml --input updates.jsonl"),
    ]
    if data_dir:
        steps.insert(0, ("see what was refused, and why", f"headrace dead-letters list --data-dir {data_dir}"))
    for why, command in steps:
        text.append(f"  {why}: ", style="not bold")
        text.append(f"{command}\n", style="not bold cyan")
    return text
