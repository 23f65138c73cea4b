"""``headrace serve``: the engine in this process, the control process beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace import logs
from headrace.cli.command import DataDir, on_signals, run_to_end, say, settings_of, warn
from headrace.settings import Settings


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE",
            help="Configuration file that rules instead of the database (docs/configuration.md).",
        ),
    ] = None,
    data_dir: DataDir = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="FILE|URL",
            help="Read this as well, waiting for more: JSON Lines, kinesis://STREAM, kafka://BROKERS/TOPIC "
            "(docs/sources.md).",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address of the collection listener.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; 0 takes a free one.")] = None,
    api_host: Annotated[str | None, typer.Option(help="Address of the REST API and the console.")] = None,
    api_port: Annotated[int | None, typer.Option(help="Their port; 0 takes a free one.")] = None,
    api: Annotated[bool, typer.Option("--api/--no-api", help="Run the REST API and the console beside it.")] = True,
) -> None:  # fmt: skip
    """Take updates over HTTP and export them until stopped; serve the REST API and the console.

    POST /collection/{inlet} and /collection/batch/{inlet} take updates; GET /healthz, /readyz and /metrics tell
    how it is. Connections, audiences and flows are in the control plane's database, changed by the REST API, in the
    console or by `headrace apply`; each change is in force at once. With --config the file rules instead: it is
    watched, a valid change is in force at once, a wrong one is refused whole, and API and console only show.
    """
    loaded = settings_of(
        data_dir, collection_host=host, collection_port=port, api_host=api_host, api_port=api_port
    )  # fmt: skip
    raise typer.Exit(run_to_end(serve_until_stopped(loaded, config, inputs or [], api=api)))


async def _ready(serving: Any, loaded: Settings) -> None:
    await serving.engine.started.wait()
    logs.get().info("ready", **serving.addresses({}), data_dir=str(loaded.data_dir))


async def serve_until_stopped(
    loaded: Settings, config: Path | None, inputs: list[str], *, api: bool,
    announce: Callable[[Any, Settings], Coroutine[Any, Any, None]] = _ready,
) -> int:  # fmt: skip
    """Serve until a signal stops it.

    Args:
        loaded: The settings.
        config: The configuration file that rules; None when the database does.
        inputs: Read beside the collection.
        api: Run API and console beside it.
        announce: Runs beside it from its start to its stop, with the ``Serving``.

    Returns:
        Exit code.
    """
    from headrace import bootstrap
    from headrace.bootstrap.beside import Beside, check_certificate
    from headrace.bootstrap.control import sealing_keys

    stopped = asyncio.Event()
    configuration = None
    if config is not None:
        configuration = bootstrap.load_configuration(config)
        warn(configuration.warnings)
    check_certificate(
        loaded.collection_certificate, loaded.collection_certificate_key, "HEADRACE_COLLECTION_CERTIFICATE"
    )
    sources = bootstrap.make_inputs(inputs, follow=True)
    with bootstrap.open_state(loaded) as state:
        rules = _rules(loaded, config)
        if api or config is None:
            sealing_keys(loaded)  # unusable ones are told before anything is started
        beside = Beside(loaded, config) if api else None
        try:
            if beside is not None:
                await beside.start()
            on_signals(stopped.set)
            if configuration is None:
                configuration = await rules.first(stopped)
            if configuration is None:
                say("stopped")
                return 0
            farewell = beside.end if beside else _nothing
            serving = bootstrap.Serving(state, configuration, loaded, rules, farewell, sources)
            serving.api = beside.url if beside else ""
            bootstrap.tune_memory()
            tasks = [
                asyncio.create_task(announce(serving, loaded)),
                asyncio.create_task(_stop(stopped, serving)),
            ]
            try:
                report = await serving.run()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)  # what one has on the terminal is cleared before the last words
        finally:
            if beside is not None:
                await beside.end()
    pending = sum(f.pending for f in report.flows)
    say(f"stopped; {pending:,} exports are kept for the next start" if pending else "stopped")
    return 0


def _rules(loaded: Settings, config: Path | None) -> Any:
    if config is not None:
        from headrace.bootstrap import FileRules

        return FileRules(config)
    from headrace.bootstrap.published import DatabaseRules

    return DatabaseRules(loaded)


async def _nothing() -> None:
    """There is no control process to take leave of."""


async def _stop(stopped: asyncio.Event, serving: Any) -> None:
    await stopped.wait()
    serving.engine.stop()


def control_process(
    handle: Annotated[int, typer.Option("--socket", help="Number of the file handle to listen on.")],
    config: Annotated[Path | None, typer.Option("--config", help="Configuration file that rules.")] = None,
) -> None:
    """Serve the REST API and the console; started by `headrace serve`."""
    import socket

    from headrace.bootstrap.control_process import serve as serve_control

    loaded = settings_of(None, told=True)
    with contextlib.closing(socket.socket(fileno=handle)) as listening:
        serve_control(loaded, listening, config, lambda line: print(line, flush=True))
