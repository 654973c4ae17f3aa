"""Facts about a machine: disk, memory, clock, processes, ports and who talks to whom.

Everything is read from procfs and coreutils, since a host in a disaster may have nothing else:
minimal Debian has neither `ss` nor `lsof`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, ClassVar

from drrun.spi import OPAQUE, Command, Fact, Reply, Step, satisfies, sh
from drrun_steps.fields import OUTSIDERS
from drrun_steps.readmitted import Readmit

NOTHING = satisfies("nothing", lambda found: not found)
"""For facts that list what is wrong."""

_ESTABLISHED, _LISTEN = "01", "0A"

_SOCKETS = """
echo '== exe'; ls -l /proc/[0-9]*/exe 2>/dev/null
echo '== fd'; ls -l /proc/[0-9]*/fd 2>/dev/null | grep -e '^/proc' -e 'socket:'
echo '== tcp'; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
true
"""


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the file system of a path, in bytes."""

    free: int
    size: int


@dataclass(frozen=True, slots=True)
class HostDisk(Fact[Disk]):
    """Room on the file system that holds `path` (or its nearest parent that exists)."""

    name: ClassVar[str] = "host.disk"
    path: str

    def about(self) -> tuple[str, ...]:
        """Written by nearly everything: taken as it was when it was asked."""
        return (f"disk:{self.path}",)

    def ask(self) -> Command:
        """`df` of the nearest existing parent."""
        text = 'while [ ! -e "$P" ] && [ "$P" != / ]; do P=$(dirname -- "$P"); done; df -Pk -- "$P"'
        return sh(text, P=self.path)

    def parse(self, reply: Reply) -> Disk:
        """The second line of `df -P`."""
        words = reply.text.strip().splitlines()[-1].split()
        if reply.exit != 0 or len(words) < 6:
            raise ValueError(f"df says {reply.complaint!r}")
        return Disk(free=int(words[-3]) * 1024, size=int(words[-5]) * 1024)


@dataclass(frozen=True, slots=True)
class HostMemory(Fact[int]):
    """Memory that programs can still take, in bytes (MemAvailable)."""

    name: ClassVar[str] = "host.memory"

    def about(self) -> tuple[str, ...]:
        """Nothing that a step changes on purpose."""
        return ("memory",)

    def ask(self) -> Command:
        """One line of /proc/meminfo."""
        return sh("grep '^MemAvailable:' /proc/meminfo")

    def parse(self, reply: Reply) -> int:
        """Kibibytes to bytes."""
        return int(reply.text.split()[1]) * 1024


@dataclass(frozen=True, slots=True)
class HostClock(Fact[float]):
    """The host's clock, in seconds since the epoch, at the moment it was asked."""

    name: ClassVar[str] = "host.clock"

    def about(self) -> tuple[str, ...]:
        """Nothing that a step changes on purpose."""
        return ("clock",)

    def ask(self) -> Command:
        """GNU date knows nanoseconds; others print whole seconds."""
        return sh("date -u +%s.%N")

    def parse(self, reply: Reply) -> float:
        """Seconds, with a fraction where there is one."""
        return float(reply.text.strip().removesuffix("N").rstrip(".%"))


@dataclass(frozen=True, slots=True)
class Process:
    """A running process and the program it runs."""

    pid: int
    exe: str


@dataclass(frozen=True, slots=True)
class HostProcesses(Fact[tuple[Process, ...]]):
    """The processes that run a program called `program`, however they were started."""

    name: ClassVar[str] = "host.processes"
    when_fenced: ClassVar[Any] = []
    program: str

    def about(self) -> tuple[str, ...]:
        """The service of the same name."""
        return (f"service:{self.program}",)

    def ask(self) -> Command:
        """One look at every /proc/PID/exe: a name in `ps` can be anything, the program cannot."""
        return sh("ls -l /proc/[0-9]*/exe 2>/dev/null; true")

    def parse(self, reply: Reply) -> tuple[Process, ...]:
        """Those whose program has that name; a replaced binary counts as well."""
        found = _exes(reply.text.splitlines())
        return tuple(Process(p, e) for p, e in sorted(found.items()) if _program(e) == self.program)


@dataclass(frozen=True, slots=True)
class HostListening(Fact[bool]):
    """Whether anything listens on a TCP port of this host, on any address."""

    name: ClassVar[str] = "host.listening"
    port: int

    def about(self) -> tuple[str, ...]:
        """The port; any service, or a person's script, may listen on it, or end."""
        return (f"port:{self.port}", OPAQUE)

    def ask(self) -> Command:
        """The kernel's own tables."""
        return sh("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; true")

    def parse(self, reply: Reply) -> bool:
        """Any socket in state LISTEN on that port."""
        return any(s.state == _LISTEN and s.port == self.port for s in _sockets(reply.text))


@dataclass(frozen=True, slots=True)
class HostAddresses(Fact[tuple[str, ...]]):
    """Every IP address that this host has, those of containers' bridges and the loopback included."""

    name: ClassVar[str] = "host.addresses"

    def about(self) -> tuple[str, ...]:
        """Nothing that a step changes on purpose."""
        return ("addresses",)

    def ask(self) -> Command:
        """The kernel's own tables: a minimal host has no `ip`."""
        return sh(
            "awk '/\\|-- /{at=$2} /host LOCAL/{print at}' /proc/net/fib_trie\n"
            "[ ! -r /proc/net/if_inet6 ] || cut -d ' ' -f 1 /proc/net/if_inet6"
        )

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Raises ValueError when there is not one: even a host without a network has a loopback."""
        words = set(reply.text.split())
        if reply.exit != 0 or not words:
            raise ValueError(f"cannot read this host's addresses: {reply.complaint!r}")
        return tuple(sorted(w if "." in w else str(IPv6Address(int(w, 16))) for w in words))


@dataclass(frozen=True, slots=True)
class HostPeers(Fact[tuple[str, ...]]):
    """Addresses that are connected to a TCP port of this host, its own and the loopback included."""

    name: ClassVar[str] = "host.peers"
    port: int

    def about(self) -> tuple[str, ...]:
        """The port; any service, or a person's script, may come or go."""
        return (f"port:{self.port}", OPAQUE)

    def ask(self) -> Command:
        """The kernel's own tables."""
        return sh("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; true")

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Of established connections, each once."""
        live = (s for s in _sockets(reply.text) if s.state == _ESTABLISHED and s.port == self.port)
        return tuple(sorted({socket.peer for socket in live}))


@dataclass(frozen=True, slots=True)
class HostBusy(Fact[tuple[str, ...]]):
    """What still runs, listens or is connected, in words; empty when all of it is down.

    `programs` must have no process, `ports` no listener, and `served` (ports) no established
    connection, save between processes of `spare`: etcd talks to itself on 2379 (hazard H4,
    pitfall 15: an API server that lives on during a restore is the top killer).
    """

    name: ClassVar[str] = "host.busy"
    programs: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    served: tuple[int, ...] = ()
    spare: tuple[str, ...] = ("etcd",)

    def about(self) -> tuple[str, ...]:
        """The services of the same names, here and (as clients) on every other host."""
        here = tuple(f"service:{name}" for name in self.programs)
        return here + tuple(f"@{name}" for name in self.programs)

    def ask(self) -> Command:
        """Programs, sockets by process, and the kernel's table of connections."""
        return sh(_SOCKETS)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """One line a finding, naming process, port or peer."""
        parts = _parts(reply.text)
        exes = _exes(parts.get("exe", "").splitlines())
        table = list(_sockets(parts.get("tcp", "")))
        owners = _owners(parts.get("fd", "").splitlines())
        found = [
            *self._running(exes),
            *self._listening(table, owners, exes),
            *self._connected(table, owners, exes),
        ]
        counted = {text: found.count(text) for text in found}
        return tuple(f"{text} ({n} times)" if n > 1 else text for text, n in counted.items())

    def _running(self, exes: Mapping[int, str]) -> Iterator[str]:
        for pid, exe in sorted(exes.items()):
            if _program(exe) in self.programs:
                yield f"{_program(exe)} runs as pid {pid}"

    def _listening(
        self, table: list[_Socket], owners: Mapping[str, int], exes: Mapping[int, str]
    ) -> Iterator[str]:
        for socket in table:
            if socket.state == _LISTEN and socket.port in self.ports:
                yield f"port {socket.port} is listened on by {_who(socket, owners, exes)}"

    def _connected(
        self, table: list[_Socket], owners: Mapping[str, int], exes: Mapping[int, str]
    ) -> Iterator[str]:
        live = [s for s in table if s.state == _ESTABLISHED]
        ends = {(s.address, s.port, s.peer, s.peer_port): s for s in live}
        for socket in live:
            if socket.port not in self.served:
                continue
            other = ends.get((socket.peer, socket.peer_port, socket.address, socket.port))
            if other is None:
                yield f"{socket.peer} is connected to port {socket.port}"
            elif _program(exes.get(owners.get(other.inode, 0), "")) not in self.spare:
                who = _who(other, owners, exes)
                yield f"{who} on this host is connected to port {socket.port}"


@dataclass(frozen=True, slots=True)
class HostOutsiders(Fact[tuple[str, ...]]):
    """Who is in the way of a proof that all is down, and will not be stopped: in words, empty when nobody.

    `ports` are listened on by nobody but `programs`, and no process of this host but `programs` and etcd is
    connected to `served`. Asked while they run: a balancer, or another client of etcd, is found before the outage.
    """

    name: ClassVar[str] = "host.outsiders"
    programs: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    served: tuple[int, ...] = ()

    def about(self) -> tuple[str, ...]:
        """Writers that are paused are no outsiders any more."""
        return (OUTSIDERS,)

    def ask(self) -> Command:
        """Programs, sockets by process, and the kernel's table of connections."""
        return sh(_SOCKETS)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """One line a finding, naming program, pid and port."""
        parts = _parts(reply.text)
        exes = _exes(parts.get("exe", "").splitlines())
        table = list(_sockets(parts.get("tcp", "")))
        owners = _owners(parts.get("fd", "").splitlines())
        own = {*self.programs, "etcd"}
        ends = {(s.address, s.port, s.peer, s.peer_port): s for s in table}
        found = []
        for socket in table:
            program = _program(exes.get(owners.get(socket.inode, 0), "?"))
            if socket.state == _LISTEN and socket.port in self.ports and program not in own:
                found.append(f"port {socket.port} is listened on by {_who(socket, owners, exes)}")
            if socket.state != _ESTABLISHED or socket.port not in self.served:
                continue
            other = ends.get((socket.peer, socket.peer_port, socket.address, socket.port))
            if other is None or _program(exes.get(owners.get(other.inode, 0), "etcd")) in own:
                continue
            found.append(f"{_who(other, owners, exes)} is connected to port {socket.port}")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Socket:
    address: str
    port: int
    peer: str
    peer_port: int
    state: str
    inode: str


def _parts(text: str) -> Mapping[str, str]:
    sections = re.split(r"^== (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


def _exes(lines: list[str]) -> dict[int, str]:
    pattern = re.compile(r"/proc/(\d+)/exe -> (.+)$")
    found = (pattern.search(line) for line in lines)
    return {int(m[1]): m[2] for m in found if m}


def _program(exe: str) -> str:
    return exe.removesuffix(" (deleted)").rpartition("/")[2]


def _owners(lines: list[str]) -> dict[str, int]:
    owners: dict[str, int] = {}
    pid = 0
    for line in lines:
        if head := re.fullmatch(r"/proc/(\d+)/fd:", line):
            pid = int(head[1])
        elif inode := re.search(r"socket:\[(\d+)\]", line):
            owners[inode[1]] = pid
    return owners


def _who(socket: _Socket, owners: Mapping[str, int], exes: Mapping[int, str]) -> str:
    pid = owners.get(socket.inode)
    return f"{_program(exes.get(pid, '?'))} (pid {pid})" if pid else "an unknown process"


def _sockets(text: str) -> Iterator[_Socket]:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 9 and words[0].endswith(":") and ":" in words[1]:
            address, port = _end(words[1])
            peer, peer_port = _end(words[2])
            yield _Socket(address, port, peer, peer_port, words[3], words[9])


def _end(text: str) -> tuple[str, int]:
    """`0100007F:094B` as (127.0.0.1, 2379): the kernel prints 32-bit words in host order."""
    raw, _, port = text.partition(":")
    swapped = b"".join(bytes.fromhex(raw[i : i + 8])[::-1] for i in range(0, len(raw), 8))
    if len(swapped) == 4:
        return str(IPv4Address(swapped)), int(port, 16)
    address = IPv6Address(swapped)
    return str(address.ipv4_mapped or address), int(port, 16)


STEPS: tuple[type[Step], ...] = (Readmit,)
FACTS: tuple[type[Fact[Any]], ...] = (
    HostDisk,
    HostMemory,
    HostClock,
    HostProcesses,
    HostListening,
    HostAddresses,
    HostPeers,
    HostBusy,
    HostOutsiders,
)
