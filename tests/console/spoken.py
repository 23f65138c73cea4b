"""What a page says to somebody, and whether a word of it is English."""

from __future__ import annotations

import html
import re
from typing import Final

from .sample import AUDIENCES, NAMES

ENGLISH: Final = re.compile(
    r"\b(the|is|are|was|were|be|been|must|not|of|and|with|for|this|that|which|from|by|to|on|at|it|its|has|have|an|or"
    r"|if|when|than|then|there|these|they|only|out|again|give|what|who|in|does|do|holds|as|needs|allowed|known)\b",
    re.IGNORECASE,
)
"""Words of which an English sentence has one, and a Spanish one none."""
CODE: Final = re.compile(r"<(code|pre|script|style|textarea|svg)\b.*?</\1>", re.DOTALL)
SPOKEN: Final = re.compile(r'\b(?:title|aria-label|placeholder|data-(?!series|stream)[a-z]+)="([^"]*)"')


def english(text: str) -> str:
    """The English in a text; empty when there is none."""
    found = ENGLISH.search(text)
    return text[max(0, found.start() - 60) : found.end() + 60] if found else ""


def spoken(page: str) -> list[str]:
    """What a page says: its text and the attributes that are read out, without code and without what people wrote."""
    page = page.partition("<main")[2].partition("</main>")[0]
    plain = CODE.sub(" ", page)
    parts = [*SPOKEN.findall(plain), *re.split(r"<[^>]+>", plain)]
    return [" ".join(html.unescape(part).split()) for part in parts if part.strip()]


WRITTEN: Final = {
    *NAMES, *(text for each in AUDIENCES for text in each),
    "Profiles of chosen audiences, in real time", "Headrace",
    "1,204,112 bytes are over the stream's limit of 1,048,576", "3 within ten minutes", "no answer for 14 s",
    "nobody listens on the socket", "the update has no identityMap with at least one identity",
}  # fmt: skip
"""What the people and the small engine of the sample wrote, in English."""


def check(page: str, where: object) -> None:
    """No sentence of English is on a page."""
    for part in spoken(page):
        for written in sorted(WRITTEN, key=len, reverse=True):
            part = part.replace(written, "·")
        assert not english(part), (where, part)
