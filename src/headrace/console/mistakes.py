"""What use cases refuse, as pages say it: in the visitor's language, beside a field or after the field's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from headrace.control.problems import Code
from headrace.errors import Mistake, UseCaseError

from .texts import Texts

_LAST_NAME: Final = re.compile(r"(\w+)(\[[^\]]*\])*$")
_BESIDE: Final = ("name", "description")
"""Fields that every form has."""


class Told(NamedTuple):
    """A refusal as pages say it.

    Attributes:
        title: A few words.
        problem: A sentence; empty where the mistakes say it.
        mistakes: A sentence each, with the name of its field.
        changed: Somebody changed it since it was read.
    """

    title: str
    problem: str
    mistakes: tuple[str, ...] = ()
    changed: bool = False

    @property
    def words(self) -> str:
        """All of it in one text, where no list can stand."""
        return self.problem or "; ".join(self.mistakes)


def told(t: Texts, error: UseCaseError) -> Told:
    """A refusal in words of the console, where it has some."""
    if error.error_code == Code.VERSION_MISMATCH:
        return Told(t("error.changed.title"), t("error.changed.words"), changed=True)
    title = t("error.denied.title") if error.error_code == Code.FORBIDDEN else t.said(error.title)
    mistakes = tuple(named(t, each) for each in error.mistakes)
    return Told(title, "" if mistakes else t.said(error.problem), mistakes)


def by_field(t: Texts, error: UseCaseError, prefix: str) -> tuple[Mapping[str, str], list[str]]:
    """What is wrong with a form: by field name, and what belongs to no field.

    Args:
        t: The texts.
        error: Of the use case.
        prefix: Of the places that fields stand for: ``auth.params.``.
    """
    found: dict[str, str] = {}
    rest: list[str] = []
    for each in error.mistakes:
        if each.place.startswith(prefix):
            found[each.place.removeprefix(prefix)] = words(t, each)
        elif each.place in _BESIDE:
            found[each.place] = words(t, each)
        else:
            rest.append(named(t, each))
    if not error.mistakes:
        rest.append(t.said(error.problem))
    return found, rest


def words(t: Texts, mistake: Mistake) -> str:
    """A mistake without its place: ``is missing (specName, params)``."""
    return t.said(mistake.problem) + (f" ({t.said(mistake.allowed)})" if mistake.allowed else "")


def named(t: Texts, mistake: Mistake) -> str:
    """A mistake after the name of its field, where the console has one for it: nobody sees the document's places."""
    last = _LAST_NAME.search(mistake.place)
    name = last[1] if last else ""
    label = t.known(f"field.{name}", t.known(f"spec.{name}", ""))
    return f"{label}: {words(t, mistake)}" if label else words(t, mistake)
