"""Show journal blocks, and what folding them again came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console

from headrace.core.times import from_ms
from headrace.state.records import JournalBlock

_KINDS: Final = ("update", "tick", "backfill", "delete", "replay", "repeat", "erased", "unlink")
_SHOWN: Final = 10


def lines(blocks: Iterable[Sequence[Any]], first: int = 0) -> Iterator[str]:
    """One JSON object an input.

    Args:
        blocks: Journal blocks as plain values, bytes as base64 text.
        first: Ordinal of the first input wanted.
    """
    for plain in blocks:
        block = msgspec.convert(plain, JournalBlock, str_keys=True)
        for index, (kind, origin, body) in enumerate(zip(block.kinds, block.sources, block.bodies, strict=True)):
            if block.first + index < first:
                continue
            if _KINDS[kind] in ("update", "repeat"):  # as it came, but on one line
                shown: Any = msgspec.Raw(msgspec.json.format(body, indent=-1))
            else:
                shown = msgspec.msgpack.decode(body)
            entry = {
                "ordinal": block.first + index,
                "time": from_ms(block.now_ms),
                "configuration": block.config,
                "kind": _KINDS[kind],
                "source": block.names[origin] if origin < len(block.names) else "",
                "input": shown,
            }
            yield msgspec.json.encode(entry).decode()


def explain(console: Console | None, found: Mapping[str, Any]) -> bool:
    """Print what a comparison showed; True when nothing differs."""
    differing = [*found["differing"], *found["missing"], *found["unexpected"]]
    if console is None:
        return not differing
    console.print(f"folded {found['inputs']:,} inputs from number {found['first']:,} again")
    console.print(f"profiles: {found['profiles']:,} compared, {len(found['differing']):,} differ")
    if found["older"]:
        console.print(f"          {found['older']:,} were made before the journal begins, and were left out")
    if found["first"] == 1:
        console.print(
            f"exports:  {found['exports']:,} follow from the inputs; "
            f"{len(found['missing']):,} of them are missing, {len(found['unexpected']):,} others are stored"
        )
    else:
        console.print("exports:  not compared, since the journal's beginning has been removed by age")
    for name in differing[:_SHOWN]:
        console.print(f"  differs: {name}")
    console.print("[green]the same[/green]" if not differing else "[red]not the same[/red]")
    return not differing
