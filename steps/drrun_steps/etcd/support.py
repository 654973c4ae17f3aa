"""What the stock runbooks were seen to recover, and what not (hazard H31).

Proved is what the recovery suite runs on real hosts (docs/reference/recoveries.md); everything else
may work, and nobody has seen it.
"""

from __future__ import annotations

from collections.abc import Mapping

PROVED: Mapping[str, str] = {"3.4": "3.4.23", "3.5": "3.5.16"}
"""Line of etcd -> the version that the suite recovers."""
KNOWN_BAD: Mapping[str, str] = {
    **{
        f"3.5.{patch}": "can corrupt data silently (postmortem of 2022): go to 3.5.33"
        for patch in (0, 1, 2)
    },
    **{
        f"3.6.{patch}": "does not start again after a learner was promoted, and can corrupt data when a snapshot "
        "comes in during a defragmentation: go to 3.6.14"
        for patch in (0, 1, 2, 3)
    },
    "3.6.4": "can corrupt data when a snapshot comes in during a defragmentation: go to 3.6.14",
}
"""Versions of etcd that nobody should run, and why. Source: etcd's CHANGELOG-3.5 and CHANGELOG-3.6."""
LEAST_BEFORE: Mapping[str, str] = {"3.6": "3.5.32", "3.7": "3.6.11"}
"""Minor version -> from which patch of the one before an upgrade is safe (etcd.io, "Upgrade etcd from
3.5 to 3.6" and "from 3.6 to 3.7", as of 2026: members that were removed come back, learners count too many)."""
KUBERNETES = "1.20.2"
"""The version of Kubernetes in the suite."""

_LAYOUTS = "as systemd units and as kubeadm's static pods"

MATRIX = (
    f"proved on real hosts: etcd {', '.join(PROVED.values())}; Kubernetes {KUBERNETES}, {_LAYOUTS}",
    "seen by hand: etcd 3.6.14, Kubernetes 1.36.3 as systemd units; expected: Kubernetes 1.32 to 1.37, etcd 3.7",
    "not supported: k3s, rke2, k0s",
    f"known bad: etcd {', '.join(KNOWN_BAD)}",
)
"""The matrix as it is printed, a line each."""


def standing(version: str) -> str:
    """What is to be said of a member's version; empty when its line was proved and it is not bad."""
    line = ".".join(version.split(".")[:2])
    if version in KNOWN_BAD:
        return f"etcd {version} {KNOWN_BAD[version]}"
    if version and line not in PROVED:
        return f"etcd {version}: no runbook was tried with this line yet; rehearse it first"
    return ""
