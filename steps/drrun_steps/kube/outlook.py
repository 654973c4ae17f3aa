"""The step that asks today what a restore would wait for: for a preflight, and for the manifest of a backup.

A recovery asks the same questions before its first stop (`Step.questions`), but most of them only of what is up then,
and in a disaster little is. So they are asked while all is well, and the answers are kept beside the snapshot.
Source: docs/adr/0029-the-outage-is-foreseen.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drrun.spi import (
    Effect,
    Fact,
    FactRef,
    Flag,
    Group,
    GroupStep,
    Host,
    NotKnown,
    Outputs,
    Predicate,
    Question,
    Refused,
    Repeat,
)
from drrun_steps.etcd.live import EtcdHealthy
from drrun_steps.etcd.opened import opened
from drrun_steps.etcd.ruling import config_fact
from drrun_steps.fields import Listed
from drrun_steps.kube.facts import KubeServes
from drrun_steps.kube.set_up import set_up
from drrun_steps.kube.steps import ReadyStep
from drrun_steps.service.steps import Start

_SOURCES: Mapping[str, type[Fact[Any]]] = {"etcd.healthy": EtcdHealthy, "kube.serves": KubeServes}
"""Facts that questions name, where the step that asks them does not know their plugin."""


class Outlook(GroupStep):
    """Ask on every host what a restore would wait for in its outage, while the cluster is well.

    Readiness of each service by the way a start waits for it, and where etcd has its data, its log and its
    addresses. What is down is not asked. With `refuse` a wrong answer is refused, with all others at once; else
    it is told. The answers are outputs, for the manifest of a snapshot.
    """

    uses = "kube.outlook"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("answers",)

    etcd_hosts: str = "etcd"
    """The members of etcd, as an expression over roles."""
    api_hosts: str = "control_plane"
    """The hosts of API servers, as an expression over roles."""
    etcd: str = "etcd"
    """etcd's unit or static pod."""
    services: Listed = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    """What runs beside API servers."""
    refuse: Flag = False
    """Whether a wrong answer is refused."""

    def run(self, group: Group) -> Outputs:
        """Every question of every host, then all that is wrong."""
        answers: dict[str, dict[str, str]] = {}
        wrong: list[str] = []
        down: list[str] = []
        for host, question in self._rests_on(group):
            said = self._ask(host, question)
            if said is None:
                down.append(f"{question.name}@{host.name}")
            elif isinstance(said, str):
                wrong.append(f"{host.name}: {question.name} is {said}: {question.because}")
            else:
                answers.setdefault(host.name, {})[question.name] = "as it must be"
        for host in group.role(self.etcd_hosts):
            answers.setdefault(host.name, {}).update(self._settings(host))
        asked = sum(len(one) for one in answers.values())
        group.note(f"asked what a restore would wait for: {asked} answers, {len(wrong)} wrong")
        if down:
            group.note(f"not asked, since it is down: {', '.join(down)}")
        for text in () if self.refuse else wrong:
            group.note(text)
        if wrong and self.refuse:
            raise Refused(
                "a restore would wait in vain in its outage: " + "; ".join(wrong),
                hint="correct it now; a restore refuses it before its first stop, or takes "
                "-e accept_answers=NAME@HOST",
            )
        return {"answers": answers}

    def _rests_on(self, group: Group) -> Iterator[tuple[Host, Question]]:
        """What the steps of a restore wait for, on the hosts where they do."""
        for host in group.role(self.etcd_hosts):
            for question in (*Start(service=self.etcd).questions(host), opened(host, self.etcd)):
                yield host, question
        for host in group.role(self.api_hosts):
            for step in (*(Start(service=service) for service in self.services), ReadyStep()):
                for question in step.questions(host):
                    yield host, question

    def _ask(self, host: Host, question: Question) -> bool | str | None:
        """True where it is as it must be, None where it is down, else what it is."""
        for fact, value in question.up:
            if not _is(host.read(_fact(fact)), value):
                return None
        said: Any = host.read(question.fact)
        if isinstance(said, NotKnown):
            return None
        return True if _is(said, question.must) else str(getattr(said, "why", "") or said)

    def _settings(self, host: Host) -> Mapping[str, str]:
        """Where etcd has its data and its addresses: what a restore on other settings would get wrong."""
        config: Any = host.read(config_fact(host, self.etcd))
        if isinstance(config, NotKnown) or not config.found:
            return {}
        return set_up(config)


def _fact(fact: Fact[Any] | FactRef) -> Fact[Any]:
    return _SOURCES[fact.name](**fact.args) if isinstance(fact, FactRef) else fact


def _is(said: Any, must: Any) -> bool:
    if isinstance(said, NotKnown):
        return False
    return bool(must.holds(said)) if isinstance(must, Predicate) else bool(said == must)
