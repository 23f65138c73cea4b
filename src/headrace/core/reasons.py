"""The closed lists of reasons: why an update was refused, an input made no export, one was discarded; alerts."""

from __future__ import annotations

from typing import Final

REFUSALS: Final[dict[str, str]] = {
    "not-json": "The update is not valid JSON in UTF-8.",
    "not-an-object": "The update is JSON, but not an object.",
    "no-identity": "The update has no identityMap with at least one identity.",
    "bad-identity": "An identity has no id, an id that is not a string, or one over 1,024 characters.",
    "bad-membership": "A segment membership has an unknown status or the wrong shape.",
    "bad-time": "A time is not an RFC 3339 date-time with an offset.",
    "too-deep": "The update is nested deeper than the limit.",
    "number-out-of-range": "A number does not fit 64 bits.",
    "too-large": "The update is larger than the limit.",
    "bad-update-id": "The update's id is not a string of 1 to 1,024 characters.",
}
"""Why an update becomes a dead letter or an HTTP error, with its meaning."""

HELD: Final[dict[str, str]] = {
    "not-a-member": "The profile is in none of the flow's mapped audiences, and left none by this update.",
    "no-relevant-change": "No mapped audience, identity or mapped attribute was touched.",
    "trigger-off": "What changed would export, but the flow has that trigger switched off.",
    "told-since": "The profile was told of since the backfill's start, and that said all of it.",
    "same-value": "A mapped attribute was written with the value it had, and the flow ignores that.",
    "consent": "The profile's consent does not allow the export.",
    "paused": "The flow is paused and skips what changes meanwhile.",
    "catch-up": "The flow's backlog is over its budget; the profile's current state follows when there is room.",
    "repeat": "The update's id was seen before within the window.",
    "refused": "The update itself was refused.",
    "unknown-profile": "The input names a profile that does not exist.",
}
"""Why an accepted input made no export for a flow, with its meaning."""

NOTES: Final[dict[str, str]] = {
    "older-membership": "A membership older than the stored one was ignored.",
    "older-field": "A field older than the stored one was ignored (mergeBy timestamp).",
    "type-conflict": "An object replaced a scalar, or a scalar an object.",
    "refused-stitch": "Identities were not joined, by a guard.",
    "merged": "The update joined two or more profiles.",
}
"""What else happened to an input, counted."""

DISCARDS: Final[dict[str, str]] = {
    "flow-deleted": "The flow was removed while the export waited.",
    "consent-withdrawn": "The profile withdrew its consent while the export waited.",
    "profile-deleted": "The profile was deleted while the export waited.",
    "catch-up": "The backlog went over its budget; the profile's current state follows instead.",
    "operator": "An operator discarded it.",
}
"""Why a pending export left the outbox without being sent, with its meaning."""

ALERTS: Final[dict[str, str]] = {
    "flow-paused": "The flow is disabled, or paused by command.",
    "dead-letter-cap": "The flow is paused: too many of its exports became dead letters.",
    "destination-halted": "The destination accepts nothing of the flow.",
    "breaker-open": "The destination does not answer.",
    "lag": "The flow's oldest pending export is older than the limit.",
    "dead-letters": "Exports of the flow became dead letters.",
    "run-failed": "A backfill or a re-send of the flow failed.",
    "skip-rate": "More changes than the limit were skipped: consent, a pause that skips, or catch-up.",
    "catch-up": "The flow's backlog is over its budget; only current states follow.",
    "refused-updates": "Updates were refused.",
    "sources-held": "No source is read: the backlog of a flow that stops the sources is over its budget.",
}
"""What is told of while it lasts, with its meaning; the last two are of the whole engine."""
