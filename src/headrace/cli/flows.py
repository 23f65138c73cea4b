"""``headrace flows``: how flows stand; pause and resume them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.command import AsJson, DataDir, out, plain, settings_of, show_table

app = typer.Typer(help="How flows stand; pause and resume them.")

Flow = Annotated[str, typer.Argument(metavar="FLOW", help="Id of the flow.")]


@app.command("list")
def list_flows(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List flows: whether they send, what waits, and what they skipped while they were paused."""
    from headrace import bootstrap

    found = bootstrap.read_folder(settings_of(data_dir), "flows")
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show(out, found)


@app.command()
def pause(
    flow: Flow,
    mode: Annotated[
        Literal["keep", "skip"] | None,
        typer.Option(
            help="What becomes of changes meanwhile: keep exports them and they wait; skip counts them, and offers a "
            "catch-up. Without it, the flow's own pauseMode."
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Pause a flow: nothing is sent until it is resumed, whatever the configuration file says."""
    from headrace import bootstrap

    _say(bootstrap.read_folder(settings_of(data_dir), "flow-pause", flow=flow, mode=mode), as_json=as_json)


@app.command()
def resume(
    flow: Flow,
    catch_up: Annotated[
        bool,
        typer.Option("--catch-up", help="Export the present state of every profile that changed while it skipped."),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let a flow go on that was paused by `headrace flows pause` or by a cap."""
    from headrace import bootstrap

    answer = bootstrap.read_folder(settings_of(data_dir), "flow-resume", flow=flow, catch_up=catch_up)
    _say(answer, as_json=as_json)


@app.command("catch-up")
def catch_up(flow: Flow, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Export the present state of every profile that changed while a flow skipped; a run like a backfill."""
    from headrace import bootstrap
    from headrace.cli.backfill import show as show_runs

    run = bootstrap.read_folder(settings_of(data_dir), "flow-catch-up", flow=flow)
    if as_json:
        print(msgspec.json.encode(run).decode())
    else:
        show_runs(out, [run])


def _say(flow: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(flow).decode())
        return
    show(out, [flow])
    if flow.get("run"):
        out.print(f"the catch-up is run {flow['run']}; see: headrace backfill status")
    elif flow["catch_up"]:
        out.print(
            f"{flow['skipped']:,} changes were skipped; to make up for them: headrace flows catch-up {flow['flow']}"
        )


def show(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print flows, one a line."""
    if not found:
        console.print("there is no flow")
        return
    table = Table(box=None)
    for heading in ("flow", "name", "state", "pending", "skipped"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("pending", "skipped") else "left")
    for flow in found:
        state = "running"
        if flow["pause"] is not None:
            state = f"paused ({flow['pause']['mode']}, {flow['pause'].get('reason', 'operator')})"
        elif flow["paused"]:
            state = "disabled by its configuration"
        elif flow["halted"]:
            state = f"halted: {flow['halted']}"
        table.add_row(
            plain(flow["flow"]), plain(flow["name"]), plain(state), f"{flow['pending']:,}", f"{flow['skipped']:,}"
        )
    show_table(console, table)
