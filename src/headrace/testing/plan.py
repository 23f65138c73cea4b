"""Which faults strike: a script's conditions, counted and drawn; knows nothing of bytes or connections."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from headrace.testing.script import RECORD_KINDS, Fault, Script


class Call(msgspec.Struct):
    """What a fault may look at of one request.

    Attributes:
        action: API action.
        stream: Name of the stream, empty when it names none.
        number: Number of the put request, 0 for other actions.
        now_s: Seconds on the server's clock since it started.
        access_key: Access key id of the caller, empty when unsigned.
        keys: Partition keys of its records.
        shards: Shards that its records fall into, in the same order.
        first_record: Number of its first record among all offered.
    """

    action: str
    stream: str
    number: int
    now_s: float
    access_key: str
    keys: Sequence[str] = ()
    shards: Sequence[str] = ()
    first_record: int = 0


class RecordFault(Protocol):
    """Decides about one record of a request."""

    def __call__(self, index: int) -> Fault | None:
        """Return the fault that strikes the record at *index*, or None."""
        ...


class _Armed:
    """One fault with what it has counted so far and its own chances."""

    def __init__(self, fault: Fault, seed: str) -> None:
        self.fault = fault
        self.keys = frozenset(fault.keys)
        self.shards = frozenset(fault.shards)
        self.hits = 0
        self._passed = 0
        self._random = random.Random(seed).random  # noqa: S311 - repeatable chances are the point

    def concerns(self, call: Call) -> bool:
        """Tell whether the conditions about the request as a whole hold."""
        fault = self.fault
        return (
            (call.action in fault.actions or "*" in fault.actions)
            and (not fault.stream or fault.stream == call.stream)
            and (not fault.requests or call.number in fault.requests)
            and (not fault.access_keys or call.access_key in fault.access_keys)
            and fault.from_s <= call.now_s
            and (fault.until_s is None or call.now_s < fault.until_s)
            and (fault.times is None or self.hits < fault.times)
        )

    def matches(self, call: Call, index: int) -> bool:
        """Tell whether the conditions about one record hold."""
        numbers = self.fault.records
        return (
            (not self.keys or call.keys[index] in self.keys)
            and (not self.shards or call.shards[index] in self.shards)
            and (numbers is None or numbers[0] <= call.first_record + index <= numbers[1])
        )

    def draw(self) -> bool:
        """Count one chance to strike, and tell whether it does."""
        fault = self.fault
        if fault.times is not None and self.hits >= fault.times:
            return False
        if fault.rate < 1.0 and self._random() >= fault.rate:
            return False
        if self._passed < fault.skip:
            self._passed += 1
            return False
        self.hits += 1
        return True

    def strikes(self, call: Call) -> bool:
        """Decide about the whole request."""
        if not self.concerns(call):
            return False
        if (self.keys or self.shards or self.fault.records) and not any(
            self.matches(call, index) for index in range(len(call.keys))
        ):
            return False
        return self.draw()


class Plan:
    """A script's faults at work. The same script and the same requests give the same strikes."""

    def __init__(self, script: Script) -> None:
        armed = [_Armed(fault, f"{script.seed}/{index}") for index, fault in enumerate(script.faults)]
        self._armed = armed
        self._whole = [a for a in armed if a.fault.kind not in RECORD_KINDS]
        self._single = [a for a in armed if a.fault.kind in RECORD_KINDS]
        self.random = random.Random(script.seed)  # noqa: S311 - repeatable chances are the point

    def whole(self, call: Call) -> list[Fault]:
        """Return the faults that strike a request as a whole, in the script's order."""
        return [armed.fault for armed in self._whole if armed.strikes(call)]

    def single(self, call: Call) -> RecordFault | None:
        """Return what decides about the records of a request, or None when no fault can strike one."""
        active = [armed for armed in self._single if armed.concerns(call)]
        if not active:
            return None

        def decide(index: int) -> Fault | None:
            for armed in active:
                if armed.matches(call, index) and armed.draw():
                    return armed.fault
            return None

        return decide

    def hits(self) -> Iterable[int]:
        """Return how often each fault of the script has struck."""
        return (armed.hits for armed in self._armed)
