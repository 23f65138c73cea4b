"""Read the configuration file: audiences, connections and flows as Flow Service resources, checked whole.

Nothing is applied of a file that has a mistake: all mistakes are reported together, each with its place and what is
allowed there. No report, repr or canonical text holds a secret or a value that was referenced.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace import settings
from headrace.core import canonical as _canonical
from headrace.core import compile as _compile
from headrace.core import flow as _flow
from headrace.core.compile import READ_ONLY
from headrace.core.model import DAYS, Lifetimes
from headrace.core.report import Report, shown
from headrace.destinations.base import Spec
from headrace.errors import ConfigurationError, Mistake

from . import connection_rules as rules
from .connection_rules import Target
from .document import Document

ROOT_KEYS: Final = ("settings", "segments", "connections", "targetConnections", "flows")
SETTING_KEYS: Final = (
    *("mergeBy", "maxIdentities", "unstitchableNamespaces"),
    *("validUntil", "externalMembershipDays", "exitedMembershipDays"),
)
MAX_IDENTITIES: Final = 10_000
MAX_DAYS: Final = 3650

SEGMENT_KEYS: Final = ("id", "name", "namespace", "description", "createdAt", "updatedAt")
_SEGMENT_READ_ONLY: Final = READ_ONLY | {
    *("schema", "ttlInDays", "profileInstanceId", "sandbox", "expression", "mergePolicyId", "evaluationInfo"),
    *("dataGovernancePolicy", "creationTime", "updateTime", "updateEpoch", "createEpoch", "audienceId", "type"),
    *("originName", "lifecycleState", "labels", "_etag", "dependents", "dependencies", "isSystem"),
}
_FIRST_MS: Final = 10**11
_LAST_MS: Final = 10**14
"""Epoch milliseconds from 1973 to 5138: seconds given by mistake are below."""


class Configuration(msgspec.Struct, frozen=True):
    """A configuration without mistakes.

    Attributes:
        snapshot: What a step needs.
        targets: Flow id to where its exports go.
        warnings: What is accepted, but is hardly meant.
        canonical: Text of which ``core.flow.compile_canonical`` makes the same snapshot; without secrets.
    """

    snapshot: _flow.Snapshot
    targets: dict[str, Target]
    warnings: list[str]
    canonical: bytes


def load(path: Path, specs: Mapping[str, Spec], environ: Mapping[str, str] | None = None) -> Configuration:
    """Read a configuration file.

    Args:
        path: The file, YAML or JSON.
        specs: Connection spec id to what the destination is.
        environ: Variables for ``${env:NAME}``, instead of the process's environment.

    Raises:
        ConfigurationError: The file cannot be read, or has mistakes.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(mistakes=[Mistake(str(path), f"cannot be read: {error.strerror}")]) from error
    return parse(content, specs, name=path.name, folder=path.parent, environ=environ)


def parse(
    content: bytes,
    specs: Mapping[str, Spec],
    *,
    name: str = "configuration",
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Read a configuration from memory; arguments and errors as of ``load``.

    Args:
        content: The text.
        specs: Connection spec id to what the destination is.
        name: Names the text in mistakes; one that ends in ``.json`` is read as JSON only.
        folder: What paths of ``${file:PATH}`` are relative to; None for the current folder.
        environ: Variables for ``${env:NAME}``.
    """
    document = Document(
        content,
        name=name,
        folder=folder or Path(),
        environ=settings.environment() if environ is None else environ,
    )
    report = document.report
    if report.mistakes and document.root is None:
        raise ConfigurationError(mistakes=document.mistakes())
    if not isinstance(document.root, Mapping):
        report.mistake(name, "is empty" if document.root is None else "must be an object", ", ".join(ROOT_KEYS))
        raise ConfigurationError(mistakes=document.mistakes())
    configuration = _Reader(report, document.root, specs).read(name)
    if report.mistakes:
        raise ConfigurationError(mistakes=document.mistakes())
    return configuration


class _Reader:
    """Reads one document's sections in the order in which they refer to one another."""

    def __init__(self, report: Report, root: Mapping[str, Any], specs: Mapping[str, Spec]) -> None:
        self._report = report
        self._root = root
        self._specs = specs
        self._segments: dict[str, _flow.Segment] = {}
        self._connections: dict[str, Target] = {}
        self._targets: dict[str, Target] = {}

    def read(self, name: str) -> Configuration:
        report, root = self._report, self._root
        report.members(root, "", ROOT_KEYS, ("sourceConnections",))
        if "flows" not in root:
            # A file that was cut off while it was written must not pass for one without flows.
            report.mistake(name, "has no flows", "flows: [] for none")
        for each, at in self._entities("segments"):
            self._segment(each, at)
        for each, at in self._entities("connections"):
            self._connection(each, at)
        for each, at in self._entities("targetConnections"):
            self._target(each, at)
        flows: list[_flow.CompiledFlow] = []
        targets: dict[str, Target] = {}
        for each, at in self._entities("flows"):
            target = self._flow_target(each, at)
            compiled = _compile.compile_flow(
                each,
                segments=self._segments if root.get("segments") is not None else None,
                params=target.params if target else {},
                spec_id=target.spec_id if target else "",
                place=at,
            )
            report.mistakes += compiled.mistakes
            report.warnings += compiled.warnings
            if compiled.flow and target:
                flows.append(compiled.flow)
                targets[compiled.flow.id] = target
        snapshot = _canonical.snapshot(flows, **self._settings())
        return Configuration(snapshot, targets, report.warnings, _canonical.canonical(snapshot))

    def _entities(self, section: str) -> list[tuple[Mapping[str, Any], str]]:
        """Each object of a section with its place; ids are held to be unique."""
        report = self._report
        found: list[tuple[Mapping[str, Any], str]] = []
        seen: dict[str, str] = {}
        value = self._root.get(section)
        if value is not None and not isinstance(value, list):
            report.mistake(section, "must be a list")
            return []
        for index, each in enumerate(value or []):
            at = f"{section}[{index}]"
            if not isinstance(each, Mapping):
                report.mistake(at, "must be an object")
                continue
            if isinstance(each.get("id"), str):
                report.unique(each["id"], seen, f"{at}.id")
            found.append((each, at))
        return found

    def _settings(self) -> dict[str, Any]:
        report, at = self._report, "settings"
        given = report.members(self._root.get("settings"), at, SETTING_KEYS)
        namespaces = []
        for index, each in enumerate(report.elements(given, "unstitchableNamespaces", at)):
            if isinstance(each, str) and each.strip():
                namespaces.append(str(each).strip())
            else:
                report.mistake(f"{at}.unstitchableNamespaces[{index}]", f"{shown(each)} is not a namespace")
        most = report.whole(given, "maxIdentities", at, least=1, most=MAX_IDENTITIES)
        return {
            "merge_by": report.choice(given, "mergeBy", at, ("arrival", "timestamp")),
            "max_identities": 50 if most is None else most,
            "unstitchable": namespaces,
            "lifetimes": self._lifetimes(given, at),
        }

    def _lifetimes(self, given: Mapping[str, Any], at: str) -> Lifetimes:
        report = self._report
        external, exited = (
            report.whole(given, key, at, least=0, most=MAX_DAYS)
            for key in ("externalMembershipDays", "exitedMembershipDays")
        )
        return Lifetimes(
            valid_until=report.choice(given, "validUntil", at, ("obey", "ignore")) == "obey",
            external_days=DAYS if external is None else external,
            exited_days=DAYS if exited is None else exited,
        )

    def _segment(self, given: Mapping[str, Any], at: str) -> None:
        report = self._report
        report.members(given, at, SEGMENT_KEYS, _SEGMENT_READ_ONLY)
        segment_id = report.text(given, "id", at, required=True)
        name = report.text(given, "name", at, required=True)
        report.text(given, "description", at)
        if given.get("expression") is not None:
            report.warn(f"{at}.expression", "is not evaluated: updates state their memberships themselves")
        segment = _flow.Segment(
            id=segment_id,
            name=name,
            namespace=report.text(given, "namespace", at),
            # A segment definition's own names for the same times.
            created_at_ms=self._time(given, "createdAt" if "createdAt" in given else "creationTime", at),
            updated_at_ms=self._time(given, "updatedAt" if "updatedAt" in given else "updateTime", at),
        )
        if segment_id:
            self._segments.setdefault(given["id"], segment)

    def _time(self, given: Mapping[str, Any], key: str, at: str) -> int | None:
        value = given.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and _FIRST_MS <= value < _LAST_MS:
            return value
        self._report.mistake(f"{at}.{key}", f"{shown(value)} is not a time", "milliseconds since 1970: 1767225600000")
        return None

    def _connection(self, given: Mapping[str, Any], at: str) -> None:
        connection_id = self._report.identifier(given, "id", at)
        target = rules.read_connection(self._report, given, at, self._specs)
        if connection_id:
            self._connections.setdefault(given["id"], target)

    def _target(self, given: Mapping[str, Any], at: str) -> None:
        target_id = self._report.identifier(given, "id", at)
        base = self._referred(given, "baseConnectionId", at, self._connections, "connections")
        target = rules.read_target(self._report, given, at, self._specs, base)
        if target_id:
            self._targets.setdefault(given["id"], target)

    def _referred(
        self, given: Mapping[str, Any], key: str, at: str, known: Mapping[str, Target], section: str
    ) -> Target | None:
        """What an id refers to, or None with the mistake noted."""
        if not self._report.text(given, key, at, required=True):
            return None
        return self._found(given[key], f"{at}.{key}", known, section)

    def _found(self, value: Any, at: str, known: Mapping[str, Target], section: str) -> Target | None:
        found = known.get(value) if isinstance(value, str) else None
        if found is None:
            self._report.mistake(at, f"{shown(value)} is not in {section}", ", ".join(map(shown, known)))
        return found

    def _flow_target(self, given: Mapping[str, Any], place: str) -> Target | None:
        report = self._report
        report.elements(given, "sourceConnectionIds", place)
        ids = report.elements(given, "targetConnectionIds", place, required=True)
        if len(ids) != 1:
            if isinstance(given.get("targetConnectionIds"), list):
                report.mistake(f"{place}.targetConnectionIds", f"holds {len(ids)} ids", "exactly one")
            return None
        return self._found(ids[0], f"{place}.targetConnectionIds[0]", self._targets, "targetConnections")
