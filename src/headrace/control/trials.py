"""Use case: a test record, which shows that a flow's destination takes what it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from headrace.core.report import Report
from headrace.errors import UseCaseError

from . import access, engine
from .access import ACTIVATE, Caller
from .problems import refuse
from .runtime import Runtime
from .service import Control, body_of

__all__ = ["send_test"]


def send_test(control: Control, runtime: Runtime, caller: Caller, flow_id: str, body: Any = None) -> dict[str, Any]:
    """Write one marked record to a flow's destination; needs the permissions of activation.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        body: ``message``?: what is sent, instead of a message about a made-up person. It is marked in any case.

    Returns:
        ``outcome`` (delivered), ``shard``, ``sequence``, ``size_bytes``, ``took_ms``, ``message`` as it was
        written, and ``marker``.

    Raises:
        UseCaseError: 1101-404, 3000-400, 3016-503; 3017-400 when the destination did not take it, with its answer.
    """
    access.require(caller, ACTIVATE)
    flow = engine.flow_of(control, caller, flow_id)
    given = body_of(body, ("message",)) if body else {}
    report = Report()
    message = given.get("message")
    if message is not None and not isinstance(message, Mapping):
        report.mistake("message", "must be an object")
    refuse(report.mistakes)
    with contextlib.suppress(UseCaseError):
        # A flow made just now has to be known to it; whatever is wrong elsewhere is no reason not to try.
        engine.asked(runtime, "configure")
    answer = engine.asked(runtime, "send-test", flow=flow.id, message=message)
    found = answer if isinstance(answer, dict) else {"answer": answer}
    told = {name: found[name] for name in ("outcome", "shard", "sequence") if name in found}
    engine.note(control, caller, "send-test-record", "flows", flow.id, told)
    return found
