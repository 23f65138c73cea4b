"""The records that a configuration file stands for, so that the API and the console show what the file rules.

The file was checked before (``configuration``); here its resources are only put into the shape of records. Secrets
and whatever the file refers to (``${env:…}``) are sealed, so that they are shown as ``****``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from headrace.core.compile import FLOW_SPEC_ID, FLOW_SPEC_VERSION
from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.core.report import Referenced

from . import auth, compiling
from .catalog import PROFILE_SERVICE_ID
from .memory import MemoryStore
from .resources import Kind, Resource, Scope
from .service import Control

SOURCE_ID: Final = "profiles"
"""Of the source connection of flows whose file names none."""
_FLOW_SPEC: Final = {"id": FLOW_SPEC_ID, "version": FLOW_SPEC_VERSION}


def store(control: Control, root: Mapping[str, Any], scope: Scope, at_ms: int) -> MemoryStore:
    """A store of what a file holds.

    Args:
        control: Its sealer and catalog are used.
        root: The document, references resolved; without mistakes.
        scope: Where the records belong.
        at_ms: When the file was written, epoch milliseconds.
    """
    made = MemoryStore()
    with made.write() as transaction:
        for each in _records(control, root, scope, at_ms):
            transaction.insert(each)
    return made


def _records(control: Control, root: Mapping[str, Any], scope: Scope, at_ms: int) -> Iterator[Resource]:
    make = _Maker(control, scope, at_ms)
    for given in root.get("segments") or ():
        yield make.segment(given)
    specs: dict[str, Any] = {}
    for given in root.get("connections") or ():
        made = make.connection(given)
        specs[made.id] = made.body["connectionSpec"]
        yield made
    yield make.record(
        Kind.SOURCE,
        {"id": SOURCE_ID, "name": "Profiles", "connectionSpec": {"id": PROFILE_SERVICE_ID, "version": "1.0"}},
    )
    for given in root.get("targetConnections") or ():
        base = plain(given["baseConnectionId"])
        document = {"connectionSpec": specs.get(base), **given}
        yield make.record(Kind.TARGET, document, refers=(base,))
    for given in root.get("flows") or ():
        yield make.flow(given)


class _Maker:
    """Makes records of one file."""

    def __init__(self, control: Control, scope: Scope, at_ms: int) -> None:
        self._control = control
        self._scope = scope
        self._at_ms = at_ms

    def record(self, kind: Kind, given: Mapping[str, Any], **fields: Any) -> Resource:
        """A record of a resource; its id and state are no part of the body."""
        body = {name: plain(value) for name, value in given.items() if name not in ("id", "state")}
        etag = hashlib.blake2b(msgspec.json.encode([given.get("state"), body]), digest_size=16).hexdigest()
        return Resource(
            kind=kind, id=plain(given["id"]), scope=self._scope, name=str(body.get("name", "")), body=body,
            state=fields.pop("state", plain(given.get("state") or "enabled")), etag=f'"{etag}"',
            created_ms=self._at_ms, updated_ms=self._at_ms, created_by="file", updated_by="file",
            created_client="file", updated_client="file", **fields,
        )  # fmt: skip

    def segment(self, given: Mapping[str, Any]) -> Resource:
        """An audience."""
        document = {"namespace": PLATFORM_NAMESPACE, **given}
        made = self.record(Kind.SEGMENT, document, state="published")
        times = {
            "created_ms": given.get("createdAt", given.get("creationTime")),
            "updated_ms": given.get("updatedAt", given.get("updateTime")),
        }
        return msgspec.structs.replace(made, **{name: value for name, value in times.items() if value})

    def connection(self, given: Mapping[str, Any]) -> Resource:
        """A base connection; what is secret, and what was referred to, is sealed."""
        connection_id = plain(given["id"])
        spec = {"id": plain(given["connectionSpec"]["id"]), "version": "1.0"}
        account = given.get("auth") or {}
        params = account.get("params") or {}
        secret = self._control.catalog.secret_names(spec["id"])
        kept = {name for name, value in params.items() if name in secret or isinstance(value, Referenced)}
        hidden = {
            name: self._control.sealer.seal(str(params[name]), auth.place(self._scope, connection_id, name))
            for name in kept
        }
        document = {**given, "connectionSpec": spec}
        if account:
            shown = {name: value for name, value in params.items() if name not in kept}
            document["auth"] = {**account, "params": shown}
        return self.record(Kind.CONNECTION, document, hidden=hidden)

    def flow(self, given: Mapping[str, Any]) -> Resource:
        """A flow."""
        sources = [plain(each) for each in given.get("sourceConnectionIds") or (SOURCE_ID,)]
        targets = [plain(each) for each in given["targetConnectionIds"]]
        document = {"flowSpec": _FLOW_SPEC, **given, "sourceConnectionIds": sources, "targetConnectionIds": targets}
        mapped = sorted({f"segment:{value['id']}" for value in compiling.selectors(plain(dict(given)))})
        return self.record(Kind.FLOW, document, refers=(*sources, *targets, *mapped))


def plain(value: Any) -> Any:
    """The value with plain texts in the place of those that were referred to."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return str.__str__(value) if isinstance(value, Referenced) else value
