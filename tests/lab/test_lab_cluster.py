"""The lab's cluster is a real one: hosts of their own, and a reset that forgets everything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun.errors import LabError
from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.cgroups import HostCgroup
from drrun_lab.commands import run

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="booting hosts needs root"),
    pytest.mark.timeout(1500),
]
NAME = "labtest"
SPEC = LabSpec(hosts=3)
CONTROL_PLANE = ("cp1", "cp2", "cp3")
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of its own beside whatever else runs here, gone afterwards."""
    lab = Lab.up(NAME, SPEC, progress=Progress())
    yield lab
    lab.down()


def _say(lab: Lab, host: str, script: str, user: str = "root") -> str:
    done = lab.ssh(host, script, user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_hosts_are_machines_of_their_own(lab: Lab) -> None:
    """Every host has its own boot id, name and running systemd."""
    assert len({_say(lab, host.name, BOOT_ID) for host in lab.hosts}) == len(lab.hosts)
    for host in lab.hosts:
        assert _say(lab, host.name, "hostname; systemctl is-system-running") == (
            f"{host.name}\nrunning"
        )


def test_stopping_a_unit_on_one_host_leaves_the_others_alone(lab: Lab) -> None:
    """With shared cgroups systemd would reach into another host's unit of the same name."""
    start = "systemd-run --quiet --unit=twin --collect sleep 600; systemctl is-active twin"
    for host in ("cp1", "cp2"):
        assert _say(lab, host, start) == "active"
    assert _say(lab, "cp1", "systemctl stop twin; systemctl is-active twin || true") == "inactive"
    told = _say(lab, "cp2", "systemctl is-active twin; systemctl status twin | grep -c 'sleep 600'")
    assert told.splitlines()[0] == "active"
    _say(lab, "cp2", "systemctl stop twin")


def test_hosts_have_no_python_and_no_way_out(lab: Lab) -> None:
    """A host needs only sshd and a POSIX shell, and cannot reach beyond the bridge."""
    assert _say(lab, "cp1", "command -v python3 || echo none") == "none"
    assert _say(lab, "cp1", "ip route show default") == ""


def test_accounts_differ_in_what_they_may(lab: Lab) -> None:
    """`ops` becomes root without a password, `nosudo` does not become root at all."""
    assert _say(lab, "cp1", "sudo -n id -u", user="ops") == "0"
    assert lab.ssh("cp1", "sudo -n id -u", user="nosudo").returncode != 0
    assert _say(lab, "cp1", "id -un", user="nosudo") == "nosudo"


def test_etcd_runs_as_its_own_user_on_a_disk_that_renames(lab: Lab) -> None:
    """/var/lib is no overlay: moving the data directory is a rename, not a copy."""
    assert _say(lab, "cp1", "stat -c '%U %G %a' /var/lib/etcd") == "etcd etcd 700"
    assert _say(lab, "cp1", "ps -o user= -C etcd") == "etcd"
    assert _say(lab, "cp1", "stat -f -c %T /var/lib/etcd") != "overlayfs"
    assert _say(lab, "cp1", "mountpoint -q /var/lib/etcd || echo plain") == "plain"


def test_the_inventory_names_the_cluster_that_answers(lab: Lab) -> None:
    """A runbook compares this uid before it touches anything."""
    uid = lab.kubectl("get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout
    assert uid
    assert f"cluster_uid: {uid}\n" in lab.inventory.read_text()


def test_secrets_are_encrypted_in_etcd(lab: Lab) -> None:
    """What a snapshot holds is ciphertext, readable through every API server."""
    assert lab.kubectl("create", "secret", "generic", "s", "--from-literal=k=v").returncode == 0
    etcd = "etcdctl --cacert=$P/ca.crt --cert=$P/server.crt --key=$P/server.key"
    read = f"P=/etc/kubernetes/pki/etcd; {etcd} get /registry/secrets/default/s --print-value-only"
    assert "k8s:enc:aescbc:v1:key1" in _say(
        lab, "cp1", f"{read} | strings -n 8 || {read} | head -c 64"
    )


def test_up_again_changes_nothing(lab: Lab) -> None:
    """Idempotent: the same lab, the same boots, in a second or two."""
    before = [_say(lab, host, BOOT_ID) for host in CONTROL_PLANE]
    again = Lab.up(NAME, SPEC, progress=Progress(quiet=True))
    assert again.inventory == lab.inventory
    assert [_say(again, host, BOOT_ID) for host in CONTROL_PLANE] == before


def test_a_reboot_inside_the_host_comes_back(lab: Lab) -> None:
    """With another boot id, its disk kept and etcd a member again."""
    before = _say(lab, "cp3", f"touch /var/lib/kept; {BOOT_ID}")
    lab.reboot("cp3")
    assert _say(lab, "cp3", BOOT_ID) != before
    lab.wait_ready(controllers=False)
    assert _say(lab, "cp3", "ls /var/lib/kept; systemctl is-active etcd").endswith("\nactive")


def test_a_cut_host_is_silent_to_everybody_and_runs_on(lab: Lab) -> None:
    """Neither this machine nor another host hears it; mending needs no reboot."""
    before = _say(lab, "cp2", BOOT_ID)
    lab.cut("cp2")
    try:
        assert lab.ssh("cp2", "true").returncode == 255
        heard = "timeout 2 bash -c '</dev/tcp/cp2/22' && echo heard || echo silence"
        assert _say(lab, "cp1", heard) == "silence"
    finally:
        lab.mend("cp2")
    assert _say(lab, "cp2", BOOT_ID) == before


def test_a_wait_in_vain_shows_the_journals(lab: Lab) -> None:
    """Which host, which port, and what its units said last: nobody logs in to find out."""
    _say(lab, "cp2", "systemctl stop kube-apiserver")
    with pytest.raises(LabError, match="in vain for /readyz on cp2") as caught:
        lab.wait_ready(timeout=1)
    assert "kube-apiserver: inactive" in caught.value.message
    assert "Stopped kube-apiserver.service" in caught.value.message


def test_reset_forgets_whatever_was_done(lab: Lab) -> None:
    """A cut host, a wiped member, a removed certificate, new data: all gone in seconds."""
    uid = lab.record.cluster_uid
    lab.kubectl("create", "namespace", "mess")
    _say(lab, "cp1", "systemctl stop etcd; rm -rf /var/lib/etcd /etc/kubernetes/pki; touch /mess")
    lab.cut("cp3")
    began = time.monotonic()
    lab.reset()
    print(f"reset took {time.monotonic() - began:.1f} s")
    names = lab.kubectl("get", "namespaces", "-o", "name").stdout
    assert "namespace/default" in names
    assert "mess" not in names
    assert lab.kubectl("get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout == uid
    assert _say(lab, "cp1", "ls /mess 2>/dev/null || ls /etc/kubernetes/pki/ca.crt")
    assert _say(lab, "cp3", "hostname") == "cp3"


def test_the_base_is_untouched_by_what_ran_on_it(lab: Lab) -> None:
    """Hosts write to their own layer only; the cache can be shared and kept."""
    _say(lab, "cp1", "echo changed > /etc/motd; rm /usr/local/bin/etcd")
    for layer in lab.record.layers:
        changed = run(["find", str(layer), "-newer", str(lab.folder / "known_hosts")])
        assert changed == ""


def test_down_leaves_nothing(lab: Lab) -> None:
    """No process, cgroup, mount, interface, firewall table or file; and `up` starts anew."""
    machines = [lab.machine(host.name) for host in lab.hosts]
    bridge, folder = lab.layout.bridge, lab.folder
    began = time.monotonic()
    lab.down()
    print(f"down took {time.monotonic() - began:.1f} s")
    assert not folder.exists()
    assert bridge not in run(["ip", "link"])
    assert bridge not in run(["nft", "list", "tables"])
    assert bridge not in Path("/proc/self/mounts").read_text()
    for machine in machines:
        cgroup = HostCgroup(machine.name)
        assert not cgroup.members()
        assert not cgroup.left()
    assert str(folder) not in run(["ps", "-eo", "args"])
    lab.down()
