"""The flows of the control plane's database, as the engine runs them: all of a change, or nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from headrace import logs
from headrace.control import auth, publish
from headrace.control.configuration import Configuration
from headrace.control.publish import Records
from headrace.control.resources import Kind, Resource, Scope
from headrace.control.secrets import Sealer
from headrace.control.store import AuditQuery
from headrace.control.tables import TablesStore
from headrace.errors import ConfigurationError, RefusedError, StateError
from headrace.runtimes.embedded.engine import Engine
from headrace.settings import Secret, Settings

from .control import listed, open_store, organisation_of, remember_organisation, sealing_keys
from .flows import check_targets, specs
from .rules import put_in_force, said

_POLL_S: Final = 5.0
"""A safety net: a change is told of as it happens."""
_WAITS_S: Final = (0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 1.0, 2.0, 5.0)
"""Pauses before the database is tried again at the start; the last one repeats."""


_QUIET: Final = 11
"""Tries that are not told of, some ten seconds."""


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), seconds)


class DatabaseRules:
    """The control plane's database rules: all of a sandbox's flows, or none of a change.

    Args:
        settings: Whose database, organisation and sandbox.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: TablesStore | None = None
        self._sealer: Sealer | None = None
        self._lock = asyncio.Lock()
        self._digest = b""
        self._problem = ""

    async def first(self, stopped: asyncio.Event) -> Configuration | None:
        """What is in force at the start, waited for as long as it takes; None when stopped meanwhile.

        Raises:
            ConfigurationError: The sealing key is unusable.
        """
        self._sealer = Sealer(sealing_keys(self._settings))
        tries = 0
        while not stopped.is_set():
            try:
                configuration, self._digest = await asyncio.to_thread(self._read)
            except (RefusedError, StateError) as error:
                # At the first start the other process makes the database meanwhile; a refusal is told at once.
                quiet = tries < _QUIET and isinstance(error, StateError)
                self._tell("the engine waits for the flows of the database", error, quiet=quiet)
            else:
                return configuration
            await _pause(stopped, _WAITS_S[min(tries, len(_WAITS_S) - 1)])
            tries += 1
        return None

    def _tell(self, what: str, error: Exception, *, quiet: bool = False) -> None:
        """Log a trouble, once as long as it stays the same."""
        text = str(error)
        if text == self._problem or quiet:
            return
        self._problem = text
        if isinstance(error, ConfigurationError):
            logs.get().error(what, mistakes=[str(m) for m in error.mistakes])
        else:
            logs.get().error(what, problem=text)

    async def keep(self, engine: Engine, stopped: asyncio.Event) -> None:
        """See ``Rules``: the database is looked at now and then, besides being told of changes."""
        while not stopped.is_set():
            await _pause(stopped, _POLL_S)
            if not stopped.is_set():
                with contextlib.suppress(RefusedError, StateError):  # it has told of it
                    await self.configure(engine)

    async def configure(self, engine: Engine) -> dict[str, Any]:
        """See ``Rules``."""
        async with self._lock:
            try:
                configuration, digest = await asyncio.to_thread(self._read)
            except (RefusedError, StateError) as error:
                self._tell("flows of the database refused, the former ones stay in force", error)
                raise
            if self._problem:
                self._problem = ""
                logs.get().info("the flows of the database are readable again")
            changed = configuration is not None and await put_in_force(configuration, engine)
            self._digest = digest
            await self._discard(engine)
        if changed:
            logs.get().info("flows in force", version=engine.snapshot.version, flows=len(engine.snapshot.flows))
        return said(engine, changed=changed)

    async def _discard(self, engine: Engine) -> None:
        """Discard what waits of flows that were deleted; the audit log says so, their absence alone does not."""
        gone = [i for i, each in engine.totals.flows.items() if each.pending and i not in engine.snapshot.by_id]
        deleted: list[str] = []
        with contextlib.suppress(sa.exc.SQLAlchemyError):  # the next look does it
            deleted = await asyncio.to_thread(self._deleted, gone) if gone else []
        for flow_id in deleted:
            count = engine.discard_flow(flow_id)
            logs.get(flow=flow_id).warning("the flow was deleted: what waited is discarded", exports=count)

    def _deleted(self, flow_ids: list[str]) -> list[str]:
        """Which of these flows somebody has deleted."""
        if self._store is None:
            return []
        org, sandbox = organisation_of(self._store, self._settings), self._settings.sandbox
        with self._store.read() as transaction:
            return [
                each
                for each in flow_ids
                if transaction.audit(
                    AuditQuery(org=org, sandbox=sandbox, action="delete", kind="flows", resource_id=each, limit=1)
                )
                and transaction.get(Kind.FLOW, Scope(org, sandbox), each) is None
            ]

    def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read(self) -> tuple[Configuration | None, bytes]:
        """What the database publishes, None when it is what it was; and a digest of it."""
        try:
            return self._published()
        except sa.exc.SQLAlchemyError as error:
            self.close()
            # Neither the URL (it holds a password) nor the statement; the driver's first line alone.
            reason = str(getattr(error, "orig", error)).partition("\n")[0]
            raise StateError(f"the database of the control plane cannot be read: {reason}") from None
        except (RefusedError, StateError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is stored there, the engine goes on with what it has
            what = type(error).__name__
            raise StateError(f"the control plane's database holds what this version cannot read: {what}") from None

    def _published(self) -> tuple[Configuration | None, bytes]:
        if self._store is None:
            self._store = open_store(self._settings)
        org = organisation_of(self._store, self._settings)
        with self._store.read() as transaction:
            records = publish.read(transaction, Scope(org, self._settings.sandbox))
        digest = _digest(org, records)
        if digest == self._digest:
            return None, digest
        configuration = publish.publish(
            records,
            specs(),
            self._opened,
            merge_by=self._settings.merge_by,
            max_identities=self._settings.max_identities,
            unstitchable=listed(self._settings.unstitchable_namespaces),
        )
        check_targets(configuration)
        remember_organisation(self._settings, org)
        return configuration, digest

    def _opened(self, connection: Resource) -> dict[str, Secret]:
        """The secrets of a base connection."""
        if self._sealer is None:
            self._sealer = Sealer(sealing_keys(self._settings))
        return {
            name: self._sealer.open(sealed, auth.place(connection.scope, connection.id, name))
            for name, sealed in connection.hidden.items()
        }


def _digest(org: str, records: Records) -> bytes:
    """Changes with everything that is published: each change of a record gives it another etag."""
    found = [org] + [
        [(each.id, each.etag, each.state) for each in sorted(part, key=lambda each: each.id)]
        for part in (records.connections, records.targets, records.segments, records.flows)
    ]
    return hashlib.blake2b(msgspec.msgpack.encode(found)).digest()
