"""Feeds C, built with the compiler's sanitizers, broken updates and profiles: `test_plain_memory.py` runs it.

    python -m tests.core.fuzz_plain <seed> <rounds>

What it answers is compared elsewhere; here it only must not read or write where it may not.
"""

from __future__ import annotations

import itertools
import random
import sys
from typing import Any

import msgspec
import pybase64

from headrace.core import plain
from headrace.core.flow import PartitionKey, Snapshot
from headrace.core.model import Export
from headrace.core.times import from_ms
from headrace.destinations.base import Outcome
from headrace.destinations.block import Block
from headrace.sources.base import Batch

from .driving import NOW_MS, T1, T2, flow, snapshot, update
from .test_plain import Folder

SIGNS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b":",
    b",",
    b"\xff",
    b"\xe2",
    b"\x80",
    b"0",
    b"-",
    b".",
    b"e",
    b"null",
    b"\x00",
]
HEADS = [
    bytes([n])
    for n in (0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC4, 0xCB, 0xCF, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF)
]


def broken(rng: random.Random, whole: bytes, put: list[bytes]) -> bytes:
    """With one to four places cut, doubled, overwritten, or something put there."""
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(whole) + 1), rng.randrange(6)
        kind = rng.randrange(4)
        if kind == 0:
            whole = whole[:at] + whole[at + size :]
        elif kind == 1:
            whole = whole[:at] + whole[at : at + size] + whole[at:]
        elif kind == 2:
            whole = whole[:at] + rng.choice(put) + whole[at + 1 :]
        else:
            whole = whole[: max(at, 1)]
    return whole


def bodies() -> list[bytes]:
    """Updates that C reads."""
    wide: dict[str, Any] = {f"n{n}": {"v": n, "w": [n, None, {"x": "y"}]} for n in range(40)}
    return [
        update(
            "ECID:1", "Email:a@example.test", into={"vip": ("realized", T1), "aam/x": "exited"}, a={"b": 1}, c="é"
        ),
        update("ECID:1", a={"b": {"c": {"d": [1, 2.5, "x" * 300, None, True]}}}, e=-70000, f='\n\t"'),
        update("ECID:1", into={f"s{n}": ("realized", T2) for n in range(60)}, **wide),
        update("ECID:1", "Email:b@example.test", "x:1", "y:1", "z:1", primary="z:1", a={"b": 2}, c="z"),
        update("Email:a@example.test", into={"vip": "exited"}, c=2**62, _id="again"),
    ]


def configurations() -> list[Snapshot]:
    """With every setting that C reads."""
    by = PartitionKey("attribute", steps=("a", "b"))
    return [
        snapshot(flow("vip", "aam/x", id="f", paths=("a.b", "c"), metadata=True),
                 flow("s1", id="g", paths=("a", "n1.w"))),
        snapshot(flow("vip", id="f", paths=("a.b.c.d", "e", "f"), same_value=False, partition_key=by)),
        snapshot(flow("vip", *(f"s{n}" for n in range(60)), id="f",
                      partition_key=PartitionKey("identity", namespace="email"))),
    ]  # fmt: skip


def whole_batches(rng: random.Random, config: Snapshot, rounds: int) -> None:
    """Slices of broken updates, profiles broken below them, and what becomes of their exports."""
    folder = Folder(config, by_c=True)
    for number in range(rounds):
        some = [rng.choice(bodies()) for _ in range(rng.randint(1, 150))]
        some = [broken(rng, body, SIGNS) if rng.random() < 0.3 else body for body in some]
        ids = [rng.choice([None, "x", "y" * 200, str(n)]) for n in range(len(some))] if rng.random() < 0.5 else None
        write = folder.state.batch()
        try:
            made = folder.decider.decide(
                [Batch("t", some, str, None, lambda _: None, ids=ids)], [], folder.next, NOW_MS + number,
                folder.totals, write,
            )  # fmt: skip
        except (AssertionError, msgspec.MsgspecError, ValueError, TypeError, KeyError):
            folder = Folder(config, by_c=True)  # Python met a profile that was broken here
            continue
        folder.next = made.last + 1
        folder.state.commit(write)
        for exports in made.exports:
            settled(rng, exports)
        if rng.random() < 0.3:
            prefix = folder.keys.profiles
            key, stored = rng.choice(list(folder.state.scan(prefix, prefix + b"\xff")) or [(b"", b"")])
            kept = folder.decider._profiles.young
            if key and key[len(prefix) :].decode() in kept:
                kept[key[len(prefix) :].decode()] = broken(rng, stored, HEADS)


def settled(rng: random.Random, exports: list[Any]) -> None:
    """Exports on their way, by all that C does with them."""
    native = plain.NATIVE
    for bucket, run, ordinals, stored in native.grouped(exports, msgspec.msgpack.encode):
        assert msgspec.msgpack.decode(stored, type=list[Export]) == [p.export for p in run]
        native.lie_in(run, Block(bucket, ordinals))
    if not exports:
        return
    native.json_body(b"[", exports, pybase64.b64encode(native.padded(exports)))
    outcomes = [Outcome(rng.choice(["", "s-0"]), "1" * 56, verdict=rng.choice([0, 0, 0, 1, 3])) for _ in exports]
    for one, after in itertools.pairwise(exports):
        if rng.random() < 0.5:
            one.behind = one.last = after
    native.answered(exports, outcomes)
    for ask in (native.sizes, native.settle, native.blocks_of, native.columns, native.unusual, native.made_at,
                native.ledger_columns):  # fmt: skip
        ask(exports)
    rng.shuffle(exports)
    native.settle(exports)


def main(seed: int, rounds: int) -> None:
    native = plain.NATIVE
    rng = random.Random(seed)
    plans = [plain.plan(one) for one in configurations()]
    stored: list[bytes] = []
    for config in configurations():
        folder = Folder(config, by_c=False)
        folder.take(bodies(), NOW_MS)
        stored += [value for _, value in folder.state.scan(b"", b"\xff" * 9) if value[:1] == b"\x9a"]
    read = decided = 0
    for _ in range(rounds):
        body = rng.choice(bodies())
        found = native.scan(broken(rng, body, SIGNS) if rng.random() < 0.5 else body)
        if found is None:
            continue
        read += 1
        identities, _, _, note = found
        profile = rng.choice([None, *stored])
        if profile is not None and rng.random() < 0.7:
            profile = broken(rng, profile, HEADS)
        which = rng.randrange(len(plans))
        made: list[list[Any]] = [[] for _ in configurations()[which].flows]
        done = native.apply(profile, note, identities, "0" * 32, 9, NOW_MS, from_ms(NOW_MS), plans[which], made)
        decided += done is not None
    for config in configurations():
        whole_batches(rng, config, rounds // 500)
    print(f"{rounds} tried, {read} read, {decided} decided")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
