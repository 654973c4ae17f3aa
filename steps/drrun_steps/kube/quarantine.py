"""The API server's port, closed to everybody but its own host until the restored cluster was proved (H6).

A load balancer that is drained keeps out those that come through it; a pod, and whoever knows the host's
address, comes past it. While the port is closed drrun asks over loopback, and nobody else is answered.
Rule 1: the rules of the packet filter are drrun's own, in a table or chain of its own: nobody else's are read
or written, and to open is to take it away.
Rule 2: a host that can close nothing (neither nft nor iptables, or a kernel without them) is told of and goes
on: in the worst hour that is no reason to stop.
Sources: hazards.md H6; nft(8), iptables(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from drrun.spi import (
    Command,
    Demand,
    Done,
    Duty,
    Effect,
    Fact,
    Host,
    HostStep,
    Repeat,
    Reply,
    Rule,
    StepFailed,
    Whole,
    sh,
    step_done,
)

State = Literal["open", "closed", "no filter"]
FILTER = "packet-filter"
"""The component: what this host's packet filter was told."""
_TABLE = "drrun_closed"

_TOOLS = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
gone="table inet $TABLE
delete table inet $TABLE"
rules="$gone
table inet $TABLE {
  chain input {
    type filter hook input priority -10; policy accept;
    iifname lo accept
    tcp dport $PORT reject with tcp reset
  }
}"
# A family that the kernel lacks is closed: there ip6tables ends with an error whatever it is asked.
six() { [ -e /proc/net/if_inet6 ] && command -v ip6tables >/dev/null; }
both() { iptables -w 5 "$@" && if six; then ip6tables -w 5 "$@"; fi; }
filter() { # a program is not enough: its kernel must take the rules
  if command -v nft >/dev/null && printf '%s\n' "$rules" | nft -c -f - 2>/dev/null; then echo nft
  elif command -v iptables >/dev/null && both -S >/dev/null 2>&1; then echo iptables; fi
}
"""
_LOOK = r"""
case $(filter) in
nft) nft list table inet "$TABLE" 2>/dev/null | grep -q "dport $PORT " && echo closed || echo open ;;
iptables)
  iptables -w 5 -S "$TABLE" 2>/dev/null | grep -q -- "--dport $PORT " &&
    iptables -w 5 -C INPUT -j "$TABLE" 2>/dev/null && echo closed || echo open ;;
*) echo 'no filter' ;;
esac
"""
_CLOSE = r"""
case $(filter) in
nft) printf '%s\n' "$rules" | nft -f - ;;
*)
  both -N "$TABLE" 2>/dev/null || both -F "$TABLE" || exit
  both -A "$TABLE" -i lo -j RETURN || exit
  both -A "$TABLE" -p tcp --dport "$PORT" -j REJECT --reject-with tcp-reset || exit
  both -C INPUT -j "$TABLE" 2>/dev/null || both -I INPUT -j "$TABLE" ;;
esac
"""
_OPEN = r"""
case $(filter) in
nft) printf '%s\n' "$gone" | nft -f - ;;
*)
  while both -D INPUT -j "$TABLE" 2>/dev/null; do :; done
  both -F "$TABLE" 2>/dev/null
  both -X "$TABLE" 2>/dev/null
  true ;;
esac
"""
"""Naming the table before it is deleted makes it be there: opening what is open is no error."""


@dataclass(frozen=True, slots=True)
class KubeClosed(Fact[State]):
    """Whether drrun has closed a port of this host to everybody but the host itself."""

    name: ClassVar[str] = "kube.closed"
    port: int = 6443

    def about(self) -> tuple[str, ...]:
        """The packet filter, which forgets at a reboot."""
        return (FILTER,)

    def ask(self) -> Command:
        """One table, or one chain."""
        return sh(f"{_TOOLS}{_LOOK}", PORT=self.port, TABLE=_TABLE)

    def parse(self, reply: Reply) -> State:
        """Raises StepFailed on anything else."""
        match reply.text.strip():
            case "open":
                return "open"
            case "closed":
                return "closed"
            case "no filter":
                return "no filter"
        raise StepFailed(f"the packet filter does not tell: {reply.complaint[:300]}")


class _Port(HostStep):
    """Which port of the host."""

    port: Whole = 6443
    """The API server's port."""

    def checkable(self) -> bool:
        """The packet filter tells."""
        return True

    def _fact(self) -> KubeClosed:
        return KubeClosed(self.port)

    def _set(self, host: Host, name: str, to: State) -> None:
        text = f"# {to}: port {self.port}\n{_TOOLS}{_CLOSE if to == 'closed' else _OPEN}"
        host.change(
            name,
            sh(text, PORT=self.port, TABLE=_TABLE),
            sets={self._fact(): to},
            touches=(FILTER,),
            repeat=Repeat.SAFE,
        )


class Close(_Port):
    """Close the API server's port to everybody but its own host, before it starts.

    By a table of nft, or a chain of iptables; a reboot forgets it. Where a host has neither, that is
    told and nothing is closed. Undo opens it again, and so does `nft delete table inet drrun_closed`.
    """

    uses = "kube.close"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    def rules(self) -> Sequence[Demand]:
        """What is closed is opened."""
        because = "an API server that nobody can reach is a cluster that is down"
        return [Duty(step_done("kube.open"), "", value=True, because=because)]

    def run(self, host: Host) -> None:
        """Nothing to do where it is closed."""
        match host.read(self._fact()):
            case "open":
                self._set(host, "close", "closed")
                host.note(
                    f"{host.name} answers nobody but itself on port {self.port} until kube.open; should the run be "
                    f"given up in between: `nft delete table inet {_TABLE}`, or `iptables -D INPUT -j {_TABLE}`"
                )
            case "no filter":
                host.note(
                    f"{host.name} has neither nft nor iptables that works: pods, and whoever knows its address, reach "
                    f"port {self.port} before the restored cluster was proved"
                )
            case _:
                pass

    def undo(self, host: Host, done: Done) -> None:
        """Open, where this step closed it."""
        if done.did("close", host.name):
            self._set(host, "open", "open")


class Open(_Port):
    """Open the API server's port again: the restored cluster was proved behind it."""

    uses = "kube.open"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    def rules(self) -> Sequence[Demand]:
        """Not before somebody has looked."""
        because = "what is opened before it was proved answers clients with errors"
        return [Rule(step_done("kube.ready"), "", value=True, because=because)]

    def run(self, host: Host) -> None:
        """Nothing to do where it is open."""
        found: Any = host.read(self._fact())
        if found == "closed":
            self._set(host, "open", "open")
        elif found == "open":  # somebody reloaded the packet filter, or the host was rebooted
            host.note(
                f"{host.name}: port {self.port} was not closed any more: clients may have come in before the restored "
                "cluster was proved; what they wrote is in it"
            )

    def undo(self, host: Host, done: Done) -> None:
        """Closed again: what is undone before it was proved too, must not find clients inside."""
        if done.did("open", host.name):
            self._set(host, "close-again", "closed")


FACTS: tuple[type[Fact[Any]], ...] = (KubeClosed,)
