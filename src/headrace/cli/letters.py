"""``headrace dead-letters``: list them, show one, write them to a file, and replay them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pybase64
import typer

from headrace.cli.command import AsJson, DataDir, err, out, plain, settings_of
from headrace.errors import RefusedError

Kind = Annotated[str, typer.Option(help="Only update or export.")]
Reason = Annotated[str, typer.Option(help="Only with this reason.")]
Flow = Annotated[str, typer.Option(metavar="ID", help="Only of this flow.")]
_AT_ONCE = 1000
_WARNING = (
    "the messages are sent as they were: after newer ones about the same profiles, outside the order per profile, "
    "and with the export ids that they had"
)


app = typer.Typer(help="Updates that were refused, and exports that the destination will never take.")


@app.command("list")
def letters_list(
    data_dir: DataDir = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    kind: Kind = "",
    reason: Reason = "",
    flow: Flow = "",
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first."""
    from headrace import bootstrap
    from headrace.cli.tables import show_letters

    _check(kind)
    found = bootstrap.read_folder(
        settings_of(data_dir), "dead-letters", limit=limit, kind=kind, reason=reason, flow=flow
    )  # fmt: skip
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show_letters(out, found)


@app.command("show")
def letters_show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="From `headrace dead-letters list`.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: reason, place and the original bytes."""
    from headrace import bootstrap

    letter = bootstrap.read_folder(settings_of(data_dir), "dead-letter", id=letter_id)
    if letter is None:
        raise RefusedError(f"there is no dead letter {letter_id}; see: headrace dead-letters list")
    if as_json:
        print(msgspec.json.encode(letter).decode())
        return
    for name in ("id", "kind", "reason", "detail", "place", "source", "flow", "attempts"):
        if letter.get(name):
            out.print(f"{name:9} {plain(str(letter[name]))}", soft_wrap=True)
    content = letter["export"][7] if letter.get("export") else letter.get("body", "")
    out.print("content", style="bold")
    print(pybase64.b64decode(content).decode(errors="backslashreplace"))


@app.command("export")
def export_letters(
    data_dir: DataDir = None,
    to: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="A new file; else printed.")] = None,
    kind: Kind = "",
    reason: Reason = "",
    flow: Flow = "",
) -> None:
    """Write dead letters as JSON Lines, the newest first: reason, place, attempts and the original bytes as text."""
    from headrace import bootstrap

    _check(kind)
    query = {"kind": kind, "reason": reason, "flow": flow}
    encoder = msgspec.json.Encoder()
    count = 0
    with bootstrap.reading_folder(settings_of(data_dir)) as asked, contextlib.ExitStack() as stack:
        try:
            file = sys.stdout.buffer if to is None else stack.enter_context(to.open("xb"))
        except FileExistsError:
            raise RefusedError(f"{to} exists; choose another file") from None
        for letter in _letters(asked, query):
            file.write(encoder.encode(_shown(letter)) + b"\n")
            count += 1
        file.flush()
    if to is not None:
        out.print(f"{count:,} dead letters are in {to}")


def _letters(asked: Callable[..., Any], query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    before = ""
    while found := asked("dead-letters", **query, limit=_AT_ONCE, before=before):
        yield from found
        before = found[-1]["id"]


def _shown(letter: Mapping[str, Any]) -> dict[str, Any]:
    export = letter.get("export")
    content = pybase64.b64decode(export[7] if export else letter.get("body", ""))
    shown = {name: value for name, value in letter.items() if name not in ("export", "body")}
    if export:
        shown |= {"profile_id": export[1], "export_id": export[2], "seq": export[3], "key": export[6]}
    return {**shown, "content": content.decode(errors="backslashreplace")}


@app.command("replay")
def replay_letters(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Which; else all of the options.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Configuration file, when no process holds the folder."),
    ] = None,
    data_dir: DataDir = None,
    kind: Kind = "",
    reason: Reason = "",
    flow: Flow = "",
    every: Annotated[bool, typer.Option("--all", help="All there are; needed when nothing else is named.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    original: Annotated[
        bool,
        typer.Option("--original", help="Send the messages of exports as they were, instead of the present state."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay dead letters: decide updates again, and export the present state of the profiles of exports.

    What comes through is no dead letter any more. Exports get new ids and the cause replay; with --original they are
    the bytes that were kept, with the cause original, outside the order of their profile.
    """
    from headrace import bootstrap

    _check(kind)
    if not (ids or kind or reason or flow or every):
        raise RefusedError("name dead letters by id, by --kind, --reason or --flow, or take --all")
    if original and not dry_run:
        err.print(f"[yellow]warning:[/yellow] {_WARNING}", soft_wrap=True)
        if not yes and not typer.confirm("Send them?", err=True):
            raise typer.Exit(2)
    wanted = {"kind": kind, "reason": reason, "flow": flow}
    answer = bootstrap.act(
        settings_of(data_dir), config, "dead-letter-replay", ids=ids or None, filter=wanted, dry_run=dry_run,
        original=original, wait=not dry_run,
    )  # fmt: skip
    if as_json:
        print(msgspec.json.encode(answer).decode())
        return
    if dry_run:
        out.print(f"{answer['updates']:,} updates and {answer['exports']:,} exports would be replayed")
    else:
        for line in _told(answer):
            out.print(line)
    for why, count in sorted(answer["left"].items()):
        out.print(f"{count:,} stay: {_LEFT[why]}")


def _told(answer: Mapping[str, Any]) -> Iterator[str]:
    updates, exports, decided = answer["updates"], answer["exports"], answer["decided"]
    if updates:
        known = decided["applied"] + decided["refused"]
        yield (
            f"{known:,} updates decided again: {decided['applied']:,} applied, "
            f"{decided['refused']:,} refused again (they stay dead letters)"
        )
        if known < updates:
            yield f"{updates - known:,} more updates are under way; what stays: headrace dead-letters list"
    if exports or not updates:
        yield f"{exports:,} exports are replayed"


_LEFT = {
    "truncated": "only the first 64 KiB of the update were kept",
    "flow-gone": "their flow is not in the configuration",
    "profile-gone": "their profile was deleted, or joined another",
}


def _check(kind: str) -> None:
    if kind not in ("", "update", "export"):
        raise RefusedError(f"--kind {kind} is not allowed (allowed: update, export)")
