"""What a dry-run says of a sound cluster with one thing that is not as the outage needs it: real hosts.

Each is refused before anything is stopped, and named; and a sound cluster is not alarmed about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from drrun_lab import Lab
from drrun_lab.operator import Operator
from drrun_lab.rehearsal import each

MEMBERS = ["cp1", "cp2", "cp3"]
OVER = "mkdir -p /run/systemd/system/{0}.service.d; printf '[Service]\\n{1}\\n' >/run/systemd/system/{0}.service.d/f.conf; systemctl daemon-reload"
UNDER = "rm -f /run/systemd/system/{0}.service.d/f.conf; systemctl daemon-reload"


@dataclass(frozen=True)
class Broken:
    """One thing that is not as it must be, on one host."""

    case: str
    breaks: str
    mends: str
    named: str
    host: str = "cp2"


def start(words: str) -> tuple[str, str]:
    """The unit of etcd says another command line than that of the process that runs."""
    return OVER.format("etcd", f"ExecStart=\\nExecStart={words}"), UNDER.format("etcd")


THINGS = {
    "kubectl is elsewhere": Broken(
        "18",
        "mv /usr/local/bin/kubectl /root/",
        "mv /root/kubectl /usr/local/bin/",
        "there is no kubectl",
    ),
    "kubectl does not run": Broken(
        "18",
        "mv /usr/local/bin/kubectl /root/; printf '#!/bin/sh\\nexit 1\\n' >/usr/local/bin/kubectl; chmod +x /usr/local/bin/kubectl",
        "mv /root/kubectl /usr/local/bin/",
        "does not run",
    ),
    "no kubeconfig": Broken(
        "18",
        "mv /etc/kubernetes/admin.conf /root/",
        "mv /root/admin.conf /etc/kubernetes/",
        "there is no kubeconfig",
    ),
    "another directory in the settings": Broken(
        "3",
        "cp -a /etc/default/etcd /root/; mkdir -p /srv/other/member/snap; sed -i s,/var/lib/etcd,/srv/other, /etc/default/etcd",
        "cp -a /root/etcd /etc/default/etcd; rm -rf /srv/other",
        "has its database open in /var/lib/etcd",
    ),
    "a variable that nothing explains": Broken(
        "6", *start("/usr/local/bin/etcd --data-dir=${NOWHERE}"), named="${NOWHERE}"
    ),
    "a shell": Broken("6", *start('/bin/sh -c "exec etcd"'), named="runs a shell"),
    "a container": Broken("4", *start("/usr/bin/docker run etcd"), named="runs a container"),
    "a configuration file that is not understood": Broken(
        "5",
        "printf 'name: *x\\n' >/etc/etcd.yml; "
        + start("/usr/local/bin/etcd --config-file=/etc/etcd.yml")[0],
        UNDER.format("etcd"),
        "configuration file",
    ),
    "a disk below the data": Broken(
        "11",
        "mkdir -p /var/lib/etcd/more; mount -t tmpfs none /var/lib/etcd/more",
        "umount /var/lib/etcd/more; rmdir /var/lib/etcd/more",
        "/var/lib/etcd/more",
    ),
    "an etcdctl of 3.6 alone": Broken(
        "v4",
        "mkdir /root/tools; mv /usr/local/bin/etcdutl /usr/local/bin/etcdctl /root/tools/; "
        "printf '#!/bin/sh\\ncase $* in *restore*) echo usage: etcdctl snapshot; exit 0;; esac; exec /root/tools/etcdctl \"$@\"\\n' "
        ">/usr/local/bin/etcdctl; chmod +x /usr/local/bin/etcdctl",
        "mv /root/tools/* /usr/local/bin/; rmdir /root/tools",
        "neither etcdutl nor etcdctl can restore",
    ),
    "a tool that is older than the data": Broken(
        "v3",
        "mkdir /root/tools; mv /usr/local/bin/etcdutl /root/tools/; "
        "printf '#!/bin/sh\\ncase $1 in version) echo etcdutl version: 3.4.23;; *) exec /root/tools/etcdutl \"$@\";; esac\\n' "
        ">/usr/local/bin/etcdutl; chmod +x /usr/local/bin/etcdutl",
        "mv /root/tools/etcdutl /usr/local/bin/; rmdir /root/tools",
        "older than the data",
    ),
}


@pytest.fixture(scope="module", name="sound")
def _sound(booted: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Operator, Path]:
    """A fresh lab, and a snapshot of it."""
    booted.reset()
    folder = tmp_path_factory.mktemp("foreseen")
    operator, path = Operator(booted.inventory, folder / "state"), folder / "snapshot.db"
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    return booted, operator, path


def dry(operator: Operator, snapshot: Path, *more: str) -> tuple[int, str]:
    """A dry-run of the restore: exit code and what was said."""
    loss = () if any("accept_loss" in word for word in more) else ("-e", "accept_loss=1000")
    words = (
        "restore-cluster.yaml",
        "-e",
        f"snapshot={snapshot}",
        *loss,
        "--dry-run",
        *more,
    )
    done = operator.drrun(*words, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.field("1", "3", "18", "19", "35")
def test_a_sound_cluster_is_not_alarmed_about(sound: tuple[Lab, Operator, Path]) -> None:
    """Every question is answered as it must be; none is left out."""
    _, operator, path = sound
    code, told = dry(operator, path)
    assert code == 0, told
    assert re.search(r"for what the outage waits for: [0-9]{2} as it must be\n", told)


@pytest.mark.parametrize("name", THINGS)
def test_one_thing_that_is_wrong_is_named_before_anything_is_stopped(
    sound: tuple[Lab, Operator, Path], case: object, name: str
) -> None:
    """Refused by the dry-run with the reason and a way on; once it is mended, nothing is said."""
    lab, operator, path = sound
    thing = THINGS[name]
    with case(thing.case):  # type: ignore[operator]
        each(lab, thing.breaks, [thing.host])
        try:
            code, told = dry(operator, path)
        finally:
            each(lab, thing.mends, [thing.host])
        assert code == 5, told
        assert thing.named in told
        assert "next: " in told


@pytest.mark.field("1", "18")
def test_with_everything_down_nothing_new_is_to_be_accepted(
    sound: tuple[Lab, Operator, Path],
) -> None:
    """The usual restore: what is down is not asked, and what a file answers is caught all the same."""
    lab, operator, path = sound
    services = "etcd kube-apiserver kube-controller-manager kube-scheduler"
    each(lab, f"systemctl stop {services}", MEMBERS)
    try:
        _, told = dry(operator, path)
        # What is down is measured to the revision; the loss is named so, as the verdict prints it.
        loss = re.findall(r"-e (accept_loss=[0-9]+)", told)[:1]
        more = ("-e", *loss) if loss else ()
        code, told = dry(operator, path, *more)
        assert code == 0, told
        assert "not asked: down" in told
        each(lab, "mv /usr/local/bin/kubectl /root/", ["cp3"])
        code, told = dry(operator, path, *more)
        assert code == 5, told
        assert "cp3: there is no kubectl" in told
    finally:
        each(lab, "[ ! -e /root/kubectl ] || mv /root/kubectl /usr/local/bin/", ["cp3"])
        each(lab, f"systemctl start --no-block {services}", MEMBERS)
