"""Dashboards ask for metrics that exist, and Prometheus asks the services that there are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from deployment import DEPLOY, compose, default_port, exposed_metrics

from dexlane.runtime.settings import SERVICES

DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
EXPRESSIONS = [
    (path.stem, panel["title"], target["expr"])
    for path in DASHBOARDS
    for panel in json.loads(path.read_text())["panels"]
    for target in panel["targets"]
]


def missing(expression: str) -> list[str]:
    """The metric names and name patterns of an expression that no service exposes."""
    known = {name for service in SERVICES for name in exposed_metrics(service)}
    patterns = re.findall(r'__name__=~"([^"]+)"', expression)
    plain = re.sub(r'"[^"]*"', "", expression)
    absent = [name for name in re.findall(r"\bdexlane_\w+", plain) if name not in known]
    return absent + [pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in known)]


@pytest.mark.parametrize(("dashboard", "panel", "expression"), EXPRESSIONS)
def test_dashboard_asks_for_metrics_that_exist(dashboard: str, panel: str, expression: str) -> None:
    assert missing(expression) == [], f"{dashboard}: {panel}"


def test_unknown_metric_would_be_found() -> None:
    assert missing("rate(dexlane_portfolio_profits_total[5m])") == ["dexlane_portfolio_profits_total"]
    assert missing('sum({__name__=~"dexlane_.+_profits"})') == ["dexlane_.+_profits"]


def test_there_is_something_on_every_panel() -> None:
    panels: list[dict[str, Any]] = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    assert panels
    assert all(panel["targets"] and panel["description"] for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_dashboards_use_the_provisioned_source() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]
    assert source["url"].removeprefix("http://").partition(":")[0] in compose()["services"]


def test_prometheus_scrapes_every_service_on_its_port() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (targets,) = [group["targets"] for group in job["static_configs"]]
    assert sorted(targets) == sorted(f"{service}:{default_port(service)}" for service in SERVICES)


def alert_rules() -> list[dict[str, Any]]:
    names = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["rule_files"]
    files = [yaml.safe_load((DEPLOY / "prometheus" / name).read_text()) for name in names]
    return [rule for content in files for group in content["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_alert_asks_for_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert missing(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("page", "warn")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["action"]


def test_prometheus_finds_its_rules_in_the_folder_it_is_given() -> None:
    volumes = compose()["services"]["prometheus"]["volumes"]
    assert any("deploy/prometheus" in str(volume) or "../prometheus:" in str(volume) for volume in volumes)


def test_gateway_knows_where_the_others_answer() -> None:
    urls = json.loads(compose()["services"]["gateway"]["environment"]["DEXLANE_GATEWAY_SERVICE_URLS"])
    others = [service for service in SERVICES if service != "gateway"]
    assert urls == {service: f"http://{service}:{default_port(service)}" for service in others}
