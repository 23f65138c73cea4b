"""What other parts say in English, in another language: sentences by pattern, one file a language.

The engine, the checks of a connection and the use cases speak English, with words filled in. A file
``<language>.toml`` lists such sentences with braces where words stand, and how this language says them. What stands
in a brace is translated in turn; what no sentence matches stays as it is.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent
_DEEPEST: Final = 12
_KINDS: Final = {"": ".+?", "d": r"-?\d[\d,.]*", "name": r"\w+"}
"""What a brace takes: anything, ``{count:d}`` a number, ``{parameter:name}`` the name of a parameter."""


class Sentence(NamedTuple):
    """One sentence.

    Attributes:
        english: As it is said, with words in braces.
        own: As this language says it, with the same words; it may leave out one that begins with ``_``.
        pattern: Matches what is said.
        named: The words that name a parameter.
        fixed: Characters of it that are not filled in.
        longest: The longest stretch of these: looked for first, since most sentences are not the one.
    """

    english: str
    own: str
    pattern: re.Pattern[str]
    named: frozenset[str]
    fixed: int
    longest: str


@cache
def sentences(language: str) -> tuple[Sentence, ...]:
    """Those of a language, what says most of itself first: the first that matches counts. None for English."""
    path = FOLDER / f"{language}.toml"
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        found = tomllib.load(file)["said"]
    return tuple(sorted((_sentence(*each) for each in found.items()), key=lambda each: -each.fixed))


def _sentence(english: str, own: str) -> Sentence:
    parts = [(literal, name, kind or "") for literal, name, kind, _ in string.Formatter().parse(english)]
    pattern = "".join(
        re.escape(literal) + (f"(?P<{name}>{_KINDS[kind]})" if name else "") for literal, name, kind in parts
    )
    named = frozenset(name for _, name, kind in parts if name and kind == "name")
    literals = [literal for literal, _, _ in parts]
    return Sentence(
        english, own, re.compile(pattern, re.DOTALL), named, sum(map(len, literals)), max(literals, key=len)
    )


def said(language: str, text: str, names: Mapping[str, str] = MappingProxyType({}), depth: int = 0) -> str:
    """A text of another part in a language.

    Args:
        language: Its code.
        text: What was said, in English.
        names: What this language calls parameters.
        depth: How often a sentence stood within a sentence.
    """
    if depth > _DEEPEST:
        return text
    for each in sentences(language):
        if each.longest in text and (match := each.pattern.fullmatch(text)):
            parts = {
                name: names.get(part, part) if name in each.named else said(language, part, names, depth + 1)
                for name, part in match.groupdict().items()
            }
            return each.own.format(**parts)
    return text
