"""The parts of the control plane: database, keys, and what connections may reach, as the settings say."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.clock import System
from headrace.control import organisations
from headrace.control.access import Caller
from headrace.control.catalog import Catalog
from headrace.control.organisations import FirstStart
from headrace.control.reach import Reach
from headrace.control.resources import Kind, Scope
from headrace.control.secrets import Sealer, keys_from_command, keys_from_file, new_key, read_keys
from headrace.control.service import Control
from headrace.control.sign_in import FailedSignIns, Passwords, Tokens
from headrace.control.store import Query, Store
from headrace.control.tables import TablesStore
from headrace.core.report import Report
from headrace.destinations import registry
from headrace.destinations.base import Spec
from headrace.errors import ConfigurationError, Mistake, RefusedError, StateError
from headrace.settings import Settings

from .runtime import SocketRuntime

__all__ = [
    "Unbound", "build_control", "collection_url", "database_url", "listed", "open_store", "opened", "organisation_of",
    "remember_organisation", "sealing_keys", "start_first",
]  # fmt: skip

_DATABASE: Final = "control.db"
_KEY_FILE: Final = "sealing.key"
_ORGANISATION: Final = "organisation"


def database_url(settings: Settings) -> str:
    """The URL of the control plane's database; it may hold a password."""
    return settings.control_database.reveal() or f"sqlite:///{settings.data_dir.absolute() / _DATABASE}"


def open_store(settings: Settings) -> TablesStore:
    """Open the database, brought to this version's schema.

    Raises:
        StateError: It cannot be reached, or a newer version made it.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return TablesStore(database_url(settings))


def sealing_keys(settings: Settings) -> list[bytes]:
    """The keys that seal secrets: of the setting, the command, the file, or the data folder's own, made at first use.

    Raises:
        ConfigurationError: More than one is given, or what is given is unusable.
    """
    ways = (settings.sealing_key.reveal(), settings.sealing_key_command, settings.sealing_key_file)
    if sum(map(bool, ways)) > 1:
        raise ConfigurationError(
            mistakes=[
                Mistake(
                    "HEADRACE_SEALING_KEY", "is given together with another way",
                    "one of HEADRACE_SEALING_KEY, HEADRACE_SEALING_KEY_COMMAND, HEADRACE_SEALING_KEY_FILE",
                )
            ]
        )  # fmt: skip
    if settings.sealing_key.reveal():
        return read_keys(settings.sealing_key)
    if settings.sealing_key_command:
        return keys_from_command(settings.sealing_key_command)
    if settings.sealing_key_file:
        return keys_from_file(Path(settings.sealing_key_file).expanduser())
    own = settings.data_dir / _KEY_FILE
    if not own.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _write_once(own, new_key() + "\n")
    return keys_from_file(own)


def _write_once(path: Path, text: str) -> None:
    """Make a file for its owner alone, whole or not at all; one that is there already stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def build_control(
    settings: Settings, store: Store, *, read_only: bool = False,
    changed: Callable[[Scope], None] | None = None, reach: Reach | None = None,
) -> Control:  # fmt: skip
    """Put a control plane together.

    Args:
        settings: Keys and reach are theirs.
        store: Where the records are.
        read_only: The configuration file rules.
        changed: Told after a change of what is published.
        reach: Instead of what the settings allow.

    Raises:
        ConfigurationError: The sealing key is unusable.
    """
    keys = sealing_keys(settings)
    sealer = Sealer(keys)
    clock = System()
    given = settings.token_key.reveal()
    signing = (
        [hashlib.sha256(b"headrace tokens" + given.encode()).digest()]
        if given
        else [Sealer([key]).derive("tokens") for key in keys]
    )
    destinations = registry.destinations()
    made = Control(
        store=store,
        catalog=Catalog({spec_id: each.spec for spec_id, each in destinations.items()}),
        destinations=destinations,
        sealer=sealer,
        tokens=Tokens(signing[0], clock, older=tuple(signing[1:])),
        passwords=Passwords(),
        sign_ins=FailedSignIns(clock),
        clock=clock,
        reach=reach or Reach(hosts=listed(settings.connection_hosts), machine=settings.connection_machine == "yes"),
        read_only=read_only,
        sandbox=settings.sandbox,
        collection_url=_collection_url(settings),
    )
    return made if changed is None else msgspec.structs.replace(made, changed=changed)


def _collection_url(settings: Settings) -> str:
    """Where updates are sent to, as the settings have it: addresses of inlets begin with it."""
    secure = "https" if settings.collection_certificate else "http"
    return f"{secure}://{settings.collection_host}:{settings.collection_port}"


def collection_url(settings: Settings) -> str:
    """The URL by which senders reach the collection, without a closing slash."""
    if settings.collection_url:
        return settings.collection_url.rstrip("/")
    scheme = "https" if settings.collection_certificate else "http"
    host = f"[{settings.collection_host}]" if ":" in settings.collection_host else settings.collection_host
    return f"{scheme}://{host}:{settings.collection_port}"


def listed(text: str) -> tuple[str, ...]:
    """The entries of a setting that lists them by commas."""
    return tuple(filter(None, (each.strip() for each in text.split(","))))


def start_first(control: Control, settings: Settings) -> FirstStart | None:
    """Make what the first start makes; None when it was done before.

    Raises:
        RefusedError: The database is empty although the data folder has worked with another one before.
    """
    known = _remembered(settings)
    with control.store.read() as transaction:
        there = bool(transaction.find(Query(kind=Kind.ORGANISATION, scope=Scope(""), limit=1)))
    if not there and known:
        raise RefusedError(
            f"the database of the control plane is empty, but the data folder {settings.data_dir} belongs to the "
            f"organisation {known}: give the database of before (HEADRACE_CONTROL_DATABASE) or a backup of it; "
            f"to begin anew, remove the file {settings.data_dir / _ORGANISATION}"
        )
    return organisations.first_start(control, org=settings.organisation_id or None, sandbox=settings.sandbox)


def organisation_of(store: Store, settings: Settings) -> str:
    """The organisation whose flows the engine runs.

    Raises:
        StateError: The database has none yet.
        RefusedError: It has several and none is chosen, or not the one that the data folder belongs to.
    """
    with store.read() as transaction:
        ids = [each.id for each in transaction.find(Query(kind=Kind.ORGANISATION, scope=Scope("")))]
    if not ids:
        raise StateError("the database of the control plane has no organisation yet")
    chosen = settings.organisation_id or (ids[0] if len(ids) == 1 else "")
    if chosen not in ids:
        raise RefusedError(
            f"HEADRACE_ORGANISATION_ID must name an organisation of the database: {', '.join(sorted(ids))}"
        )
    known = _remembered(settings)
    if known and known != chosen:
        raise RefusedError(
            f"the database of the control plane has the organisation {chosen}, but the data folder "
            f"{settings.data_dir} belongs to {known}: its flows would count as deleted; give the right database, "
            f"or remove the file {settings.data_dir / _ORGANISATION} if this is meant"
        )
    return chosen


@contextlib.contextmanager
def opened(settings: Settings, *, unbound: bool = False) -> Iterator[tuple[Control, Caller]]:
    """The control plane and its own caller, for commands on the same machine; the engine finds changes by looking.

    Args:
        settings: Whose database.
        unbound: Connections may name any address, as in a configuration file.

    Raises:
        RefusedError: There is no control plane yet.
        StateError: The database cannot be opened.
    """
    url = database_url(settings)
    if url.startswith("sqlite:") and not Path(url.removeprefix("sqlite:///")).exists():
        raise RefusedError(
            f"there is no control plane in {settings.data_dir} yet: `headrace serve` makes it at its first start; "
            f"another folder is chosen by --data-dir or HEADRACE_DATA_DIR"
        )
    store = TablesStore(url)
    runtime = SocketRuntime(settings.data_dir)
    touched: list[Scope] = []
    try:
        reach = Unbound() if unbound else None
        control = build_control(settings, store, changed=touched.append, reach=reach)
        yield control, organisations.system_caller(control, settings.sandbox, settings.organisation_id or None)
    finally:
        store.close()
        if touched:
            with contextlib.suppress(StateError, RefusedError):  # nobody serves, or it has logged what is wrong
                runtime.ask("configure")


class Unbound(Reach, frozen=True):
    """Whoever runs the machine may name any address and use what belongs to the machine."""

    def check(self, report: Report, auth: Mapping[str, Any], spec: Spec, way: str, place: str) -> None:
        """Note nothing."""

    def allows(self, host: str) -> bool:
        """True."""
        return True


def _remembered(settings: Settings) -> str:
    try:
        return (settings.data_dir / _ORGANISATION).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def remember_organisation(settings: Settings, org: str) -> None:
    """Note whose flows the data folder's are, so that another database never passes for one without flows."""
    if not _remembered(settings):
        _write_once(settings.data_dir / _ORGANISATION, org + "\n")
