"""Answers of the engine in pages: a page goes on without it, and says what it cannot tell, in the engine's words.

Most questions are use cases of the control plane (``backfills``, ``dead_letters``, ``profiles``). For the few that
have none, the permissions stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from headrace.control import engine as _engine
from headrace.control.access import Caller, Permission, require
from headrace.control.problems import Code
from headrace.control.runtime import Runtime
from headrace.control.service import Control
from headrace.errors import UseCaseError

_VIEW: Final = (Permission.VIEW_DESTINATIONS,)
_PEOPLE: Final = (Permission.VIEW_DESTINATIONS, Permission.VIEW_PROFILES)

NEEDED: Final[dict[str, tuple[Permission, ...]]] = {
    "status": _VIEW,
    "dead-letters": _PEOPLE,
    "dead-letter": _PEOPLE,
    "ledger": _PEOPLE,
    "explain": _PEOPLE,
    "profile-inputs": _PEOPLE,
    "profiles-seen": _PEOPLE,
    "follow": _PEOPLE,
}
"""Question to the permissions it needs (docs/control-plane.md): what holds a person's values needs View Profiles.
None changes anything."""

_MISSING: Final = (Code.ENGINE_ABSENT, Code.ENGINE_REFUSED)


class Answer(msgspec.Struct, frozen=True):
    """What came of a question.

    Attributes:
        value: As decoded JSON; None when there is none.
        problem: Why there is none, in words; empty otherwise.
    """

    value: Any = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """True when it was answered."""
        return not self.problem


def tried(question: Callable[[], Any]) -> Answer:
    """The answer of a use case that asks the engine; blocks.

    Raises:
        UseCaseError: It was refused for another reason than the engine.
    """
    try:
        return Answer(question())
    except UseCaseError as error:
        if error.error_code not in _MISSING:
            raise
        return Answer(problem=error.problem)


def ask(control: Control, runtime: Runtime, caller: Caller, question: str, **arguments: Any) -> Answer:
    """Ask what no use case asks; blocks.

    Raises:
        UseCaseError: 2120-403.
    """
    require(caller, NEEDED[question])

    def asked() -> Any:
        _engine.in_engines_sandbox(control, caller)
        return _engine.asked(runtime, question, **arguments)

    return tried(asked)
