"""``headrace journal|ledger|explain``: what came in, what was exported and why, asked of the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from headrace.cli.command import AsJson, DataDir, out, settings_of, time_of
from headrace.errors import RefusedError

journal = typer.Typer(help="The inputs as they came in, and what they come to.")
ledger = typer.Typer(help="Every export that was settled: where it is, and why it was made.")


@journal.command("show")
def journal_show(
    data_dir: DataDir = None,
    first: Annotated[int, typer.Option(min=0, help="Begin with the input of this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many batches.")] = 5,
) -> None:
    """Show inputs as they came in, a JSON object a line: ordinal, time, configuration, kind, source and the input."""
    from headrace import bootstrap
    from headrace.cli.journal import lines

    for line in lines(bootstrap.read_folder(settings_of(data_dir), "journal", first=first, limit=limit), first):
        print(line)


@journal.command("replay")
def journal_replay(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Fold the journal again from nothing, and compare with what is stored. Exits 1 when something differs."""
    from headrace import bootstrap
    from headrace.cli.journal import explain

    found = bootstrap.read_folder(settings_of(data_dir), "replay")
    if as_json:
        print(msgspec.json.encode(found).decode())
    same = explain(None if as_json else out, found)
    raise typer.Exit(0 if same else 1)


def _query(**given: str) -> dict[str, Any]:
    """What was given, as the ledger is asked."""
    query: dict[str, Any] = {name: value for name, value in given.items() if value}
    for name in ("since", "until"):
        if name in query:
            query[f"{name}_ms"] = time_of(query.pop(name), f"--{name}")
    return query


Since = Annotated[str, typer.Option(metavar="TIME", help="Settled then or later.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Settled before.")]
Shard = Annotated[str, typer.Option(metavar="S", help="Written to this shard, or refused by it.")]


@ledger.command("find")
def ledger_find(
    data_dir: DataDir = None,
    export: Annotated[str, typer.Option(metavar="ID", help="The export with this id.")] = "",
    profile: Annotated[str, typer.Option(metavar="ID", help="About this profile.")] = "",
    shard: Shard = "",
    sequence: Annotated[str, typer.Option(metavar="N", help="With this sequence number.")] = "",
    flow: Annotated[str, typer.Option(metavar="ID", help="Of this flow.")] = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find settled exports, the newest first."""
    from headrace import bootstrap
    from headrace.cli.ledger import plain, show

    query = _query(
        export_id=export, profile_id=profile, shard=shard, sequence=sequence, flow=flow, since=since, until=until
    )  # fmt: skip
    found = bootstrap.read_folder(settings_of(data_dir), "ledger", **query, limit=limit)
    if as_json:
        print(msgspec.json.encode([plain(entry) for entry in found]).decode())
    else:
        show(out, found)


@ledger.command("export")
def ledger_export(
    data_dir: DataDir = None,
    to: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="A new file; else printed.")] = None,
    form: Annotated[Literal["jsonl", "parquet"], typer.Option("--format", help="JSON Lines or Parquet.")] = "jsonl",
    profile: Annotated[str, typer.Option(metavar="ID", help="About this profile.")] = "",
    shard: Shard = "",
    flow: Annotated[str, typer.Option(metavar="ID", help="Of this flow.")] = "",
    since: Since = "",
    until: Until = "",
) -> None:
    """Write settled exports to a file, the oldest first. Parquet needs the extra headrace[parquet]."""
    from headrace import bootstrap
    from headrace.cli.ledger import entries, write_lines, write_parquet

    query = _query(profile_id=profile, shard=shard, flow=flow, since=since, until=until)
    if form == "parquet" and to is None:
        raise RefusedError("Parquet is not printed: name a file with --out")
    with bootstrap.reading_folder(settings_of(data_dir)) as asked:
        try:
            found = entries(asked, query)
            count = write_lines(to, found) if to is None or form == "jsonl" else write_parquet(to, found)
        except FileExistsError:
            raise RefusedError(f"{to} exists; choose another file") from None
    if to is not None:
        out.print(f"{count:,} exports are in {to}")


def explain(
    data_dir: DataDir = None,
    export: Annotated[str, typer.Option(metavar="ID", help="The export with this id.")] = "",
    shard: Annotated[str, typer.Option(metavar="S", help="With --sequence: the record at this place.")] = "",
    sequence: Annotated[str, typer.Option(metavar="N", help="Sequence number of the record.")] = "",
    identity: Annotated[str, typer.Option(metavar="NS:ID", help="The last input about this person.")] = "",
    at: Annotated[str, typer.Option(metavar="TIME", help="With --identity: the last input by then.")] = "",
    number: Annotated[
        int | None, typer.Option("--input", metavar="N", min=1, help="The input with this number.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain why an export was made and where it is, or why an input made none.

    Name one of --export, --shard with --sequence, --identity, --input. The page shows, in the order in which one
    would check: the input, the profile before and after, and for each flow the decision, what was in force, the
    message, and the destination's answer.
    """
    from headrace import bootstrap
    from headrace.cli.explain import page

    lone = sum(map(bool, (export, sequence, identity, number))) == 1
    if not lone or (shard and not sequence) or (at and not identity):
        raise RefusedError("name one of --export, --sequence (with --shard), --identity (and --at), --input")
    given: dict[str, Any] = {"export_id": export, "shard": shard, "sequence": sequence, "identity": identity}
    given |= {"ordinal": number or 0} | ({"at_ms": time_of(at, "--at")} if at else {})
    found = bootstrap.read_folder(settings_of(data_dir), "explain", **given)
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    for line in page(found):
        print(line)
