"""What every runtime promises (tests/runtimes/contract.py). How each keeps it is its own business.

U1  A source is acknowledged only after the effects of its updates are durable (I2).
U2  A crash at any instruction loses no acknowledged update and no export.
U3  Exports of one flow about one profile are written in the order of its changes (I4).
U4  At every commit the totals add up (I8).
U5  After a graceful stop nothing is sent twice; after a crash at most what was under way, and
    settlements not stored yet (``SETTLE_WAIT_S`` old at the most).
"""

from __future__ import annotations

from typing import Final

import msgspec

SETTLE_WAIT_S: Final = 0.05
"""The longest that a settlement waits for others before it is stored."""


class FlowReport(msgspec.Struct):
    """How one flow stands.

    Attributes:
        flow_id: Whose.
        name: On screen.
        pending: Exports not settled.
        halted: Why nothing is accepted, "" when something is.
        paused: Disabled by configuration.
    """

    flow_id: str
    name: str
    pending: int
    halted: str = ""
    paused: bool = False


class Report(msgspec.Struct):
    """How a run ended.

    Attributes:
        drained: Every export of every flow is settled.
        timed_out: The drain's deadline passed first.
        flows: One a flow.
    """

    drained: bool
    timed_out: bool
    flows: list[FlowReport]
