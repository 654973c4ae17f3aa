"""etcd's and Kubernetes' tools are run with nothing of the host's environment (pitfall 30)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from drrun.spi import Fact
from drrun_steps.etcd.live import EtcdStatus
from drrun_steps.etcd.membership import EtcdMembership
from drrun_steps.kube.facts import KubeReady, KubeSecrets
from drrun_steps.kube.masterleases import KubeMasterLeases

PROXIES = {
    "HTTPS_PROXY": "http://10.9.9.9:3128",
    "https_proxy": "http://10.9.9.9:3128",
    "ALL_PROXY": "socks5://10.9.9.9:1080",
    "ETCDCTL_ENDPOINTS": "http://10.9.9.9:2379",
    "KUBECONFIG": "/root/elsewhere",
}
QUESTIONS: tuple[Fact[Any], ...] = (
    EtcdStatus(),
    EtcdMembership(),
    KubeMasterLeases(),
    KubeReady(),
    KubeSecrets(),
)


@pytest.mark.parametrize("fact", QUESTIONS, ids=lambda fact: fact.name)
def test_no_variable_of_the_host_reaches_a_tool(fact: Fact[Any], tmp_path: Path) -> None:
    """A proxy, or other endpoints, in the account's environment: the tool does not see them."""
    seen = tmp_path / "seen"
    for name in ("etcdctl", "kubectl"):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{{ echo asked; env; }} >>{seen}\n")
        tool.chmod(0o755)
    script = fact.ask().script().decode()
    assert "PATH=/usr/local/sbin:" in script
    script = script.replace("PATH=/usr/local/sbin:", f"PATH={tmp_path}:/usr/local/sbin:")
    subprocess.run(["sh"], input=script.encode(), env=PROXIES, check=False, timeout=60)
    told = seen.read_text()
    assert "asked" in told
    assert not [name for name in PROXIES if f"{name}=" in told]
