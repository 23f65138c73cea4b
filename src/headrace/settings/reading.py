"""Reading the settings: the one place that looks at the environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from headrace.errors import ConfigurationError, Mistake
from headrace.settings.row import Setting
from headrace.settings.secret import Secret
from headrace.settings.table import TABLE, Settings

_BYTE_UNITS: Final = {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}


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
