"""Flows and where they go: configurations read, connections checked, writers made."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from headrace.control import configuration as configurations
from headrace.control.configuration import Configuration
from headrace.destinations import registry
from headrace.destinations.base import Check, Destination, Spec, Writer
from headrace.errors import ConfigurationError, Mistake, RefusedError
from headrace.runtimes.embedded.running import Target


def specs() -> dict[str, Spec]:
    """What every destination is, by connection spec id."""
    return {spec_id: destination.spec for spec_id, destination in registry.destinations().items()}


def load_configuration(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigurationError: With every mistake.
    """
    configuration = configurations.load(path, specs())
    check_targets(configuration)
    return configuration


def check_targets(configuration: Configuration) -> None:
    """Refuse what the destinations find wrong between the parameters of a flow's connections.

    Raises:
        ConfigurationError: With every mistake.
    """
    mistakes = [
        Mistake(f"flow {flow_id}: {m.place}", m.problem, m.allowed)
        for flow_id, target in configuration.targets.items()
        for m in _destination(target.spec_id).mistakes(target.revealed(), target.params)
    ]
    if mistakes:
        raise ConfigurationError(mistakes=mistakes)


def targets(configuration: Configuration) -> dict[str, Target]:
    """How to open each flow's writer; the identity tells whether a changed configuration needs another one."""
    found: dict[str, Target] = {}
    for flow_id, target in configuration.targets.items():
        destination = _destination(target.spec_id)
        auth, params = target.revealed(), dict(target.params)
        identity = hashlib.blake2b(
            msgspec.msgpack.encode([target.spec_id, sorted(auth.items()), sorted(params.items())])
        ).digest()

        def opened(
            destination: Destination = destination, auth: dict[str, Any] = auth, params: dict[str, Any] = params
        ) -> Writer:
            return destination.writer(auth, params)

        found[flow_id] = Target(identity, opened, f"{target.spec_id}\0{destination.place(auth, params)}")
    return found


def _destination(spec_id: str) -> Destination:
    found = registry.find(spec_id)
    if found is None:
        raise RefusedError(f"no destination has the connection spec id {spec_id}")
    return found


async def check_flows(configuration: Configuration, only: str = "") -> dict[str, Check]:
    """Check each flow's connection; nothing is written.

    Args:
        configuration: Whose flows.
        only: One flow's id; empty for all.
    """
    chosen = {i: t for i, t in configuration.targets.items() if not only or i == only}
    checks = await asyncio.gather(
        *(_destination(t.spec_id).check(t.revealed(), t.params) for t in chosen.values())
    )  # fmt: skip
    return dict(zip(chosen, checks, strict=True))
