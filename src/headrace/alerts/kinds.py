"""Every kind of alert, once: how grave it is, how long its cause must last, and what to do about it."""

from __future__ import annotations

from typing import Final, NamedTuple


class About(NamedTuple):
    """One kind.

    Attributes:
        severity: critical, warning or info.
        title: With ``{name}`` for the flow's name.
        what_to_do: One or two sentences.
        hold_ms: Its cause must last so long before it is raised.
        quiet_ms: Its cause must be away so long before it counts as recovered.
    """

    severity: str
    title: str
    what_to_do: str
    hold_ms: int = 0
    quiet_ms: int = 0


KINDS: Final[dict[str, About]] = {
    "flow-paused": About(
        "info",
        "{name} is paused",
        "Changes wait on disk, or are skipped, as the mode of the pause says. Enable the flow to go on; one that was "
        "paused by command goes on with: headrace flows resume.",
    ),
    "dead-letter-cap": About(
        "critical",
        "{name} was paused: too many dead letters",
        "Changes wait on disk. See why exports were refused with: headrace dead-letters list. Mend the cause, let "
        "the flow go on with: headrace flows resume, and replay the dead letters.",
    ),
    "destination-halted": About(
        "critical",
        "{name}: the destination accepts nothing",
        "Mend what the answer names (a permission, a key, the stream), and check with: headrace check. Nothing is "
        "lost; one request after the other tries again by itself.",
        quiet_ms=15_000,
    ),
    "breaker-open": About(
        "critical",
        "{name}: the destination does not answer",
        "Look at the network between here and the destination, its proxy, and the destination's own status. Nothing "
        "is lost; it is tried again by itself.",
        hold_ms=10_000,
        quiet_ms=30_000,
    ),
    "lag": About(
        "warning",
        "{name} lags behind",
        "See whether the stream throttles (headrace_flow_refusals_total) and needs more shards, or whether this "
        "machine is busy.",
        quiet_ms=30_000,
    ),
    "dead-letters": About(
        "warning",
        "{name}: exports became dead letters",
        "Look at them with: headrace dead-letters list. They are kept and can be replayed.",
    ),
    "refused-updates": About(
        "warning",
        "Updates were refused",
        "Those that came by HTTP were refused at the door, with the reason in the answer; they are not kept. Those "
        "of files and streams are kept: headrace dead-letters list. Whoever sends them must mend them.",
    ),
    "run-failed": About(
        "warning",
        "{name}: a run failed",
        "See what its status says, mend it, and start it again: headrace backfill status.",
    ),
    "skip-rate": About(
        "warning",
        "{name} skips many changes",
        "The detail names the reasons: consent that is missing, a pause that skips, or exports that were discarded.",
    ),
    "catch-up": About(
        "warning",
        "{name}: the backlog is over its budget",
        "Only current states are exported once there is room; consumers will not see what came in between. Find out "
        "why the destination takes less than comes in, or give the flow a larger diskBudgetBytes.",
    ),
    "sources-held": About(
        "critical",
        "No updates are read",
        "The backlog of a flow with overflow: stop-sources is over its budget. Find out why its destination takes "
        "less than comes in.",
    ),
}
"""Kind to what is said of it. A recovery is no kind of its own: it ends the alert that it is about."""
