"""What the commands print: tables of totals, checks and dead letters. Plain values in, text on a console out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headrace.cli.command import show_table
from headrace.core.reasons import DISCARDS, HELD, NOTES, REFUSALS
from headrace.destinations.base import Check
from headrace.runtimes.base import FlowReport
from headrace.state.records import Totals

_STYLE = {"allowed": "green", "denied": "red", "unknown": "yellow"}


def show_totals(
    console: Console, totals: Totals, flows: Sequence[FlowReport], *, elapsed_s: float | None = None, since: int = 0
) -> None:
    """Print how updates and flows stand.

    Args:
        console: Where to.
        totals: Counts of the folder.
        flows: How each flow stands.
        elapsed_s: Length of this run, for the rate; None without.
        since: Inputs received before this run.
    """
    table = Table(title="Updates", title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column()
    received = totals.received - since
    rate = f"in {elapsed_s:.1f} s, {received / elapsed_s:,.0f} a second" if elapsed_s and received else ""
    table.add_row("received", f"{totals.received:,}", f"{received:,} in this run {rate}" if elapsed_s else "")
    table.add_row("accepted", f"{totals.accepted:,}", "")
    table.add_row("repeats", f"{totals.repeats:,}", "recognised by their id; changed nothing")
    for reason, n in sorted(totals.refused.items()):
        table.add_row("refused", f"{n:,}", f"{reason}: {REFUSALS.get(reason, '')}")
    for code, n in sorted(totals.notes.items()):
        table.add_row(code, f"{n:,}", NOTES.get(code, ""))
    table.add_row("profiles", f"{totals.profiles:,}", "")
    show_table(console, table)
    names = {f.flow_id: f for f in flows}
    for flow_id, f in totals.flows.items():
        _show_flow(console, names.get(flow_id), flow_id, f)


def _show_flow(console: Console, report: FlowReport | None, flow_id: str, f: Any) -> None:
    title = f"Flow {report.name or flow_id}" if report else f"Flow {flow_id} (not running now)"
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column()
    triggers = ", ".join(f"{name} {n:,}" for name, n in sorted(f.triggers.items()))
    table.add_row("exported", f"{f.exported:,}", f"by trigger: {triggers}" if triggers else "")
    for reason, n in sorted(f.held.items()):
        table.add_row("  not exported", f"{n:,}", f"{reason}: {HELD.get(reason, '')}")
    table.add_row("delivered", f"{f.delivered:,}", "acknowledged by the destination")
    table.add_row("dead-lettered", f"{f.dead_lettered:,}", "headrace dead-letters list" if f.dead_lettered else "")
    for reason, n in sorted(f.discarded.items()):
        table.add_row("discarded", f"{n:,}", f"{reason}: {DISCARDS.get(reason, '')}")
    table.add_row("pending", f"{f.pending:,}", "stored; sent when Headrace runs again" if f.pending else "")
    if f.retried or f.possible_duplicates:
        table.add_row("sent again", f"{f.retried:,}", "after a certain refusal")
        table.add_row("", f"{f.possible_duplicates:,}", "fate unknown: possible duplicates")
    if report and report.halted:
        table.add_row(Text("paused", style="red"), "", report.halted)
    elif report and report.paused:
        table.add_row("paused", "", "the flow is disabled in the configuration")
    show_table(console, table)


def show_check(console: Console, flow_id: str, name: str, check: Check) -> None:
    """Print the verdicts of a check, and what to do about each that is not allowed."""
    console.print(Text(f"{name or flow_id}", style="bold"))
    for permission in check.permissions:
        line = Text("  ")
        line.append(f"{permission.verdict:8}", style=_STYLE.get(permission.verdict, ""))
        line.append(permission.action)
        if permission.verdict != "allowed" and permission.detail:
            line.append(f"  {permission.detail}", style="dim")
        if permission.request_id and permission.verdict != "allowed":
            line.append(f"  (request {permission.request_id})", style="dim")
        console.print(line, soft_wrap=True)
        if permission.statement is not None:
            console.print("  add this statement to the policy of the access key's user or role:")
            statement = msgspec.json.format(msgspec.json.encode(permission.statement), indent=2).decode()
            console.print(Text("    " + statement.replace("\n", "\n    ")), soft_wrap=True)
    for fact, value in check.facts.items():
        console.print(Text(f"  {fact}: {value}", style="dim"), soft_wrap=True)
    for problem in check.problems:
        console.print(Text(f"  problem: {problem}", style="red"), soft_wrap=True)
    for warning in check.warnings:
        console.print(Text(f"  warning: {warning}", style="yellow"), soft_wrap=True)


def show_letters(console: Console, letters: Sequence[Mapping[str, Any]]) -> None:
    """Print dead letters, one a line; their bytes are left to ``show``."""
    if not letters:
        console.print("no dead letters")
        return
    table = Table(box=None)
    for heading in ("id", "kind", "reason", "where", "detail"):
        table.add_column(heading, overflow="fold")
    for letter in letters:
        table.add_row(
            letter["id"], letter["kind"], letter["reason"], letter.get("place") or letter.get("flow", ""),
            letter["detail"],
        )  # fmt: skip
    show_table(console, table)


def show_accounts(console: Console, accounts: Sequence[Mapping[str, Any]]) -> None:
    """Print clients, users or roles, a line each."""
    table = Table(box=None, header_style="dim")
    for name in ("name", "id", "state", "may"):
        table.add_column(name, overflow="fold")
    for each in accounts:
        holds = each.get("roles", each.get("permissions", ()))
        table.add_row(*(Text(str(each[name])) for name in ("name", "id", "state")), Text(", ".join(holds)))
    show_table(console, table)
