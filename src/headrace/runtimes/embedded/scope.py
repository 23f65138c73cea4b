"""Whom a run over the profiles is about: which it looks at, and why one of them is left out."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.core.cause import active, consents
from headrace.core.envelope import decode
from headrace.core.flow import CompiledFlow
from headrace.core.glance import Glance, glance
from headrace.core.model import FlowMark
from headrace.core.step import CATCH_UP
from headrace.core.times import from_ms
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import PROFILE, Keys
from headrace.state.runs import Run


class Scope:
    """Whom a run is about, as of one moment.

    Attributes:
        unless_since: Whoever the flow told of at this ordinal or later is left out; 0 for nobody.
    """

    def __init__(self, run: Run, flow: CompiledFlow, now_ms: int) -> None:
        mapped = active(flow, now_ms)
        wanted = run.segments or [(n, s) for n, ids in mapped.items() for s in ids]
        self._segments = {n: {s for m, s in wanted if m == n and s in mapped.get(n, ())} for n, _ in wanted}
        self._needles = [s.encode() for ids in self._segments.values() for s in ids]
        after, before = run.qualified_after_ms, run.qualified_before_ms
        self._after = from_ms(after) if after is not None else ""
        self._before = from_ms(before) if before is not None else "~"
        self._run, self._flow = run, flow
        self.unless_since = run.first if run.kind == "backfill" and flow.deliver == "all" else 0

    def why_not(self, stored: bytes) -> str:
        """Why a profile is not exported; "" when it may be."""
        run = self._run
        if run.kind != CATCH_UP:
            for needle in self._needles:
                if needle in stored:
                    break
            else:
                return "not-a-member"
        seen = glance(stored)
        mark = seen.marks.get(self._flow.id)
        if run.kind == CATCH_UP:
            if seen.ordinal < run.changed_since:
                return "unchanged"
            if mark is None:
                return self._out(seen)
            return "told-since" if mark.ordinal >= seen.ordinal or self._withdrawn(mark, stored) else ""
        why = self._out(seen)
        if not why and self.unless_since and mark is not None and mark.ordinal >= self.unless_since:
            return "told-since"
        return why

    def _withdrawn(self, mark: FlowMark, stored: bytes) -> bool:
        """Told meanwhile that the consent is gone: the only thing that a flow exports although it skips."""
        if self._flow.consent is None or mark.ordinal < self._run.changed_since:
            return False
        return not consents(self._flow.consent, decode(stored).attributes)

    def _out(self, seen: Glance) -> str:
        why = "not-a-member"
        for namespace, segments in self._segments.items():
            had = seen.memberships.get(namespace)
            if had is None:
                continue
            for segment_id in segments:
                m = had.get(segment_id)
                if m is not None and m.member:
                    if self._after <= m.since < self._before:
                        return ""
                    why = "qualified-at-another-time"
        return why


def ahead(run: Run, state: State, keys: Keys) -> Iterator[tuple[str, bytes, bytes | None]]:
    """What a run has not looked at: of each profile its place ("" where the key tells it), key and stored bytes.

    Of identities that nobody has, and of those of a profile that came already, the bytes are None.
    """
    if not run.identities:
        start, end = keys.space(PROFILE)
        if run.after:
            start = keys.profile(run.after) + b"\0"
        for key, value in state.scan(start, end):
            yield "", key, value
        return
    seen: set[str] = set()
    for number in range(int(run.after or 0), len(run.identities)):
        row = state.get_many([keys.identity(*run.identities[number])])[0]
        profile_id = records.decode_index_row(row).profile_id if row is not None else ""
        key = keys.profile(profile_id)
        stored = state.get_many([key])[0] if profile_id and profile_id not in seen else None
        seen.add(profile_id)
        yield str(number + 1), key, stored
