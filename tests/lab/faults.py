"""The faults of the suite, what must follow each, and the page that tells what was seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "faults.md"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to hurt a restore: how, where it hurts, and what the failure matrix says follows."""

    name: str
    what: str
    where: str
    expected: str


MIDST = "`stop-apiservers@cp2`, while the API server stops"

FAULTS = (
    Fault(
        "ssh-cut",
        "all traffic of cp2 dropped (nft) for 30 s",
        MIDST,
        "the command goes on; asked again until the line is back; its result is collected: exit 0",
    ),
    Fault(
        "sshd-killed",
        "every sshd of cp2 killed; systemd starts it again",
        MIDST,
        "the command goes on; a new connection finds it: exit 0",
    ),
    Fault(
        "peer-frozen",
        "every sshd of cp2 stopped (SIGSTOP) for 35 s: connected, and silent",
        MIDST,
        "no wait without an end: the deadline passes, it is asked again, the result is collected: exit 0",
    ),
    Fault(
        "host-power-lost",
        "cp2 loses its power, and has it again 5 s later; its boot id changes",
        MIDST,
        "lost (reboot): nobody guesses; this change may be repeated, so it is made again; "
        "the API server stays held down through the boot: exit 0",
    ),
    Fault(
        "host-rebooted",
        "cp2 is rebooted at once, as by `systemctl reboot --force`",
        MIDST,
        "commands that its init ended (143) have failed, others are lost (reboot) and made again: "
        "exit 1, then resume: exit 0; or exit 0",
    ),
    Fault(
        "controller-killed",
        "drrun killed (SIGKILL), resumed from another directory",
        "`stage@cp2`, while the snapshot is restored beside the live data",
        "the plan holds all that a resume needs; the command is found again by its token: exit 0",
    ),
    Fault(
        "two-controllers",
        "drrun frozen, taken over by another, woken up while that one works",
        MIDST,
        "others are refused with the holder's name (exit 5); the old one ends by itself, its next "
        "step refused (exit 5); the new one: exit 0",
    ),
    Fault(
        "host-disk-full-before",
        "no byte free in cp2's /var/lib (its own ext4)",
        "before the run",
        "nothing is begun on any host: exit 1; with space again, resume: exit 0",
    ),
    Fault(
        "host-disk-full-during",
        "no byte free in cp2's /var/lib from now on",
        MIDST,
        "the running command's exit is recorded nevertheless; the next change on cp2 is not begun: "
        "exit 1; with space again, resume: exit 0",
    ),
    Fault(
        "controller-disk-full",
        "no byte free where drrun keeps its journal (an ext4 of 32 MB)",
        MIDST,
        "nothing more is started, commands on hosts go on: exit 10; with space again, resume: exit 0",
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a fault led to: commands with their exit codes, in words, and what was read."""

    ends: Sequence[tuple[str, int]]
    seen: str
    seconds: float
    reads: Sequence[str]


HEAD = """# Faults, and what a restore makes of them

Written by `make test-faults`, which does each of these to a real `restore-cluster`: three booted
hosts with systemd, sshd, etcd and the API servers of Kubernetes, a load balancer, and objects in
it. What must follow comes from what a host can say of a command ([its states](host-protocol.md)).
After every one of them the objects of the snapshot and no others are read back through the load
balancer, all members hold the same data, nothing is held stopped, and the folders of the hosts are
counted: no change began twice unless the journal says that its result was lost, or that it failed.

`restore` stands for `drrun restore-cluster …`, a negative code for a signal. Seconds are from the
restore's first word to the proofs behind its end, the fault's own time among them.
"""


def page(seen: dict[str, Seen]) -> str:
    """The page, in the order of the faults."""
    rows = ["| fault | done | where | must follow | seen | exit codes | seconds |"]
    rows.append("|---|---|---|---|---|---|---|")
    for fault in FAULTS:
        it = seen[fault.name]
        ends = ", ".join(f"{command} {code}" for command, code in it.ends)
        cells = [fault.name, fault.what, fault.where, fault.expected, it.seen, ends]
        rows.append(f"| {' | '.join(cells)} | {it.seconds:.0f} |")
    parts = [HEAD, "\n".join(rows), "", "## What the operator reads", ""]
    for fault in FAULTS:
        parts += [f"**{fault.name}**", "", "```text", *seen[fault.name].reads, "```", ""]
    return "\n".join(parts)


def said(text: str, run: str, *, lines: Sequence[str]) -> list[str]:
    """The lines that hold one of these parts, without what differs from run to run."""
    found = []
    for line in text.splitlines():
        row = re.match(r"\W \d+ {2,}", line)  # of the table of steps
        if not row and any(part in line for part in lines):
            line = line.replace(run, "RUN")
            line = re.sub(r"^\d{4}-\d\d-\d\dT[\d:]+Z ", "", line)
            line = re.sub(r"(/[^/ ]+)*/(?=state/runs/|runbooks/)", "…/", line)
            found.append(line[:200] + ("…" if len(line) > 200 else ""))
    return found
