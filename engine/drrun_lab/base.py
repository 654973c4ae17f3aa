"""The disk that every host is an overlay of: a small Debian with systemd and sshd, no Python.

drrun needs nothing on a host but sshd and a POSIX shell; a base without Python proves it daily.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from drrun_lab.cache import Recipe
from drrun_lab.commands import DIE_WITH_CALLER, run
from drrun_lab.packages import KEYRING, mirror
from drrun_lab.progress import Progress

SUITE = "bookworm"
OPS_UID, NOSUDO_UID, ETCD_UID = 1000, 1001, 990
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "iproute2", "procps"),
    *("nftables", "curl", "ca-certificates", "haproxy"),
)
_ACCOUNTS = f"""
set -eu
useradd --system --uid {ETCD_UID} --user-group --home-dir /var/lib/etcd --no-create-home \
    --shell /usr/sbin/nologin etcd
useradd --uid {OPS_UID} --user-group --create-home --shell /bin/bash ops
useradd --uid {NOSUDO_UID} --user-group --create-home --shell /bin/bash nosudo
systemctl enable systemd-networkd.service systemd-networkd-wait-online.service ssh.service
systemctl disable haproxy.service nftables.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    e2scrub_all.timer e2scrub_reap.service getty@.service console-getty.service \
    systemd-resolved.service systemd-update-utmp-runlevel.service motd-news.timer systemd-update-utmp.service \
    modprobe@.service systemd-modules-load.service dev-hugepages.mount sys-kernel-debug.mount
rm -f /etc/ssh/ssh_host_* /etc/hostname /var/lib/dbus/machine-id
apt-get clean
rm -rf /var/lib/apt/lists/*
"""
_FILES = {
    "etc/sudoers.d/ops": "ops ALL=(ALL:ALL) NOPASSWD: ALL\n",
    # No DNS in the lab: a look-up must fail at once instead of hanging.
    "etc/resolv.conf": "",
    "etc/machine-id": "",
    "etc/ssh/sshd_config.d/lab.conf": "PasswordAuthentication no\nUseDNS no\nPrintMotd no\n",
    # The kernel's log is this machine's, not the host's; a journal on disk only slows a copy.
    "etc/systemd/journald.conf.d/lab.conf": (
        "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\nReadKMsg=no\n"
    ),
}
_EDITION = "1"

RECIPE = Recipe(
    name=f"base-{SUITE}",
    text=repr((_EDITION, SUITE, _PACKAGES, _ACCOUNTS, _FILES)),
    room=2 * 1024**3,
)


def build(folder: Path, progress: Progress) -> Mapping[str, str]:
    """Fill `folder`/root by debootstrap; return the versions of the packages we asked for."""
    root = folder / "root"
    site = mirror()
    progress.say(f"debootstrap {SUITE} from {site} (about 40 s)")
    command = [
        *("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}"),
        *(f"--keyring={KEYRING}", SUITE, str(root), site),
    ]
    run([*DIE_WITH_CALLER, *command], timeout=1200)
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    (root / "etc/sudoers.d/ops").chmod(0o440)
    run([*DIE_WITH_CALLER, "chroot", str(root), "/bin/sh", "-c", _ACCOUNTS], timeout=120)
    shutil.rmtree(root / "usr/share/doc", ignore_errors=True)
    shown = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\n"]
    installed = dict(line.split(" ", 1) for line in run(shown).splitlines())
    return {package: installed.get(package, "?") for package in _PACKAGES}
