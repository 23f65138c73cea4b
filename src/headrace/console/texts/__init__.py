"""Every text of the console, by language and key; one file a language, so that another one can be added.

A file ``<language>.toml`` holds tables of texts; ``[browse] title`` is the key ``browse.title``. Words in braces are
filled in. A language that lacks a key shows the English one; tests hold the shipped ones complete.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

from .said import said

FOLDER: Final = Path(__file__).parent
DEFAULT: Final = "en"
COOKIE: Final = "headrace_language"


@cache
def languages() -> dict[str, str]:
    """Language code to the language's own name, English first."""
    codes = sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda code: (code != DEFAULT, code))
    return {code: catalog(code)["language.name"] for code in codes}


@cache
def catalog(language: str) -> dict[str, str]:
    """All texts of a language."""
    with (FOLDER / f"{language}.toml").open("rb") as file:
        return dict(_flat(tomllib.load(file), ""))


@cache
def _parameters(language: str) -> dict[str, str]:
    """Names of parameters in a language."""
    spec = "spec."
    return {key.removeprefix(spec): own for key, own in catalog(language).items() if key.startswith(spec)}


def _flat(table: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in table.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


def chosen(cookie: str | None, accepted: str | None) -> str:
    """The language for a visit.

    Args:
        cookie: What the visitor chose.
        accepted: The header ``Accept-Language``.
    """
    wanted = [cookie or "", *(part.partition(";")[0].strip() for part in (accepted or "").split(","))]
    known = languages()
    for each in wanted:
        code = each.lower().partition("-")[0]
        if code in known:
            return code
    return DEFAULT


class Texts:
    """The texts of one language.

    Args:
        language: Its code, one of ``languages``.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._own = catalog(language)
        self._english = catalog(DEFAULT)

    def __call__(self, key: str, **words: Any) -> str:
        """The text of a key, words filled in; with ``count`` the key's form ``.one`` or ``.other``.

        Raises:
            KeyError: No language has it.
        """
        if "count" in words and f"{key}.other" in self._english:
            key += ".one" if words["count"] == 1 else ".other"
        text = self._own.get(key) or self._english[key]
        return text.format(**words) if words else text

    def said(self, text: str) -> str:
        """What the engine, a check or a use case said in English, in this language where it is known."""
        return said(self.language, text, _parameters(self.language))

    def reason(self, code: str, otherwise: str = "") -> str:
        """The sentence of a reason, by which a change was held back, an update refused or a record given up."""
        return self.known(f"held.{code}", "") or self.known(f"reason.{code}", "") or self.said(otherwise or code)

    def known(self, key: str, otherwise: str) -> str:
        """The text of a key that may not exist, such as that of a code from elsewhere."""
        return self._own.get(key) or self._english.get(key) or otherwise
