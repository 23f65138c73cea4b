"""Feeds C, built with the compiler's sanitizers, broken updates and profiles: `test_plain_memory.py` runs it.

    python -m tests.core.fuzz_plain <the module's file> <seed> <rounds>

What it answers is compared elsewhere; here it only must not read or write where it may not.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from typing import Any

from headrace.core import plain
from headrace.core.flow import PartitionKey, Snapshot
from headrace.core.model import NOTHING, Cause, Export, Identity
from headrace.core.times import from_ms

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


def load(path: str) -> Any:
    """The module of that file, in the place of the one there is."""
    spec = importlib.util.spec_from_file_location("headrace.core._native", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def main(path: str, seed: int, rounds: int) -> None:
    native = load(path)
    native.use(Identity, Cause, Export, NOTHING)
    setattr(plain, "_native", native)  # noqa: B010 - `plan` is to be made by it, compiled or not
    setattr(plain, "COMPILED", True)  # noqa: B010
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
    print(f"{rounds} tried, {read} read, {decided} decided")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
