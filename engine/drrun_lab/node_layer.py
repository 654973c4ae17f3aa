"""The layer that makes a host of the base a node: containerd, runc, network plugins, kubelet's unit.

It is the difference to the base, made by installing Debian's packages in an overlay of it.
A host under systemd-nspawn is not quite a machine; what kubelet and runc miss is put right by a
small unit before they start, and nothing of this machine is changed for them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from drrun_lab import base, crictl
from drrun_lab.cache import Recipe
from drrun_lab.commands import DIE_WITH_CALLER, run
from drrun_lab.progress import Progress

PACKAGES = (
    *("containerd", "runc", "containernetworking-plugins", "iptables", "conntrack", "ethtool"),
    *("socat", "ebtables", "kmod", "jq"),
)
_EDITION = "1"

# Cgroup controllers come read-only into the host. The sysctls that kubelet insists on belong to this
# machine: it is shown what it wants to see. Mounts must be shared for the mounts of pods.
_PREPARE = """#!/bin/sh
for m in $(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts); do
  mount -o remount,bind,rw,nosuid,nodev,noexec "$m"
done
mkdir -p /run/drrun-lab/sys; cd /run/drrun-lab/sys || exit 1
show() {
  f=$(echo "$1" | tr / _)
  [ -e "$f" ] || { echo "$2" >"$f"; mount --bind "$f" "/proc/sys/$1"; }
}
show vm/overcommit_memory 1
show vm/panic_on_oom 0
show kernel/panic 10
show kernel/panic_on_oops 1
show kernel/keys/root_maxkeys 1000000
show kernel/keys/root_maxbytes 25000000
mount --make-rshared /
"""
_PREPARE_UNIT = """[Unit]
Description=What containerd and kubelet miss in a host of the lab
Before=containerd.service kubelet.service
DefaultDependencies=no
After=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/drrun-lab-prepare
[Install]
WantedBy=multi-user.target
"""
# Root of this machine may lack CAP_SYS_RESOURCE: runc must not write a negative oom_score_adj.
_CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "k8s.gcr.io/pause:3.2"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""
_KUBELET = """[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/home/
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=2
[Install]
WantedBy=multi-user.target
"""
# As the packages of kubernetes.io ship it; kubeadm writes the files that it names.
_KUBEADM_DROP_IN = """[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
"""
_NETWORK = (
    '{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "ptp", "ipMasq": true, "ipam": '
    '{"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], '
    '"routes": [{"dst": "0.0.0.0/0"}]}}]}\n'
)
_CRICTL = "".join(
    f"{kind}-endpoint: unix:///run/containerd/containerd.sock\n" for kind in ("runtime", "image")
)
_UNITS = "etc/systemd/system"
_FILES = {
    "etc/containerd/config.toml": _CONTAINERD,
    "etc/cni/net.d/10-lab.conflist": _NETWORK,
    "etc/crictl.yaml": f"{_CRICTL}timeout: 10\n",
    "etc/sysctl.d/90-lab.conf": "net.ipv4.ip_forward=1\n",
    f"{_UNITS}/kubelet.service": _KUBELET,
    f"{_UNITS}/kubelet.service.d/10-kubeadm.conf": _KUBEADM_DROP_IN,
    f"{_UNITS}/drrun-lab-prepare.service": _PREPARE_UNIT,
    # It would load the overlay module, which a host cannot.
    f"{_UNITS}/containerd.service.d/lab.conf": "[Service]\nExecStartPre=\n",
    "etc/resolv.conf": "",
    "etc/machine-id": "",
}
_PROGRAMS = {
    "usr/local/sbin/drrun-lab-prepare": _PREPARE,
    "usr/bin/crictl": crictl.SCRIPT,
}
_INSTALL = """
set -eu
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$ROOT,workdir=$WORK" "$MERGED"
mount -t proc proc "$MERGED/proc"
cat /etc/resolv.conf >"$MERGED/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' >"$MERGED/usr/sbin/policy-rc.d"
chmod +x "$MERGED/usr/sbin/policy-rc.d"
chroot "$MERGED" apt-get -q update
chroot "$MERGED" apt-get -q install -y --no-install-recommends $PACKAGES
chroot "$MERGED" systemctl disable containerd.service
chroot "$MERGED" apt-get clean
rm -rf "$MERGED"/var/lib/apt/lists/* "$MERGED"/usr/share/doc/* "$MERGED/usr/sbin/policy-rc.d"
chroot "$MERGED" dpkg-query -W -f '${Package} ${Version}\\n' $PACKAGES >"$ROOT.versions"
umount "$MERGED/proc" "$MERGED"
"""

RECIPE = Recipe(
    name=f"node-{base.SUITE}",
    text=repr((_EDITION, base.RECIPE.key, PACKAGES, _FILES, _PROGRAMS, _INSTALL)),
    room=2 * 1024**3,
)


def build(below: Path, folder: Path, progress: Progress) -> Mapping[str, str]:
    """Fill `folder`/root with what a node has and the base, `below`, has not."""
    progress.say(f"installing {', '.join(PACKAGES[:3])} over {base.RECIPE.key}")
    root = folder / "root"
    places = {"ROOT": root, "WORK": folder / "work", "MERGED": folder / "merged"}
    for place in places.values():
        place.mkdir()
    environment = {
        **{name: str(place) for name, place in places.items()},
        "BASE": str(below),
        "PACKAGES": " ".join(PACKAGES),
        "DEBIAN_FRONTEND": "noninteractive",
    }
    run([*DIE_WITH_CALLER, "sh", "-c", _INSTALL], timeout=900, env=environment)
    for files, mode in ((_FILES, 0o644), (_PROGRAMS, 0o755)):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text)
            path.chmod(mode)
    listed = folder / "root.versions"
    versions = dict(line.split(" ", 1) for line in listed.read_text().splitlines())
    listed.unlink()
    shutil.rmtree(places["WORK"])
    places["MERGED"].rmdir()
    return versions
