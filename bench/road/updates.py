"""The updates of bench/road, as a company's systems send them: pieces of profiles, now and then a whole one.

A person's first update is a whole record of about 670 bytes: two identities, eleven attributes, two memberships.
What follows is, by chance: a page view (half of them: one identity, one attribute), a change of loyalty points,
a membership that is stated again or changes, or the whole record. A good half of the people is in each of two
audiences; each of the two flows maps one of them and some of the attributes, and what is written most is mapped, so
that an update makes about an export. With ``whole`` every update is a whole record.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST_AUDIENCE = "0b4d1f0e-1111-4c1e-9b7e-2c6f5f0a0001"
SECOND_AUDIENCE = "0b4d1f0e-1111-4c1e-9b7e-2c6f5f0a0002"
MOVES = 0.1
"""Share of whole records in which a person enters or leaves an audience."""

MEMBERS = 0.55


class _Person:
    __slots__ = ("known", "member", "since")

    def __init__(self, rng: random.Random) -> None:
        self.known = False
        self.member = [rng.random() < MEMBERS, rng.random() < MEMBERS]
        self.since = [0, 0]

    def move(self, which: int, number: int) -> None:
        self.member[which] = not self.member[which]
        self.since[which] = number


def updates(count: int, people: int, seed: int, *, whole: bool = False, fill: bool = False) -> Iterator[bytes]:
    """So many updates about so many people, in the order they come in; with *fill* each person comes once first."""
    rng = random.Random(seed)
    persons = [_Person(rng) for _ in range(people)]
    for number in range(count):
        who = number if fill and number < people else rng.randrange(people)
        person = persons[who]
        chance = rng.random()
        if whole or not person.known or chance >= 0.9:
            person.known = True
            if rng.random() < MOVES:
                person.move(rng.randrange(2), number)
            yield _whole(who, number, person)
        elif chance < 0.5:
            yield b'{"identityMap":{"ECID":[{"id":"%038d"}]},"webActivity":{"lastPage":"/product/%d"}}' % (
                who,
                number,
            )
        elif chance < 0.7:
            yield b'{"identityMap":{"Email":[{"id":"person%d@example.test"}]},"loyalty":{"points":%d}}' % (
                who,
                number,
            )
        else:
            which = rng.randrange(2)
            if rng.random() < 0.5:
                person.move(which, number)
            audience = (FIRST_AUDIENCE, SECOND_AUDIENCE)[which]
            yield b'{"identityMap":{"ECID":[{"id":"%038d"}]},"segmentMembership":{"ups":{%b}}}' % (
                who, membership(audience, person.member[which], person.since[which]),
            )  # fmt: skip


def _whole(who: int, number: int, person: _Person) -> bytes:
    return (
        b'{"identityMap":{"ECID":[{"id":"%038d"}],"Email":[{"id":"person%d@example.test","primary":true}]},'
        b'"person":{"name":{"firstName":"Ada","lastName":"Roe%d"},"birthDate":"1990-02-%02d"},'
        b'"personalEmail":{"address":"person%d@example.test"},'
        b'"homeAddress":{"city":"Paris","countryCode":"FR","postalCode":"75%03d"},'
        b'"loyalty":{"tier":"gold","points":%d},"webActivity":{"lastPage":"/product/%d"},'
        b'"segmentMembership":{"ups":{%b,%b}}}'
    ) % (
        who, who, who, who % 28 + 1, who, who % 1000, number, number % 97,
        membership(FIRST_AUDIENCE, person.member[0], person.since[0]),
        membership(SECOND_AUDIENCE, person.member[1], person.since[1]),
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
                                     "webActivity.lastPage", "loyalty.points"), metadata=True)  # fmt: skip
    flows += flow(
        2, SECOND_AUDIENCE, ("personalEmail.address", "loyalty.points", "webActivity.lastPage"), metadata=False
    )
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
        f"    targetConnectionIds: [t{number}]\n"
        "    transformations:\n      - name: GeneralTransform\n        params:\n"
        f"          segmentSelectors: {{selectors: [{{type: PLATFORM_SEGMENT, value: {{id: {audience}}}}}]}}\n"
        f"          profileSelectors:\n            selectors:\n{attributes}"
        f"          headrace: {{metadata: {'true' if metadata else 'false'}}}\n"
    )
