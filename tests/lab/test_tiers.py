"""What a running job outlives, on a host where logind ends sessions, and where sshd ends its own.

Every proof has its counter-proof: the same job, started in the session, is ended by TERM (143: its
supervisor lives just long enough to tell). So these hosts do have the danger, and it is the scope that
helps. `drrun_lab`'s hosts have no PAM module of systemd's; here it is added, for without it nobody has a
session.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from drrun.model.inventory import Target
from drrun.ports import Job, JobReport, JobState, Tier
from drrun.transport.agent import AgentSetting
from drrun.transport.line import ShellLine
from drrun.transport.ssh import SshTransport
from drrun.values import Digest, HostName
from drrun_lab import Lab, LabSpec
from drrun_lab.packages import Archive
from drrun_lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

HOST = HostName("cp1")
RUN = "run-tiers"
PLAIN = ("env", "DRRUN_SYSTEMD=/nowhere", "/bin/sh")
"""A shell whose agent finds no systemd: jobs stay in the session that brought them."""


@dataclass
class Guarded:
    """A host with KillUserProcesses=yes, and connections to it."""

    lab: Lab
    tokens: int = 0

    def line(self, user: str, *, become: bool = True, scope: bool = True) -> ShellLine:
        """Log in as drrun does."""
        setting = AgentSetting() if scope else AgentSetting(shell=PLAIN)
        target = Target(
            name=HOST,
            address=self.lab.layout.host(HOST).address,
            user=user,
            identity=str(self.lab.folder / "id_ed25519"),
            known_hosts=str(self.lab.folder / "known_hosts"),
            become="sudo" if become else "none",
        )
        return SshTransport(setting, patience=20).connect(target)

    def job(self) -> Job:
        """A long one, with a new token."""
        self.tokens += 1
        return Job(RUN, f"c-{self.tokens:020x}", 1, b"exec sleep 600\n", Digest("ab" * 32))

    def root(self, script: str) -> str:
        """What root sees, by plain ssh."""
        return self.lab.ssh(HOST, script).stdout

    def sessions(self, user: str) -> list[str]:
        """The sessions of an account that logind has."""
        rows = self.root("loginctl --no-legend --no-pager list-sessions").splitlines()
        return [row.split()[0] for row in rows if row.split()[2] == user]

    def scopes(self) -> list[str]:
        """Drrun's scopes."""
        listed = "systemctl list-units --all --no-legend --no-pager 'drrun-*.scope'"
        return [row.split()[0] for row in self.root(listed).splitlines()]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One bare host; whoever logs out of it is ended, root's own sessions excepted."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    lab = Lab.up("tiers", LabSpec(hosts=1, kube=False))
    try:
        folder = tmp_path_factory.mktemp("pam")
        Archive(folder / "apt", "bookworm").unpack(["libpam-systemd"], folder / "files")
        module = next((folder / "files").rglob("pam_systemd.so"))
        for place in lab.machine(HOST).root.glob("usr/lib/*/security"):
            shutil.copy(module, place)
        host = Guarded(lab)
        host.root(
            "echo 'session optional pam_systemd.so' >>/etc/pam.d/common-session\n"
            "mkdir -p /etc/systemd/logind.conf.d\n"
            "printf '[Login]\\nKillUserProcesses=yes\\n' >/etc/systemd/logind.conf.d/kill.conf\n"
            "systemctl restart systemd-logind\n"
        )
        yield host
    finally:
        lab.down()


def left(host: Guarded, line: ShellLine, user: str) -> Job:
    """A job that runs on, its controller gone and its session closed."""
    assert host.sessions(user), "there is a session to be ended"
    job = host.job()
    assert line.launch(job).state is JobState.RUNNING
    line.close()
    until(lambda: not host.sessions(user), timeout=30, awaiting=f"the end of {user}'s session")
    return job


def ended(line: ShellLine, job: Job) -> JobReport:
    """The job as it is told once nothing of it runs any more, or as it is after twenty seconds."""
    return line.poll(RUN, job.token, wait=20)


@pytest.mark.parametrize("scope", [True, False], ids=["scope", "session"])
def test_a_sudo_users_job_outlives_the_session_in_a_scope(guarded: Guarded, scope: bool) -> None:  # noqa: FBT001
    """Root by sudo, in a session of ops: it lives in a scope of its own, and dies in the session."""
    line = guarded.line("ops", scope=scope)
    tier = line.fence(RUN, 1, "tests")
    assert tier is (Tier.SCOPE if scope else Tier.SESSION)
    job = left(guarded, line, "ops")
    after = guarded.line("ops", scope=False)
    report = after.poll(RUN, job.token)
    if scope:
        assert report.state is JobState.RUNNING
        assert len(guarded.scopes()) == 1
        assert after.kill(RUN, job.token).code == 143
        until(lambda: not guarded.scopes(), timeout=20, awaiting="the empty scope to vanish")
    else:
        # logind first forgets the session, then ends what is left in it.
        report = ended(after, job)
        assert (report.state, report.code) == (JobState.EXITED, 143)
        assert guarded.scopes() == []
    after.release(RUN, 1)
    after.close()


def test_roots_own_session_is_spared(guarded: Guarded) -> None:
    """Who logs in as root is excluded by default (KillExcludeUsers): the scope is not what saves it."""
    line = guarded.line("root", scope=False)
    assert line.fence(RUN, 1, "tests") is Tier.SESSION
    job = guarded.job()
    assert line.launch(job).state is JobState.RUNNING
    line.close()
    after = guarded.line("root", scope=False)
    assert after.poll(RUN, job.token, wait=3).state is JobState.RUNNING
    after.kill(RUN, job.token)
    after.release(RUN, 1)
    after.close()


@pytest.mark.parametrize("linger", [False, True], ids=["no linger", "linger"])
def test_an_account_that_is_not_root_loses_its_job(guarded: Guarded, linger: bool) -> None:  # noqa: FBT001
    """Nobody but root may ask for a scope, and lingering does not keep what a session started."""
    if linger:
        guarded.root("loginctl enable-linger nosudo")
    line = guarded.line("nosudo", become=False)
    assert line.fence(RUN, 1, "tests") is Tier.SESSION
    job = left(guarded, line, "nosudo")
    after = guarded.line("nosudo", become=False)
    assert ended(after, job).code == 143
    after.release(RUN, 1)
    after.close()


@pytest.mark.parametrize("trouble", ["stopped", "frozen"])
def test_a_bus_that_is_not_there_costs_three_seconds_at_most(
    guarded: Guarded, trouble: str
) -> None:
    """Without the bus jobs run as before, in the session; a hung one is waited for once."""
    line = guarded.line("root")
    line.ask(b":", timeout=10)
    main = guarded.root("systemctl show -p MainPID --value dbus").strip()
    stop = {"stopped": "systemctl stop dbus.socket dbus.service", "frozen": f"kill -STOP {main}"}
    # Asked over the line that is open: a log-in would wait for the bus itself.
    line.ask(stop[trouble].encode(), timeout=20)
    try:
        began = time.monotonic()
        assert line.fence(RUN, 1, "tests") is Tier.SESSION
        took = time.monotonic() - began
        assert took < 10
        job = guarded.job()
        assert line.launch(job).state is JobState.RUNNING
        line.kill(RUN, job.token)
        line.release(RUN, 1)
    finally:
        mend = f"kill -CONT {main}; systemctl start dbus.socket dbus.service systemd-logind"
        line.ask(mend.encode(), timeout=30)
        line.close()
    print(f"\ntiers: the bus {trouble}: held after {took:.2f} s")


def test_a_scope_costs_milliseconds(guarded: Guarded) -> None:
    """It is asked for once a shell, not once a job; the figure is printed."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for scope in (True, False) * 5:
        line = guarded.line("root", scope=scope)
        line.poll(RUN, "c-0")  # the agent is there
        began = time.monotonic()
        tier = line.fence(RUN, 1, "tests")
        took[scope].append((time.monotonic() - began) * 1000)
        assert tier is (Tier.SCOPE if scope else Tier.SESSION)
        line.release(RUN, 1)
        line.close()
    in_scope, plain = (min(took[scope]) for scope in (True, False))
    print(f"\ntiers: a host is held in {in_scope:.0f} ms with a scope, {plain:.0f} ms without")
    assert in_scope < 500


@pytest.mark.parametrize("scope", [True, False], ids=["scope", "session"])
def test_a_job_outlives_sshds_control_group_in_a_scope(guarded: Guarded, scope: bool) -> None:  # noqa: FBT001
    """No session, and an sshd that ends its group when it is restarted: only the scope is left alone."""
    if scope:  # the first of the two
        guarded.root(
            "sed -i '/pam_systemd/d' /etc/pam.d/common-session\n"
            "mkdir -p /etc/systemd/system/ssh.service.d\n"
            "printf '[Service]\\nKillMode=control-group\\n' >/etc/systemd/system/ssh.service.d/k.conf\n"
            "systemctl daemon-reload\n"
        )
    line = guarded.line("root", scope=scope)
    line.fence(RUN, 1, "tests")
    job = guarded.job()
    assert line.launch(job).state is JobState.RUNNING
    before = guarded.root("systemctl show -p InvocationID ssh")
    guarded.root("systemd-run --quiet systemctl restart ssh")
    until(partial(_restarted, guarded, before), timeout=30, awaiting="sshd's restart")
    line.close()
    after = guarded.line("root", scope=False)
    report = after.poll(RUN, job.token)
    assert (report.state, report.code) == (
        (JobState.RUNNING, None) if scope else (JobState.EXITED, 143)
    )
    after.kill(RUN, job.token)
    after.release(RUN, 1)
    after.close()


def _restarted(host: Guarded, before: str) -> bool:
    told = host.root("systemctl show -p InvocationID ssh")
    return bool(told) and told != before
