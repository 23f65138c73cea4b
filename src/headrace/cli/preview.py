"""``headrace preview``: what a changed configuration would do to real updates, before it is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.command import AsJson, Config, DataDir, err, out, settings_of, show_table, warn
from headrace.errors import RefusedError


def preview(
    config: Config,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare with this configuration; else with the one in force."),
    ] = None,
    file: Annotated[
        str, typer.Option("--input", "-i", metavar="FILE", help="Updates as JSON Lines, plain or gzip.")
    ] = "",
    recent: Annotated[
        int, typer.Option(metavar="N", min=0, max=50_000, help="The last N inputs of the journal instead.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=50_000, help="Read at most so many updates of the file.")] = 50_000,
    rate: Annotated[
        float, typer.Option(metavar="R", min=0.001, help="Count shards for R updates a second, with --input.")
    ] = 1000.0,
    empty: Annotated[bool, typer.Option(help="Begin without the profiles that are stored, with --input.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show which messages a changed configuration would add, remove or alter; nothing is sent or stored.

    Both configurations are folded over the same updates: those of a file, onto the profiles that are stored, or the
    last N inputs of the journal, onto the profiles as they were before. Counts and bytes are those that a real run
    would have.
    """
    from headrace import bootstrap
    from headrace.bootstrap.previews import Wanted, of_file
    from headrace.core import canonical

    if bool(file) == bool(recent):
        raise RefusedError("name either a file of updates with --input, or inputs of the journal with --recent")
    loaded = settings_of(data_dir)
    new = bootstrap.load_configuration(config)
    warn(new.warnings)
    old = bootstrap.load_configuration(against) if against is not None else None
    wanted = Wanted(
        new=new.canonical.decode(), old=old.canonical.decode() if old is not None else "", recent=recent,
        input=str(Path(file).resolve()) if file else "", limit=limit, rate=rate, empty=empty,
    )  # fmt: skip
    if file and not (loaded.data_dir / "FORMAT").exists():
        before = old.snapshot if old is not None else canonical.snapshot([])
        found = msgspec.to_builtins(of_file(new.snapshot, before, wanted, loaded, None))
    else:
        found = bootstrap.read_folder(loaded, "preview", **msgspec.to_builtins(wanted))
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show(out, found, rate if file else None)
        if found["untold"]:
            err.print(
                f"{found['untold']:,} inputs are left out: erased, or the journal does not reach back far enough"
            )


def show(console: Console, found: Mapping[str, Any], rate: float | None) -> None:
    """Print a preview: a line a flow, then examples of what differs."""
    refused = "".join(f"; {n:,} refused: {reason}" for reason, n in found["refused"].items())
    console.print(f"{found['inputs']:,} inputs{refused}", markup=False)
    table = Table(box=None)
    for heading in ("flow", "messages", "added", "removed", "altered", "same", "bytes", "shards"):
        table.add_column(heading, justify="left" if heading == "flow" else "right")
    for flow in found["flows"]:
        table.add_row(
            flow["name"], _both(flow, "messages"), *(f"{flow[what]:,}" for what in ("added", "removed", "altered")),
            f"{flow['same']:,}", _both(flow, "bytes"), _both(flow, "shards"),
        )  # fmt: skip
    show_table(console, table)
    when = "in the busiest minute" if rate is None else f"for {rate:,g} updates a second"
    console.print(f"shards: {when}, of 1,000 records and 1 MiB a second each, keys spread evenly", markup=False)
    for flow in found["flows"]:
        for each in flow["examples"]:
            for line in _example(flow["name"], each):
                console.print(line, markup=False, soft_wrap=True)


def _both(flow: Mapping[str, Any], name: str) -> str:
    old, new = flow["old"], flow["new"]
    if old is None or new is None:
        return f"{(old or new)[name]:,} ({'new' if old is None else 'gone'})"
    return f"{old[name]:,}" if old[name] == new[name] else f"{old[name]:,} → {new[name]:,}"


def _example(name: str, each: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{name}: {each['what']}, by input {each['input']:,}, profile {each['profile']}"
    if each["what"] == "altered":
        yield from (f"  {line}" for line in each["differences"])
    else:
        yield f"  {each['new'] or each['old']}"
