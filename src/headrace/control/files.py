"""Connections, audiences and flows as files: read together from a folder, and each in a form that can be compared.

The form is the configuration file's: sections ``segments``, ``connections``, ``sourceConnections``,
``targetConnections`` and ``flows``, each entry the resource with an ``id``. The id is that of the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace import settings
from headrace.core.compile import FLOW_SPEC_ID, FLOW_SPEC_VERSION, READ_ONLY
from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.core.report import Referenced, shown
from headrace.errors import ConfigurationError, Mistake

from . import compiling
from .catalog import PROFILE_SERVICE_ID
from .document import Document
from .file_records import SOURCE_ID
from .resources import MASK, Kind, Resource
from .segment_shapes import ORIGINS

SECTIONS: Final = {
    "segments": Kind.SEGMENT,
    "connections": Kind.CONNECTION,
    "sourceConnections": Kind.SOURCE,
    "targetConnections": Kind.TARGET,
    "flows": Kind.FLOW,
}
"""Sections in the order in which their entries refer to one another."""
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_GENERATED: Final = ("createTime", "updateTime")
_DROPPED: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.SEGMENT: READ_ONLY
    | {"creationTime", "updateTime", "updateEpoch", "createEpoch", "_etag", "profileInstanceId", "sandbox", "type"},
    Kind.CONNECTION: READ_ONLY | {"headrace"},
    Kind.SOURCE: READ_ONLY | {"typeInfo"},
    Kind.TARGET: READ_ONLY,
    Kind.FLOW: READ_ONLY | {"runs", "lastOperation", "lastRunDetails"},
}
_DEFAULTS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    Kind.SEGMENT: {
        "originName": ORIGINS[:2],
        "evaluationInfo": (
            {"batch": {"enabled": False}, "continuous": {"enabled": True}, "synchronous": {"enabled": False}},
        ),
    },
    Kind.CONNECTION: {},
    Kind.SOURCE: {"data": ({"format": "json"},), "params": ({},)},
    Kind.TARGET: {"data": ({"format": "json"},)},
    Kind.FLOW: {},
}
"""Values that mean the same as nothing."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of the files.

    Attributes:
        kind: What it is.
        id: Its id.
        place: File and place, for mistakes.
        document: It, in the form that is compared; secrets and references resolved.
        references: Parameter of the account to the reference that stands in the file: ``${env:NAME}``.
    """

    kind: Kind
    id: str
    place: str
    document: dict[str, Any]
    references: dict[str, str] = {}


def read(path: Path, environ: Mapping[str, str] | None = None) -> list[Entry]:
    """Read a file, or every YAML and JSON file of a folder, as one.

    Args:
        path: File or folder.
        environ: Variables for ``${env:NAME}``, instead of the process's environment.

    Raises:
        ConfigurationError: Something cannot be read, is no resource, or is there twice; every place is listed.
    """
    files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES) if path.is_dir() else [path]
    mistakes: list[Mistake] = []
    found: list[Entry] = []
    if not files:
        mistakes.append(Mistake(str(path), "holds no files", ", ".join(f"*{each}" for each in _SUFFIXES)))
    for file in files:
        _read_file(file, settings.environment() if environ is None else environ, found, mistakes)
    seen: dict[tuple[Kind, str], str] = {}
    for entry in found:
        key = (entry.kind, entry.id)
        if key in seen:
            mistakes.append(Mistake(entry.place, f"has the id of {seen[key]}"))
        seen.setdefault(key, entry.place)
    if mistakes:
        raise ConfigurationError(mistakes=mistakes)
    _complete(found)
    return sorted(found, key=lambda each: list(SECTIONS.values()).index(each.kind))


def _read_file(file: Path, environ: Mapping[str, str], found: list[Entry], mistakes: list[Mistake]) -> None:
    try:
        content = file.read_bytes()
    except OSError as error:
        mistakes.append(Mistake(str(file), f"cannot be read: {error.strerror}"))
        return
    document = Document(content, name=file.name, folder=file.parent, environ=environ)
    root = document.root if document.root is not None else {}
    if not isinstance(root, Mapping):
        mistakes.append(Mistake(file.name, "must be an object", ", ".join(SECTIONS)))
        return
    report = document.report
    report.members(root, "", (*SECTIONS, "settings"))
    for section, kind in SECTIONS.items():
        if root.get(section) is not None and not isinstance(root[section], list):
            report.mistake(section, "must be a list")
            continue
        for index, each in enumerate(root.get(section) or ()):
            at = f"{section}[{index}]"
            if not isinstance(each, Mapping):
                report.mistake(at, "must be an object")
            elif report.identifier(each, "id", at):
                found.append(_entry(kind, each, f"{file.name}: {at}"))
    mistakes += [each._replace(place=f"{file.name}: {each.place}") for each in document.mistakes()]


def _entry(kind: Kind, given: Mapping[str, Any], place: str) -> Entry:
    params = (given.get("auth") or {}).get("params") if isinstance(given.get("auth"), Mapping) else None
    references = {
        name: value.reference
        for name, value in (params.items() if isinstance(params, Mapping) else ())
        if isinstance(value, Referenced)
    }
    document = {name: _plain(value) for name, value in given.items() if name not in _DROPPED[kind]}
    entry_id = str(document.pop("id"))
    return Entry(kind=kind, id=entry_id, place=place, document=canonical(kind, document), references=references)


def _plain(value: Any) -> Any:
    """A copy with plain texts in the place of those that were referred to."""
    return msgspec.json.decode(msgspec.json.encode(_unreferenced(value)))


def _unreferenced(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unreferenced(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_unreferenced(each) for each in value]
    return "".join(value) if isinstance(value, Referenced) else value


def _complete(found: list[Entry]) -> None:
    """What the configuration file may leave out: where a flow begins, and the spec of a target."""
    specs = {each.id: each.document.get("connectionSpec") for each in found if each.kind is Kind.CONNECTION}
    ids = {(each.kind, each.id) for each in found}
    wanted = False
    for each in found:
        if each.kind is Kind.FLOW and not each.document.get("sourceConnectionIds"):
            each.document["sourceConnectionIds"] = [SOURCE_ID]
            wanted = True
        if each.kind is Kind.TARGET and "connectionSpec" not in each.document:
            base = specs.get(str(each.document.get("baseConnectionId")))
            if base is not None:
                each.document["connectionSpec"] = base
    if wanted and (Kind.SOURCE, SOURCE_ID) not in ids:
        document = {"name": "Profiles", "connectionSpec": {"id": PROFILE_SERVICE_ID, "version": "1.0"}}
        found.append(Entry(kind=Kind.SOURCE, id=SOURCE_ID, place="sourceConnections", document=document))


def stored(resource: Resource, secrets: Mapping[str, str]) -> dict[str, Any]:
    """A record in the form that is compared.

    Args:
        resource: The record.
        secrets: What stands for each of its secrets.
    """
    document = _plain({name: each for name, each in resource.body.items() if name not in _DROPPED[resource.kind]})
    if secrets and "auth" in document:
        document["auth"]["params"] = {**document["auth"].get("params", {}), **secrets}
    if resource.kind in (Kind.CONNECTION, Kind.FLOW):
        document["state"] = resource.state
    if resource.kind is Kind.SEGMENT:
        document["lifecycleState"] = resource.state
    return canonical(resource.kind, document)


def canonical(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """The document without what means the same as nothing, and without what the control plane puts in."""
    made = {name: each for name, each in document.items() if each is not None and each not in _default(kind, name)}
    match kind:
        case Kind.SEGMENT:
            made.setdefault("namespace", PLATFORM_NAMESPACE)
            _drop(made, "lifecycleState", "published")
        case Kind.CONNECTION:
            _drop(made, "state", "enabled")
            if isinstance(made.get("auth"), dict):
                made["auth"].pop("authorizedDate", None)
        case Kind.FLOW:
            _drop(made, "state", "enabled")
            made.setdefault("flowSpec", {"id": FLOW_SPEC_ID, "version": FLOW_SPEC_VERSION})
            for value in compiling.selectors(made):
                for name in _GENERATED:
                    value.pop(name, None)
        case _:
            _drop(made, "state", "enabled")
    for name in ("connectionSpec", "flowSpec"):
        if isinstance(made.get(name), dict):
            made[name] = {"version": "1.0", **made[name]} | {"version": str(made[name].get("version", "1.0"))}
    if made.get("description") == "":
        del made["description"]
    return made


def _default(kind: Kind, name: str) -> Any:
    return _DEFAULTS[kind].get(name, ())


def _drop(document: dict[str, Any], name: str, default: Any) -> None:
    if document.get(name) == default:
        del document[name]


class Difference(msgspec.Struct, frozen=True):
    """One place where two documents differ.

    Attributes:
        path: Names and positions, as ``auth.params.region``.
        before: The former value in words; empty when there was none.
        after: The new value in words; empty when there is none.
    """

    path: str
    before: str
    after: str


def differences(before: Any, after: Any, hidden: frozenset[str], path: str = "") -> list[Difference]:
    """Where two documents differ.

    Args:
        before: One.
        after: The other.
        hidden: Paths whose values are not shown.
        path: Of the two within their documents.
    """
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for name in [*before, *(each for each in after if each not in before)]:
            inner = f"{path}.{name}" if path else str(name)
            found += differences(before.get(name, ...), after.get(name, ...), hidden, inner)
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            difference
            for index, pair in enumerate(zip(before, after, strict=True))
            for difference in differences(*pair, hidden, f"{path}[{index}]")
        ]
    # A value that holds a hidden one is hidden whole.
    masked = path in hidden or any(each.startswith(f"{path}.") for each in hidden)
    return [Difference(path, _words(before, masked), _words(after, masked))]


def _words(value: Any, hidden: bool) -> str:  # noqa: FBT001 - of the value, not a mode
    if value is ...:
        return ""
    if hidden:
        return MASK
    return shown(value) if not isinstance(value, dict | list) else msgspec.json.encode(value).decode()[:200]
