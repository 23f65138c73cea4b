"""Use cases: a sandbox's JSON Schema of profiles, by which pickers offer paths and mappings are checked.

It is optional, and refuses nothing: a flow that maps a path which the schema does not know is stored with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core import paths
from headrace.core.report import Report

from . import access
from .access import Caller, Permission
from .problems import Code, problem, refuse
from .resources import Kind, Resource
from .service import Control, body_of, reading, writing
from .store import Reading

__all__ = ["Schema", "delete_schema", "get_schema", "put_schema"]

SCHEMA_ID: Final = "_xdm.context.profile"
"""There is one schema, that of profiles, in each sandbox."""
MOST_PATHS: Final = 5000
MOST_BYTES: Final = 512 * 1024
_DEEPEST: Final = 32
_MOST_NODES: Final = 20_000
_PREFIX: Final = "xdm:"
_COMBINED: Final = ("allOf", "anyOf", "oneOf")
_ALWAYS: Final = ("segmentMembership", "identityMap")
"""Members of every message, whatever a schema says."""
_VIEW: Final = (Permission.VIEW_PROFILES,)


class Schema:
    """A JSON Schema, as far as it says which paths there are.

    ``properties``, ``allOf``, ``anyOf``, ``oneOf`` and ``$ref`` within the document are followed. Below what is
    open (``additionalProperties`` that is true or a schema, ``patternProperties``, a ``$ref`` elsewhere) any path is
    known.

    Args:
        document: The schema; decoded JSON.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._nodes = 0

    def knows(self, steps: Sequence[str]) -> bool:
        """Whether the schema has something at a path, or is open there."""
        here: list[Mapping[str, Any]] = [self._document]
        if steps and steps[0] in _ALWAYS:
            return True
        for step in steps:
            below: list[Mapping[str, Any]] = []
            self._nodes = 0
            for node in self._alternatives(here):
                if _is_open(node):
                    return True
                found = _properties(node).get(step)
                if isinstance(found, Mapping):
                    below.append(found)
                elif found is True:
                    return True
            if not below:
                return False
            here = below
        return True

    def unknown(self, mapped: Sequence[str]) -> list[str]:
        """Those of some mapped paths that the schema does not know."""
        parsed = ((path, paths.parse(path)) for path in mapped)
        return [path for path, steps in parsed if isinstance(steps, tuple) and not self.knows(steps)]

    def leaves(self) -> list[tuple[str, str]]:
        """Paths of everything that is no object, with its type; sorted, at most ``MOST_PATHS``."""
        found: dict[str, str] = {}
        self._nodes = 0
        self._walk([self._document], (), found)
        return sorted(found.items())

    def _walk(self, nodes: Sequence[Mapping[str, Any]], above: tuple[str, ...], found: dict[str, str]) -> None:
        if len(above) > _DEEPEST:
            return
        named: dict[str, list[Mapping[str, Any]]] = {}
        for node in self._alternatives(nodes):
            for name, below in _properties(node).items():
                if isinstance(below, Mapping) and name and (above or name not in _ALWAYS):
                    named.setdefault(name, []).append(below)
        for name, below in named.items():
            if len(found) >= MOST_PATHS or self._nodes >= _MOST_NODES:
                return
            kind = self._kind(below)
            if kind == "object":
                self._walk(below, (*above, name), found)
            else:
                found[paths.dotted((*above, name))] = kind

    def _kind(self, nodes: Sequence[Mapping[str, Any]]) -> str:
        for node in self._alternatives(nodes):
            said = node.get("type")
            said = next((each for each in said if each != "null"), "") if isinstance(said, list) else said
            if isinstance(said, str) and said:
                return said
            if _properties(node):
                return "object"
        return ""

    def _alternatives(self, nodes: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The nodes, and what they refer to and combine; each once, within bounds."""
        waiting, seen = list(reversed(nodes)), set[int]()
        while waiting and self._nodes < _MOST_NODES:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            self._nodes += 1
            yield node
            for name in _COMBINED:
                parts = node.get(name)
                waiting += [each for each in parts if isinstance(each, Mapping)] if isinstance(parts, list) else []
            target = self._referred(node.get("$ref"))
            if target is not None:
                waiting.append(target)

    def _referred(self, reference: Any) -> Mapping[str, Any] | None:
        """What a JSON pointer within the document leads to."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        here: Any = self._document
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            here = here.get(name) if isinstance(here, Mapping) else None
        return here if isinstance(here, Mapping) else None


def _properties(node: Mapping[str, Any]) -> dict[str, Any]:
    found = node.get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {str(name).removeprefix(_PREFIX): each for name, each in found.items()}


def _is_open(node: Mapping[str, Any]) -> bool:
    more, reference = node.get("additionalProperties"), node.get("$ref")
    elsewhere = isinstance(reference, str) and not reference.startswith("#")
    return elsewhere or more is True or isinstance(more, Mapping) or bool(node.get("patternProperties"))


def get_schema(control: Control, caller: Caller) -> dict[str, Any]:
    """The sandbox's schema of profiles; needs View Profiles.

    Raises:
        UseCaseError: 1101-404, there is none.
    """
    with reading(control, caller, *_VIEW) as transaction:
        found = transaction.get(Kind.SCHEMA, caller.scope, SCHEMA_ID)
    if found is None:
        raise problem(Code.NOT_FOUND, "the sandbox has no schema of profiles; send one with PUT")
    return _shown(found)


def put_schema(control: Control, caller: Caller, body: Any) -> dict[str, Any]:
    """Keep a schema in the place of the one before; needs Manage Profiles.

    Args:
        control: The parts.
        caller: Who.
        body: A JSON Schema of an object, with ``properties``.

    Returns:
        As of ``get_schema``, with the number of ``paths``.

    Raises:
        UseCaseError: 1405-400, 3000-400.
    """
    access.require(caller, (Permission.MANAGE_PROFILES,))
    given = body_of(body, body if isinstance(body, Mapping) else ())
    report = Report()
    size_bytes = len(msgspec.json.encode(given))
    if size_bytes > MOST_BYTES:
        report.mistake("", f"has {size_bytes} bytes", f"at most {MOST_BYTES}")
    if given.get("type", "object") != "object":
        report.mistake("type", "must be object: profiles are", "object")
    if not isinstance(given.get("properties", {}), Mapping):
        report.mistake("properties", "must be an object", "name to schema")
    elif not report.mistakes and not Schema(given).leaves():
        report.mistake("properties", "names no attribute", "a JSON Schema with properties, here or by $ref and allOf")
    refuse(report.mistakes)
    with writing(control, caller) as change:
        old = change.transaction.get(Kind.SCHEMA, caller.scope, SCHEMA_ID)
        if old is None:
            new = Resource(kind=Kind.SCHEMA, id=SCHEMA_ID, scope=caller.scope, body={"schema": given})
            made = change.insert(new)
        else:
            made = change.replace(old, msgspec.structs.replace(old, body={"schema": given}))
    return _shown(made)


def delete_schema(control: Control, caller: Caller) -> None:
    """Forget the schema; needs Manage Profiles.

    Raises:
        UseCaseError: 1101-404.
    """
    with writing(control, caller, Permission.MANAGE_PROFILES) as change:
        change.remove(change.found(Kind.SCHEMA, SCHEMA_ID))


def stored_schema(transaction: Reading, caller: Caller) -> Schema | None:
    """The schema of the caller's sandbox, for whoever checks by it."""
    found = transaction.get(Kind.SCHEMA, caller.scope, SCHEMA_ID)
    return None if found is None else Schema(found.body["schema"])


def _shown(resource: Resource) -> dict[str, Any]:
    schema = resource.body["schema"]
    return {
        "schema": schema,
        "paths": len(Schema(schema).leaves()),
        "updatedAt": resource.updated_ms,
        "updatedBy": resource.updated_by,
        "etag": resource.etag,
    }
