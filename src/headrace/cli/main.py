"""The command ``headrace``: run, check, status, backup, restore, demo; the others are in the rooms beside this.

Exit codes: 0 all well; 1 an unexpected failure; 2 a mistake in the call, the configuration or the data folder;
3 dead letters were made; 4 exports or input are left: a flow is paused, the time was up, or it was stopped.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import typer

from headrace import __version__, settings
from headrace.cli import accounts, alerts, backfill, files, flows, letters, preview, profiles, questions, serve
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
    warn,
)
from headrace.errors import CheckError, HeadraceError, RefusedError, StateError

RUN: Final = "Run"
CHANGE: Final = "Change what is exported"
LOOK: Final = "See what happened, and why"
KEEP: Final = "Back up, and the version"
WHO: Final = "Who may do what"

app = typer.Typer(
    name="headrace",
    help="Stream the profiles of chosen audiences to Amazon Kinesis Data Streams as JSON, in real time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Start with: headrace demo",
)


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


@app.command(rich_help_panel=RUN)
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


@app.command(rich_help_panel=RUN)
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


@app.command(rich_help_panel=RUN)
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


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=KEEP)
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to make; it must not exist.")],
    data_dir: DataDir = None,
) -> None:
    """Back the data folder up into one file, while it is in use or not. It is as secret as the folder."""
    from headrace import bootstrap

    made = bootstrap.read_folder(settings_of(data_dir), "backup", file=str(file.resolve()))
    out.print(f"{made['keys']:,} keys are in {file}; what is committed from now on is not")


@app.command(rich_help_panel=KEEP)
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From `headrace backup`.")],
    data_dir: DataDir = None,
) -> None:
    """Make an empty data folder of a backup. Exports that were pending in it are sent when Headrace runs on it."""
    from headrace import bootstrap

    loaded = settings_of(data_dir)
    made = bootstrap.restore_folder(loaded, file)
    out.print(f"{made.keys:,} keys are in {loaded.data_dir}")


app.command(rich_help_panel=RUN)(serve.serve)
app.command("control-process", hidden=True)(serve.control_process)
app.command(rich_help_panel=CHANGE)(files.apply)
app.command(rich_help_panel=CHANGE)(files.diff)
app.command(rich_help_panel=CHANGE)(files.export)
app.command(rich_help_panel=CHANGE)(preview.preview)
app.command(rich_help_panel=LOOK)(questions.explain)
app.command("sign-in-link", rich_help_panel=WHO)(accounts.sign_in_link)
for _name, _group, _panel in (
    ("flows", flows.app, CHANGE),
    ("backfill", backfill.app, CHANGE),
    ("ledger", questions.ledger, LOOK),
    ("journal", questions.journal, LOOK),
    ("dead-letters", letters.app, LOOK),
    ("profiles", profiles.app, LOOK),
    ("alerts", alerts.app, LOOK),
    ("clients", accounts.clients, WHO),
    ("users", accounts.users, WHO),
    ("roles", accounts.roles, WHO),
):
    app.add_typer(_group, name=_name, no_args_is_help=True, rich_help_panel=_panel)


@app.command(rich_help_panel=KEEP)
def version() -> None:
    """Print the version, and whether the core is compiled."""
    from headrace import bootstrap

    print(f"headrace {__version__} ({'compiled' if bootstrap.compiled() else 'plain Python'} core)")
