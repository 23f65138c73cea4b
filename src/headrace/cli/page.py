"""docs/cli.md, written from the commands themselves; a test holds it current."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

import typer

from headrace.cli.main import app

_HEAD: Final = """\
# Command line

This page is written from the commands' own help (`headrace COMMAND --help`) by `headrace.cli.page`.

After `make run` or `make install` in a clone the command is `.venv/bin/headrace`. To try `headrace run`, there are a
[configuration](samples/kinesis.yaml) and [ten updates](samples/updates.jsonl), two of which are refused.

Options of a command win over [environment variables](settings.md) of the same name.
What is for people goes to standard output as tables, for programs as JSON with `--json`; progress, warnings and
errors go to standard error. Progress is drawn on a terminal only. An error is one message that says what to do; a
traceback of an internal error needs `HEADRACE_LOG_LEVEL=debug`. No secret and no configured key is printed, ever.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | All well. `run`: the input was read to its end, and every export is delivered. |
| 1 | An internal error, or `journal replay` found a difference, or the demo's stream was not what it should be. |
| 2 | A mistake in the call, the configuration or the data folder; nothing was sent. |
| 3 | `run`: all is settled, and there are new dead letters. |
| 4 | `run`: exports are left (see below), or it was stopped before its input's end. `check`: a flow cannot run. |

Exports are left when their flow is disabled, when its destination takes nothing (no permission, no such stream), or
when the time was up. They are stored, and sent by a later run.

## Stopping

The first Ctrl-C (SIGINT), SIGTERM or SIGHUP (a closed terminal) stops gracefully: no more is read, what was
read is decided and stored, and exports are sent for up to `HEADRACE_DRAIN_TIMEOUT_S` seconds. Requests under way then
get five seconds more to be answered. What is left stays in the data folder. The second signal ends the process where
it stands, as a kill does.

After a finished or a graceful stop the next run goes on where this one was and sends nothing twice, unless a request
was still without an answer when its five seconds were over.

## After a kill

A killed process (SIGKILL, power cut, the second signal) loses nothing, and the order of each profile's messages
holds. The next run logs how many exports waited and may be sent again; it sends again at most, for each flow:

- what was in flight: `maxInFlight` requests of `maxRequestRecords` records (32 of 500 by default), and
- what was acknowledged and not stored as settled yet: settlements wait 50 ms at the longest, or for the commit that
  is under way, and are stored together once there are 2,000.

That many of the exports that waited at the start, up to the requests in flight and 4,000, are counted as possible
duplicates (`headrace status`, `headrace_flow_possible_duplicates_total`). A repeat has the same export id and the
same bytes as the first; with `metadata: true` consumers drop it by that id. `tests/e2e/test_kills.py` kills a run
twenty times, at every step between commit and settlement, and holds it to this.
"""


def page() -> str:
    """The page as the commands say it."""
    lines = [_HEAD]
    for name, command in _commands(typer.main.get_command(app), "headrace"):
        lines += [f"## {name}", "", *_paragraphs(command.help or ""), ""]
        options = [p for p in command.params if p.name != "help"]
        if options:
            lines += ["| option | what it is | default |", "| --- | --- | --- |"]
            lines += [_row(option) for option in options]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that people call, with its whole name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part, inner in command.commands.items():
        if not inner.hidden:
            yield from _commands(inner, f"{name} {part}")


def _paragraphs(text: str) -> list[str]:
    return inspect.cleandoc(text).splitlines()


def _row(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    if option.param_type_name == "argument":
        names = [option.metavar or option.name.upper()]
    value = "" if getattr(option, "is_flag", False) else option.metavar or _kind(option)
    shown = ", ".join(f"`{name}`" for name in names) + (f" `{value}`" if value and value not in names else "")
    default = "required" if option.required else "" if option.default in (None, False, "") else f"`{option.default}`"
    return f"| {_cell(shown)} | {_cell(option.help or '')} | {_cell(default)} |"


def _kind(option: Any) -> str:
    """What its value is: the choices, or a kind."""
    annotation = option.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    return {int: "NUMBER", float: "NUMBER"}.get(annotation, "TEXT")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
