"""What is known of one setting: its type, unit, bounds and words."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

from headrace.settings.secret import Secret


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
class About:
    """What the type and the default of a setting do not tell; its fields are those of ``Setting``."""

    help: str
    unit: str = ""
    type: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    words: str = ""


def rows_of(settings: type[Any]) -> tuple[Setting, ...]:
    """The rows of a class of settings, in its order: each field has a type, an ``About`` and a default."""
    names = {int: "whole number", float: "number", str: "text", Path: "path", Secret: "secret"}
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    rows = []
    for name, hint in typing.get_type_hints(settings, include_extras=True).items():
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
