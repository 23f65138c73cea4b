"""Traces of batches for OpenTelemetry: accept, decide, commit, then send and settle by request.

One trace is one batch of inputs. A request carries exports of many batches: its span is in the trace of the batch
that made its first record, with links to the other batches that are traced. Others cost a comparison.
Spans hold ids, counts and codes, never a profile's values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Tracer

from headrace.clock import Clock
from headrace.destinations.base import Verdict
from headrace.destinations.pending import Pending
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.stages import Round

_BATCHES: Final = 2048
"""Batches whose exports are still recognised."""

_LINKS: Final = 16
_MS: Final = 1_000_000
_S: Final = 1_000_000_000


class _Batch:
    """A batch that is traced."""

    __slots__ = ("context", "first", "last", "span")

    def __init__(self, first: int, last: int, span: Span) -> None:
        self.first, self.last, self.span = first, last, span
        self.context: Context = trace.set_span_in_context(span)


class Tracing:
    """See the module.

    Args:
        tracer: Makes spans.
        clock: Time, as the engine has it.
        percent: Share of the batches that are traced.
    """

    def __init__(self, tracer: Tracer, clock: Clock, percent: float) -> None:
        self._tracer, self._clock, self._percent = tracer, clock, percent
        self._batches: deque[_Batch] = deque()
        self._firsts: list[int] = []
        self._answered: list[tuple[int, _Batch, str, int]] = []
        """Time in nanoseconds, batch, flow and number of records whose settlement is not stored."""
        self._share = 0.0

    def attach(self, engine: Engine) -> Callable[[], None]:
        """Trace an engine; what is returned ends it."""
        engine.on_round.append(self.round)
        engine.on_answered.append(self.answered)

        def detach() -> None:
            engine.on_round.remove(self.round)
            engine.on_answered.remove(self.answered)

        return detach

    def round(self, done: Round) -> None:
        """A commit is over."""
        began = done.began_ms * _MS
        decided = began + int(done.decided_s * _S)
        committed = decided + int(done.committed_s * _S)
        if done.last >= done.first and self._chosen():
            self._trace(done, began, decided, committed)
        if done.settled and self._answered:
            self._settle(began, committed)

    def _chosen(self) -> bool:
        """True for the share of the batches that is traced, evenly."""
        self._share += self._percent
        if self._share < 100:
            return False
        self._share -= 100
        return True

    def _trace(self, done: Round, began: int, decided: int, committed: int) -> None:
        accepted = began - int(done.waited_s * _S)
        root = self._tracer.start_span(
            "batch", Context(), start_time=accepted,
            attributes={
                "headrace.first_input": done.first, "headrace.last_input": done.last,
                "headrace.inputs": done.last - done.first + 1,
            },
        )  # fmt: skip
        batch = _Batch(done.first, done.last, root)
        for name, start, end in (
            ("accept", accepted, began), ("decide", began, decided), ("commit", decided, committed),
        ):  # fmt: skip
            self._tracer.start_span(name, batch.context, start_time=start).end(end)
        root.end(committed)
        self._batches.append(batch)
        self._firsts.append(done.first)
        if len(self._batches) > _BATCHES:
            self._batches.popleft()
            del self._firsts[0]

    def _batch(self, ordinal: int) -> _Batch | None:
        """The traced batch that an input belongs to."""
        at = bisect_right(self._firsts, ordinal) - 1
        if at < 0:
            return None
        batch = self._batches[at]
        return batch if ordinal <= batch.last else None

    def answered(self, flow_id: str, records: Sequence[Pending], took_s: float) -> None:
        """A request was answered."""
        if not self._batches:
            return
        first = self._batch(records[0].ordinal)
        if first is None:
            return
        ended = self._clock.now_ms() * _MS
        refused: dict[str, int] = {}
        settled = 0
        others: dict[int, _Batch] = {}
        for p in records:
            outcome = p.outcome
            if outcome is not None and outcome.verdict:
                refused[outcome.code] = refused.get(outcome.code, 0) + 1
            settled += outcome is not None and outcome.verdict in (Verdict.DELIVERED, Verdict.REJECTED)
            if len(others) < _LINKS and (found := self._batch(p.ordinal)) is not None and found is not first:
                others[found.first] = found
        span = self._tracer.start_span(
            "send", first.context, start_time=ended - int(took_s * _S),
            links=[Link(each.span.get_span_context()) for each in others.values()],
            attributes={
                "headrace.flow": flow_id, "headrace.records": len(records), "headrace.refused": sum(refused.values()),
                "headrace.codes": sorted(refused), "headrace.attempt": records[0].attempts,
            },
        )  # fmt: skip
        if refused:
            span.set_status(trace.StatusCode.ERROR)
        span.end(ended)
        if settled:
            self._answered.append((ended, first, flow_id, settled))

    def _settle(self, began: int, committed: int) -> None:
        """The settlements of answers that came before this commit began are stored."""
        left = []
        for each in self._answered:
            answered, batch, flow_id, count = each
            if answered > began:
                left.append(each)
                continue
            self._tracer.start_span(
                "settle", batch.context, start_time=answered,
                attributes={"headrace.flow": flow_id, "headrace.records": count},
            ).end(max(committed, answered))  # fmt: skip
        self._answered = left
