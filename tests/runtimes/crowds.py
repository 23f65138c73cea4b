"""Updates about a crowd whose people enter, leave and are joined."""

from __future__ import annotations

import random

from tests.runtimes.road import update


def people(count: int, seed: int = 1, crowd: int = 40) -> list[bytes]:
    """So many updates about a crowd with two identities each, which a few of the updates join."""
    rng = random.Random(seed)
    ids = [f"email:e{n}" for n in range(crowd)] + [f"ecid:c{n}" for n in range(crowd)]
    return [
        update(n, *rng.sample(ids, rng.choice([1] * 12 + [2])), vip=rng.choice([True, True, True, False, None]))
        for n in range(count)
    ]
