"""What the commands share."""

from __future__ import annotations

from pathlib import Path

from headrace import settings
from headrace.cli.command import misspelt
from tests.cli.commands import headrace


def test_a_setting_that_is_misspelt_is_told() -> None:
    """With the one that is meant; settings themselves, and names that are like none, are not told of."""
    right = [row.variable for row in settings.TABLE]
    assert misspelt([*right, "HEADRACE_KINESIS_SECRET", "HEADRACE_", "HEADRACE_SOAK", "COLECTION_PORT"]) == []
    for wrong, meant in (
        ("HEADRACE_COLECTION_PORT", "HEADRACE_COLLECTION_PORT"),
        ("HEADRACE_JOURNAL_HOUR", "HEADRACE_JOURNAL_HOURS"),
        ("HEADRACE_DATADIR", "HEADRACE_DATA_DIR"),
    ):
        (told,) = misspelt([*right, wrong])
        assert told == f"{wrong} is not a setting and sets nothing; {meant} is one"


def test_it_is_told_beside_what_a_command_prints(tmp_path: Path) -> None:
    """On standard error, and the command goes on."""
    said = headrace("status", "--json", data=tmp_path, env={"HEADRACE_JOURNAL_HOUR": "1"})
    assert said.err.count("HEADRACE_JOURNAL_HOURS is one") == 1
