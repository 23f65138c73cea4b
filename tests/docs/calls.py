"""The commands that the pages name, found in their text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from headrace.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOT_COMMAND: Any = typer.main.get_command(app)
PLACEHOLDERS = {"COMMAND", "…", "..."}
"""Stand for any command; such lines are not called."""


def commands(text: str) -> Iterator[str]:
    """Every line of a code block and every inline code that begins with the command's name."""
    blocks = re.findall(r"(?ms)^```[^\n]*\n(.*?)^```", text)
    for block in blocks:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if found := re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?(headrace(?: .*)?)$", line):
                yield found[1]
    yield from re.findall(r"`(headrace [^`]+)`", re.sub(r"(?ms)^```.*?^```", "", text))


def leaves(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield names, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from leaves(inner, (*names, name))


def parse(words: list[str]) -> None:
    """Parse a call as the command line would, and call nothing; a group alone is as good as a command."""
    command = ROOT_COMMAND
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no {rest[0]} in {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    if rest or not hasattr(command, "commands"):
        command.make_context(words[0], rest)


def call(text: str) -> list[str]:
    """The words of a call, up to a pipe, a redirection or a comment; ``[OPTIONAL]`` parts as if given."""
    words = shlex.split(re.sub(r"\[(-[^\]]*)\]", r"\1", text), comments=True)
    ends = [at for at, word in enumerate(words) if re.match(r"[|&;<>]", word)]
    return words[: ends[0]] if ends else words


CALLS = {
    path.relative_to(ROOT).as_posix(): [
        command
        for command in dict.fromkeys(commands(path.read_text(encoding="utf-8")))
        if not PLACEHOLDERS & set(command.split())
    ]
    for path in PAGES
}
"""Page to the calls that stand on it, in their order."""


def accepted(text: str) -> bool:
    """Whether a call's name, options and values are all there; False for a command that is only named.

    Raises:
        AssertionError: It is a call, and a wrong one.
    """
    words = call(text)
    try:
        parse(words)
    except Exception as error:  # noqa: BLE001 - the errors' classes are private to typer
        alone = len(words) <= 3 and not any(word.startswith("-") for word in words)
        if not (alone and "Missing" in str(error)):
            raise AssertionError(f"{text}: {error}") from None
        return False
    return not hasattr(named(words), "commands")


def named(words: list[str]) -> Any:
    """The command, or group of commands, that a call names."""
    command = ROOT_COMMAND
    for word in words[1:]:
        if not hasattr(command, "commands") or word not in command.commands:
            break
        command = command.commands[word]
    return command
