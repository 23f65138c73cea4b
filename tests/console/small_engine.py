"""A small engine for tests of pages: it answers from what it was given, in the shapes of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from headrace.errors import RefusedError, StateError


class SmallEngine:
    """Answers questions from a table, and remembers what was asked.

    Args:
        answers: Question to its answer, or to a function of its arguments.

    Attributes:
        asked: Every question with its arguments, in order.
        settles: What ``follow`` sends, one after the other.
        down: True while nobody answers.
    """

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.settles: list[dict[str, Any]] = []
        self.down = False

    def ask(self, request: str, **arguments: Any) -> Any:
        """The answer of the table."""
        self.asked.append((request, arguments))
        if self.down:
            raise StateError("nobody listens on the socket")
        if request not in self.answers:
            raise RefusedError(f"unknown request; known: {', '.join(self.answers)}")
        answer = self.answers[request]
        return answer(**arguments) if callable(answer) else answer

    async def follow(self, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """What settles; ends when all was sent and the engine is down."""
        self.asked.append(("follow", arguments))
        if self.down:
            raise StateError("nobody listens on the socket")
        yield {"following": True}
        sent = 0
        while not self.down:
            while sent < len(self.settles):
                one = self.settles[sent]
                sent += 1
                if arguments.get("flow") in (None, one.get("flow")):
                    yield one
            await asyncio.sleep(0.01)
