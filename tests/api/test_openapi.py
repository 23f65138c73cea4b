"""docs/openapi.json is what the application serves."""

from __future__ import annotations

import json
from pathlib import Path

from headrace.api.openapi import text

from .cases import DECLARED
from .world import World, world

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def test_the_committed_document_is_current(w: World) -> None:
    """After a change, `python -m tests.api.test_openapi` writes it."""
    assert FILE.read_text(encoding="utf-8") == text(w.app)


def test_it_is_served_and_whole(w: World) -> None:
    """Without a token; every operation is there, with its answers, and every schema that is named exists."""
    answer = w.client.get("/openapi.json", headers={"authorization": ""})
    assert answer.status_code == 200
    found = answer.json()
    assert found == json.loads(FILE.read_text(encoding="utf-8"))
    operations = {each["operationId"]: each for path in found["paths"].values() for each in path.values()}
    assert operations.keys() == DECLARED.keys()
    for name, each in operations.items():
        assert set(each["responses"]) == {str(s) for s in (DECLARED[name].status, *DECLARED[name].statuses)}, name
        assert each["summary"], name
    named = {part.split('"')[0] for part in answer.text.split("#/components/schemas/")[1:]}
    assert named == found["components"]["schemas"].keys()


if __name__ == "__main__":
    FILE.write_text(text(world().app), encoding="utf-8")
