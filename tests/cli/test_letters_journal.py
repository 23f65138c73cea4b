"""``headrace dead-letters`` and ``headrace journal`` as processes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headrace.testing import Child
from tests.cli.commands import headrace
from tests.e2e.updates import STREAMS, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
WRONG = [
    b'{"identityMap":',
    b"[1]",
    b'{"person":{"name":"x"}}',
    b"\xc3\x28",
    b'{"identityMap":{"Email":[{"id":""}]}}',
]
LINES = list(updates(1, 100, 10))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after a run with malformed lines."""
    folder = tmp_path_factory.mktemp("run")
    with Child(streams=dict.fromkeys(STREAMS.values(), 2)) as kinesis:
        config = write_configuration(folder / "config.json", kinesis.url)
        (folder / "input.jsonl").write_bytes(b"\n".join([*LINES[:50], *WRONG, *LINES[50:]]))
        assert headrace("run", "--config", config, "--input", folder / "input.jsonl", data=folder / "data").code == 3
    return folder / "data"


def test_dead_letters_are_listed_newest_first_and_filtered(data: Path) -> None:
    """Every malformed line with place and reason; by limit, kind and reason; for people too."""
    listed = headrace("dead-letters", "list", "--json", data=data).json
    assert [letter["place"] for letter in listed] == [f"input.jsonl line {n}" for n in range(55, 50, -1)]
    assert all(letter["kind"] == "update" and letter["reason"] and letter["detail"] for letter in listed)
    assert len(headrace("dead-letters", "list", "--json", "--limit", "2", data=data).json) == 2
    assert headrace("dead-letters", "list", "--json", "--kind", "export", data=data).json == []
    reason = listed[0]["reason"]
    some = headrace("dead-letters", "list", "--json", "--reason", reason, data=data).json
    assert some == [letter for letter in listed if letter["reason"] == reason]
    table = headrace("dead-letters", "list", data=data).out
    assert all(letter["id"] in table and letter["place"] in table for letter in listed)
    assert "no dead letters" in headrace("dead-letters", "list", "--flow", "first", data=data).out


def test_a_dead_letter_is_shown_whole(data: Path) -> None:
    """Place, reason and the line as it came, bytes that are no text escaped."""
    for letter, line in zip(headrace("dead-letters", "list", "--json", data=data).json, reversed(WRONG), strict=True):
        shown = headrace("dead-letters", "show", letter["id"], data=data)
        assert shown.code == 0
        assert letter["place"] in shown.out
        assert line.decode(errors="backslashreplace") in shown.out
        again = headrace("dead-letters", "show", letter["id"], "--json", data=data).json
        assert again == letter


def test_the_journal_holds_the_inputs_as_they_came(data: Path) -> None:
    """Accepted updates in order with ordinal, time and source; from an ordinal on, and so many batches."""
    shown = [msgspec.json.decode(line) for line in headrace("journal", "show", data=data).out.splitlines()]
    assert [entry["input"] for entry in shown] == [msgspec.json.decode(line) for line in LINES]
    assert [entry["ordinal"] for entry in shown] == list(range(1, 101))
    assert {entry["kind"] for entry in shown} == {"update"}
    assert all(entry["source"].endswith("input.jsonl") for entry in shown)
    some = headrace("journal", "show", "--first", "98", data=data).out.splitlines()
    assert [msgspec.json.decode(line)["ordinal"] for line in some] == [98, 99, 100]
    assert headrace("journal", "show", "--first", "101", data=data).out == ""


def test_the_journal_is_folded_to_the_same_again(data: Path) -> None:
    """Profiles and exports follow from the inputs; as JSON with the figures."""
    replayed = headrace("journal", "replay", "--json", data=data)
    assert replayed.code == 0
    assert replayed.json["inputs"] == 100
    assert replayed.json["differing"] == replayed.json["missing"] == replayed.json["unexpected"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dead-letters", "show", "17-3"], "there is no dead letter 17-3"),
        (["dead-letters", "show", "no id"], "there is no dead letter no id"),
        (["dead-letters", "list", "--kind", "letter"], "update, export"),
        (["dead-letters", "list", "--limit", "0"], "limit"),
        (["journal", "show", "--first", "-1"], "first"),
        (["journal", "rewind"], "rewind"),
    ],
)
def test_wrong_questions_are_clear(data: Path, arguments: list[str], words: str) -> None:
    """Each ends with 2 and one message."""
    refused = headrace(*arguments, data=data)
    assert refused.code == 2, refused
    assert words in refused.err


@pytest.mark.parametrize(
    "command", [("status",), ("dead-letters", "list"), ("journal", "show"), ("journal", "replay")]
)
def test_a_folder_with_nothing_in_it_is_said_to_be_so(command: tuple[str, ...], tmp_path: Path) -> None:
    """No traceback, no folder made: which one was looked at, and how to choose another."""
    refused = headrace(*command, data=tmp_path / "none")
    assert refused.code == 2
    assert "none" in refused.err
    assert "--data-dir" in refused.err
    assert not (tmp_path / "none").exists()
