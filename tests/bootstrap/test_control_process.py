"""What the control process says of requests that fail, and of those that its end cuts off."""

from __future__ import annotations

import asyncio
import logging

import pytest
from structlog.testing import capture_logs

from headrace.bootstrap import control_process


@pytest.mark.parametrize(
    ("error", "told"), [(RuntimeError("value"), ["RuntimeError"]), (asyncio.CancelledError(), [])]
)
def test_only_a_fault_of_ours_is_told(error: BaseException, told: list[str]) -> None:
    """An open live view is cut off when the process ends, which is nobody's fault."""
    logger = logging.getLogger("of a server")
    faults = control_process._Faults()
    logger.addHandler(faults)
    with capture_logs() as logs:
        try:
            raise error
        except BaseException as raised:
            logger.error("in the application", exc_info=raised)
        finally:
            logger.removeHandler(faults)
    assert [line["problem"] for line in logs if line["log_level"] == "error"] == told
    assert not any("value" in str(line) for line in logs if line["log_level"] == "error")
