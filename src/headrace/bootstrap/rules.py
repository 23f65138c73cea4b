"""Which flows the engine runs, and how it learns of a change: from a configuration file, or from the database.

Whatever cannot be read or has a mistake changes nothing: the former configuration stays in force, and it is logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from headrace import logs
from headrace.control.configuration import Configuration
from headrace.errors import ConfigurationError
from headrace.runtimes.embedded.engine import Engine

from .flows import load_configuration, targets


class Rules(Protocol):
    """Which flows there are."""

    async def keep(self, engine: Engine, stopped: asyncio.Event) -> None:
        """Put each change in force until stopped."""
        ...

    async def configure(self, engine: Engine) -> dict[str, Any]:
        """Look again, and put in force what has changed.

        Returns:
            ``configuration`` (its version), ``flows`` (how many), ``changed``.

        Raises:
            RefusedError: There are mistakes; nothing has changed.
            StateError: It cannot be read; nothing has changed.
        """
        ...


async def put_in_force(changed: Configuration, engine: Engine) -> bool:
    """Let the engine run another configuration; True when it differed."""
    wanted = targets(changed)
    here = {flow_id: flow.target for flow_id, flow in engine.flows.items()}
    if changed.snapshot.version == engine.in_force.configured.version and here == {
        flow_id: each.identity for flow_id, each in wanted.items()
    }:
        return False
    await engine.reconfigure(changed.snapshot, wanted)
    return True


def said(engine: Engine, *, changed: bool) -> dict[str, Any]:
    """What ``Rules.configure`` answers."""
    return {"configuration": engine.snapshot.version, "flows": len(engine.snapshot.flows), "changed": changed}


class FileRules:
    """A configuration file rules.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def keep(self, engine: Engine, stopped: asyncio.Event) -> None:
        """See ``Rules``: the file's folder is watched."""
        import watchfiles

        async for _ in watchfiles.awatch(self._path.parent, stop_event=stopped, recursive=False):
            await self._look(engine)

    async def _look(self, engine: Engine) -> None:
        log = logs.get(file=str(self._path))
        try:
            found = await self.configure(engine)
        except ConfigurationError as error:
            log.error(
                "configuration refused, the former one stays in force", mistakes=[str(m) for m in error.mistakes]
            )
            return
        if found["changed"]:
            log.info("configuration in force", version=found["configuration"], flows=found["flows"])

    async def configure(self, engine: Engine) -> dict[str, Any]:
        """See ``Rules``."""
        return said(engine, changed=await put_in_force(load_configuration(self._path), engine))


def answers(rules: Rules, engine: Engine) -> Mapping[str, Any]:
    """The request ``configure``, for the socket."""
    return {"configure": lambda _: rules.configure(engine)}
