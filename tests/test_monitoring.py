"""Dashboard, alert rules and text name what the service really tells."""

import re
from pathlib import Path

import pytest
import yaml
from monitoring import DEPLOY, ELSEWHERE, JOBS, PROMETHEUS, dashboard_queries, names_in, panels, rules
from process import Start

TEXTS = [*(Path(__file__).parent.parent / "deploy").glob("metrics-and-logs*.md")]


@pytest.fixture
def told(start: Start) -> set[str]:
    """The metrics of a running service."""
    service = start()
    service.wait_until_ok()
    return set(re.findall("^# TYPE ([a-z_]+) ", service.ask("/metrics").text, re.MULTILINE))


def test_the_names_are_the_same_everywhere(told: set[str]) -> None:
    """What is asked for exists; and each metric of our own has its line in both texts, and no other has."""
    asked = names_in(" ".join([*dashboard_queries(), *(rule["expr"] for rule in rules())]))
    own = {name for name in told if not name.startswith("process_")} | JOBS

    assert asked - told - ELSEWHERE - JOBS == set()
    assert [names_in(" ".join(re.findall("^\\| `.*", text.read_text(), re.MULTILINE))) for text in TEXTS] == [own, own]


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    """rules.test.yml has a case for each, and each has a severity, a summary and an action."""
    cases = (PROMETHEUS / "rules.test.yml").read_text()

    assert [rule["alert"] for rule in rules() if rule["alert"] not in cases] == []
    assert {(frozenset(rule["annotations"]), *rule["labels"]) for rule in rules()} == {
        (frozenset({"summary", "action"}), "severity")
    }


def test_the_dashboard_asks_the_provisioned_source() -> None:
    """Each panel and each query, and no two panels lie on each other."""
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    used = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    cells = [
        (column, row)
        for panel in panels()
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert used == {source["uid"]}
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
