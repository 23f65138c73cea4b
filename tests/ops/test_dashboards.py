"""The dashboard and the alert rules name metrics and labels that there are, and show every metric of the list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from headrace.metrics import DEFINITIONS

OPS = Path(__file__).parents[2] / "ops"
DASHBOARD = msgspec.json.decode((OPS / "grafana" / "headrace.json").read_bytes())
RULES = yaml.safe_load((OPS / "prometheus" / "headrace.rules.yml").read_text(encoding="utf-8"))
OUTSIDE = {"job", "instance", "le"}
"""Labels that Prometheus itself adds."""


def _series() -> dict[str, set[str]]:
    """Name of every series that is exposed, to its labels."""
    found: dict[str, set[str]] = {}
    for name, kind, labels, _ in DEFINITIONS:
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
        found |= {f"headrace_{name}{suffix}": set(labels) for suffix in suffixes}
    return found


SERIES = _series()


def _queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for rule in _rules():
        yield f"rule {rule['alert']}", rule["expr"]


def _rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


QUERIES = [pytest.param(text, id=f"{number} {name}") for number, (name, text) in enumerate(_queries())]


@pytest.mark.parametrize("text", QUERIES)
def test_a_query_names_what_there_is(text: str) -> None:
    """Its series are exposed, selectors and groupings use labels that they have, and brackets are balanced."""
    names = set(re.findall(r"headrace_\w+", text))
    assert names, text
    assert names <= SERIES.keys(), names - SERIES.keys()
    labels = set().union(*(SERIES[name] for name in names)) | OUTSIDE
    for name, selector in re.findall(r"(headrace_\w+)\{([^}]*)\}", text):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert used <= SERIES[name] | OUTSIDE, f"{name}: {used}"
    for inside in re.findall(r"\b(?:by|on) \(([^)]*)\)", text):
        assert set(map(str.strip, inside.split(","))) <= labels, inside
    for first, last in ("()", "{}", "[]"):
        assert text.count(first) == text.count(last), text


@pytest.mark.parametrize("text", QUERIES)
def test_a_counter_is_not_shown_as_it_stands(text: str) -> None:
    """It grows for ever: only its rate, its increase, or a difference that must be nought says something."""
    for name in re.findall(r"headrace_\w+_total", text):
        before = text[: text.index(name)]
        whole = "headrace_flow_accepted_total" in text
        assert whole or re.search(r"(rate|increase)\($", before), text


def test_every_metric_is_on_the_dashboard() -> None:
    """What is counted can be seen."""
    shown = set(re.findall(r"headrace_\w+", str(DASHBOARD["panels"])))
    missing = []
    for name, kind, _, _ in DEFINITIONS:
        own = {series for series in SERIES if re.fullmatch(rf"headrace_{name}(_total|_bucket|_sum|_count)?", series)}
        if not own & shown:
            missing.append((name, kind))
    assert missing == []


def test_the_dashboard_is_whole() -> None:
    """Ids are unique, panels do not overlap, legends and selectors name variables that there are."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    text = msgspec.json.encode(DASHBOARD).decode()
    assert set(re.findall(r"\$\{?(\w+)", text)) - {"__all"} <= variables
    for panel in panels:
        for target in panel.get("targets", ()):
            labels = set().union(*(SERIES[name] for name in re.findall(r"headrace_\w+", target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]


def test_a_rule_is_whole() -> None:
    """A name of its own, a severity, and words that use only labels that its query keeps."""
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        words = " ".join(rule["annotations"].values())
        kept = {label.strip() for each in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in each.split(",")}
        assert set(re.findall(r"\$labels\.(\w+)", words)) <= kept, rule["alert"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_what_is_wrong_is_noticed() -> None:
    """A series that there is not, and a label that it has not."""
    for wrong in ("headrace_flow_sent_total", 'rate(headrace_flow_delivered_total{shard="x"}[5m])'):
        with pytest.raises(AssertionError):
            test_a_query_names_what_there_is(wrong)
