"""The updates of bench/road: about 600 bytes each, as a prospect database sends them.

Every update states a person's two identities, eleven attributes and two memberships. A person is in each of the
two audiences half of the time and moves now and then; each flow maps one audience, so an update makes one export
on average: none for a person in neither, two for one in both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST_AUDIENCE = "0b4d1f0e-1111-4c1e-9b7e-2c6f5f0a0001"
SECOND_AUDIENCE = "0b4d1f0e-1111-4c1e-9b7e-2c6f5f0a0002"
MOVES = 0.1
"""Share of updates in which a person enters or leaves an audience."""


def updates(count: int, people: int, seed: int) -> Iterator[bytes]:
    """So many updates about so many people, in the order they come in."""
    rng = random.Random(seed)
    member = [[rng.random() < 0.5, rng.random() < 0.5] for _ in range(people)]
    since = [[0, 0] for _ in range(people)]
    for number in range(count):
        who = rng.randrange(people)
        if rng.random() < MOVES:
            which = rng.randrange(2)
            member[who][which] = not member[who][which]
            since[who][which] = number
        yield (
            b'{"identityMap":{"ECID":[{"id":"%038d"}],"Email":[{"id":"person%d@example.test","primary":true}]},'
            b'"person":{"name":{"firstName":"Ada","lastName":"Roe%d"},"birthDate":"1990-02-%02d"},'
            b'"personalEmail":{"address":"person%d@example.test"},'
            b'"homeAddress":{"city":"Paris","countryCode":"FR","postalCode":"75%03d"},'
            b'"loyalty":{"tier":"gold","points":%d},"webActivity":{"lastPage":"/product/%d"},'
            b'"segmentMembership":{"ups":{%b,%b}}}'
        ) % (
            who, who, who, who % 28 + 1, who, who % 1000, number, number % 97,
            membership(FIRST_AUDIENCE, member[who][0], since[who][0]),
            membership(SECOND_AUDIENCE, member[who][1], since[who][1]),
        )  # fmt: skip


def membership(audience: str, member: bool, since: int) -> bytes:
    day, second = divmod(since, 86_400)
    minute, second = divmod(second, 60)
    return b'"%b":{"status":"%b","lastQualificationTime":"2026-01-%02dT%02d:%02d:%02dZ"}' % (
        audience.encode(), b"realized" if member else b"exited", day + 1, minute // 60, minute % 60, second,
    )  # fmt: skip


def configuration(url: str) -> str:
    """Two flows to two streams of one account."""
    spec = '{id: 86043421-563b-46ec-8e6c-e23184711bf6, version: "1.0"}'
    targets = "".join(
        f"  - {{id: t{n}, name: t{n}, baseConnectionId: c, connectionSpec: {spec}, params: {{stream: s{n}}}}}\n"
        for n in (1, 2)
    )
    flows = flow(1, FIRST_AUDIENCE, ("person.name.firstName", "person.name.lastName", "personalEmail.address",
                                     "homeAddress.countryCode"), metadata=True)  # fmt: skip
    flows += flow(2, SECOND_AUDIENCE, ("personalEmail.address", "loyalty.points"), metadata=False)
    return (
        f"connections:\n  - id: c\n    name: c\n    connectionSpec: {spec}\n    auth:\n"
        "      specName: Aws Kinesis authentication credentials\n"
        f"      params: {{accessKeyId: AK, secretKey: SK, region: eu-west-1, endpointUrl: '{url}'}}\n"
        f"targetConnections:\n{targets}flows:\n{flows}"
    )


def flow(number: int, audience: str, paths: tuple[str, ...], *, metadata: bool) -> str:
    attributes = "".join(f"              - {{type: JSON_PATH, value: {{path: {path}}}}}\n" for path in paths)
    return (
        f"  - id: f{number}\n    name: f{number}\n"
        '    flowSpec: {id: 71471eba-b620-49e4-90fd-23f1fa0174d8, version: "1.0"}\n'
        f"    targetConnectionIds: [t{number}]\n    transformations:\n      - name: GeneralTransform\n        params:\n"
        f"          segmentSelectors: {{selectors: [{{type: PLATFORM_SEGMENT, value: {{id: {audience}}}}}]}}\n"
        f"          profileSelectors:\n            selectors:\n{attributes}"
        f"          headrace: {{metadata: {'true' if metadata else 'false'}}}\n"
    )
