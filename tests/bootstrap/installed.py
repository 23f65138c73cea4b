"""A control plane in a data folder, as a first start leaves it, without a server."""

from __future__ import annotations

from pathlib import Path

from headrace import settings
from headrace.bootstrap.control import build_control, open_store, start_first
from headrace.control.organisations import FirstStart
from headrace.control.service import Control
from headrace.settings import Settings


def installed(data: Path, **given: str) -> tuple[Settings, Control, FirstStart]:
    """Settings, control plane and first credentials of a new data folder."""
    loaded = settings.load({"HOME": str(data), "HEADRACE_DATA_DIR": str(data), **given})
    control = build_control(loaded, open_store(loaded))
    first = start_first(control, loaded)
    assert first is not None
    return loaded, control, first
