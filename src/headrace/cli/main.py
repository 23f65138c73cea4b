"""The command ``headrace``: run, serve, check, demo, status, dead-letters, journal.

Exit codes: 0 all well; 1 an unexpected failure; 2 a mistake in the call, the configuration or the data folder;
3 dead letters were made; 4 exports or input are left: a flow is paused, the time was up, or it was stopped.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pybase64
import typer

from headrace import __version__, settings
from headrace.cli import accounts, alerts, backfill, files, flows, preview, profiles, serve
from headrace.cli import letters as dead_letters
from headrace.cli.command import (
    LEFT,
    AsJson,
    Config,
    DataDir,
    err,
    on_signals,
    out,
    plain,
    run_to_end,
    settings_of,
    time_of,
    warn,
)
from headrace.errors import CheckError, HeadraceError, RefusedError, StateError

app = typer.Typer(
    name="headrace",
    help="Stream the profiles of chosen audiences to Amazon Kinesis Data Streams as JSON, in real time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Start with: headrace demo",
)
letters = typer.Typer(help="Updates that were refused, and exports that the destination will never take.")
journal = typer.Typer(help="The inputs as they came in, and what they come to.")
app.add_typer(letters, name="dead-letters", no_args_is_help=True)
app.add_typer(journal, name="journal", no_args_is_help=True)
ledger = typer.Typer(help="Every export that was settled: where it is, and why it was made.")
app.add_typer(ledger, name="ledger", no_args_is_help=True)
app.add_typer(alerts.app, name="alerts", no_args_is_help=True)


def main() -> None:
    """Run the command; every error of ours becomes one message and an exit code, never a traceback."""
    try:
        app()
    except (RefusedError, StateError, CheckError) as error:
        err.print(f"[red]error:[/red] {plain(str(error))}", soft_wrap=True)
        sys.exit(2)
    except HeadraceError as error:
        err.print(f"[red]error:[/red] {plain(str(error))}", soft_wrap=True)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: its words may hold a profile's values
        _report_bug(error)
        sys.exit(1)


def _report_bug(error: Exception) -> None:
    """Say where our mistake is, without the error's words: they may hold values, and need the log level debug."""
    if settings.load().log_level == "debug":
        err.print_exception()
        return
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name} line {frame.lineno}"
    err.print(
        f"[red]error:[/red] internal error, please report it: {type(error).__name__} in {where} "
        "(HEADRACE_LOG_LEVEL=debug shows all of it)", soft_wrap=True,
    )  # fmt: skip


@app.command()
def run(
    config: Config,
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|-|URL",
            help="JSON Lines, plain or gzip; - is standard input; kinesis://STREAM, kafka://BROKERS/TOPIC "
            "(docs/sources.md).",
        ),
    ],
    data_dir: DataDir = None,
    follow: Annotated[bool, typer.Option(help="Wait for more at the end, like tail -F.")] = False,
    start: Annotated[
        Literal["resume", "start", "end"],
        typer.Option(
            "--from",
            help="Where to start in an input: resume after what was read before, at its start, or at its end.",
        ),
    ] = "resume",
    from_start: Annotated[bool, typer.Option("--from-start", help="Short for --from start.")] = False,
    from_end: Annotated[bool, typer.Option("--from-end", help="Short for --from end.")] = False,
    drain_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Longest wait for exports after the input's end; else no end."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
) -> None:
    """Read updates to their end, export what they come to, and exit when all of it is settled.

    Exits 0 when all was delivered, 3 when there are new dead letters, 4 when exports are left (a flow is paused,
    or the time was up) or it was stopped before the end of the input.
    Run again after a finished or stopped run it reads on where it was and sends nothing twice.
    """
    from headrace import bootstrap
    from headrace.cli.run import Run

    loaded = settings_of(data_dir)
    configuration = bootstrap.load_configuration(config)
    warn(configuration.warnings)
    where = _start(start, from_start=from_start, from_end=from_end)
    sources = bootstrap.make_inputs(inputs, follow=follow, begin=where)

    work = Run(out, err, drain_timeout_s=drain_timeout, follow=follow, quiet=quiet)
    raise typer.Exit(run_to_end(work.run(loaded, configuration, sources, on_signals)))


Start = Literal["resume", "start", "end"]


def _start(given: Start, *, from_start: bool, from_end: bool) -> Start:
    chosen: set[Start] = {given} - {"resume"}
    chosen |= {"start"} if from_start else set()
    chosen |= {"end"} if from_end else set()
    if len(chosen) > 1:
        raise RefusedError("--from, --from-start and --from-end contradict each other; give one of them")
    return next(iter(chosen), "resume")


app.command()(serve.serve)
app.command("control-process", hidden=True)(serve.control_process)
app.add_typer(backfill.app, name="backfill", no_args_is_help=True)
letters.command("export")(dead_letters.export_letters)
letters.command("replay")(dead_letters.replay_letters)
app.add_typer(profiles.app, name="profiles", no_args_is_help=True)
app.add_typer(flows.app, name="flows", no_args_is_help=True)
app.add_typer(accounts.clients, name="clients", no_args_is_help=True)
app.add_typer(accounts.users, name="users", no_args_is_help=True)
app.add_typer(accounts.roles, name="roles", no_args_is_help=True)
app.command("sign-in-link")(accounts.sign_in_link)
app.command()(preview.preview)
app.command()(files.apply)
app.command()(files.diff)
app.command()(files.export)


@app.command()
def check(
    config: Config,
    flow: Annotated[str, typer.Option(metavar="ID", help="Only this flow.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check a configuration: its mistakes, then each flow's connection and permissions. Nothing is written.

    Exits 0 when every flow can run, 2 when the configuration has mistakes, 4 when a flow cannot run.
    """
    from headrace import bootstrap
    from headrace.cli.tables import show_check

    configuration = bootstrap.load_configuration(config)
    warn(configuration.warnings)
    if flow and flow not in configuration.targets:
        raise RefusedError(f"there is no flow {flow}; flows: {', '.join(configuration.targets)}")
    checks = run_to_end(bootstrap.check_flows(configuration, flow))
    if as_json:
        print(msgspec.json.encode(checks).decode())
    else:
        for flow_id, found in checks.items():
            show_check(out, flow_id, configuration.snapshot.by_id[flow_id].name, found)
        good = sum(c.ok for c in checks.values())
        out.print(f"{good} of {len(checks)} flows can run")
    raise typer.Exit(0 if all(c.ok for c in checks.values()) else LEFT)


@app.command()
def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the totals of a data folder, whether or not a process holds it."""
    from headrace import bootstrap
    from headrace.cli.tables import show_totals
    from headrace.runtimes.base import FlowReport
    from headrace.state.records import Totals

    answer = bootstrap.read_folder(settings_of(data_dir), "status")
    if as_json:
        print(msgspec.json.encode(answer).decode())
        return
    show_totals(
        out, msgspec.convert(answer["totals"], Totals), msgspec.convert(answer["flows"], list[FlowReport])
    )  # fmt: skip


@letters.command("list")
def letters_list(
    data_dir: DataDir = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    kind: Annotated[str, typer.Option(help="Only update or export.")] = "",
    reason: Annotated[str, typer.Option(help="Only with this reason.")] = "",
    flow: Annotated[str, typer.Option(metavar="ID", help="Only of this flow.")] = "",
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first."""
    from headrace import bootstrap
    from headrace.cli.tables import show_letters

    if kind not in ("", "update", "export"):
        raise RefusedError(f"--kind {kind} is not allowed (allowed: update, export)")
    found = bootstrap.read_folder(
        settings_of(data_dir), "dead-letters", limit=limit, kind=kind, reason=reason, flow=flow
    )  # fmt: skip
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show_letters(out, found)


@letters.command("show")
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


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to make; it must not exist.")],
    data_dir: DataDir = None,
) -> None:
    """Back the data folder up into one file, while it is in use or not. It is as secret as the folder."""
    from headrace import bootstrap

    made = bootstrap.read_folder(settings_of(data_dir), "backup", file=str(file.resolve()))
    out.print(f"{made['keys']:,} keys are in {file}; what is committed from now on is not")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From `headrace backup`.")],
    data_dir: DataDir = None,
) -> None:
    """Make an empty data folder of a backup. Exports that were pending in it are sent when Headrace runs on it."""
    from headrace import bootstrap

    loaded = settings_of(data_dir)
    made = bootstrap.restore_folder(loaded, file)
    out.print(f"{made.keys:,} keys are in {loaded.data_dir}")


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


@app.command()
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


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="The short form, also on a terminal.")] = False,
    profiles: Annotated[int, typer.Option(min=1, max=1_000_000, help="People in the sample.")] = 5000,
    seed: Annotated[int, typer.Option(help="Other seeds give other people.")] = 1,
    rate: Annotated[
        int | None, typer.Option(min=1, help="Updates a second; when absent 25, in the short form 1500.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what an earlier demo left, and begin anew.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Try everything without an account: the whole product on a local Kinesis, with people who come and go.

    On a terminal it serves API and console until Ctrl-C, and prints a link that signs in. Started again it goes on
    where it was, with a new local Kinesis; its data lie in the folder demo of the data folder. The short form, which
    is also that without a terminal, sends one sample, reads its messages back from the stream, shows some, and ends;
    it begins anew each time, in the folder demo-once.
    """
    loaded = settings_of(data_dir)
    if once or not out.is_terminal:
        from headrace.cli.demo import run_demo

        raise typer.Exit(run_demo(out, loaded, profiles=profiles, seed=seed, rate=rate or 1500))
    from headrace.cli.demo_service import RATE, run_service

    raise typer.Exit(run_service(out, loaded, profiles=profiles, seed=seed, rate=rate or RATE, fresh=fresh))


@app.command()
def version() -> None:
    """Print the version, and whether the core is compiled."""
    from headrace import bootstrap

    print(f"headrace {__version__} ({'compiled' if bootstrap.compiled() else 'plain Python'} core)")
