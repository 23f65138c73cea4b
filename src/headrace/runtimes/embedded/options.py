"""What an engine needs to know beside its parts."""

from __future__ import annotations

import msgspec

from headrace.state.pages import PAGE_ROWS


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine needs to know beside its parts.

    Attributes:
        batch_updates: Most updates decided at once.
        flow_memory_bytes: Memory of one flow for exports on their way; the rest waits on disk.
        linger_s: How long a request that is not full waits.
        journal_ms: Age at which journal blocks are removed; 0 keeps no journal.
        journal_bytes: Size over which the oldest of them are removed.
        ledger_ms: Age at which ledger blocks are removed; 0 keeps no ledger.
        ledger_bytes: Size over which the oldest of them are removed.
        dedup_window_ms: How long an update's id is remembered.
        drain_timeout_s: How long a stop goes on sending; requests under way then get 5 s to be answered.
        cached_profiles: Profiles kept decoded.
        sandbox: Prefix of all keys.
        page_rows: Rows of journal and ledger that make a page.
        auto_backfill: Audiences that are new to a flow get a backfill of their members.
        dead_letter_cap: Dead letters of a flow within an hour at which it is paused; 0 for no bound.
        backfill_rate: Most exports a second of a run that says nothing else; 0 for no limit.
    """

    batch_updates: int = 1000
    flow_memory_bytes: int = 64 << 20
    linger_s: float = 0.02
    journal_ms: int = 24 * 3_600_000
    journal_bytes: int = 8 << 30
    ledger_ms: int = 24 * 3_600_000
    ledger_bytes: int = 8 << 30
    dedup_window_ms: int = 24 * 3_600_000
    drain_timeout_s: float = 30.0
    cached_profiles: int = 28000
    sandbox: str = "prod"
    page_rows: int = PAGE_ROWS
    auto_backfill: bool = False
    backfill_rate: float = 0.0
    dead_letter_cap: int = 0
