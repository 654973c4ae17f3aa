"""What a lab says differently to each release of Kubernetes: kubeadm's settings, names, flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from drrun_lab.kubernetes import VERSION
from drrun_lab.layout import LabSpec


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Kubernetes, such as 1.36.3."""

    version: str = VERSION

    @classmethod
    def of(cls, spec: LabSpec) -> Self:
        """The release of a lab: what was brought, else ours."""
        return cls(spec.kube_version or VERSION)

    @property
    def minor(self) -> int:
        """36 of 1.36.3."""
        return int(self.version.split(".")[1])

    @property
    def registry(self) -> str:
        """Where kubeadm expects its images by default (another one since 1.25)."""
        return "registry.k8s.io" if self.minor >= 25 else "k8s.gcr.io"

    @property
    def kubeadm_api(self) -> str:
        """The version of kubeadm's settings: v1beta3 since 1.22, v1beta4 since 1.31."""
        edition = 4 if self.minor >= 31 else 3 if self.minor >= 22 else 2
        return f"kubeadm.k8s.io/v1beta{edition}"

    @property
    def runtime_socket(self) -> str:
        """Containerd's socket; as a URL since 1.24."""
        return f"{'unix://' if self.minor >= 24 else ''}/run/containerd/containerd.sock"

    @property
    def kubelet_settings(self) -> str:
        """Kubelet since 1.31 refuses version 1 of cgroups unless it is told."""
        return "failCgroupV1: false\n" if self.minor >= 31 else ""

    @property
    def controller_flags(self) -> dict[str, str]:
        """Controllers had a port without TLS until 1.24 took the flag away."""
        return {"port": "0"} if self.minor < 24 else {}

    def extra_arguments(self, flag: str, value: str) -> str:
        """A flag as kubeadm's settings say it: a list of names and values since v1beta4."""
        if self.minor >= 31:
            return f"[{{name: {flag}, value: {value}}}]"
        return f"{{{flag}: {value}}}"
