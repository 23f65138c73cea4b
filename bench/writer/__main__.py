"""``make bench NAME=writer``: run the contenders in turn, several rounds, and add a row to bench/results/writer.md.

The server is a process of its own, counts and answers without decoding, and its CPU is not counted.
With --judge it records instead (give fewer records), and the row says what became of them: loss, repeats, order.
With --matrix it does either for 0, 1 and 20 % failing records, plain and over TLS, in one table.
A run that is not through after --most-s seconds is stopped, and its row says so.

Records fail with InternalFailure, which says nothing of a rate. With --throttle they fail as over the rate of their
shard, whatever the rate is: Headrace then goes down to the little that such a shard seems to take.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.machine import machine
from bench.writer.contenders import CONTENDERS, Report, make_records
from headrace.testing import Certificate, Child, Script, Verdict, judge, make_certificate, random_faults, read_records
from headrace.testing.judge import whole

RESULTS = Path(__file__).parent.parent / "results" / "writer.md"
SHARE = {"aiokpl": 10, "async-kinesis": 10, "async-kinesis-limited": 40}
"""Slow contenders get a part of the records, so that a round stays short."""

HEAD = """# Writers: records per CPU-second of the client

`make bench NAME=writer`: each contender sends records of 650 bytes (partition key of 32 characters) to a
server of our own (`headrace.testing`, fast mode) in another process, until all are acknowledged. Given are
medians over the rounds and their ratio to Headrace; "fails" is the share of records that the server
refuses: throttled in rows before 2026-11-24 13:00, with InternalFailure since.
Headrace keeps the order per key and reads every sequence number; the others keep none under failures.
All speak JSON; `headrace-cbor` is Headrace speaking CBOR, which none of the others can.
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench NAME=writer")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fails", type=float, default=0.0, help="share of records that fail")
    parser.add_argument(
        "--throttle", action="store_true", help="they fail by a throttle of their shard, not by InternalFailure"
    )
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="this contender; may be given again")
    parser.add_argument("--matrix", action="store_true", help="0, 1 and 20 %% failing, plain and over TLS")
    parser.add_argument("--judge", action="store_true", help="record, and judge loss, repeats and order")
    parser.add_argument("--keys", type=int, help="partition keys (default: one a record; with --judge 100)")
    parser.add_argument("--most-s", type=float, default=180.0, help="seconds a run may take")
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    return parser.parse_args()


def run(
    name: str, url: str, count: int, keys: int, certificate: Certificate | None, most_s: float = 180.0
) -> Report | None:
    """Run one contender in a process of its own; None when it was stopped after *most_s* seconds."""
    environment = dict(os.environ)
    if certificate:
        environment |= {"AWS_CA_BUNDLE": str(certificate.cert), "SSL_CERT_FILE": str(certificate.cert)}
    command = [sys.executable, "-W", "ignore", "-m", "bench.writer.contenders", name, url, "s", str(count), str(keys)]
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=most_s, check=True)
    except subprocess.TimeoutExpired:
        sys.stdout.write(f"{name}: stopped after {most_s:.0f} s\n")
        return None
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)


@contextmanager
def server(
    options: argparse.Namespace, folder: Path, record: Path | None
) -> Iterator[tuple[Child, Certificate | None]]:
    certificate = make_certificate(folder) if options.tls else None
    kind = "throttle" if options.throttle else "internal_failure"
    script = Script(faults=random_faults(**{kind: options.fails}), seed=1)
    # one shard when answers are prepared: aiokpl sends again what is answered from another shard than it computed
    with Child(
        streams={"s": 4 if record else 1},
        script=script,
        fast=record is None,
        record=record,
        keep=False,
        certificate=certificate,
    ) as child:
        yield child, certificate


def measure(options: argparse.Namespace, names: list[str]) -> dict[str, list[Report]]:
    """Run the contenders in turn; every record must have been accepted by the server."""
    reports: dict[str, list[Report]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, server(options, Path(folder), None) as (child, certificate):
        for _ in range(options.rounds):
            for name in names:
                count = options.records // SHARE.get(name, 1)
                before = child.counts().accepted
                report = run(name, child.url, count, options.keys or count, certificate, options.most_s)
                if report is None:
                    continue
                taken = child.counts().accepted - before - 300
                if taken != count or report.failed or report.acknowledged not in (-1, count):
                    sys.stdout.write(f"{name}: {taken} of {count} accepted, {report}\n")
                reports[name].append(report)
                rate = report.records / report.cpu_s
                sys.stdout.write(
                    f"{name:14} {rate:10,.0f} records/CPU-s  {report.records / report.wall_s:10,.0f}/s\n"
                )
    return reports


def judged(options: argparse.Namespace, name: str) -> tuple[Report | None, Verdict]:
    """Run one contender against a recording server, and judge the recording; no report when it was stopped."""
    count, keys = options.records, options.keys or 100
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "records"
        with server(options, Path(folder), record) as (child, certificate):
            report = run(name, child.url, count, keys, certificate, options.most_s)
        expected: dict[str, list[bytes]] = {}
        for key, data in make_records(count, keys):
            expected.setdefault(key, []).append(data)
        records = (r for r in read_records(record) if not r.key.startswith("warm-"))
        return report, judge({"s": expected}, records, identify=whole)


def write(title: str, lines: list[str], options: argparse.Namespace, load: float) -> None:
    command = shlex.join(["make", "bench", "NAME=writer", f"ARGS={' '.join(sys.argv[1:])}"])
    now = datetime.now(UTC)
    text = f"\n## {now:%Y-%m-%d %H:%M} UTC, {title}\n\n`{command}`, {machine()}, load {load:.2f} at the start\n\n"
    text += "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if not options.dry:
        RESULTS.parent.mkdir(exist_ok=True)
        before = RESULTS.read_text() if RESULTS.exists() else HEAD
        RESULTS.write_text(before + text)


def judge_all(options: argparse.Namespace, names: list[str]) -> list[str]:
    """Judge the contenders in turn; the rows of a table without its head."""
    lines = []
    for name in names:
        report, verdict = judged(options, name)
        if report is None:
            told, rate = f"not through after {options.most_s:.0f} s", ""
        else:
            told = str(report.acknowledged) if report.acknowledged >= 0 else "not told"
            rate = f"{report.records / report.cpu_s:,.0f}"
        lines.append(
            f"| {name} | {options.records} | {rate} | {told} | {verdict.lost.count} | {verdict.duplicates.count} "
            f"| {verdict.disorder.count} |"
        )
        sys.stdout.write(lines[-1] + "\n")
    return lines


JUDGED = [
    "| contender | records | records per CPU-second | acknowledged | lost | duplicates | out of order |",
    "|---|--:|--:|--:|--:|--:|--:|",
]


def table(reports: dict[str, list[Report]]) -> list[str]:
    """What was measured under one condition."""
    rates = medians(reports)
    lines = [
        "| contender | records a round | rounds | records per CPU-second | CPU-s per million | records/s | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in reports.items():
        if not found:
            lines.append(f"| {name} | | 0 | stopped, not through in time | | | |")
            continue
        wall = statistics.median(r.records / r.wall_s for r in found)
        ratio = f"{rates['headrace'] / rates[name]:.2f}x" if "headrace" in rates and name != "headrace" else ""
        lines.append(
            f"| {name} | {found[0].records:,} | {len(found)} | {rates[name]:,.0f} | {1e6 / rates[name]:.1f} "
            f"| {wall:,.0f} | {ratio} |"
        )
    return lines


def medians(reports: dict[str, list[Report]]) -> dict[str, float]:
    """Records per CPU-second, by contender; of those that were stopped each time none."""
    return {name: statistics.median(r.records / r.cpu_s for r in found) for name, found in reports.items() if found}


def conditions(options: argparse.Namespace) -> Iterator[tuple[str, argparse.Namespace]]:
    """Every condition of the matrix, with its name."""
    for tls in (False, True):
        for fails in (0.0, 0.01, 0.2):
            asked = argparse.Namespace(**vars(options) | {"tls": tls, "fails": fails})
            yield f"{'TLS' if tls else 'plain'} {fails:.0%}", asked


def measure_matrix(options: argparse.Namespace, names: list[str]) -> list[str]:
    """Records per CPU-second under every condition, side by side, and what the issue asks of them."""
    found: dict[str, dict[str, float]] = {}
    for condition, asked in conditions(options):
        sys.stdout.write(f"{condition}\n")
        found[condition] = medians(measure(asked, names))
    lines = [
        f"| contender | {' | '.join(found)} | ratio plain 0% | ratio TLS 0% | plain 1% of 0% |",
        f"|---|{'--:|' * (len(found) + 3)}",
    ]
    for name in names:
        rates = [f"{rates[name]:,.0f}" if name in rates else "stopped" for rates in found.values()]
        ratios = [
            f"{found[at]['headrace'] / found[at][name]:.2f}x"
            if name != "headrace" and {"headrace", name} <= found[at].keys() else ""
            for at in ("plain 0%", "TLS 0%")
        ]  # fmt: skip
        through = name in found["plain 1%"] and name in found["plain 0%"]
        kept = f"{found['plain 1%'][name] / found['plain 0%'][name]:.0%}" if through else ""
        lines.append(f"| {name} | {' | '.join(rates)} | {' | '.join(ratios)} | {kept} |")
    return lines


def main() -> None:
    options = arguments()
    names = options.only or list(CONTENDERS)
    load = os.getloadavg()[0]
    keys = f"{options.keys or 100} keys"
    if options.matrix and options.judge:
        lines = [f"| under {JUDGED[0]}", f"|---{JUDGED[1]}"]
        for condition, asked in conditions(options):
            lines += [f"| {condition} {line}" for line in judge_all(asked, names)]
        write(f"judged, {keys}", lines, options, load)
        return
    if options.matrix:
        lines = measure_matrix(options, names)
        write("records per CPU-second, plain and TLS, 0, 1 and 20% fails", lines, options, load)
        return
    title = f"{options.fails:.0%} {'throttled' if options.throttle else 'fails'}, {'TLS' if options.tls else 'plain'}"
    if options.judge:
        write(f"judged, {title}, {keys}", JUDGED + judge_all(options, names), options, load)
        return
    write(title, table(measure(options, names)), options, load)


if __name__ == "__main__":
    main()
