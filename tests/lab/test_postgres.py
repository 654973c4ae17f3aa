"""A recovery of something that drrun knows nothing of: PostgreSQL, by a runbook without any Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.operator import Operator
from drrun_lab.packages import Archive
from drrun_lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

BOOK = Path(__file__).parents[2] / "runbooks" / "examples" / "postgres-failover.yaml"
PACKAGES = (
    *("postgresql-15", "postgresql-client-15", "libpq5", "libicu72", "libxml2", "libxslt1.1"),
    *("libldap-2.5-0", "libsasl2-2", "libreadline8", "tzdata"),
)
BIN, DATA = "/usr/lib/postgresql/15/bin", "/var/lib/postgresql/data"
UNIT = f"""\
[Service]
Type=notify
User=postgres
RuntimeDirectory=postgresql
ExecStart={BIN}/postgres -D {DATA}
KillMode=mixed
KillSignal=SIGINT
[Install]
WantedBy=multi-user.target
"""
ACCOUNT = f"""\
useradd --system -M -d /var/lib/postgresql -s /bin/sh postgres
install -d -o postgres -g postgres -m 700 {DATA}
ln -sf {BIN}/psql /usr/bin/psql
"""
PRIMARY = f"""\
runuser -u postgres -- {BIN}/initdb -D {DATA} -A trust --no-locale -E UTF8 >/dev/null
printf "listen_addresses = '*'\\n" >>{DATA}/postgresql.conf
printf 'host all,replication all 0.0.0.0/0 trust\\n' >>{DATA}/pg_hba.conf
systemctl enable --now postgresql
"""


class Pair:
    """Two hosts with PostgreSQL, and who asks them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.first, self.second = lab.layout.members
        inventory = folder / "inventory.yaml"
        text = lab.inventory.read_text()
        inventory.write_text(
            text.replace(
                "groups:",
                f"groups:\n  primary: [{self.first.name}]\n  standby: [{self.second.name}]",
                1,
            )
        )
        self.operator = Operator(inventory, folder / "state")

    def root(self, host: str, script: str) -> str:
        """Root's shell on a host; must succeed."""
        done = self.lab.ssh(host, script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, host: str, question: str) -> str:
        """What the database on a host answers; empty when it does not."""
        words = f'runuser -u postgres -- psql -XAtqc "{question}"'
        return self.lab.ssh(host, words).stdout.strip()


def lay_over(files: Path, root: Path) -> None:
    """Copy unpacked packages over a host's disk, whose /lib is a link to /usr/lib."""
    script = 'tar -C "$1" -cf - . | tar -C "$2" --keep-directory-symlink -xf -'
    subprocess.run(["sh", "-ec", script, "sh", str(files), str(root)], check=True)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A primary and its streaming standby, from Debian's packages."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    lab = Lab.up("postgres", LabSpec(hosts=2, kube=False), progress=Progress())
    try:
        Archive(tmp_path / "apt", "bookworm").unpack(PACKAGES, tmp_path / "files")
        pair = Pair(lab, tmp_path)
        for host in lab.layout.members:
            lay_over(tmp_path / "files", lab.machine(host.name).root)
            lab.ssh(host.name, "cat >/etc/systemd/system/postgresql.service", stdin=UNIT)
            pair.root(host.name, ACCOUNT)
        pair.root(pair.first.name, PRIMARY)
        pair.root(
            pair.second.name,
            f"runuser -u postgres -- {BIN}/pg_basebackup -R -D {DATA} -h {pair.first.address} "
            "&& systemctl enable --now postgresql",
        )
        yield pair
    finally:
        lab.down()


def test_a_standby_becomes_the_primary(pair: Pair) -> None:
    """What was acknowledged is there afterwards, once; the old primary stays down through a boot."""
    first, second = pair.first.name, pair.second.name
    pair.ask(first, "create table kept (n int)")
    pair.ask(first, "insert into kept select generate_series(1, 1000)")
    until(
        lambda: pair.ask(second, "select count(*) from kept") == "1000",
        timeout=30,
        awaiting="the standby to follow",
    )
    dry = pair.operator.drrun(str(BOOK), "--dry-run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert pair.ask(second, "select pg_is_in_recovery()") == "t", "a dry-run changes nothing"

    done = pair.operator.drrun(str(BOOK), "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    assert pair.ask(second, "insert into kept values (1001) returning n") == "1001"
    assert pair.ask(second, "select count(*) from kept") == "1001"

    pair.lab.reboot(first)
    assert pair.lab.ssh(first, "systemctl start postgresql").returncode != 0
    assert pair.ask(first, "select 1") == ""

    again = pair.operator.drrun(str(BOOK), "--yes", "--no-input")
    assert again.returncode != 0, "the new primary is no standby: refused before anything"
    assert pair.ask(second, "select count(*) from kept") == "1001"
