"""Clients are kept out until the restored cluster was proved; what blocks the way back is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.lab.restoring import Screen, words

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

STRANGER = """set -e
cp -n /etc/haproxy/haproxy.cfg /root/haproxy.cfg
sed 's/^  server cp1 .*/&\\n  server old 127.0.0.1:6443/' /root/haproxy.cfg >/etc/haproxy/haproxy.cfg
systemctl reload haproxy
"""
KNOWN = "cp /root/haproxy.cfg /etc/haproxy/haproxy.cfg; systemctl reload haproxy"


def test_an_api_server_that_only_the_balancer_knows_is_refused(
    healthy: Lab, operator: Operator, snapshot: Path
) -> None:
    """H3: clients are sent to a server that the inventory does not have: nothing is stopped."""
    rehearsal.each(healthy, STRANGER, ["lb"])
    try:
        refused = operator.drrun(*words(snapshot))
    finally:
        rehearsal.each(healthy, KNOWN, ["lb"])
    told = refused.stdout + refused.stderr
    assert refused.returncode == 5, told
    assert "control_plane/old (127.0.0.1)" in told
    assert not [
        e for e in operator.journal(operator.newest()) if "stop-" in str(e.body.get("unit"))
    ]
    assert healthy.kubectl("get", "--raw", "/readyz").returncode == 0


def test_without_a_balancer_the_plan_says_so(
    healthy: Lab, operator: Operator, snapshot: Path
) -> None:
    """Left out by name: told at the head, no step of it is left, and the rest is in order."""
    told = operator.drrun(*words(snapshot), "-e", "role.load_balancer=", "--dry-run")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "load_balancer  no host has this role" in told.stdout
    assert "drain" not in told.stdout
    assert "admit" not in told.stdout


GUARD = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "guard"}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "guard"},
            "spec": {"ports": [{"port": 443}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1.guard.example"},
            "spec": {
                "group": "guard.example",
                "version": "v1",
                "service": {"namespace": "guard", "name": "web"},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "guard"},
            "webhooks": [
                {
                    "name": "pods.guard.io",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Fail",
                    "clientConfig": {"service": {"namespace": "guard", "name": "web"}},
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["pods"],
                        }
                    ],
                }
            ],
        },
    ],
}
"""A webhook that guards pods, and an API, behind a Service that nobody answers for."""
ANSWERS = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {"name": "web", "namespace": "guard"},
    "subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 443}]}],
}


def _apply(lab: Lab, wanted: object) -> None:
    rehearsal.each(lab, f"kubectl apply -f - <<'EOF'\n{json.dumps(wanted)}\nEOF", ["cp1"])


def _policy(lab: Lab) -> str:
    path = "jsonpath={.webhooks[0].failurePolicy}"
    return lab.kubectl("get", "validatingwebhookconfiguration", "guard", "-o", path).stdout


@pytest.mark.long
def test_a_webhook_that_was_named_is_set_aside_until_somebody_answers_for_it(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Pitfall 38: Ignore while its Service has no endpoint, and the run ends only with Fail again."""
    _apply(fresh, GUARD)
    path = tmp_path / "snapshot.db"
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    screen = Screen.of(operator, *words(path), "-e", "ignore_webhooks=guard")
    screen.until_sent("webhooks", "ignore", "cp1")
    until(lambda: _policy(fresh) == "Ignore", timeout=120, awaiting="the webhook to be set aside")
    screen.until("step=leases")
    assert _policy(fresh) == "Ignore"
    _apply(fresh, ANSWERS)
    assert screen.end() == 0, screen.told
    assert _policy(fresh) == "Fail"
    kept = fresh.ssh(
        "cp1", "cat /var/lib/drrun/webhooks/*/ValidatingWebhookConfiguration-guard.json"
    )
    assert json.loads(kept.stdout)["webhooks"][0]["failurePolicy"] == "Fail"
    assert "nothing guards there" in screen.told
    assert "nobody answers for the API v1.guard.example (guard/web)" in screen.told
