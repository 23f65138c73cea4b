"""What other parts say in English, in another language: sentences by pattern, one file a language.

The engine, the checks of a connection and the use cases speak English, with words filled in. A file
``<language>.toml`` lists such sentences with braces where words stand, and how this language says them. What stands
in a brace is translated in turn; what no sentence matches stays as it is.
"""

from __future__ import annotations

import re
import string
import tomllib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent
_DEEPEST: Final = 4


class Sentence(NamedTuple):
    """One sentence.

    Attributes:
        english: As it is said, with words in braces.
        own: As this language says it, with the same words.
        pattern: Matches what is said.
    """

    english: str
    own: str
    pattern: re.Pattern[str]


@cache
def sentences(language: str) -> tuple[Sentence, ...]:
    """Those of a language, in the order of its file; none for English."""
    path = FOLDER / f"{language}.toml"
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        found = tomllib.load(file)["said"]
    return tuple(Sentence(each["english"], each["own"], _pattern(each["english"])) for each in found)


def _pattern(english: str) -> re.Pattern[str]:
    parts = [
        re.escape(literal) + (f"(?P<{name}>.+?)" if name else "")
        for literal, name, _, _ in string.Formatter().parse(english)
    ]
    return re.compile("".join(parts), re.DOTALL)


def said(language: str, text: str, depth: int = 0) -> str:
    """A text of another part in a language.

    Args:
        language: Its code.
        text: What was said, in English.
        depth: How often a sentence stood within a sentence.
    """
    if depth > _DEEPEST:
        return text
    for each in sentences(language):
        if match := each.pattern.fullmatch(text):
            return each.own.format(
                **{name: said(language, part, depth + 1) for name, part in match.groupdict().items()}
            )
    return text
