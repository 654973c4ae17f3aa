"""Static pods: the real scripts in real shells, with stand-ins for crictl, systemctl and curl."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, TypeVar

import pytest

from drrun.spi import Command, Fact, Reply
from drrun.testing import FakeHost
from drrun_steps.etcd.config import EtcdConfig, state_flag
from drrun_steps.service.dead_end import ServiceDeadEnd
from drrun_steps.service.facts import (
    ServiceHeld,
    ServiceInstance,
    ServiceReady,
    ServiceState,
)
from drrun_steps.service.flags import ServiceFlag, put_back, set_flag
from drrun_steps.service.steps import Start, Stop, hold, lift, restart

T = TypeVar("T")
NAME = "etcd"
STATE, HELD, READY = ServiceState(NAME), ServiceHeld(NAME), ServiceReady(NAME)
MANIFEST = (Path(__file__).parent / "recorded" / "manifest-etcd.yaml").read_text()

# kubelet's part is played by `crictl ps`: a manifest that is there has a container, unless there is
# a crash loop that kubelet remembers; `restart kubelet` makes it forget.
CRICTL = """#!/bin/sh
[ ! -e {state}/mute ] || exit 1
case $1 in
ps) if [ -e {state}/lingers ]; then echo c-old
    elif [ -e {manifests}/etcd.yaml ] && [ ! -e {state}/loop ]; then echo c-new; fi ;;
stop) echo "$*" >>{state}/ended; rm -f {state}/lingers ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
case $* in
*is-active*) [ ! -e {state}/no-kubelet ] ;;
*"restart --no-block kubelet"*) echo kubelet >>{state}/restarted; rm -f {state}/loop ;;
*LoadState*) echo LoadState=not-found; echo ActiveState=inactive ;;
esac
"""
CURL = '#!/bin/sh\necho "$*" >>{state}/asked; cat {state}/code\n'


class Node:
    """A folder that the scripts take for a host that kubelet runs services on."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.shell, self.state = shell, folder / "state"
        self.manifests, self.lib = folder / "manifests", folder / "lib"
        tools = folder / "bin"
        for made in (self.state, self.manifests, self.lib, tools):
            made.mkdir()
        for name, text in (("crictl", CRICTL), ("systemctl", SYSTEMCTL), ("curl", CURL)):
            tool = tools / name
            tool.write_text(text.format(state=self.state, manifests=self.manifests))
            tool.chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"
        self.live, self.away = self.manifests / "etcd.yaml", self.lib / "stopped" / "etcd.yaml"
        self.live.write_text(MANIFEST)
        self.live.chmod(0o600)
        self.answers("200")

    def answers(self, code: str) -> None:
        """What the probe of the service gets."""
        (self.state / "code").write_text(code)

    def run(self, command: Command, before: str = "") -> Reply:
        """The script as the host would run it, its folders elsewhere; `before`: lines of sh that come first."""
        script = before + command.script().decode()
        for real, ours in (
            ("/etc/kubernetes/manifests", self.manifests),
            ("/var/lib/drrun", self.lib),
            ("/var/lib/kubelet", self.lib / "kubelet"),
            ("PATH=/usr/local/sbin:", f"PATH={self.path}:/usr/local/sbin:"),
        ):
            script = script.replace(real, str(ours))
        done = subprocess.run(
            self.shell,
            input=script.encode(),
            capture_output=True,
            env={"PATH": self.path},
            check=False,
            timeout=60,
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def read(self, fact: Fact[T]) -> T:
        """A fact's answer."""
        return fact.parse(self.run(fact.ask()))

    def do(self, step: Stop | Start) -> list[str]:
        """Run a step: what it asks is asked of this folder, what it changes is changed here."""
        answers: dict[Fact[Any], Any] = {STATE: self.read(STATE), HELD: self.read(HELD)}
        host = FakeHost("cp1", answers, layout="static-pod")
        step.run(host)
        for change in host.changes:
            done = self.run(change.command)
            assert done.exit == 0, done.complaint
        return host.change_names

    @property
    def pods(self) -> list[str]:
        """What kubelet takes for a manifest: every file whose name begins with no dot."""
        return sorted(p.name for p in self.manifests.iterdir() if not p.name.startswith("."))


@pytest.fixture
def node(shell: tuple[str, ...], tmp_path: Path) -> Node:
    """One a shell."""
    return Node(tmp_path, shell)


def test_a_manifest_with_a_container_is_running_and_ready(node: Node) -> None:
    """Ready is what its own probe says, asked at the address and path of the manifest."""
    assert (node.read(STATE), node.read(READY), node.read(HELD)) == ("running", True, False)
    assert node.read(ServiceInstance(NAME)) == "c-new"
    assert "http://127.0.0.1:2381/health" in (node.state / "asked").read_text()
    node.answers("503")
    assert (node.read(STATE), node.read(READY)) == ("running", False)


FULL = "trap '' XFSZ\nulimit -f 0\n"
"""Sh: from here on no file can be written, as on a full disk; what is there can be read, renamed and removed."""


def test_a_full_disk_costs_no_manifest(node: Node) -> None:
    """What cannot be copied is not removed: a hold that fails leaves the manifest, a lift that fails its copy."""
    held = node.run(hold(NAME, "r-1"), FULL)
    assert held.exit != 0
    assert node.live.read_text() == MANIFEST
    assert not node.away.exists()
    assert node.run(hold(NAME, "r-1")).exit == 0
    assert node.away.read_text() == MANIFEST
    lifted = node.run(lift(NAME), FULL)
    assert lifted.exit != 0
    assert (node.pods, node.away.read_text()) == ([], MANIFEST)
    assert node.run(lift(NAME)).exit == 0
    assert (node.pods, node.live.read_text()) == (["etcd.yaml"], MANIFEST)


# The forms of kubeadm's probes: a number up to 1.33, the name of a port from 1.34 on.
PORTS = "    ports:\n    - containerPort: 2381\n      name: probe-port\n      protocol: TCP\n"


@pytest.mark.field("1", "2", "v1")
@pytest.mark.parametrize(
    ("host", "port", "ports", "asked"),
    [
        ("127.0.0.1", "2381", "", "http://127.0.0.1:2381/health"),
        ("127.0.0.1", "probe-port", PORTS, "http://127.0.0.1:2381/health"),
        ('"127.0.0.1"', '"probe-port"', PORTS, "http://127.0.0.1:2381/health"),
        ("::1", "2381", "", "http://[::1]:2381/health"),
        ('"::1"', "probe-port", PORTS, "http://[::1]:2381/health"),
        ("fd00::10", "2381 # etcd's own", "", "http://[fd00::10]:2381/health"),
    ],
)
def test_a_probe_is_asked_however_it_is_written(
    node: Node, host: str, port: str, ports: str, asked: str
) -> None:
    """A port that has a name is looked up where the container declares it; IPv6 is put in brackets."""
    text = MANIFEST.replace("host: 127.0.0.1", f"host: {host}").replace(
        "port: 2381", f"port: {port}"
    )
    node.live.write_text(text.replace("    resources:\n", f"{ports}    resources:\n", 1))
    node.answers("503")
    assert not node.read(READY)
    assert asked in (node.state / "asked").read_text()
    node.answers("200")
    assert node.read(READY)


@pytest.mark.field("1")
@pytest.mark.parametrize(
    "text", ["port: nowhere", "port: *there"], ids=["no such name", "an alias"]
)
def test_a_probe_that_cannot_be_asked_is_not_taken_for_a_no(node: Node, text: str) -> None:
    """A name that no container declares, or a manifest that is not understood: its container runs, and that counts."""
    node.live.write_text(MANIFEST.replace("port: 2381", text))
    node.answers("503")
    assert (node.read(STATE), node.read(READY)) == ("running", True)
    assert not (node.state / "asked").exists()


@pytest.mark.field("1", "23")
def test_a_sidecar_that_comes_first_is_not_asked(node: Node) -> None:
    """Of two containers it is the one with the service's name whose probe counts."""
    sidecar = (
        "  - command: [proxy]\n    name: proxy\n    livenessProbe:\n"
        "      httpGet: {host: 127.0.0.1, path: /other, port: 9999}\n"
    )
    node.live.write_text(MANIFEST.replace("  containers:\n", f"  containers:\n{sidecar}", 1))
    assert node.read(READY)
    assert "http://127.0.0.1:2381/health" in (node.state / "asked").read_text()
    assert "9999" not in (node.state / "asked").read_text()


def test_a_crash_loop_is_not_stopped(node: Node) -> None:
    """Between two tries no container runs, but kubelet will make one; that is no dead end either."""
    (node.state / "loop").touch()
    assert (node.read(STATE), node.read(READY)) == ("running", False)
    assert node.read(ServiceDeadEnd(NAME)) == ""
    (node.state / "no-kubelet").touch()
    assert node.read(STATE) == "stopped"


def test_a_stop_moves_the_manifest_out_whole_and_leaves_no_other_pod(node: Node) -> None:
    """Held is a manifest that is away: a reboot, or kubelet, brings nothing back (H4)."""
    assert node.do(Stop(service=NAME)) == ["hold", "stop"]
    assert node.pods == []
    assert node.away.read_text() == MANIFEST
    assert node.away.stat().st_mode & 0o777 == 0o600
    assert (node.read(STATE), node.read(HELD)) == ("stopped", True)
    assert node.do(Stop(service=NAME)) == []


def test_a_container_that_outlives_its_grace_is_ended(node: Node) -> None:
    """A manifest that is out says nothing of the container: until that is gone, it runs."""
    (node.state / "lingers").touch()
    node.run(_hold())
    assert (node.read(HELD), node.read(STATE)) == (True, "running")
    assert node.do(Stop(service=NAME, grace=1.0)) == ["stop"]
    assert (node.state / "ended").read_text() == "stop -t 0 c-old\n"
    assert node.read(STATE) == "stopped"


def test_a_start_puts_the_manifest_back_and_leaves_kubelet_alone(node: Node) -> None:
    """It acts at once where it remembers no crash."""
    node.do(Stop(service=NAME))
    assert node.do(Start(service=NAME)) == ["lift", "start"]
    assert (node.pods, node.live.read_text()) == (["etcd.yaml"], MANIFEST)
    assert list(node.away.parent.iterdir()) == []
    assert (node.read(STATE), node.read(READY), node.read(HELD)) == ("running", True, False)
    assert not (node.state / "restarted").exists()


def test_a_start_restarts_a_kubelet_that_remembers_a_crash_loop(node: Node) -> None:
    """The memory outlives a manifest that was away: 157 s were seen, 8 with a restart."""
    node.do(Stop(service=NAME))
    (node.state / "loop").touch()
    node.do(Start(service=NAME))
    assert (node.state / "restarted").read_text() == "kubelet\n"
    assert node.read(READY)


def test_a_move_that_was_cut_is_finished(node: Node) -> None:
    """A whole manifest is always in one of the places; the live one is the truth."""
    node.away.parent.mkdir()
    node.away.write_text("an older one")
    assert (node.read(STATE), node.read(HELD)) == ("running", False)
    node.do(Stop(service=NAME))
    assert node.away.read_text() == MANIFEST


def test_without_a_runtime_that_answers_processes_are_counted(node: Node, tmp_path: Path) -> None:
    """A dead containerd leaves its containers running: that no list comes is no proof of a stop."""
    (node.state / "mute").touch()
    node.run(_hold())
    program = tmp_path / "bin" / NAME
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        state, instance = node.read(STATE), node.read(ServiceInstance(NAME))
        process.kill()
    # Another etcd may run on this machine: ours is among them.
    assert state == "running"
    assert instance.startswith("pid-")


def test_the_suffix_means_the_unit(node: Node) -> None:
    """Where both are there, a runbook can say which."""
    assert node.read(ServiceState("etcd.service")) == "missing"
    assert node.read(ServiceState("kubelet")) == "missing"


def test_a_restart_ends_the_container_once(node: Node) -> None:
    """Kubelet makes another by itself."""
    (node.state / "lingers").touch()
    assert node.run(restart(NAME)).exit == 0
    assert (node.state / "ended").read_text() == "stop -t 30 c-old\n"
    assert node.read(ServiceInstance(NAME)) == "c-new"
    assert not (node.state / "restarted").exists()


def test_a_flag_of_a_manifest_is_changed_there_and_put_back(node: Node) -> None:
    """The old file is kept elsewhere: beside the manifest it would be another pod."""
    flag = ServiceFlag(NAME, "initial-cluster")
    (value,) = node.read(flag)
    assert value.startswith("cp1=https://")
    done = node.run(set_flag(flag, "cp1=https://10.0.0.1:2380", "r1"))
    assert done.exit == 0, done.complaint
    assert node.read(flag) == ("cp1=https://10.0.0.1:2380",)
    assert (node.pods, list(node.manifests.iterdir())) == (["etcd.yaml"], [node.live])
    assert node.run(put_back(flag, "r1")).exit == 0
    assert node.live.read_text() == MANIFEST


def test_a_flag_that_a_manifest_of_etcd_lacks_is_added_to_it(node: Node) -> None:
    """Kubeadm's first host has no --initial-cluster-state: it could not join again, once it was removed."""
    flag = state_flag(NAME)
    node.do(Stop(service=NAME))
    assert node.read(flag) == ()
    for _ in range(2):
        done = node.run(set_flag(flag, "existing", "r1"))
        assert done.exit == 0, done.complaint
        assert node.read(flag) == ("existing",)
    first = next(line for line in MANIFEST.splitlines(keepends=True) if "- --" in line)
    added = f"{first}    - --initial-cluster-state=existing\n"
    assert node.away.read_text() == MANIFEST.replace(first, added, 1)
    assert node.away.stat().st_mode & 0o777 == 0o600
    assert node.run(put_back(flag, "r1")).exit == 0
    assert node.away.read_text() == MANIFEST
    unknown = node.run(set_flag(ServiceFlag(NAME, "no-variable-says-this"), "x", "r1"))
    assert (unknown.exit, node.away.read_text()) == (5, MANIFEST)


def test_the_settings_of_a_member_are_read_from_its_manifest_also_while_it_is_held(
    node: Node,
) -> None:
    """As kubeadm 1.20.2 wrote it on the first host of a lab: it lists that host alone."""
    before = node.read(EtcdConfig())
    assert (before.name, before.data_dir, before.owner) == ("cp1", "/var/lib/etcd", "root:root")
    assert before.initial_cluster == f"cp1={before.peer_urls}"
    node.do(Stop(service=NAME))
    assert node.read(EtcdConfig()) == before


def test_a_copy_beside_the_manifest_is_found(node: Node) -> None:
    """Kubelet would run it as a second etcd; a draft whose name begins with a dot is none."""
    (node.manifests / ".etcd.yaml.new").write_text(MANIFEST)
    (node.manifests / "kube-apiserver.yaml").write_text("--etcd-servers=https://127.0.0.1:2379")
    assert node.read(EtcdConfig()).leftovers == ()
    (node.manifests / "etcd.yaml.bak").write_text(MANIFEST)
    (left,) = node.read(EtcdConfig()).leftovers
    assert left.endswith("etcd.yaml.bak,")


def _hold() -> Command:
    """The first change of a stop."""
    host = FakeHost("cp1", {STATE: "running", HELD: False})
    Stop(service=NAME).run(host)
    return host.changes[0].command
