"""docs/settings.md, written from the table."""

from __future__ import annotations

from headrace.settings.table import TABLE


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
