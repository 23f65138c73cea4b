"""Fields of a form drawn from a destination's parameters, and the parameters read back from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.control.resources import MASK
from headrace.destinations.base import Parameter

from .visit import Visit


def params_of(visit: Visit, parameters: Sequence[Parameter], *, kept: bool = False) -> dict[str, Any]:
    """What was filled in, with each parameter's type; what was left empty is left out.

    Args:
        visit: Its form has a field ``p.<name>`` for each.
        parameters: Those of the form.
        kept: An empty secret stays as it is stored.
    """
    found: dict[str, Any] = {}
    for each in parameters:
        text = visit.field(f"p.{each.name}")
        if each.type == "boolean":
            if (text == "true") != bool(each.default):
                found[each.name] = text == "true"
        elif text:
            # What is no number is left for the use case to refuse, with its place.
            found[each.name] = int(text) if each.type == "integer" and text.lstrip("-").isdecimal() else text
        elif each.secret and kept:
            found[each.name] = MASK
    return found


def shown_params(parameters: Sequence[Parameter], params: dict[str, Any]) -> dict[str, Any]:
    """Values for the fields of a form; a secret is never among them."""
    return {each.name: None if each.secret else params.get(each.name) for each in parameters}


def typed_params(visit: Visit, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """What was typed, to be shown again beside what is wrong with it; never a secret."""
    return {each.name: None if each.secret else visit.field(f"p.{each.name}") or None for each in parameters}
