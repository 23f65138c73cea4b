"""docs/explain.md: its examples have the shape that the command prints now.

``python -m tests.docs.test_explain`` prints the examples anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from headrace.cli.explain import page
from headrace.clock import Manual
from headrace.core import canonical
from headrace.core import flow as flows
from headrace.core.flow import MappedSegment
from headrace.runtimes.embedded.explain import answer
from tests.runtimes.road import KEYS, Lines, MemoryDisk, Road, snapshot

PAGE = Path(__file__).parents[2] / "docs" / "explain.md"
UPDATES = [
    '{"identityMap":{"Email":[{"id":"ada@example.com","primary":true}]},'
    '"person":{"name":{"firstName":"Ada"}},"loyalty":{"tier":"gold"},"consents":{"marketing":{"email":{"val":"y"}}},'
    '"segmentMembership":{"ups":{"loyal":{"status":"realized","lastQualificationTime":"2026-01-11T09:00:00Z"},'
    '"newsletter":{"status":"realized","lastQualificationTime":"2026-01-02T10:00:00Z"}}}}',
    '{"identityMap":{"Email":[{"id":"ada@example.com"}],"ECID":[{"id":"4711"}]},'
    '"loyalty":{"tier":"silver"},'
    '"segmentMembership":{"ups":{"loyal":{"status":"exited","lastQualificationTime":"2026-02-01T00:00:00Z"}}}}',
    '{"identityMap":{"ECID":[{"id":"4711"}]},"loyalty":{"tier":"none"}}',
]
QUESTIONS: dict[str, dict[str, str]] = {
    "headrace explain --shard shardId-000000000000 --sequence 2": {"shard": "shardId-000000000000", "sequence": "2"},
    "headrace explain --identity ecid:4711": {"identity": "ecid:4711"},
}


def examples() -> dict[str, str]:
    """Command to what it prints, of a run of three updates."""
    segments = {"ups": {"loyal": MappedSegment(name="Loyal customers")}}
    flow = canonical.build(
        id="crm", name="CRM", spec_id="memory", segments=segments, paths=("person.name.firstName", "loyalty.tier"),
        consent=flows.Consent(("consents", "marketing", "email", "val"), ("y",)),
    )  # fmt: skip
    disk = MemoryDisk()
    Road(
        disk, Lines([text.encode() for text in UPDATES]), snapshot(flow), clock=Manual(1_769_904_005_000, auto=True)
    ).run()
    found = {}
    for command, question in QUESTIONS.items():
        plain = msgspec.json.decode(msgspec.json.encode(answer(disk.state, KEYS, question)))
        found[command] = "\n".join(page(plain))
    return found


def shape(text: str) -> str:
    """The text without the ids and times of one run."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "<id>", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "<version>", text)
    return re.sub(r"2026-\d\d-\d\dT[\d:.]+Z", "<time>", text)


@pytest.mark.parametrize("command", QUESTIONS)
def test_an_example_is_current(command: str) -> None:
    """The page shows what the command prints, but for ids and times."""
    blocks = re.findall(r"(?ms)^```\n\$ (.*?)\n(.*?)\n```$", PAGE.read_text(encoding="utf-8"))
    assert shape(dict(blocks)[command]) == shape(examples()[command])


if __name__ == "__main__":
    for command, text in examples().items():
        print(f"```\n$ {command}\n{text}\n```\n")
