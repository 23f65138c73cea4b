"""Every process-wide setting, once: type, default, unit, help. The only reader of the environment.

A setting ``data_dir`` is read from ``HEADRACE_DATA_DIR``; the command line overrides it. docs/settings.md is
written from the table (``page``), and a test holds it current. What belongs to flows and connections is in the
configuration file instead (docs/configuration.md).
"""

from __future__ import annotations

import dataclasses
import hmac
import os
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

from headrace.errors import ConfigurationError, Mistake

_BYTE_UNITS: Final = {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}


class Secret:
    """A text that no repr, log line, error, JSON or pickle shows; only ``reveal`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for whoever sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(Secret)  # tells nothing of the text

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")


_NONE: Final = Secret("")


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        name: As an attribute of ``Settings``.
        variable: As an environment variable.
        type: text, whole number, number, bytes, path or secret.
        default: Used when absent; for data_dir the folder that ``data_dir`` finds is.
        unit: Of a number; empty for none.
        help: One sentence.
        secret: Never shown.
        least: Smallest number.
        most: Largest number.
        choices: The allowed texts, empty for any.
        pattern: Regular expression that a text matches whole, empty for any.
        default_words: The default as people read it.
    """

    name: str
    variable: str
    type: str
    default: Any
    unit: str
    help: str
    secret: bool
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    pattern: str
    default_words: str

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.pattern:
            return f"text of the form {self.pattern}"
        kind = {"bytes": "bytes, or as 64MiB, 2GiB", "secret": "text"}.get(self.type, self.type)
        if self.least is None or self.most is None:
            return kind
        return f"{kind}, {self.least:g} to {self.most:g}" if self.most < 1e6 else f"{kind}, at least {self.least:.0f}"


@dataclasses.dataclass(frozen=True, slots=True)
class _About:
    """What the type and the default of a setting do not tell; fields as of ``Setting``."""

    help: str
    unit: str = ""
    type: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    words: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; ``load`` reads them."""

    data_dir: Annotated[
        Path,
        _About(
            "Folder that holds profiles, pending exports, journal and totals.",
            words="the platform's folder for user data, on Linux ~/.local/share/headrace",
        ),
    ] = Path()
    sandbox: Annotated[
        str,
        _About(
            "Sandbox that the process works in; keys of the data folder begin with it.", pattern="[a-z0-9-]{1,64}"
        ),
    ] = "prod"
    installation_key: Annotated[
        Secret,
        _About(
            "Key of the profile ids; the same key gives the same ids from the same updates.",
            words="made once and kept in the data folder",
        ),
    ] = _NONE
    memory_bytes: Annotated[
        int,
        _About(
            "Bound of what is held in memory: pending exports, caches and incoming updates.",
            type="bytes",
            least=16 * 1024**2,
            most=2**50,
            words="256MiB",
        ),
    ] = 256 * 1024**2
    batch_updates: Annotated[
        int, _About("Most updates that are committed together.", "updates", least=1, most=100_000)
    ] = 1000
    linger_ms: Annotated[
        int, _About("Longest wait for a request to fill before it is sent.", "milliseconds", least=0, most=60_000)
    ] = 20
    journal_hours: Annotated[
        int,
        _About(
            "How long inputs are kept for `headrace journal` and `headrace explain`; 0 keeps none.",
            "hours",
            least=0,
            most=8760,
        ),
    ] = 24
    journal_bytes: Annotated[
        int,
        _About(
            "Most that the journal may take on disk; the oldest goes first.",
            type="bytes",
            least=0,
            most=2**50,
            words="8GiB",
        ),
    ] = 8 * 1024**3
    ledger_hours: Annotated[
        int,
        _About("How long settled exports are kept for `headrace ledger`; 0 keeps none.", "hours", least=0, most=8760),
    ] = 24
    ledger_bytes: Annotated[
        int,
        _About(
            "Most that the ledger may take on disk; the oldest goes first.",
            type="bytes",
            least=0,
            most=2**50,
            words="8GiB",
        ),
    ] = 8 * 1024**3
    dedup_window_hours: Annotated[
        int,
        _About(
            "How long an update's id is remembered, so that the same update again changes nothing.",
            "hours",
            least=0,
            most=8760,
        ),
    ] = 24
    auto_backfill: Annotated[
        str,
        _About(
            "Whether the members of an audience that is new to a flow, by mapping or by its start date, are "
            "exported.",
            choices=("on", "off"),
        ),
    ] = "on"
    backfill_rate: Annotated[
        float,
        _About(
            "Most exports of a backfill, apart from live traffic; 0 for as fast as the stream takes them.",
            "exports a second",
            least=0,
            most=999_999,
        ),
    ] = 0.0
    dead_letter_cap: Annotated[
        int,
        _About(
            "Exports of a flow that become dead letters within an hour before the flow is paused; 0 for no bound.",
            "exports",
            least=0,
            most=999_999,
        ),
    ] = 1000
    damaged_log: Annotated[
        str,
        _About(
            "What is done when the data folder's log is damaged before its end: refuse to start, or cut it there and "
            "lose what was acknowledged after.",
            choices=("refuse", "cut"),
        ),
    ] = "refuse"
    drain_timeout_s: Annotated[
        float,
        _About(
            "Longest wait at a stop for pending exports; what is left stays on disk for the next start.",
            "seconds",
            least=0,
            most=86_400,
        ),
    ] = 30.0
    collection_host: Annotated[str, _About("Address that the collection listens on.")] = "127.0.0.1"
    collection_port: Annotated[
        int, _About("Port that the collection listens on; 0 picks a free one.", least=0, most=65_535)
    ] = 8088
    api_host: Annotated[str, _About("Address that the REST API and the console listen on.")] = "127.0.0.1"
    api_port: Annotated[int, _About("Their port; 0 picks a free one.", least=0, most=65_535)] = 8089
    api_body_bytes: Annotated[
        int,
        _About(
            "Largest body of a request to API or console.", type="bytes", least=64 * 1024, most=2**30, words="4MiB"
        ),
    ] = 4 * 1024**2
    api_body_timeout_s: Annotated[
        float, _About("Longest wait for such a body to arrive whole.", "seconds", least=1, most=3600)
    ] = 30.0
    api_requests_per_s: Annotated[
        float,
        _About(
            "Requests to API and console from one address, on average; 0 for any number.",
            "requests a second",
            least=0,
            most=999_999,
        ),
    ] = 200.0
    api_requests_burst: Annotated[
        int, _About("Requests from one address at once.", "requests", least=1, most=999_999)
    ] = 400
    api_sign_ins_per_s: Annotated[
        float,
        _About(
            "Sign-ins of clients from one address, on average; 0 for any number.",
            "sign-ins a second",
            least=0,
            most=999_999,
        ),
    ] = 2.0
    api_sign_ins_burst: Annotated[
        int, _About("Sign-ins of clients from one address at once.", "sign-ins", least=1, most=999_999)
    ] = 20
    api_certificate: Annotated[
        str, _About("PEM file of the certificate chain of API and console, for TLS.", words="none: plain HTTP")
    ] = ""
    api_certificate_key: Annotated[str, _About("PEM file of its private key.", words="none")] = ""
    collection_certificate: Annotated[
        str, _About("PEM file of the certificate chain of the collection, for TLS.", words="none: plain HTTP")
    ] = ""
    collection_certificate_key: Annotated[str, _About("PEM file of its private key.", words="none")] = ""
    public_url: Annotated[
        str,
        _About(
            "URL by which browsers and clients reach API and console, where a proxy stands before them.",
            pattern=r"https?://[^\s/]+(/[^\s]*)?",
            words="the address that is listened on",
        ),
    ] = ""
    collection_url: Annotated[
        str,
        _About(
            "URL by which senders reach the collection, where a proxy stands before it.",
            pattern=r"https?://[^\s/]+(/[^\s]*)?",
            words="the address that is listened on",
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        _About(
            "Addresses of proxies, by commas, that say in X-Forwarded-For and X-Forwarded-Proto who calls; "
            "all others are not believed.",
            words="none",
        ),
    ] = ""
    control_database: Annotated[
        Secret,
        _About(
            "URL of the database of connections, flows and accounts: sqlite:///PATH, or postgresql://…, which may "
            "hold a password.",
            words="control.db in the data folder",
        ),
    ] = _NONE
    sealing_key: Annotated[
        Secret,
        _About(
            "Keys that seal stored secrets, one a line: 32 bytes as base64 or 64 hexadecimal digits; "
            "the first seals.",
            words="those of the file or of the command",
        ),
    ] = _NONE
    sealing_key_file: Annotated[
        str,
        _About("File of these keys, readable by its owner alone.", words="sealing.key in the data folder, made once"),
    ] = ""
    sealing_key_command: Annotated[
        str, _About("Command that prints these keys; run without a shell.", words="none")
    ] = ""
    token_key: Annotated[
        Secret, _About("Key that bearer tokens are signed under.", words="follows from the first sealing key")
    ] = _NONE
    organisation_id: Annotated[
        str,
        _About(
            "Organisation id; names the one that the first start makes.",
            pattern=r"[A-Za-z0-9@._-]{1,128}",
            words="the only one of the database",
        ),
    ] = ""
    connection_hosts: Annotated[
        str,
        _About(
            "Hosts, by commas, that URLs among a connection's parameters may name when it is made through the API; * "
            "stands for one label.",
            words="none: the services' own endpoints alone",
        ),
    ] = ""
    connection_machine: Annotated[
        str,
        _About(
            "Whether connections made through the API may use the machine's own credentials and files.",
            choices=("no", "yes"),
        ),
    ] = "no"
    merge_by: Annotated[
        str,
        _About(
            "Which write of a field wins, where no configuration file says it: the last to arrive, or the latest by "
            "its own time.",
            choices=("arrival", "timestamp"),
        ),
    ] = "arrival"
    max_identities: Annotated[
        int,
        _About(
            "Most identities that one profile may gather, where no configuration file says it.",
            "identities",
            least=1,
            most=10_000,
        ),
    ] = 50
    unstitchable_namespaces: Annotated[
        str,
        _About("Namespaces, by commas, that never join profiles, where no configuration file says it.", words="none"),
    ] = ""
    runs_days: Annotated[int, _About("How long the hourly runs of flows are kept.", "days", least=1, most=3650)] = 30
    otel_endpoint: Annotated[
        str,
        _About(
            "URL of an OpenTelemetry collector that metrics and traces are sent to by OTLP over HTTP; needs the "
            "extra headrace[otel].",
            pattern=r"https?://[^\s/]+(/[^\s]*)?",
            words="none: nothing is sent",
        ),
    ] = ""
    otel_headers: Annotated[
        Secret, _About("Headers of these requests, as NAME=VALUE by commas; they may hold a token.", words="none")
    ] = _NONE
    otel_interval_s: Annotated[
        int, _About("How often metrics are sent to it; 0 sends none.", "seconds", least=0, most=3600)
    ] = 15
    otel_trace_percent: Annotated[
        float, _About("Share of the batches of which a trace is sent to it.", "percent", least=0, most=100)
    ] = 5.0
    alert_lag_s: Annotated[
        int,
        _About(
            "Age of the oldest pending export of a flow that is worth an alert, unless the flow says otherwise.",
            "seconds",
            least=1,
            most=31_536_000,
        ),
    ] = 300
    alert_skip_percent: Annotated[
        int,
        _About(
            "Share of changes skipped by a flow, within ten minutes, that is worth an alert, unless it says "
            "otherwise.",
            "percent",
            least=0,
            most=100,
        ),
    ] = 20
    alert_log: Annotated[str, _About("Whether alerts are told of in the log.", choices=("yes", "no"))] = "yes"
    alert_webhook_url: Annotated[
        Secret, _About("URL that alerts are posted to as JSON; it may hold a token.", words="none")
    ] = _NONE
    alert_webhook_key: Annotated[
        Secret, _About("Key that these posts are signed with (docs/monitoring.md).", words="none: not signed")
    ] = _NONE
    alert_smtp_host: Annotated[str, _About("Mail server that alerts are sent by.", words="none")] = ""
    alert_smtp_port: Annotated[int, _About("Its port.", least=1, most=65_535)] = 587
    alert_smtp_security: Annotated[
        str,
        _About(
            "How it is spoken to: STARTTLS, TLS from the start, or in the open.", choices=("starttls", "tls", "none")
        ),
    ] = "starttls"
    alert_smtp_user: Annotated[str, _About("Account at the mail server.", words="none")] = ""
    alert_smtp_password: Annotated[Secret, _About("Its password.", words="none")] = _NONE
    alert_mail_from: Annotated[str, _About("Address that these mails come from.", words="none")] = ""
    alert_mail_to: Annotated[
        str, _About("Addresses, by commas, that are told of alerts, unless a flow names its own.", words="none")
    ] = ""
    log_level: Annotated[
        str,
        _About("Least important log lines that are written.", choices=("debug", "info", "warning", "error")),
    ] = "info"
    log_format: Annotated[
        str,
        _About(
            "Log lines for people or as JSON; auto asks whether this is a terminal.", choices=("auto", "text", "json")
        ),
    ] = "auto"


def _table() -> tuple[Setting, ...]:
    names = {int: "whole number", float: "number", str: "text", Path: "path", Secret: "secret"}
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    rows = []
    for name, hint in typing.get_type_hints(Settings, include_extras=True).items():
        python_type, about = typing.get_args(hint)
        default = defaults[name]
        rows.append(
            Setting(
                name=name,
                variable=f"HEADRACE_{name.upper()}",
                type=about.type or names[python_type],
                default=default,
                unit=about.unit,
                help=about.help,
                secret=python_type is Secret,
                least=about.least,
                most=about.most,
                choices=about.choices,
                pattern=about.pattern,
                default_words=about.words or (f"{default:g}" if isinstance(default, float) else str(default)),
            )
        )
    return tuple(rows)


TABLE: Final = _table()
"""Every setting, in the order of the docs."""


def environment() -> Mapping[str, str]:
    """The process's environment, for references in a configuration file."""
    return os.environ


def load(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Read the settings from the environment; what is *given* (and not None) wins.

    Args:
        environ: Instead of the process's environment.
        **given: Values by setting name, as texts or already of the setting's type.

    Raises:
        ConfigurationError: Every wrong value, with what is allowed.
    """
    environ = environment() if environ is None else environ
    mistakes: list[Mistake] = []
    values: dict[str, Any] = {}
    for row in TABLE:
        place, raw = row.variable, environ.get(row.variable) or None
        if given.get(row.name) is not None:
            place, raw = "--" + row.name.replace("_", "-"), given[row.name]
        if raw is None:
            continue
        try:
            values[row.name] = _value(row, raw)
        except ValueError:
            shown = "the value" if row.secret else f"{str(raw)[:60]!r}"
            mistakes.append(Mistake(place, f"{shown} is not allowed", row.allowed))
    unknown = given.keys() - {row.name for row in TABLE}
    mistakes += [Mistake(name, "is not a setting", ", ".join(row.name for row in TABLE)) for name in sorted(unknown)]
    if mistakes:
        raise ConfigurationError(mistakes=mistakes)
    values.setdefault("data_dir", data_dir(environ))
    return Settings(**values)


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables of which ``load`` makes the same settings, for a process that is started; secrets among them."""
    found = {}
    for row in TABLE:
        value = getattr(settings, row.name)
        if value != row.default:
            found[row.variable] = value.reveal() if isinstance(value, Secret) else str(value)
    return found


def _value(row: Setting, raw: Any) -> Any:
    """The value of a raw one; ValueError when it is none."""
    match row.type:
        case "path":
            return Path(raw).expanduser()
        case "secret":
            return raw if isinstance(raw, Secret) else Secret(str(raw))
        case "text":
            text = str(raw).strip()
            if not text or (row.choices and text not in row.choices):
                raise ValueError
            if row.pattern and not re.fullmatch(row.pattern, text):
                raise ValueError
            return text
        case "bytes":
            number: float = _bytes(raw)
        case "number":
            number = float(raw)
        case _:
            number = int(str(raw))
    if row.least is not None and row.most is not None and not row.least <= number <= row.most:
        raise ValueError
    return number


def _bytes(raw: Any) -> int:
    text = str(raw).strip().lower()
    for suffix, factor in _BYTE_UNITS.items():
        if text.endswith(suffix):
            return int(text.removesuffix(suffix)) * factor
    return int(text)


def data_dir(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The platform's folder for a program's own files of one user."""
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if platform == "darwin":
        return home / "Library" / "Application Support" / "Headrace"
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "Headrace"
    # XDG Base Directory Specification: a relative path is invalid and is ignored.
    shared = Path(environ.get("XDG_DATA_HOME", ""))
    return (shared if shared.is_absolute() else home / ".local" / "share") / "headrace"


def page() -> str:
    """docs/settings.md as the table says it."""
    lines = [
        "# Settings",
        "",
        "Process-wide settings are environment variables; a command's option of the same name wins over them.",
        "Connections, audiences and flows are in the [configuration file](configuration.md).",
        "A wrong value stops the start with one report of all of them. An empty variable counts as absent.",
        "",
        "This page is written from the table in `headrace.settings`.",
        "",
        "| variable | what it is | default | allowed |",
        "| --- | --- | --- | --- |",
    ]
    for row in TABLE:
        unit = f" {row.unit}" if row.unit else ""
        secret = " Secret: never shown." if row.secret else ""
        lines.append(f"| `{row.variable}` | {row.help}{secret} | {row.default_words}{unit} | {row.allowed} |")
    return "\n".join(lines) + "\n"
