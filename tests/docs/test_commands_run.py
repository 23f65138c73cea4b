"""The commands that the pages name do what they are named for: each is run, on folders as the pages suppose them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from headrace.testing import Child
from tests.cli.commands import Said, background, headrace
from tests.control.one_flow import one_flow
from tests.docs.calls import CALLS, ROOT, accepted, call
from tests.e2e.updates import STREAMS, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ELSEWHERE: Final = {
    "serve": "tests/cli/test_serve.py",
    "demo": "tests/cli/test_demo_service.py",
    "run kinesis://": "tests/e2e/test_kinesis_source.py",
    "run kafka://": "tests/e2e/test_kafka_source.py",
}
"""Calls that go on until they are stopped, or need a server of another kind, and where each is run."""
OF_THE_DATABASE: Final = {"apply", "diff", "export", "clients", "users", "roles", "sign-in-link"}
NAMED: Final = {"headrace explain"}
"""Named alone, without what to explain."""
AS_WELL: Final = {"run": {3}, "alerts": {4}}
"""Exit codes besides 0 that say that all went well: there are dead letters."""
_PEOPLE: Final = (
    b'{"identityMap":{"Email":[{"id":"ada@example.com"}],"ECID":[{"id":"12345"}]},"web":{"n":1},'
    b'"segmentMembership":{"ups":{"aud-2":{"status":"realized"}}}}',
    b'{"identityMap":{"ECID":[{"id":"4711"}]},"web":{"n":2},"segmentMembership":{"ups":{"aud-1":{"status":"realized"}}}}',
    b'{"no":"identity"}',
)


def _where(words: list[str]) -> str:
    """Which test runs a call, when it is not one of these."""
    reached = next((f"{words[1]} {kind}://" for kind in ("kinesis", "kafka") if f"{kind}://" in " ".join(words)), "")
    return ELSEWHERE.get(reached or words[1], "")


def _wanted(database: bool) -> list[tuple[str, str]]:
    """The calls to be run here, with their pages, in order."""
    return [
        (page, text)
        for page, texts in CALLS.items()
        for text in texts
        if accepted(text)
        and text not in NAMED
        and not _where(call(text))
        and (call(text)[1] in OF_THE_DATABASE) == database
    ]


def test_every_call_is_run_somewhere() -> None:
    """Here or in a test that is there."""
    assert len(_wanted(database=True)) + len(_wanted(database=False)) > 50
    assert all((ROOT / path).is_file() for path in ELSEWHERE.values())


class Place:
    """Folders and files that stand for what the pages call by capitals.

    Args:
        folder: Holds all of it.
        kinesis: Where the streams are.
    """

    def __init__(self, folder: Path, kinesis: Child) -> None:
        self.folder, self.data, self.config = folder, folder / "data", folder / "config.json"
        write_configuration(self.config, kinesis.url)
        self.input = folder / "updates.jsonl"
        self.input.write_bytes(b"\n".join([*_PEOPLE, *updates(1, 400, 40)]) + b"\n")
        self.made = 0
        self.backup = ""
        self.known: dict[str, str] = {"F": str(self.config), "NEW": str(self.config), "SAMPLE": str(self.input)}

    def words(self, text: str) -> list[str]:
        """A call with what is meant in the place of what stands for it."""
        words = call(text)[1:]
        for at, word in enumerate(words):
            before = words[at - 1] if at else ""
            if word == "FILE" and before not in ("--config", "--against"):
                words[at] = self._file(words)
            elif word == "FILE":
                words[at] = str(self.config)
            elif word == "FOLDER":
                words[at] = self._new("folder")
            elif before == "--out":
                words[at] = self._new(word.partition(".")[2] or "out")
            else:
                words[at] = self.known.get(f"{before} of {words[0]}", self.known.get(word, word))
        return [str(self.input) if word == "updates.jsonl" else word for word in words]

    def _file(self, words: list[str]) -> str:
        if words[0] == "restore":
            return self.backup
        made = self._new("out")
        if words[0] == "backup":
            self.backup = made
        return made

    def _new(self, ending: str) -> str:
        self.made += 1
        return str(self.folder / f"made-{self.made}.{ending}")

    def run(self, text: str, **environment: str) -> Said:
        """Run a call; a question is answered with yes."""
        return headrace(*self.words(text), data=self.data, stdin=b"y\n" * 3, env=environment)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The folders, and streams that take everything."""
    streams = dict.fromkeys([*STREAMS.values(), "one"], 2)
    with Child(streams=streams, record=tmp_path / "received") as kinesis:
        yield Place(tmp_path, kinesis)


def _failed(text: str, said: Said) -> str:
    well = {0} | AS_WELL.get(call(text)[1], set())
    return "" if said.code in well else f"{text}: exit {said.code}: {said.err or said.out}"


def test_the_calls_on_a_folder(place: Place) -> None:
    """What runs a file, and then everything that is asked of a folder while a process serves it."""
    wanted = _wanted(database=False)
    wrong = [_failed(text, place.run(text)) for _, text in wanted if call(text)[1] == "run"]
    with background("serve", "--config", place.config, "--port", "0", "--no-api", data=place.data) as serving:
        serving.until(lambda: '"ready"' in serving.said())
        ledger = headrace("ledger", "find", "--json", "--limit", "1000", data=place.data).json
        letter = headrace("dead-letters", "list", "--json", data=place.data).json[0]
        export = next(each for each in ledger if each["shard"])
        place.known |= {
            "FLOW": "first", "crm": "first", "ID": letter["id"], "--segment of backfill": "aud-1",
            "--shard of explain": export["shard"], "--sequence of explain": export["sequence"],
            "--shard of ledger": export["shard"], "--sequence of ledger": export["sequence"],
            "--profile of ledger": export["profile_id"],
        }  # fmt: skip
        slow = headrace("backfill", "start", "second", "--resend", "--rate", "0.01", "--json", data=place.data)
        place.known["RUN"] = _run_of(slow.json)
        wrong += [_failed(text, place.run(text)) for _, text in wanted if call(text)[1] != "run"]
    assert not [each for each in wrong if each], "\n".join(filter(None, wrong))


def _run_of(answer: Any) -> str:
    return str((answer[0] if isinstance(answer, list) else answer)["run"])


def test_the_calls_on_the_database(place: Place) -> None:
    """What changes and shows the control plane's records, beside a process that serves them."""
    files = place.folder / "files"
    files.mkdir()
    (files / "flow.yaml").write_text(one_flow(variable="KEY", stream="one", path="web.n"))
    with background(
        "serve", "--port", "0", data=place.data, env={"HEADRACE_API_PORT": "0", "KEY": "secret-key"}
    ) as serving:
        serving.until(lambda: '"ready"' in serving.said() and "client id" in serving.shown() + serving.said())
        place.known |= {"DIR": str(files), "LOGIN": "admin", "NAME": "loader"}
        assert headrace("clients", "create", "loader", "--role", "viewer", data=place.data).code == 0
        wrong = [_failed(text, place.run(text, KEY="secret-key")) for _, text in _wanted(database=True)]
    assert not [each for each in wrong if each], "\n".join(filter(None, wrong))


def test_a_call_that_fails_is_noticed(place: Place) -> None:
    """Nothing was run in this folder yet, and a person nobody knows is no success."""
    text = "headrace profiles show email:nobody@example.com"
    assert re.match(rf"{text}: exit 2: error: ", _failed(text, place.run(text)))
