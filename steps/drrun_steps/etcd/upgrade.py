"""The step that takes a cluster of etcd to another version, one member at a time.

Sources: etcd.io, "Upgrade etcd from 3.4 to 3.5" and "from 3.5 to 3.6" (one minor version at a time,
all members healthy, a backup first, flags that are gone, from which patch on); the postmortem of
2022 (versions that corrupt data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drrun.spi import (
    Demand,
    Done,
    Effect,
    Group,
    Host,
    Outputs,
    Refused,
    Repeat,
    satisfies,
    sh,
)
from drrun_steps.etcd.access import ask_each, overrides
from drrun_steps.etcd.live import EtcdStatus, Status
from drrun_steps.etcd.program import EtcdClusterVersion, EtcdProgram, Program, parsed
from drrun_steps.etcd.settings import SETTINGS
from drrun_steps.etcd.support import KNOWN_BAD, LEAST_BEFORE
from drrun_steps.etcd.turns import of_upkeep, saved_before
from drrun_steps.etcd.upkeep import OneRestart, caught_up
from drrun_steps.fields import Listed

_INSTALL = (
    "# put the new etcd in the place of the old one, which is kept beside it\n"
    + SETTINGS
    + r"""
set -eu
version() { env -i PATH="$PATH" timeout 10 "$PROGRAM" --version 2>/dev/null | sed -n 's/^etcd Version: //p'; }
[ "$(version)" != "$TO" ] || exit 0
if [ ! -e "$KEPT" ]; then
  cp -p -- "$PROGRAM" "$KEPT.new"
  sync "$KEPT.new"
  mv -f -- "$KEPT.new" "$KEPT"
fi
back() { cp -p -- "$KEPT" "$PROGRAM.new"; mv -f -- "$PROGRAM.new" "$PROGRAM"; }
sh -c "$BY" </dev/null >&2 || { code=$?; back; echo "drrun: the command exits $code: the old program is back" >&2; exit 5; }
found=$(version)
[ "$found" = "$TO" ] || { back; echo "drrun: after the command $PROGRAM is ${found:-no etcd}, not $TO: the old program is back" >&2; exit 6; }
known=$(env -i PATH="$PATH" timeout 10 "$PROGRAM" --help 2>&1) || :
gone=
for word in $(printf '%s\n' "$words" | sed -n 's/^--*\([a-z][a-z0-9-]*\).*/\1/p') \
  $(printf '%s\n' "$given" | sed -n 's/^[[:space:]]*"\{0,1\}ETCD_\([A-Z0-9_]*\)=.*/\1/p' | tr 'A-Z_' 'a-z-'); do
  case " $ACCEPTED unsupported-arch " in *" $word "*) continue ;; esac
  case $known in *"--$word "* | *"--$word
"*) ;; *) gone="$gone --$word" ;; esac
done
[ -z "$gone" ] || { back; echo "drrun: etcd $TO does not know$gone, which this host sets: the old program is back" >&2; exit 7; }
"""
)
_BACK = r"""
# put the old etcd back
set -eu
[ -e "$KEPT" ] || { echo "drrun: $KEPT is gone" >&2; exit 5; }
cp -p -- "$KEPT" "$PROGRAM.new"
mv -f -- "$PROGRAM.new" "$PROGRAM"
"""


class Upgrade(OneRestart):
    """Take every member to another version of etcd, one at a time, the leader last.

    On each host `by`, your own line of shell, puts the new program in the place of the old one, which is
    kept; then the member is restarted and must answer with the new version before the next one's turn. A
    program of another version than `to`, or one that does not know a flag that the host sets, is taken
    back before anything is restarted. Refused: a downgrade, more than one minor version, a version known
    to corrupt data, members under an alarm, and static pods, which `kubeadm upgrade` takes care of.
    Undo brings the old program back, until the cluster has taken up the new minor version.
    """

    uses = "etcd.upgrade"
    effect = Effect.CHANGE
    repeat = Repeat.CHECK
    outputs = ("cluster_version",)

    to: str
    """The version, as 3.5.30."""
    by: str
    """A line of shell that puts that version in place on a host, as
    `apt-get install -y etcd-server=3.5.30-2`."""
    accept_flags: Listed = ()
    """Flags that the new version's `--help` does not name and that it takes all the same."""

    def rules(self) -> Sequence[Demand]:
        """One member away at a time, a backup first, proved afterwards."""
        return [*of_upkeep(self.service), saved_before("*")]

    def run(self, group: Group) -> Outputs:
        """Refuse what cannot go well; then install, hand over, restart and prove, for each."""
        self._accept(group)
        programs = ask_each(group, group.hosts, lambda _h: EtcdProgram(self.service))
        statuses = ask_each(group, group.hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        self._refuse_unfit(programs, statuses)
        for host, said in self._turns(group):
            other = satisfies(f"not {self.to}", lambda now: now.version != self.to)
            only_if = (EtcdStatus(**overrides(host, self.service)), other)
            self._install(host, programs[host.name].path)
            if said.leads and len(group.hosts) > 1:
                self._hand_over(host, only_if)
            self._restart(host, only_if)
            self._prove_back(
                host,
                satisfies(
                    f"answering as {self.to}, with a leader, caught up",
                    lambda now: caught_up(now) and now.version == self.to,
                ),
            )
        first = group.hosts[0]
        minor = self.to.rpartition(".")[0]
        first.require(
            EtcdClusterVersion(**overrides(first, self.service)),
            minor,
            because="a cluster that stays behind has a member that nobody counted",
            hint="`etcdctl endpoint status --cluster` tells every member's version",
            within="60s",
        )
        return {"cluster_version": minor}

    def _install(self, host: Host, path: str) -> None:
        program = EtcdProgram(self.service)
        host.change(
            f"install-{host.name}",
            sh(
                _INSTALL,
                SERVICE=self.service,
                PROGRAM=path,
                KEPT=self._kept(host, path),
                TO=self.to,
                BY=self.by,
                ACCEPTED=" ".join(self.accept_flags),
            ),
            sets={program: satisfies(f"of version {self.to}", lambda now: now.version == self.to)},
            # What a package does beside, as restarting its service, nobody knows before.
            touches=(f"@{self.service}",),
            only_if=(program, satisfies(f"not {self.to}", lambda now: now.version != self.to)),
            timeout="10m",
        )

    def _kept(self, host: Host, path: str) -> str:
        return f"{path}.before-{host.run}"

    def _refuse_unfit(
        self, programs: Mapping[str, Program], statuses: Mapping[str, Status]
    ) -> None:
        if parsed(self.to) is None:
            raise Refused(f"{self.to!r} is no version of etcd", hint="say it as 3.5.30")
        if self.to in KNOWN_BAD:
            raise Refused(f"etcd {self.to} {KNOWN_BAD[self.to]}", hint="choose another version")
        for name, program in programs.items():
            if program.by != "unit":
                raise Refused(f"{name}: {_NO_UNIT[program.by]}", hint=_INSTEAD[program.by])
        for name, said in statuses.items():
            if said.alarms:
                raise Refused(
                    f"{name} has the alarm {', '.join(said.alarms)}",
                    hint="etcd-nospace, or etcd-corrupt-member, comes first",
                )
            if reason := unfit(said.version, self.to):
                raise Refused(f"{name} runs {said.version}: {reason[0]}", hint=reason[1])

    def undo(self, group: Group, done: Done) -> None:
        """The old program again, one member at a time; refused once the cluster took the new one up."""
        first = group.hosts[0]
        before = {h.name: self._before(done, h) for h in group.hosts}
        version = first.read(EtcdClusterVersion(**overrides(first, self.service)))
        minors = {p.version.rpartition(".")[0] for p in before.values() if p is not None}
        if minors and version not in minors:
            raise Refused(
                f"the cluster has taken up {version or 'a version that nobody tells'}: an etcd of "
                f"{', '.join(sorted(minors))} does not start on its data any more",
                hint="resume the upgrade; or restore the backup that was taken before it",
            )
        for host in reversed(group.hosts):
            was = before[host.name]
            if was is None:
                continue
            self._prove(host)
            host.change(
                f"put-back-{host.name}",
                sh(_BACK, PROGRAM=was.path, KEPT=self._kept(host, was.path)),
                sets={EtcdProgram(self.service): was},
                repeat=Repeat.SAFE,
            )
            if done.did(f"restart-{host.name}", host.name):
                self._restart(host)
                self._prove_back(host)

    def _before(self, done: Done, host: Host) -> Program | None:
        """What was there before this host's program was changed; None where it was not."""
        changes = tuple(c for c in done.changes if c.name == f"install-{host.name}")
        return Done(changes, {}).before(EtcdProgram(self.service)) if changes else None


def unfit(now: str, to: str) -> tuple[str, str] | None:
    """Why a member is not taken from one version to another, and what to do; None where it may be.

    One that does not tell its version does not answer either: its turn refuses it, with every reason.
    """
    here, aim = parsed(now), parsed(to)
    if here is None or aim is None:
        return None
    if aim < here:
        hint = "restore a snapshot that the older version took"
        return (f"it is newer than {to}, and no member is taken back", hint)
    if aim[0] != here[0] or aim[1] - here[1] > 1:
        hint = f"go to {here[0]}.{here[1] + 1} first"
        return ("etcd is upgraded one minor version at a time", hint)
    least = LEAST_BEFORE.get(f"{aim[0]}.{aim[1]}", "")
    safe_from = parsed(least)
    if safe_from is not None and here < safe_from:
        return (f"{to} is safe from {least} on", f"upgrade to {least} first")
    return None


_NO_UNIT = {
    "pod": "kubelet runs etcd there, as a static pod",
    "command": "a command of the host's own runs etcd there",
    "none": "there is no etcd",
}
_INSTEAD = {
    "pod": "`kubeadm upgrade apply` changes its image; afterwards etcd-preflight says what runs",
    "command": "install it with your own tools, then restart the members with etcd-rolling",
    "none": "narrow the role: -e role.etcd=…",
}
