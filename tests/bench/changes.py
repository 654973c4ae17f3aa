"""Durable changes over SSH, side by side: drrun, bare paramiko (the floor), fabric. One sshd, one run.

drrun journals each change before it is sent, claims it on the host, keeps its exit there, and reads
the result back; the floor and fabric keep nothing. Printed, never asserted.
Run it: `.venv/bin/python tests/bench/changes.py`; fabric is compared when it is installed.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.unit.transport.conftest import Sshd, running_sshd

from drrun.app import App
from drrun.registry import GROUP, Registry
from drrun.store.folder import FolderStore
from drrun.testing.world import Answers
from drrun.transport.agent import AgentSetting
from drrun.transport.routes import Transports

COMMAND = "echo x >/dev/null"


def inventory(sshd: Sshd, hosts: int) -> str:
    """As many names as wanted for the one server."""
    names = [f"h{n}" for n in range(1, hosts + 1)]
    lines = "\n".join(f"  {name}: {{address: 127.0.0.1}}" for name in names)
    return (
        f"drrun_inventory: 1\nname: bench\n"
        f'ssh: {{user: {sshd.user}, port: "{sshd.port}", identity: {sshd.folder}/user, '
        f"known_hosts: {sshd.known_hosts}}}\n"
        f"hosts:\n{lines}\ngroups:\n  members: [{', '.join(names)}]\n"
    )


def runbook(steps: int, uses: str) -> str:
    """A chain of steps, each host going on alone."""
    head = "drrun: 1\nname: bench\ntitle: A chain of changes\nroles: {members: {min: 1}}\nsteps:\n"
    lines = []
    for n in range(1, steps + 1):
        need = f"needs: [{{step: s{n - 1}, per: host}}], " if n > 1 else ""
        lines.append(f"  - {{id: s{n}, hosts: members, {need}uses: {uses}, on_unknown: ask}}")
    return head + "\n".join(lines) + "\n"


def with_drrun(sshd: Sshd, folder: Path, hosts: int, steps: int, uses: str) -> float:
    """Seconds of a whole run, connections and journal included."""
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / "inventory.yaml").write_text(inventory(sshd, hosts))
    (place / "runbook.yaml").write_text(runbook(steps, uses))
    app = App(
        Answers(),
        registry=Registry([EntryPoint("bench", "tests.bench.steps", GROUP)]),
        store=FolderStore(place / "runs"),
        transport=Transports(remote=AgentSetting(base=str(place / "base"))),
        forks=min(hosts, 16),
    )
    plan = app.plan(app.load(str(place / "runbook.yaml")), place / "inventory.yaml", {})
    began = time.perf_counter()
    finish = app.start(plan)
    took = time.perf_counter() - began
    if finish.exit_code:
        raise SystemExit(f"the bench's run ended with {finish}")
    return took


def with_paramiko(sshd: Sshd, folder: Path, hosts: int, steps: int, _uses: str) -> float:
    """The floor: one connection a host with TCP_NODELAY, an exec a change, nothing kept."""
    import paramiko

    del folder

    def chain(_: int) -> None:
        sock = socket.create_connection(("127.0.0.1", sshd.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(
            "127.0.0.1",
            username=sshd.user,
            sock=sock,
            key_filename=str(sshd.folder / "user"),
            allow_agent=False,
            look_for_keys=False,
        )
        for _step in range(steps):
            out = client.exec_command(COMMAND)[1]
            out.read()
            if out.channel.recv_exit_status():
                raise SystemExit("the floor's command failed")
        client.close()

    return timed(hosts, chain)


def with_fabric(sshd: Sshd, folder: Path, hosts: int, steps: int, _uses: str) -> float:
    """Fabric: what a script would use; it keeps nothing either."""
    fabric: Any = __import__("fabric")
    del folder

    def chain(_: int) -> None:
        with fabric.Connection(
            "127.0.0.1",
            user=sshd.user,
            port=sshd.port,
            connect_kwargs={"key_filename": str(sshd.folder / "user"), "look_for_keys": False},
        ) as connection:
            for _step in range(steps):
                connection.run(COMMAND, hide=True)

    return timed(hosts, chain)


def timed(hosts: int, chain: Callable[[int], None]) -> float:
    """Seconds for one chain a host, at most 8 at once: MaxStartups is 10."""
    began = time.perf_counter()
    with ThreadPoolExecutor(max_workers=min(hosts, 8)) as pool:
        list(pool.map(chain, range(hosts)))
    return time.perf_counter() - began


def main(words: Sequence[str] = ()) -> None:
    """Print a table: seconds, milliseconds a change, ratio to fabric and to the floor."""
    if not any(shutil.which("sshd", path=path) for path in (None, "/usr/sbin:/sbin")):
        print("skipped: sshd is not installed (apt-get install openssh-server)")
        return
    quick = "--quick" in words
    shapes = ((3, 20 if quick else 100), (8 if quick else 50, 20))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sshd").mkdir()
        with running_sshd(folder / "sshd", "MaxSessions 10") as sshd:
            for hosts, steps in shapes:
                print(f"{hosts} hosts x {steps} dependent changes")
                _compare(sshd, folder, hosts, steps)


def _compare(sshd: Sshd, folder: Path, hosts: int, steps: int) -> None:
    ways: list[tuple[str, Callable[..., float], str]] = [
        ("paramiko, TCP_NODELAY (floor)", with_paramiko, ""),
        ("drrun, repeat: never", with_drrun, "bench.never"),
        ("drrun, repeat: safe", with_drrun, "bench.safe"),
        ("drrun, reads only", with_drrun, "bench.read"),
    ]
    if find_spec("fabric"):
        ways.append(("fabric", with_fabric, ""))
    took = {label: way(sshd, folder, hosts, steps, uses) for label, way, uses in ways}
    floor, fabric = took["paramiko, TCP_NODELAY (floor)"], took.get("fabric")
    for label, seconds in took.items():
        against = f"   {seconds / fabric:5.2f} x fabric" if fabric else ""
        each = 1000 * seconds / steps / max(1, hosts / 8)
        print(
            f"  {label:<30} {seconds:7.2f} s   {each:6.1f} ms a step{against}"
            f"   {seconds / floor:5.2f} x floor"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
