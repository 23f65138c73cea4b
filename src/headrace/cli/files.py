"""``headrace apply``, ``diff`` and ``export``: connections, audiences and flows as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from headrace.cli.command import LEFT, AsJson, DataDir, err, out, plain, settings_of
from headrace.errors import RefusedError

Files = Annotated[
    Path,
    typer.Option("--file", "-f", metavar="DIR|FILE", help="Folder of YAML and JSON files, or one of them."),
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete what the files do not have.")]
_SIGNS: Final = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "delete": ("-", "red"),
    "unmanaged": ("?", "dim"),
    "unchanged": ("=", "dim"),
}


def apply(
    files: Files,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")] = False,
    prune: Prune = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the database what files say: connections, audiences and flows; all of it, or nothing.

    The files hold what a configuration file holds, secrets as `${env:NAME}` or `${file:PATH}`. The plan is shown; an
    entry that somebody changed in the database since is named with who and when. Doing it again changes nothing.
    """
    plan = _plan(files, data_dir, prune=prune, dry_run=dry_run)
    _show(plan, as_json=as_json)
    if not as_json:
        changes = len(plan.changes)
        out.print(f"{changes} {'change' if changes == 1 else 'changes'}{' (not made: a dry run)' if dry_run else ''}")


def diff(files: Files, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show where the database differs from files. Exits 0 when it does not, 4 when it does."""
    plan = _plan(files, data_dir, prune=False, dry_run=True)
    _show(plan, as_json=as_json)
    raise typer.Exit(LEFT if plan.changes or any(each.action == "unmanaged" for each in plan.steps) else 0)


def export(
    to: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="New folder, a file a section; else printed.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Print connections, audiences and flows of the database as files that `headrace apply` takes.

    A secret is shown as the reference it was applied with, or as `****`, which keeps what is stored.
    """
    from headrace.bootstrap.control import opened
    from headrace.control.exporting import export_files, text

    with opened(settings_of(data_dir)) as (control, caller):
        found = export_files(control, caller)
    if to is None:
        print(text(found), end="")
        return
    try:
        to.mkdir(parents=True)
    except FileExistsError:
        raise RefusedError(f"{to} exists; choose another folder") from None
    for section, entries in found.items():
        (to / f"{section}.yaml").write_text(text({section: entries}), encoding="utf-8")
    err.print(plain(f"written to {to}"))


def _plan(path: Path, data_dir: Any, *, prune: bool, dry_run: bool) -> Any:
    from headrace.bootstrap.control import opened
    from headrace.control import files as reading
    from headrace.control.applying import apply_files

    entries = reading.read(path)
    with opened(settings_of(data_dir), unbound=True) as (control, caller):
        plan = apply_files(control, caller, entries, prune=prune, dry_run=dry_run)
    if plan.problems:
        lines = [f"  {each.place or f'{each.kind} {each.id}'}: {each.problem}" for each in plan.problems]
        raise RefusedError("nothing was changed; these cannot be applied:\n" + "\n".join(lines))
    return plan


def _show(plan: Any, *, as_json: bool) -> None:
    from headrace.core.times import from_ms

    if as_json:
        print(msgspec.json.encode(plan.steps).decode())
        return
    for step in plan.steps:
        if step.action == "unchanged":
            continue
        sign, style = _SIGNS[step.action]
        words = f"{sign} {step.kind} {step.id}" + (f" ({step.name})" if step.name != step.id else "")
        if step.action == "unmanaged":
            words += ": in the database alone"
        out.print(Text(words, style=style), soft_wrap=True)
        if step.drifted:
            out.print(
                Text(f"    changed in the database by {step.drifted[0]}, {from_ms(step.drifted[1])}", style="dim")
            )
        for each in step.differences:
            change = f"{each.before or '(nothing)'} → {each.after or '(nothing)'}"
            out.print(Text(f"    {each.path}: {change}"), soft_wrap=True)
