"""Every process-wide setting, once: type, default, unit, bounds, help."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Final

from headrace.settings.row import About, rows_of
from headrace.settings.secret import Secret

_NONE: Final = Secret("")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; ``load`` reads them."""

    data_dir: Annotated[
        Path,
        About(
            "Folder that holds profiles, pending exports, journal and totals.",
            words="the platform's folder for user data, on Linux ~/.local/share/headrace",
        ),
    ] = Path()
    sandbox: Annotated[
        str,
        About("Sandbox that the process works in; keys of the data folder begin with it.", pattern="[a-z0-9-]{1,64}"),
    ] = "prod"
    installation_key: Annotated[
        Secret,
        About(
            "Key of the profile ids; the same key gives the same ids from the same updates.",
            words="made once and kept in the data folder",
        ),
    ] = _NONE
    memory_bytes: Annotated[
        int,
        About(
            "Bound of what is held in memory: pending exports, caches and incoming updates.",
            type="bytes",
            least=16 * 1024**2,
            most=2**50,
            words="256MiB",
        ),
    ] = 256 * 1024**2
    batch_updates: Annotated[
        int, About("Most updates that are committed together.", "updates", least=1, most=100_000)
    ] = 1000
    linger_ms: Annotated[
        int, About("Longest wait for a request to fill before it is sent.", "milliseconds", least=0, most=60_000)
    ] = 20
    journal_hours: Annotated[
        int,
        About(
            "How long inputs are kept for `headrace journal` and `headrace explain`; 0 keeps none.",
            "hours",
            least=0,
            most=8760,
        ),
    ] = 24
    journal_bytes: Annotated[
        int,
        About(
            "Most that the journal may take on disk; the oldest goes first.",
            type="bytes",
            least=0,
            most=2**50,
            words="8GiB",
        ),
    ] = 8 * 1024**3
    ledger_hours: Annotated[
        int,
        About("How long settled exports are kept for `headrace ledger`; 0 keeps none.", "hours", least=0, most=8760),
    ] = 24
    ledger_bytes: Annotated[
        int,
        About(
            "Most that the ledger may take on disk; the oldest goes first.",
            type="bytes",
            least=0,
            most=2**50,
            words="8GiB",
        ),
    ] = 8 * 1024**3
    dedup_window_hours: Annotated[
        int,
        About(
            "How long an update's id is remembered, so that the same update again changes nothing.",
            "hours",
            least=0,
            most=8760,
        ),
    ] = 24
    auto_backfill: Annotated[
        str,
        About(
            "Whether the members of an audience that is new to a flow, by mapping or by its start date, are "
            "exported.",
            choices=("on", "off"),
        ),
    ] = "on"
    backfill_rate: Annotated[
        float,
        About(
            "Most exports of a backfill, apart from live traffic; 0 for as fast as the stream takes them.",
            "exports a second",
            least=0,
            most=999_999,
        ),
    ] = 0.0
    dead_letter_cap: Annotated[
        int,
        About(
            "Exports of a flow that become dead letters within an hour before the flow is paused; 0 for no bound.",
            "exports",
            least=0,
            most=999_999,
        ),
    ] = 1000
    damaged_log: Annotated[
        str,
        About(
            "What is done when the data folder's log is damaged before its end: refuse to start, or cut it there and "
            "lose what was acknowledged after.",
            choices=("refuse", "cut"),
        ),
    ] = "refuse"
    drain_timeout_s: Annotated[
        float,
        About(
            "Longest wait at a stop for pending exports; what is left stays on disk for the next start.",
            "seconds",
            least=0,
            most=86_400,
        ),
    ] = 30.0
    collection_host: Annotated[str, About("Address that the collection listens on.")] = "127.0.0.1"
    collection_port: Annotated[
        int, About("Port that the collection listens on; 0 picks a free one.", least=0, most=65_535)
    ] = 8088
    api_host: Annotated[str, About("Address that the REST API and the console listen on.")] = "127.0.0.1"
    api_port: Annotated[int, About("Their port; 0 picks a free one.", least=0, most=65_535)] = 8089
    api_body_bytes: Annotated[
        int,
        About(
            "Largest body of a request to API or console.", type="bytes", least=64 * 1024, most=2**30, words="4MiB"
        ),
    ] = 4 * 1024**2
    api_body_timeout_s: Annotated[
        float, About("Longest wait for such a body to arrive whole.", "seconds", least=1, most=3600)
    ] = 30.0
    api_requests_per_s: Annotated[
        float,
        About(
            "Requests to API and console from one address, on average; 0 for any number.",
            "requests a second",
            least=0,
            most=999_999,
        ),
    ] = 200.0
    api_requests_burst: Annotated[
        int, About("Requests from one address at once.", "requests", least=1, most=999_999)
    ] = 400
    api_sign_ins_per_s: Annotated[
        float,
        About(
            "Sign-ins of clients from one address, on average; 0 for any number.",
            "sign-ins a second",
            least=0,
            most=999_999,
        ),
    ] = 2.0
    api_sign_ins_burst: Annotated[
        int, About("Sign-ins of clients from one address at once.", "sign-ins", least=1, most=999_999)
    ] = 20
    api_certificate: Annotated[
        str, About("PEM file of the certificate chain of API and console, for TLS.", words="none: plain HTTP")
    ] = ""
    api_certificate_key: Annotated[str, About("PEM file of its private key.", words="none")] = ""
    collection_certificate: Annotated[
        str, About("PEM file of the certificate chain of the collection, for TLS.", words="none: plain HTTP")
    ] = ""
    collection_certificate_key: Annotated[str, About("PEM file of its private key.", words="none")] = ""
    public_url: Annotated[
        str,
        About(
            "URL by which browsers and clients reach API and console, where a proxy stands before them.",
            pattern=r"https?://[^\s/]+(/[^\s]*)?",
            words="the address that is listened on",
        ),
    ] = ""
    collection_url: Annotated[
        str,
        About(
            "URL by which senders reach the collection, where a proxy stands before it.",
            pattern=r"https?://[^\s/]+(/[^\s]*)?",
            words="the address that is listened on",
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        About(
            "Addresses of proxies, by commas, that say in X-Forwarded-For and X-Forwarded-Proto who calls; "
            "all others are not believed.",
            words="none",
        ),
    ] = ""
    control_database: Annotated[
        Secret,
        About(
            "URL of the database of connections, flows and accounts: sqlite:///PATH, or postgresql://…, which may "
            "hold a password.",
            words="control.db in the data folder",
        ),
    ] = _NONE
    sealing_key: Annotated[
        Secret,
        About(
            "Keys that seal stored secrets, one a line: 32 bytes as base64 or 64 hexadecimal digits; "
            "the first seals.",
            words="those of the file or of the command",
        ),
    ] = _NONE
    sealing_key_file: Annotated[
        str,
        About("File of these keys, readable by its owner alone.", words="sealing.key in the data folder, made once"),
    ] = ""
    sealing_key_command: Annotated[
        str, About("Command that prints these keys; run without a shell.", words="none")
    ] = ""
    token_key: Annotated[
        Secret, About("Key that bearer tokens are signed under.", words="follows from the first sealing key")
    ] = _NONE
    organisation_id: Annotated[
        str,
        About(
            "Organisation id; names the one that the first start makes.",
            pattern=r"[A-Za-z0-9@._-]{1,128}",
            words="the only one of the database",
        ),
    ] = ""
    connection_hosts: Annotated[
        str,
        About(
            "Hosts, by commas, that URLs among a connection's parameters may name when it is made through the API; * "
            "stands for one label.",
            words="none: the services' own endpoints alone",
        ),
    ] = ""
    connection_machine: Annotated[
        str,
        About(
            "Whether connections made through the API may use the machine's own credentials and files.",
            choices=("no", "yes"),
        ),
    ] = "no"
    merge_by: Annotated[
        str,
        About(
            "Which write of a field wins, where no configuration file says it: the last to arrive, or the latest by "
            "its own time.",
            choices=("arrival", "timestamp"),
        ),
    ] = "arrival"
    max_identities: Annotated[
        int,
        About(
            "Most identities that one profile may gather, where no configuration file says it.",
            "identities",
            least=1,
            most=10_000,
        ),
    ] = 50
    unstitchable_namespaces: Annotated[
        str,
        About("Namespaces, by commas, that never join profiles, where no configuration file says it.", words="none"),
    ] = ""
    runs_days: Annotated[int, About("How long the hourly runs of flows are kept.", "days", least=1, most=3650)] = 30
    otel_endpoint: Annotated[
        str,
        About(
            "URL of an OpenTelemetry collector that metrics and traces are sent to by OTLP over HTTP; needs the "
            "extra headrace[otel].",
            pattern=r"https?://[^\s/]+(/[^\s]*)?",
            words="none: nothing is sent",
        ),
    ] = ""
    otel_headers: Annotated[
        Secret, About("Headers of these requests, as NAME=VALUE by commas; they may hold a token.", words="none")
    ] = _NONE
    otel_interval_s: Annotated[
        int, About("How often metrics are sent to it; 0 sends none.", "seconds", least=0, most=3600)
    ] = 15
    otel_trace_percent: Annotated[
        float, About("Share of the batches of which a trace is sent to it.", "percent", least=0, most=100)
    ] = 5.0
    alert_lag_s: Annotated[
        int,
        About(
            "Age of the oldest pending export of a flow that is worth an alert, unless the flow says otherwise.",
            "seconds",
            least=1,
            most=31_536_000,
        ),
    ] = 300
    alert_skip_percent: Annotated[
        int,
        About(
            "Share of changes skipped by a flow, within ten minutes, that is worth an alert, unless it says "
            "otherwise.",
            "percent",
            least=0,
            most=100,
        ),
    ] = 20
    alert_log: Annotated[str, About("Whether alerts are told of in the log.", choices=("yes", "no"))] = "yes"
    alert_webhook_url: Annotated[
        Secret, About("URL that alerts are posted to as JSON; it may hold a token.", words="none")
    ] = _NONE
    alert_webhook_key: Annotated[
        Secret, About("Key that these posts are signed with (docs/monitoring.md).", words="none: not signed")
    ] = _NONE
    alert_smtp_host: Annotated[str, About("Mail server that alerts are sent by.", words="none")] = ""
    alert_smtp_port: Annotated[int, About("Its port.", least=1, most=65_535)] = 587
    alert_smtp_security: Annotated[
        str,
        About(
            "How it is spoken to: STARTTLS, TLS from the start, or in the open.", choices=("starttls", "tls", "none")
        ),
    ] = "starttls"
    alert_smtp_user: Annotated[str, About("Account at the mail server.", words="none")] = ""
    alert_smtp_password: Annotated[Secret, About("Its password.", words="none")] = _NONE
    alert_mail_from: Annotated[str, About("Address that these mails come from.", words="none")] = ""
    alert_mail_to: Annotated[
        str, About("Addresses, by commas, that are told of alerts, unless a flow names its own.", words="none")
    ] = ""
    log_level: Annotated[
        str,
        About("Least important log lines that are written.", choices=("debug", "info", "warning", "error")),
    ] = "info"
    log_format: Annotated[
        str,
        About(
            "Log lines for people or as JSON; auto asks whether this is a terminal.", choices=("auto", "text", "json")
        ),
    ] = "auto"


TABLE: Final = rows_of(Settings)
"""Every setting, in the order of the docs."""
