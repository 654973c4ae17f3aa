"""Whether a service that was told to start can still come up by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.service import kubelet, own, pods
from drrun_steps.service.units import properties, unit

_DEAD_END = (
    pods.POD
    + own.DEAD_END
    + kubelet.DEAD_END
    + """
show=$(systemctl show -p ActiveState,SubState,Result,Job,ExecMainStatus,AssertResult,ConditionResult \
  "$UNIT") || exit 3
printf '%s\\n' "$show"
case $show in *ActiveState=failed*|*ActiveState=inactive*) ;; *) exit 0 ;; esac
said=$(journalctl --no-pager -q -o cat -n 4 "_SYSTEMD_UNIT=$UNIT" 2>/dev/null)
[ -n "$said" ] || said=$(journalctl --no-pager -q -o cat -n 4 -u "$UNIT" 2>/dev/null)
printf '%s\\n' "$said" | sed 's/^/said=/'
"""
)


@dataclass(frozen=True, slots=True)
class ServiceDeadEnd(Fact[str]):
    """Why a service that was told to start will not come up by itself; empty while it may.

    `failed` alone is no dead end where systemd tries again: then the state is `activating`, with
    the sub-state auto-restart, until the start limit is hit. A queued job is none either. The last
    lines of its journal say what it died of.
    """

    name: ClassVar[str] = "service.dead_end"
    service: str

    def about(self) -> tuple[str, ...]:
        """The service on this host."""
        return (f"service:{self.service}",)

    def ask(self) -> Command:
        """The unit's properties; its journal only where nothing runs and nothing is queued."""
        return sh(_DEAD_END, **pods.named(self.service))

    def parse(self, reply: Reply) -> str:
        """Raises ValueError when systemd does not answer."""
        seen = properties(reply)
        state = seen.get("ActiveState", "")
        settled = state in {"failed", "inactive"} and seen.get("SubState") in {"failed", "dead"}
        if not settled or seen.get("Job", "0") not in {"", "0"}:
            return ""
        lines = reply.text.splitlines()
        said = [line[5:].strip()[:200] for line in lines if line.startswith("said=")]
        last = f"; its last words: {' | '.join(line for line in said if line)}" if any(said) else ""
        return f"{unit(self.service)} is {state} ({_reason(seen)}) and is not tried again{last}"


def _reason(seen: dict[str, str]) -> str:
    if seen.get("AssertResult") == "no":
        return "an assertion forbids the start: is it held?"
    if seen.get("ConditionResult") == "no":
        return "a condition of the unit is not met"
    result = seen.get("Result", "unknown")
    status = seen.get("ExecMainStatus", "0")
    return f"{result}, exit {status}" if status != "0" else result
