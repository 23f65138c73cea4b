"""``headrace profiles``: what is held about a person, and its deletion."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from headrace.cli.command import AsJson, DataDir, out, plain, settings_of, show_table
from headrace.core.times import from_ms
from headrace.errors import RefusedError

app = typer.Typer(help="What is held about a person, and its deletion.")

Who = Annotated[str, typer.Argument(metavar="NS:ID", help="One identity of the person.")]
_WAIT_S = 0.2


def _named(who: str) -> dict[str, str]:
    namespace, _, key = who.partition(":")
    if not namespace or not key:
        raise RefusedError(f"an identity is namespace:id, not {who}")
    return {"namespace": namespace.lower(), "id": key}


def _asked(data_dir: Path | None, request: str, who: str) -> Any:
    from headrace import bootstrap

    found = bootstrap.read_folder(settings_of(data_dir), request, **_named(who))
    if found is None:
        raise RefusedError(f"no profile has the identity {who}")
    return found


@app.command()
def show(who: Who, data_dir: DataDir = None) -> None:
    """Show a profile as JSON: identities, attributes, memberships, and what each flow was told."""
    print(msgspec.json.format(msgspec.json.encode(_asked(data_dir, "profile", who))).decode())


@app.command()
def export(
    who: Who,
    to: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="A new file; else printed.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write everything that is held about a person as JSON: profile, inputs, exports, dead letters."""
    content = msgspec.json.format(msgspec.json.encode(_asked(data_dir, "profile-held", who)))
    if to is None:
        print(content.decode())
        return
    try:
        with to.open("xb") as file:
            file.write(content + b"\n")
    except FileExistsError:
        raise RefusedError(f"{to} exists; choose another file") from None
    out.print(f"it is in {plain(str(to))}")


@app.command()
def unlink(who: Who, data_dir: DataDir = None) -> None:
    """Take an identity off a profile that it was joined to by mistake; prints what is left of the profile.

    An update about the identity makes a profile of its own then. Attributes and memberships stay where they are.
    """
    print(msgspec.json.format(msgspec.json.encode(_asked(data_dir, "profile-unlink", who))).decode())


@app.command()
def deletions(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Only this one, such as d1.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the deletions of profiles, the last 100 that are done among them: how far each is. They name nobody."""
    from headrace import bootstrap

    found = bootstrap.read_folder(settings_of(data_dir), "profile-deletions", run=run)
    if run is not None and not found:
        raise RefusedError(f"there is no deletion {run}; headrace profiles deletions lists them")
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    if not found:
        out.print("nothing was deleted")
        return
    table = Table(box=None)
    for heading in ("deletion", "state", "asked", "done", "waits for", "last messages", "erased"):
        table.add_column(heading, overflow="fold")
    for each in found:
        asked, done = (from_ms(each[name]) if each[name] else "" for name in ("asked_ms", "done_ms"))
        lasts = ", ".join(f"{flow_id}: {export_id}" for flow_id, export_id in each["exports"].items())
        erased = ", ".join(f"{what} {count:,}" for what, count in each["erased"].items())
        table.add_row(
            each["run"], each["state"], asked, done, plain(", ".join(each["waits_for"])), plain(lasts), erased
        )
    show_table(out, table)


@app.command()
def delete(
    who: Who,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Configuration file, when no process holds the folder."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete a profile with everything that is kept of it: identities, inputs, ledger entries, dead letters.

    What waits to be sent about it is given up. Flows with onDelete: exit send one last message.
    """
    from headrace import bootstrap

    named = _named(who)
    if not yes and not typer.confirm(f"Delete the profile of {who}?", err=True):
        raise typer.Exit(2)
    loaded = settings_of(data_dir)
    report = bootstrap.act(loaded, config, "profile-delete", **named)
    while wait and config is None and report["state"] != "done":
        time.sleep(_WAIT_S)
        (report,) = bootstrap.act(loaded, None, "profile-deletions", run=report["run"])
    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    out.print(f"deletion {report['run']} is {report['state']}")
    if report["state"] != "done":
        out.print(f"how far it is: headrace profiles deletions {report['run']}")
    for flow_id, export_id in report["exports"].items():
        out.print(f"the last message of flow {plain(flow_id)} is export {export_id}")
