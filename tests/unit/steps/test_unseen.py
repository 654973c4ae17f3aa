"""Raw commands that change etcd or Kubernetes: rules cannot see them, so lint says so."""

from __future__ import annotations

import pytest

from drrun_steps.unseen import unseen


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("etcdctl member remove 8e9e05c52164694d", "etcdctl member remove"),
        ("/usr/local/bin/etcdctl --endpoints=x member  add cp4", "etcdctl member add"),
        ("sudo ETCDCTL_API=3 etcdctl del --prefix /registry/masterleases", "etcdctl del"),
        (
            "set -e\netcdutl --write-out=json \\\n  snapshot restore s.db",
            "etcdutl snapshot restore",
        ),
        ("test -e x && kubeadm reset -f", "kubeadm reset"),
        ("$(kubeadm certs renew all)", "kubeadm certs renew"),
    ],
)
def test_a_change_by_hand_is_named(text: str, told: str) -> None:
    """Whatever stands around it, on one line or several."""
    assert unseen(text) == (f"no rule can see what `{told}` changes",)


@pytest.mark.parametrize(
    "text",
    [
        "etcdctl member list",
        "etcdctl endpoint status --cluster -w json",
        "etcdctl snapshot save /root/s.db",
        "etcdctl get /registry --prefix --keys-only | grep del",
        "# etcdctl del everything",
        "kubeadm certs check-expiration",
        "echo put it down",
        "my-etcdctl put a b",
    ],
)
def test_reading_is_nothing(text: str) -> None:
    """Questions, comments, and words that only look alike."""
    assert unseen(text) == ()
