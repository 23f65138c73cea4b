"""An engine in memory: it answers what the control plane asks, from what a test puts into it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from headrace.errors import RefusedError, StateError


class Engine:
    """See ``headrace.control.runtime.Runtime``.

    Attributes:
        asked: Every question, in order.
        profiles: (namespace, id) to what ``profile`` answers.
        backfills: Run id to what ``backfill-status`` answers.
        letters: Dead letter id to dead letter.
        absent: Nobody listens.
        deletions: What ``profile-deletions`` answers.
        flows: Ids of the flows that it runs.
        pauses: Flow id to its pause.
        skipped: Flow id to changes that it skipped.
        alerts: What ``alerts`` answers, the latest first.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.profiles: dict[tuple[str, str], dict[str, Any]] = {}
        self.backfills: dict[str, dict[str, Any]] = {}
        self.letters: dict[str, dict[str, Any]] = {}
        self.absent = False
        self.deletions: list[dict[str, Any]] = []
        self.flows: list[str] = []
        self.pauses: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, int] = {}
        self.alerts: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)

    def ask(self, request: str, **arguments: Any) -> Any:
        """See ``Runtime``."""
        if self.absent:
            raise StateError("nobody listens on the socket")
        self.asked.append((request, arguments))
        answer = getattr(self, "_" + request.replace("-", "_"), None)
        if answer is None:
            raise RefusedError(f"unknown request {request}")
        return answer(**arguments)

    def follow(self, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """See ``Runtime``."""
        raise NotImplementedError

    def _configure(self) -> Any:
        return {}

    def _standing(self, flow: str) -> dict[str, Any]:
        pause, skipped = self.pauses.get(flow), self.skipped.get(flow, 0)
        return {
            "flow": flow, "flow_id": flow, "name": "", "pending": 0, "halted": "", "paused": pause is not None,
            "pause": pause, "skipped": skipped, "catch_up": skipped > 0 and pause is None,
        }  # fmt: skip

    def _flows(self, flow: str = "") -> Any:
        return [self._standing(each) for each in self.flows if flow in ("", each)]

    def _flow_pause(self, flow: str, mode: str = "keep") -> Any:
        # As the engine: what is as by default is left out.
        self.pauses[flow] = {"mode": mode, "since_ms": 1}
        return self._standing(flow)

    def _flow_resume(self, flow: str, catch_up: bool) -> Any:
        if self.pauses.pop(flow, None) is None:
            raise RefusedError(f"flow {flow} was not paused")
        run = self._flow_catch_up(flow)["run"] if catch_up and self.skipped.get(flow) else None
        return {**self._standing(flow), "run": run}

    def _flow_catch_up(self, flow: str) -> Any:
        if not self.skipped.pop(flow, 0):
            raise RefusedError(f"flow {flow} has skipped nothing that is not made up for")
        run = self._backfill_start(flow, "catch-up")["run"]
        return self.backfills[run]

    def _backfill_start(self, flow: str, kind: str, **more: Any) -> Any:
        if more.get("rate") == 13:
            raise RefusedError("the flow is halted; mend its destination first")
        run = f"run-{next(self._numbers)}"
        self.backfills[run] = {"run": run, "flow": flow, "kind": kind, "state": "running", "scanned": 0, **more}
        return {"run": run}

    def _backfill_mapped(self, flow: str, segments: list[str]) -> Any:
        return {"runs": [self._backfill_start(flow, "backfill", segments=segments)["run"]], "automatic": True}

    def _backfill_status(self, flow: str) -> Any:
        return [each for each in self.backfills.values() if each["flow"] == flow]

    def _backfill_pause(self, run: str) -> Any:
        self.backfills[run]["state"] = "paused"

    def _backfill_resume(self, run: str) -> Any:
        self.backfills[run]["state"] = "running"

    def _backfill_cancel(self, run: str) -> Any:
        self.backfills[run]["state"] = "cancelled"

    def _profile(self, namespace: str, id: str) -> Any:
        return self.profiles.get((namespace.lower(), id))

    def _profile_delete(self, namespace: str, id: str) -> Any:
        del self.profiles[namespace.lower(), id]
        return {"run": "delete-1"}

    def _audience_sizes(self, any_of: list[str]) -> Any:
        return {"profiles": 5000, "of": 100, "members": {"CRM/vip": 13, "CRM/rare": 1}, "any": min(len(any_of), 7)}

    def _alerts(self, state: str, limit: int) -> Any:
        return [each for each in self.alerts if state == "all" or each["until_ms"] is None][:limit]

    def _alert_channels(self) -> Any:
        return [{"name": "log"}]

    def _profile_deletions(self, run: str = "") -> Any:
        return [each for each in self.deletions if run in ("", each["run"])]

    def _send_test(self, flow: str, message: Any = None) -> Any:
        return {"flow": flow, "outcome": "delivered", "shard": "shardId-000000000000", "sequence": "1"}

    def _observed_schema(self) -> Any:
        return [{"path": "person.name.lastName", "type": "string", "count": 3, "of": 5, "sample": "Aaaa"}]

    def _dead_letters(self, flow: str, kind: str, limit: int, reason: str = "") -> Any:
        found = [
            each
            for each in self.letters.values()
            if each["flow"] == flow and each["kind"] == kind and reason in ("", each["reason"])
        ]
        return found[:limit]

    def _dead_letter(self, id: str) -> Any:
        return self.letters.get(id)

    def _dead_letter_replay(
        self, filter: dict[str, Any], dry_run: bool, original: bool = False, ids: Any = None
    ) -> Any:
        chosen = [
            key
            for key, each in self.letters.items()
            if all(each.get(name) == value for name, value in filter.items()) and (ids is None or key in ids)
        ]
        counts = Counter(self.letters[key]["kind"] for key in chosen)
        if not dry_run:
            for key in chosen:
                del self.letters[key]
        return {"updates": counts["update"], "exports": counts["export"], "left": {}, "dry_run": dry_run}


def profile(flow: str = "") -> dict[str, Any]:
    """A profile as the engine answers it."""
    return {
        "profileId": "p-1",
        "epoch": 1,
        "version": 4,
        "updatedAt": 1_767_225_600_000,
        "identities": [{"namespace": "Email", "id": "ann@example.test"}, {"namespace": "ECID", "id": "12"}],
        "attributes": {"person": {"name": {"firstName": "Ann", "lastName": "Roe"}}, "loyalty": {"tier": "gold"}},
        "memberships": {"ups": {"s": {"status": "realized", "lastQualificationTime": "2026-01-01T00:00:00Z"}}},
        "flows": {flow: {"seq": 2}} if flow else {},
    }


def letter(flow: str, key: str = "1767225600000-1") -> dict[str, Any]:
    """A dead letter as the engine answers it."""
    return {"id": key, "kind": "export", "at_ms": 1, "reason": "too-large", "detail": "d", "flow": flow}


def refused_update(key: str = "1767225600000-2") -> dict[str, Any]:
    """A dead letter of an update as the engine answers it."""
    return {"id": key, "kind": "update", "at_ms": 1, "reason": "no-identity", "detail": "d", "source": "http"}


def deletion(run: str = "d1") -> dict[str, Any]:
    """A deletion that is done, as the engine answers it."""
    return {
        "run": run, "state": "done", "exports": {}, "erased": {"inputs": 2}, "waits_for": [], "asked_ms": 1,
        "done_ms": 2,
    }  # fmt: skip


def alert(key: str, until_ms: int | None = None) -> dict[str, Any]:
    """An alert as the engine answers it."""
    return {
        "id": key, "kind": "lag", "flow": "", "severity": "warning", "title": "t", "detail": "d", "what_to_do": "w",
        "since_ms": 1, "until_ms": until_ms,
    }  # fmt: skip
