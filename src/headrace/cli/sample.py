"""A realistic sample: prospects who browse, download a white paper, qualify, change their minds, and leave.

Pure and seeded: the same arguments give the same bytes. The people are invented; their addresses lie under
example.com, which nobody can own.

Each person has a journey of steps, in order, with minutes between them; the sample is all journeys merged by
time, as a collection would see them. What happens to a person:

    browse      one to three visits, known by an ECID alone
    download    six in ten leave an e-mail address for a white paper: one update joins ECID and Email, and the
                person enters "Downloaded a white paper"
    second device  one in eight of these browsed on another device too, half of them with a download under
                another address there: signing in joins two profiles, then both of them exported before
    change      loyalty points, another page, a corrected name or a new country
    qualify     half of them enter "High propensity to convert"
    leave       three in ten of these leave it later
"""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import msgspec

WHITE_PAPER: Final = "6f0d7d4e-3f0b-4b52-9d1c-5a3c1f7b2a10"
"""Id of the audience "Downloaded a white paper"."""
HIGH_PROPENSITY: Final = "c1a8e6b2-7d94-4a0e-8f53-2be04d9c6e21"
"""Id of the audience "High propensity to convert"."""
SPAN_MS: Final = 3_600_000
"""The sample's steps lie within about this long after its start."""

_FIRST: Final = (
    "Ada",
    "Bo",
    "Chloé",
    "Elif",
    "Farid",
    "Grace",
    "Inés",
    "Kofi",
    "Lucía",
    "Mei",
    "Noor",
    "Søren",
    "Tomás",
)
_LAST: Final = ("Bauer", "Chen", "Diallo", "García", "Haddad", "Kaya", "Moreau", "Okafor", "Petrov", "Rossi", "Silva")
_COUNTRIES: Final = ("DE", "ES", "FR", "GB", "IT", "JP", "NL", "PT", "SE", "US")
_PAGES: Final = ("/", "/pricing", "/product/streams", "/blog/order-matters", "/docs/start", "/customers", "/contact")
_PAPERS: Final = ("/papers/real-time-audiences", "/papers/one-profile", "/papers/streams-that-last")

_encode: Final = msgspec.json.Encoder().encode

Step = tuple[int, dict[str, Any]]
"""When, in epoch milliseconds, and the update."""


def generate(
    seed: int, profiles: int = 5000, start_ms: int = 1_767_225_600_000, malformed: int = 5
) -> Iterator[bytes]:
    """Updates as JSON Lines, without the newlines, in the order of their times.

    Args:
        seed: Chooses the people; other seeds give other people, so that samples can follow each other.
        profiles: People, 0 or more. Each makes three to four updates on average.
        start_ms: Epoch milliseconds at which the first of them comes.
        malformed: Lines that cannot be applied, spread over the sample; each kind in turn.

    Yields:
        One XDM record as compact UTF-8 JSON, or one malformed line.
    """
    journeys = [_journey(seed, number, start_ms) for number in range(profiles)]
    due = [(step[0], number, step[1]) for number, journey in enumerate(journeys) if (step := next(journey, None))]
    heapq.heapify(due)
    # Three updates a person is a little less than there are, so that good ones follow the last malformed line.
    gap = max(1, 3 * profiles // (malformed + 1))
    written = spoilt = 0
    while due:
        _, number, update = due[0]
        yield _encode(update)
        written += 1
        if spoilt < malformed and written % gap == 0:
            yield _malformed(spoilt)
            spoilt += 1
        step = next(journeys[number], None)
        if step is None:
            heapq.heappop(due)
        else:
            heapq.heapreplace(due, (step[0], number, step[1]))
    for kind in range(spoilt, malformed):
        yield _malformed(kind)


def somebody(lines: Iterable[bytes]) -> str:
    """The e-mail address that most updates name, the first of several: somebody with a story to look up.

    Args:
        lines: Of ``generate``.

    Returns:
        The address; "" where no update names one.
    """
    named: Counter[str] = Counter()
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            update = msgspec.json.decode(line, type=_Known)
            named.update(each["id"] for each in update.identityMap.get("Email", ()) if each["id"])
    return next((address for address, _ in named.most_common(1)), "")


class _Known(msgspec.Struct):
    """Of an update, whom it names."""

    identityMap: dict[str, list[dict[str, Any]]] = {}  # noqa: N815 - the wire's spelling


def _journey(seed: int, number: int, start_ms: int) -> Iterator[Step]:
    """One person's steps, in order."""
    rng = Random(f"headrace/{seed}/{number}")  # noqa: S311 - a sample, not a secret
    now = start_ms + int(rng.random() * SPAN_MS * 0.6)
    ecid = str(rng.randrange(10**37, 10**38))
    for _ in range(rng.choice((1, 1, 2, 3))):
        yield now, {"identityMap": _known(ecid), "webActivity": {"lastPage": rng.choice(_PAGES)}}
        now += _minutes(rng, 1, 6)
    if rng.random() < 0.6:
        yield from _prospect(rng, number, ecid, now)


def _prospect(rng: Random, number: int, ecid: str, now: int) -> Iterator[Step]:
    """The steps of somebody who leaves an e-mail address."""
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    email = f"{_plain(first)}.{_plain(last)}.{rng.randrange(36**4):04x}{number}@example.com"
    second = str(rng.randrange(10**37, 10**38)) if rng.random() < 0.125 else None
    if second is not None:
        yield now, {"identityMap": _known(second), "webActivity": {"lastPage": rng.choice(_PAGES)}}
        now += _minutes(rng, 1, 4)
        if rng.random() < 0.5:
            yield now, _download(rng, second, f"work.{email}", first, last, now)
            now += _minutes(rng, 1, 4)
    yield now, _download(rng, ecid, email, first, last, now)
    if second is not None:
        now += _minutes(rng, 2, 5)
        yield now, {"identityMap": _known(second, email), "webActivity": {"lastPage": "/account"}}
    for _ in range(rng.choice((0, 1, 1, 2))):
        now += _minutes(rng, 1, 5)
        yield now, {"identityMap": _known(None, email), **_change(rng, last)}
    if rng.random() < 0.5:
        now += _minutes(rng, 1, 4)
        yield (
            now,
            {
                "identityMap": _known(ecid, email),
                "loyalty": {"points": rng.randrange(100, 5000, 50)},
                "segmentMembership": _membership(HIGH_PROPENSITY, now, "realized"),
            },
        )
        if rng.random() < 0.3:
            now += _minutes(rng, 3, 9)
            yield (
                now,
                {
                    "identityMap": _known(None, email),
                    "segmentMembership": _membership(HIGH_PROPENSITY, now, "exited"),
                },
            )


def _download(rng: Random, ecid: str, email: str, first: str, last: str, now: int) -> dict[str, Any]:
    """A white paper for an e-mail address: what joins the two identities and enters the audience."""
    return {
        "identityMap": _known(ecid, email),
        "person": {"name": {"firstName": first, "lastName": last}},
        "personalEmail": {"address": email},
        "homeAddress": {"country": rng.choice(_COUNTRIES)},
        "webActivity": {"lastPage": rng.choice(_PAPERS)},
        "segmentMembership": _membership(WHITE_PAPER, now, "realized"),
    }


def _change(rng: Random, last: str) -> dict[str, Any]:
    """Attributes of one update that changes nothing else."""
    kind = rng.randrange(4)
    if kind == 0:
        return {"person": {"name": {"lastName": f"{last}-{rng.choice(_LAST)}"}}}
    if kind == 1:
        return {"homeAddress": {"country": rng.choice(_COUNTRIES)}}
    if kind == 2:
        return {"loyalty": {"points": rng.randrange(0, 5000, 50)}}
    return {"webActivity": {"lastPage": rng.choice(_PAGES)}}


def _known(ecid: str | None, email: str | None = None) -> dict[str, Any]:
    identities: dict[str, Any] = {}
    if ecid is not None:
        identities["ECID"] = [{"id": ecid, "primary": True}]
    if email is not None:
        identities["Email"] = [{"id": email, "primary": ecid is None}]
    return identities


def _membership(segment_id: str, at_ms: int, status: str) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"ups": {segment_id: {"lastQualificationTime": stamp, "status": status}}}


def _minutes(rng: Random, least: float, most: float) -> int:
    """A pause in milliseconds, of whole seconds and at least one, so that a later step has a later time."""
    return int(rng.uniform(least, most) * 60) * 1000


def _plain(name: str) -> str:
    """A name as it can stand in an address: ASCII, lower case."""
    table = str.maketrans({"é": "e", "í": "i", "á": "a", "ó": "o", "ø": "o"})
    return name.lower().translate(table)


def _malformed(kind: int) -> bytes:
    """A line that cannot be applied; the kinds take turns."""
    known = {"ECID": [{"id": "10000000000000000000000000000000000000"}]}
    odd = {"lastQualificationTime": "2026-01-01T00:00:00Z", "status": "maybe"}
    late = {"lastQualificationTime": "yesterday", "status": "realized"}
    kinds = (
        b'{"identityMap":{"ECID":[{"id":"1000000',
        _encode({"person": {"name": {"firstName": "Nobody"}}}),
        _encode({"identityMap": known, "segmentMembership": {"ups": {HIGH_PROPENSITY: odd}}}),
        _encode({"identityMap": known, "segmentMembership": {"ups": {HIGH_PROPENSITY: late}}}),
        b'["not", "an", "object"]',
        _encode({"identityMap": {"Email": [{"id": ""}]}}),
    )
    return kinds[kind % len(kinds)]


def _quoted(text: str) -> str:
    """A text as YAML takes it whatever it holds: a JSON string."""
    return _encode(text).decode()


def applied_configuration(endpoint_url: str, stream: str, region: str) -> str:
    """The same for ``headrace apply``: audiences of the platform's own namespace have an expression there.

    Args:
        endpoint_url: As of ``sample_configuration``.
        stream: Likewise.
        region: Likewise.
    """
    made = sample_configuration(endpoint_url, stream, region)
    for segment_id, expression in _EXPRESSIONS.items():
        lines = (
            f"  - id: {segment_id}\n"
            "    schema: {name: _xdm.context.profile}\n"
            f"    expression: {{type: PQL, format: pql/text, value: {_quoted(expression)}}}\n"
        )
        made = made.replace(f"  - id: {segment_id}\n", lines, 1)
    return made


def sample_configuration(endpoint_url: str, stream: str, region: str) -> str:
    """The demo's configuration file, as YAML.

    Args:
        endpoint_url: Where Kinesis answers, for instance ``http://127.0.0.1:4567``.
        stream: Name of an existing stream.
        region: Its region.
    """
    return (
        _CONFIGURATION.replace("ENDPOINT", _quoted(endpoint_url))
        .replace("STREAM", _quoted(stream))
        .replace("REGION", _quoted(region))
    )


_EXPRESSIONS: Final = {HIGH_PROPENSITY: "propensity.score >= 0.8", WHITE_PAPER: "downloads.whitePapers > 0"}
_CONFIGURATION: Final = f"""\
# The demo's configuration. Copy it, put your own stream, region and keys in, and leave endpointUrl out.
segments:
  - id: {HIGH_PROPENSITY}
    name: High propensity to convert
    namespace: ups
  - id: {WHITE_PAPER}
    name: Downloaded a white paper
    namespace: ups

connections:
  - id: demo-account
    name: Demo account
    connectionSpec: {{id: 86043421-563b-46ec-8e6c-e23184711bf6, version: "1.0"}}  # Amazon Kinesis
    auth:
      specName: Aws Kinesis authentication credentials
      params:
        accessKeyId: demo  # for your own: ${{env:AWS_ACCESS_KEY_ID}}
        secretKey: demo
        region: REGION
        endpointUrl: ENDPOINT

targetConnections:
  - id: demo-stream
    name: Demo stream
    baseConnectionId: demo-account
    connectionSpec: {{id: 86043421-563b-46ec-8e6c-e23184711bf6, version: "1.0"}}
    params:
      stream: STREAM
      region: REGION
      includeSegmentNames: true
      includeSegmentTimestamps: false

flows:
  - id: demo-flow
    name: Prospects to the demo stream
    flowSpec: {{id: 71471eba-b620-49e4-90fd-23f1fa0174d8, version: "1.0"}}
    targetConnectionIds: [demo-stream]
    transformations:
      - name: GeneralTransform
        params:
          segmentSelectors:
            selectors:
              - {{type: PLATFORM_SEGMENT, value: {{id: {HIGH_PROPENSITY}, name: High propensity to convert}}}}
              - {{type: PLATFORM_SEGMENT, value: {{id: {WHITE_PAPER}, name: Downloaded a white paper}}}}
          profileSelectors:
            selectors:
              - {{type: JSON_PATH, value: {{operator: EXISTS, path: person.name.firstName}}}}
              - {{type: JSON_PATH, value: {{operator: EXISTS, path: person.name.lastName}}}}
              - {{type: JSON_PATH, value: {{operator: EXISTS, path: personalEmail.address}}}}
              - {{type: JSON_PATH, value: {{operator: EXISTS, path: homeAddress.country}}}}
              - {{type: JSON_PATH, value: {{operator: EXISTS, path: loyalty.points}}}}
              - {{type: JSON_PATH, value: {{operator: EXISTS, path: webActivity.lastPage}}}}
          headrace:
            metadata: true  # adds the _headrace block: export id, seq and cause of each message
"""
