"""Show entries of the ledger, and write them to files: JSON Lines, and Parquet where pyarrow is installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from headrace.cli.command import show_table
from headrace.core.times import from_ms, to_ms
from headrace.errors import RefusedError

_ENTRIES: Final = 20_000
"""Entries that are asked for at once."""


def plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as it is printed and exported: times as text, the cause by name."""
    shown = dict(entry)
    kind, triggers, paths, joined, left, absorbed = shown.pop("cause")
    made_ms, settled_ms = shown.pop("made_ms"), shown.pop("settled_ms")
    return shown | {
        "cause": kind, "triggers": triggers, "paths": paths, "joined": joined, "left": left, "absorbed": absorbed,
        "made": from_ms(made_ms), "settled": from_ms(settled_ms),
    }  # fmt: skip


def entries(asked: Callable[..., Any], query: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """All entries that a query finds, the oldest first, some at a time."""
    first = 0
    while True:
        found = asked("ledger", **query, first=first, limit=_ENTRIES, back=False)
        if found:
            yield [plain(entry) for entry in found]
        if len(found) < _ENTRIES:
            return
        first = found[-1]["row"] + 1


def show(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print entries, one a line."""
    if not found:
        console.print("nothing found")
        return
    table = Table(box=None)
    for heading in ("settled", "flow", "export", "seq", "why", "outcome", "shard", "sequence number", "attempts"):
        table.add_column(heading, overflow="fold")
    for entry in map(plain, found):
        table.add_row(
            entry["settled"], entry["flow"], entry["export_id"], str(entry["seq"]),
            ", ".join(entry["triggers"]) or entry["cause"], entry["code"] or entry["outcome"], entry["shard"],
            entry["sequence"], str(entry["attempts"]),
        )  # fmt: skip
    show_table(console, table)


def write_lines(to: Path | None, found: Iterator[list[dict[str, Any]]]) -> int:
    """Write a JSON object a line, to a file or to standard output; the number of lines."""
    count = 0
    encoder = msgspec.json.Encoder()
    with contextlib.ExitStack() as stack:
        file = sys.stdout.buffer if to is None else stack.enter_context(to.open("xb"))
        for some in found:
            file.write(encoder.encode_lines(some))
            count += len(some)
        file.flush()
    return count


def write_parquet(to: Path, found: Iterator[list[dict[str, Any]]]) -> int:
    """Write a Parquet file; the number of rows.

    Raises:
        RefusedError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise RefusedError(
            "writing Parquet needs pyarrow, which is not installed: pip install 'headrace[parquet]', "
            "or choose --format jsonl"
        ) from None
    text, number = pyarrow.string(), pyarrow.int64()
    types = {
        **dict.fromkeys(("row", "ordinal", "seq", "version", "epoch", "attempts"), number),
        **dict.fromkeys(("triggers", "paths", "joined", "left", "absorbed"), pyarrow.list_(text)),
        **dict.fromkeys(("made", "settled"), pyarrow.timestamp("ms", tz="UTC")),
    }
    names = ("row", "flow", "export_id", "profile_id", "ordinal", "seq", "version", "epoch", "configuration", "cause",
             "triggers", "paths", "joined", "left", "absorbed", "made", "settled", "outcome", "shard", "sequence",
             "code", "attempts")  # fmt: skip
    schema = pyarrow.schema([(name, types.get(name, text)) for name in names])
    count = 0
    if to.exists():
        raise FileExistsError(to)
    with parquet.ParquetWriter(to, schema, compression="zstd") as file:
        for some in found:
            columns = {name: [entry[name] for entry in some] for name in names}
            for name in ("made", "settled"):
                columns[name] = [to_ms(time) for time in columns[name]]
            file.write_table(pyarrow.table(columns, schema=schema))
            count += len(some)
    return count
