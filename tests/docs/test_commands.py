"""Commands that the pages name can be called as they stand, and the page of the commands is current."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from headrace.cli import page
from headrace.cli.main import app
from tests.docs.calls import CALLS, ROOT, ROOT_COMMAND, accepted, call, commands, leaves, parse


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=f"{page}: {text}") for page, texts in CALLS.items() for text in texts]
)
def test_a_command_on_a_page_can_be_called(text: str) -> None:
    """Its name, its options and their values are accepted. A command named alone may lack what it requires."""
    accepted(text)


def test_the_pages_namecommands() -> None:
    """The search finds what it is for, and a wrong call is noticed."""
    assert sum(map(len, CALLS.values())) > 10
    assert list(commands("```sh\n$ headrace run -c F\n```\nor `headrace demo --once`")) == [
        "headrace run -c F", "headrace demo --once",
    ]  # fmt: skip
    for wrong in ("headrace walk", "headrace run --colour", "headrace demo --profiles many"):
        with pytest.raises(Exception, match=r"walk|colour|valid integer"):
            parse(call(wrong))


@pytest.mark.parametrize("names", [names for names, _ in leaves(ROOT_COMMAND, ())], ids=" ".join)
def test_the_help_of_a_command_tells_every_option(names: tuple[str, ...]) -> None:
    """``--help`` names each option with what it does, and the page has the same."""
    command = dict(leaves(ROOT_COMMAND, ()))[names]
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
