"""Commands that the pages name can be called as they stand, and the page of the commands is current."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from headrace.cli import page
from headrace.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOT_COMMAND: Any = typer.main.get_command(app)
PLACEHOLDERS = {"COMMAND", "…", "..."}
"""Stand for any command; such lines are not called."""


def _commands(text: str) -> Iterator[str]:
    """Every line of a code block and every inline code that begins with the command's name."""
    blocks = re.findall(r"(?ms)^```[^\n]*\n(.*?)^```", text)
    for block in blocks:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if found := re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?(headrace(?: .*)?)$", line):
                yield found[1]
    yield from re.findall(r"`(headrace [^`]+)`", re.sub(r"(?ms)^```.*?^```", "", text))


CALLS = [
    pytest.param(command, id=f"{path.relative_to(ROOT)}: {command}")
    for path in PAGES
    for command in dict.fromkeys(_commands(path.read_text(encoding="utf-8")))
    if not PLACEHOLDERS & set(command.split())
]


def _leaves(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield names, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from _leaves(inner, (*names, name))


def _parse(words: list[str]) -> None:
    """Parse a call as the command line would, and call nothing; a group alone is as good as a command."""
    command = ROOT_COMMAND
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no {rest[0]} in {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    if rest or not hasattr(command, "commands"):
        command.make_context(words[0], rest)


def _call(text: str) -> list[str]:
    """The words of a call, up to a pipe, a redirection or a comment; ``[OPTIONAL]`` parts as if given."""
    words = shlex.split(re.sub(r"\[(-[^\]]*)\]", r"\1", text), comments=True)
    ends = [at for at, word in enumerate(words) if re.match(r"[|&;<>]", word)]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize("text", CALLS)
def test_a_command_on_a_page_can_be_called(text: str) -> None:
    """Its name, its options and their values are accepted. A command named alone may lack what it requires."""
    words = _call(text)
    try:
        _parse(words)
    except Exception as error:  # noqa: BLE001 - the errors' classes are private to typer
        alone = len(words) <= 3 and not any(word.startswith("-") for word in words)
        if not (alone and "Missing" in str(error)):
            raise AssertionError(f"{text}: {error}") from None


def test_the_pages_name_commands() -> None:
    """The search finds what it is for, and a wrong call is noticed."""
    assert len(CALLS) > 10
    assert list(_commands("```sh\n$ headrace run -c F\n```\nor `headrace demo --once`")) == [
        "headrace run -c F", "headrace demo --once",
    ]  # fmt: skip
    for wrong in ("headrace walk", "headrace run --colour", "headrace demo --profiles many"):
        with pytest.raises(Exception, match=r"walk|colour|valid integer"):
            _parse(_call(wrong))


@pytest.mark.parametrize("names", [names for names, _ in _leaves(ROOT_COMMAND, ())], ids=" ".join)
def test_the_help_of_a_command_tells_every_option(names: tuple[str, ...]) -> None:
    """``--help`` names each option with what it does, and the page has the same."""
    command = dict(_leaves(ROOT_COMMAND, ()))[names]
    shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    assert shown.exit_code == 0
    words = " ".join(shown.output.split())
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"## headrace {' '.join(names)}\n" in text
    for option in command.params:
        assert all(name in words for name in [*option.opts, *option.secondary_opts] if name.startswith("-")), words
        assert option.help, f"{' '.join(names)}: {option.name} has no help"
        assert option.help.split(".")[0] in words, words


def test_the_page_of_the_commands_is_current() -> None:
    """docs/cli.md is what the commands say; after a change, write ``headrace.cli.page.page()`` there."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page.page()
