"""The files of deploy/ that watch the service: which metrics they name, and which questions they ask."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "bootstrap.json"
KINDS = "application|boot|db|healthcheck|http|log|probe|process|scheduled|schema"
# Of the blackbox exporter, and of JOBS=on.
ELSEWHERE = {"probe_success", "probe_ssl_earliest_cert_expiry"}
JOBS = {"scheduled_job_runs_total", "scheduled_job_last_success_timestamp_seconds"}


def names_in(text: str) -> set[str]:
    """The metrics that are named in a text; those of a histogram by the histogram's name."""
    found = re.findall(rf"\b(?:{KINDS})_[a-z_]+[a-z]\b", text)
    return {re.sub("_(bucket|sum|count)$", "", name) for name in found}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]
