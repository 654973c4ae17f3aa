"""Certificates: read by the real scripts in real shells, and what a renewal refuses and proves."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Command, Fact, Refused, Reply, StepFailed
from drrun.testing import FakeHost
from drrun_lab.pki import Authorities
from drrun_lab.waiting import until
from drrun_steps.kube.certificates import KubeadmUnable, Prove, Renew, worse
from drrun_steps.service.certificates import (
    KUBELETS,
    Certificate,
    ServiceCertificates,
    ServiceExpired,
    ServiceStale,
)
from drrun_steps.service.facts import ServiceReady

AUTHORITIES = Authorities.new()
SERVICES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")


class Machine:
    """A folder with certificates, and a systemctl that knows a unit which is started with them."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.folder, self.shell = folder, shell
        self.files = AUTHORITIES.host_files("cp1", "10.0.0.1", "10.0.0.9")
        for name in ("apiserver.crt", "apiserver.key", "etcd/server.crt"):
            self.write(name, self.files[name])
        self.write("ca.crt", AUTHORITIES.cluster.crt)
        self.write("admin.conf", AUTHORITIES.kubeconfig("admin", "https://10.0.0.9:6443"))
        (folder / "bin").mkdir()
        self.unit(1)

    def write(self, name: str, content: bytes) -> Path:
        """One file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def unit(self, pid: int, port: int = 0) -> None:
        """The unit as a process of that number, serving at a port of loopback."""
        words = (
            f"/bin/true --tls-cert-file={self.folder}/apiserver.crt --client-ca-file {self.folder}/ca.crt"
            f" --tls-private-key-file={self.folder}/apiserver.key --secure-port={port}"
        )
        systemctl = self.folder / "bin/systemctl"
        systemctl.write_text(
            "#!/bin/sh\ncase $* in\n"
            f"*ExecStart*) echo '{{ path=/bin/true ; argv[]={words} ; ignore_errors=no ; }}' ;;\n"
            f"*MainPID*) echo {pid} ;;\n*LoadState*) echo loaded ;;\n"
            f'*"-p Environment "*) echo \'"ARGS=--a=b --kubeconfig={self.folder}/admin.conf"\' ;;\nesac\n'
        )
        systemctl.chmod(0o755)

    def run(self, command: Command) -> Reply:
        """The script as the host would run it."""
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            self.shell,
            input=command.script(),
            capture_output=True,
            env={"PATH": path},
            check=False,
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def certificates(self, hours: int = 0) -> dict[str, Certificate]:
        """File's name -> its certificate, the last where there are several."""
        fact = ServiceCertificates("kube-apiserver", hours)
        reply = self.run(fact.ask())
        assert b"PRIVATE" not in reply.stdout
        return {Path(one.file).name: one for one in fact.parse(reply)}

    def stale(self) -> tuple[str, ...]:
        """Why the service may work with others than its files hold."""
        fact = ServiceStale("kube-apiserver")
        return fact.parse(self.run(fact.ask()))


@pytest.fixture
def machine(shell: tuple[str, ...], tmp_path: Path) -> Machine:
    """One a shell."""
    return Machine(tmp_path, shell)


def test_every_file_that_a_unit_names_is_looked_into(machine: Machine) -> None:
    """Flags in both forms, a kubeconfig in a variable; nothing that no word names, and no key."""
    found = machine.certificates()
    assert set(found) == {"apiserver.crt", "ca.crt", "admin.conf"}
    assert found["ca.crt"].authority
    server = found["apiserver.crt"]
    assert (server.subject, server.authority, server.sound) == ("CN=kube-apiserver", False, True)
    assert "10.0.0.1" in server.names
    assert not server.expired
    assert not server.ending


def test_hours_are_counted_from_the_hosts_own_clock(machine: Machine) -> None:
    """All of the lab's end within ten years and a day."""
    found = machine.certificates(hours=24 * 3651)
    assert all(one.ending and not one.expired for one in found.values())


@pytest.mark.field("40")
def test_what_a_restart_would_load_and_has_expired_is_named(machine: Machine) -> None:
    """By the host's clock and before the restart; an authority that has ended is no fault of the service."""
    fact = ServiceExpired("kube-apiserver")
    reply = machine.run(fact.ask())
    assert fact.parse(reply) == ()
    later = re.sub(rb"now=[0-9]+", b"now=4102444800", reply.stdout)  # the year 2100
    found = fact.parse(dataclasses.replace(reply, stdout=later))
    assert sorted(Path(text.split(" ")[0]).name for text in found) == [
        "admin.conf",
        "apiserver.crt",
    ]
    assert all(" ended " in text for text in found)


def test_a_key_of_another_pair_is_not_sound(machine: Machine) -> None:
    """What a copy of one file of two does."""
    machine.write("apiserver.key", machine.files["etcd/server.key"])
    assert not machine.certificates()["apiserver.crt"].sound


def test_an_authority_that_the_service_does_not_know_is_not_sound(machine: Machine) -> None:
    """Same names, other signature."""
    machine.write("ca.crt", Authorities.new().cluster.crt)
    machine.write("admin.conf", b"")
    assert not machine.certificates()["apiserver.crt"].sound


def test_files_that_are_newer_than_the_process_are_told(machine: Machine) -> None:
    """The first process of the machine is older than any file here."""
    assert machine.stale() == tuple(
        f"{machine.folder}/{name} is newer than the process"
        for name in ("admin.conf", "apiserver.crt", "ca.crt")
    )


def test_what_is_served_is_told_where_its_file_holds_another(machine: Machine) -> None:
    """A handshake with the process: same, then other, then nobody there."""
    with _serving(machine) as port:
        assert machine.stale() == ()
        machine.write("apiserver.crt", machine.files["etcd/server.crt"])
        told = machine.stale()
    assert any(f"127.0.0.1:{port} serves another one than" in why for why in told), told
    machine.unit(os.getpid(), port)
    assert any("serves no certificate" in why for why in machine.stale())


@contextmanager
def _serving(machine: Machine) -> Iterator[int]:
    """A TLS server on loopback, with the files as they are; the unit's process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pair = [f"{machine.folder}/apiserver.crt", "-key", f"{machine.folder}/apiserver.key"]
    server = subprocess.Popen(
        ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", *pair],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        machine.unit(server.pid, port)
        until(lambda: _listens(port), timeout=20, awaiting="openssl to listen")
        yield port
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_script_that_broke_off_is_no_answer() -> None:
    """Nothing found must never come from nothing read."""
    with pytest.raises(ValueError, match="cannot read"):
        ServiceCertificates("etcd").parse(said("", code=3))
    with pytest.raises(ValueError, match="cannot ask"):
        ServiceStale("etcd").parse(said("", code=3))


# -- renewing ---------------------------------------------------------------------------------

OLD = Certificate(
    file="/pki/server.crt",
    subject="CN=cp1",
    names=("cp1", "localhost"),
    ends="2026-11-24 00:00 UTC",
    digest="aa",
    authority=False,
    expired=False,
    ending=True,
    sound=True,
)
NEW = dataclasses.replace(OLD, ends="2027-11-24 00:00 UTC", digest="bb", ending=False)
CA = dataclasses.replace(NEW, file="/pki/ca.crt", subject="CN=ca", authority=True)


def _host(*etcds: Sequence[Certificate], unable: str = "") -> FakeHost:
    """A host whose etcd has these certificates, one reading after the other."""
    first, *rest = (ServiceCertificates(s, 720) for s in SERVICES)
    first = dataclasses.replace(first, also=("/etc/kubernetes/admin.conf",))
    said = list(etcds)
    answers: dict[Fact[Any], Any] = {
        **dict.fromkeys(rest, ()),
        first: lambda _host: said.pop(0) if len(said) > 1 else said[0],
        KubeadmUnable(): unable,
    }
    return FakeHost("cp1", answers)


def test_certificates_that_last_are_left_as_they_are() -> None:
    """Nothing is changed, and that is said."""
    host = _host((NEW, CA))
    Renew().run(host)
    assert host.change_names == []
    assert "1 certificates last long enough" in host.notes[0]


def test_the_old_ones_are_kept_before_they_are_renewed() -> None:
    """Then the new ones are looked at: what touches one certificate touches what all facts said."""
    host = _host((OLD, CA), (NEW, CA))
    Renew().run(host)
    assert host.change_names == ["keep", "renew"]
    assert host.changes[0].touches == ("file:/var/lib/drrun/aside/certificates-r-test.tar",)
    assert host.changes[1].touches == ("certificates",)


def test_what_expired_may_answer_again() -> None:
    """A dry-run must not believe that a member stays silent which comes back with its certificate.

    Nor that one stays unready which systemd starts again and again, or which waits for its peers.
    """
    host = _host((dataclasses.replace(OLD, expired=True), CA), (NEW, CA))
    Renew().run(host)
    assert {"@etcd", "@up:etcd"} <= set(host.changes[1].touches)
    assert set(ServiceReady("etcd").about()) & set(host.changes[1].touches)
    healthy = _host((OLD, CA), (NEW, CA))
    Renew().run(healthy)
    assert healthy.changes[1].touches == ("certificates",)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ((OLD, CA), "ends 2026"),
        ((CA,), "holds no certificate any more"),
        ((dataclasses.replace(NEW, sound=False), CA), "its key is not beside it"),
        ((dataclasses.replace(NEW, names=("cp1",)), CA), "not good for localhost any more"),
    ],
)
def test_new_ones_that_are_worse_are_refused(now: tuple[Certificate, ...], words: str) -> None:
    """Before any process reads them at its start; undo puts the old ones back."""
    host = _host((OLD, CA), now)
    with pytest.raises(StepFailed, match=words) as caught:
        Renew(by="true").run(host)
    assert "--undo" in caught.value.hint


def test_an_authority_that_ends_is_another_job() -> None:
    """What it would sign ends with it."""
    host = _host((OLD, dataclasses.replace(CA, ending=True)))
    with pytest.raises(Refused, match="an authority ends soon"):
        Renew().run(host)
    assert host.change_names == []


def test_who_renews_is_never_guessed() -> None:
    """No kubeadm, or its authority's key is elsewhere: the operator says how; a command settles it."""
    with pytest.raises(Refused, match="nobody said how it is renewed: there is no kubeadm"):
        Renew().run(_host((OLD, CA), unable="there is no kubeadm"))
    host = _host((OLD, CA), (NEW, CA), unable="there is no kubeadm")
    Renew(by="renew-them").run(host)
    assert host.change_names == ["keep", "renew"]


def test_a_kubelets_own_is_its_own_affair_until_it_has_expired() -> None:
    """It renews itself while an API server answers, weeks before its end."""
    own = dataclasses.replace(OLD, file=KUBELETS)
    assert not list(worse((own,), (own,)))
    assert list(worse((own,), (dataclasses.replace(own, expired=True),)))


def test_the_proof_asks_files_and_processes() -> None:
    """A file that ends, and a process that works with another one, are both refused."""
    host = _host((NEW, CA))
    host.answers |= dict.fromkeys(map(ServiceStale, SERVICES), ())
    Prove().run(host)
    host.answers[ServiceStale("kube-scheduler")] = ("x.conf is newer than the process",)
    with pytest.raises(Refused, match="may be older than what its files hold"):
        Prove().run(host)
    with pytest.raises(Refused, match="takes its process away"):
        Prove().run(_host((OLD, CA)))
