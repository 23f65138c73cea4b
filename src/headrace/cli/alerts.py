"""``headrace alerts``: what is wrong now, what was, and whether the channels work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.command import LEFT, AsJson, DataDir, out, settings_of, show_table
from headrace.core.times import from_ms

app = typer.Typer(help="What is wrong now, or was; told by log, webhook and e-mail.")


@app.command("list")
def list_alerts(
    data_dir: DataDir = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List alerts: those that are open, or all. Exits 0 whether there are any or not."""
    from headrace import bootstrap

    found = bootstrap.read_folder(settings_of(data_dir), "alerts", state="all" if every else "open", limit=limit)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show(out, found)


@app.command("test")
def send_test(data_dir: DataDir = None) -> None:
    """Send a test by every channel that the environment's settings name. Exits 4 when one did not take it."""
    from headrace.bootstrap.alerting import check_channels
    from headrace.bootstrap.alerting import send_test as sent

    loaded = settings_of(data_dir)
    check_channels(loaded)
    found = sent(loaded)
    for channel, problem in found.items():
        out.print(f"{channel}: {problem or 'taken'}", markup=False, soft_wrap=True)
    if not found:
        out.print("no channel is configured; see HEADRACE_ALERT_… in docs/settings.md")
    raise typer.Exit(LEFT if any(found.values()) else 0)


def show(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print alerts as a table, and for open ones what to do."""
    if not found:
        console.print("no alerts")
        return
    table = Table(box=None)
    for heading in ("since", "until", "severity", "alert", "detail"):
        table.add_column(heading, overflow="fold")
    for each in found:
        until = from_ms(each["until_ms"]) if each["until_ms"] is not None else "open"
        table.add_row(from_ms(each["since_ms"]), until, each["severity"], each["title"], each["detail"])
    show_table(console, table, markup=False)
    for words in dict.fromkeys(each["what_to_do"] for each in found if each["until_ms"] is None):
        console.print(f"→ {words}", markup=False, soft_wrap=True)
