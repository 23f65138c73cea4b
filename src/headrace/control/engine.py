"""What use cases that need the engine share: the sandbox it works in, its words, and lines in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import RefusedError, StateError, UseCaseError

from .access import Caller
from .problems import Code, problem
from .resources import Kind, Resource
from .runtime import Runtime
from .service import Control, found, reading
from .store import AuditEntry


def works_for(control: Control, caller: Caller) -> bool:
    """True in the sandbox whose profiles the engine keeps."""
    return caller.scope.sandbox == control.sandbox and control.organisation in ("", caller.scope.org)


def in_engines_sandbox(control: Control, caller: Caller) -> None:
    """Refuse a caller in a sandbox whose profiles no engine keeps.

    Raises:
        UseCaseError: 3016-503.
    """
    if not works_for(control, caller):
        raise problem(
            Code.ENGINE_ABSENT,
            f"no engine runs for the sandbox {caller.scope.sandbox!r}; the one here works in {control.sandbox!r}",
        )


def flow_of(control: Control, caller: Caller, flow_id: str) -> Resource:
    """A flow of the caller's sandbox, which the engine runs.

    Raises:
        UseCaseError: 1101-404, or 3016-503 in a sandbox without an engine.
    """
    with reading(control, caller) as transaction:
        flow = found(transaction, Kind.FLOW, caller.scope, flow_id)
    in_engines_sandbox(control, caller)
    return flow


def asked(runtime: Runtime, request: str, **arguments: Any) -> Any:
    """The engine's answer.

    Args:
        runtime: The engine.
        request: What is asked.
        **arguments: Those that are None are left out.

    Raises:
        UseCaseError: 3016-503, it is not there; 3017-400, it refused.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return runtime.ask(request, **given)
    except UseCaseError:
        raise
    except RefusedError as error:
        raise problem(Code.ENGINE_REFUSED, str(error)) from None
    except StateError as error:
        raise problem(
            Code.ENGINE_ABSENT,
            f"the engine does not answer ({error}); start it with `headrace serve`, or read its log, and try again",
            wait_s=5.0,
        ) from None


def note(
    control: Control, caller: Caller, action: str, kind: str, resource_id: str, after: Mapping[str, Any]
) -> None:
    """Put a line into the audit log for what the engine was told to do; no profile's values."""
    line = AuditEntry(
        at_ms=control.clock.now_ms(),
        scope=caller.scope,
        subject=caller.subject,
        client=caller.client,
        action=action,
        kind=kind,
        resource_id=resource_id,
        after=dict(after),
    )
    with control.store.write() as transaction:
        transaction.append([line])
