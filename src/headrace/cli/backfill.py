"""``headrace backfill``: export those who qualified before, or send the present members again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.command import AsJson, DataDir, out, settings_of, show_table, time_of
from headrace.core.times import from_ms

app = typer.Typer(help="Export those who qualified before, or send the present members of audiences again.")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration file, to do it here when no process holds the folder."
    ),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="From `headrace backfill status`.")]
_WAIT_S = 0.5


@app.command()
def start(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="Id of the flow.")],
    config: Config = None,
    data_dir: DataDir = None,
    segment: Annotated[
        list[str] | None,
        typer.Option("--segment", metavar="ID", help="Only members of this audience; may be given again."),
    ] = None,
    identity: Annotated[
        list[str] | None, typer.Option("--identity", metavar="NS:ID", help="Only this person; may be given again.")
    ] = None,
    qualified_after: Annotated[str, typer.Option(metavar="TIME", help="Only who qualified then or later.")] = "",
    qualified_before: Annotated[str, typer.Option(metavar="TIME", help="Only who qualified before.")] = "",
    resend: Annotated[
        bool,
        typer.Option("--resend", help="Send to those too who were told since; exports say re-send as their cause."),
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="Most exports a second; 0 for no limit.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run over the profiles. Without a scope it is about all members of the flow's audiences."""
    from headrace import bootstrap

    given = {"flow": flow, "segments": segment or None, "identities": identity or None, "rate": rate}
    given["kind"] = "resend" if resend else "backfill"
    if qualified_after:
        given["qualified_after_ms"] = time_of(qualified_after, "--qualified-after")
    if qualified_before:
        given["qualified_before_ms"] = time_of(qualified_before, "--qualified-before")
    loaded = settings_of(data_dir)
    run = bootstrap.act(loaded, config, "backfill-start", **given)
    while True:
        (run,) = bootstrap.read_folder(loaded, "backfill-status", run=run["run"])
        if not wait or run["state"] != "running":
            break
        time.sleep(_WAIT_S)
    _say(run, as_json=as_json)


@app.command()
def status(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Only this run.")] = "",
    flow: Annotated[str, typer.Option(metavar="ID", help="Only of this flow.")] = "",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show runs, the latest first: how far they are, and when they will be done."""
    from headrace import bootstrap

    found = bootstrap.read_folder(settings_of(data_dir), "backfill-status", run=run, flow=flow)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show(out, found)


@app.command()
def pause(run: Run, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop a run where it is, until it is resumed; live traffic goes on."""
    _act("pause", run, data_dir, as_json=as_json)


@app.command()
def resume(run: Run, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let a run that was paused go on where it was."""
    _act("resume", run, data_dir, as_json=as_json)


@app.command()
def cancel(run: Run, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End a run; what it has exported stays exported."""
    _act("cancel", run, data_dir, as_json=as_json)


def _act(action: str, run: str, data_dir: Path | None, *, as_json: bool) -> None:
    from headrace import bootstrap

    _say(bootstrap.act(settings_of(data_dir), None, f"backfill-{action}", run=run), as_json=as_json)


def _say(run: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(run).decode())
    else:
        show(out, [run])


def show(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print runs, one a line."""
    if not found:
        console.print("no run was started yet")
        return
    table = Table(box=None)
    for heading in ("run", "flow", "kind", "state", "looked at", "exported", "not sent", "started", "time left"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("exported", "left") else "left")
    for run in found:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(run["excluded"].items()))
        waits = f" ({run['waits']})" if run["waits"] else ""
        eta = "" if run["eta_s"] is None else f"{run['eta_s']:,.0f} s"
        table.add_row(
            run["run"], run["flow"], run["kind"], run["state"] + waits,
            f"{run['scanned']:,} of {run['total_estimate']:,}", f"{run['exported']:,}", reasons,
            from_ms(run["started_ms"])[:19] + "Z", eta,
        )  # fmt: skip
    show_table(console, table)
