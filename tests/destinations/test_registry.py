"""The registry names every destination once, and importing it costs no client library."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import MutableMapping
from typing import cast

import pytest

from headrace.destinations.base import Spec
from headrace.destinations.registry import destinations, find


def test_each_destination_is_found_by_its_own_id() -> None:
    """The key is the spec's id; an id nobody has finds nothing."""
    assert "86043421-563b-46ec-8e6c-e23184711bf6" in destinations()
    for spec_id, destination in destinations().items():
        assert destination.spec.id == spec_id
        assert find(spec_id) is destination
    assert find("nobody") is None


def test_the_registry_cannot_be_changed() -> None:
    """What one caller does to the mapping reaches no other."""
    with pytest.raises(TypeError):
        cast("MutableMapping[str, object]", destinations())["x"] = 1


@pytest.mark.parametrize("spec", [d.spec for d in destinations().values()], ids=lambda s: s.name)
def test_a_spec_is_whole(spec: Spec) -> None:
    """Names are unique, defaults obey their own bounds, patterns compile, and every text says something."""
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", spec.id)
    assert spec.name
    assert spec.description.endswith(".")
    for parameters in (spec.target, *(auth.parameters for auth in spec.auth)):
        names = [p.name for p in parameters]
        assert len(set(names)) == len(names)
        for each in parameters:
            re.compile(each.pattern)
            assert bool(each.form) == bool(each.pattern), f"{each.name}: say in words what the pattern asks for"
            assert each.title, each.name
            assert each.help.endswith("."), each.name
            if each.type == "integer":
                assert each.least is not None
                assert each.most is not None
                assert each.least <= each.default <= each.most
    assert {"stream", "includeSegmentNames", "includeSegmentTimestamps"} <= {p.name for p in spec.target}


def test_importing_the_registry_loads_no_client_library() -> None:
    """Commands that only need the description start fast."""
    code = (
        "import sys, headrace.destinations.registry;"
        "print([m for m in ('aiohttp', 'botocore', 'pybase64') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert shown.stdout.strip() == "[]"
