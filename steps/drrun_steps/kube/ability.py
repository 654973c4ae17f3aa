"""Whether a host's API server can be asked at all: a kubectl that runs, a kubeconfig that can be read.

Both answer whatever is down; a proof that lacks one fails behind the point of no return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Question, Reply, satisfies, sh
from drrun_steps.kube.facts import FIND

_ABILITY = (
    FIND
    + r"""
found=$(command -v kubectl) || { echo "why=there is no kubectl: looked in $PATH"; exit 0; }
echo "kubectl=$found"
said=$(env -i PATH="$PATH" HOME=/nonexistent timeout 20 "$found" version --client 2>&1 | tr '\n' ' ') ||
  { echo "why=$found does not run: $said"; exit 0; }
case $said in *[Vv]ersion*) ;; *) echo "why=$found does not run: $said"; exit 0 ;; esac
[ -r "$CONFIG" ] || { echo "why=there is no kubeconfig $CONFIG"; exit 0; }
env -i PATH="$PATH" HOME=/nonexistent timeout 20 "$found" --kubeconfig "$CONFIG" config view -o name >/dev/null 2>&1 ||
  env -i PATH="$PATH" HOME=/nonexistent timeout 20 "$found" --kubeconfig "$CONFIG" config view >/dev/null 2>&1 ||
  echo "why=$CONFIG is no kubeconfig that $found can read"
true
"""
)


@dataclass(frozen=True, slots=True)
class Ability:
    """What asks an API server on this host. `why` says why nobody can be asked; empty when it can."""

    kubectl: str = ""
    """Where it was found."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class KubeAbility(Fact[Ability]):
    """Whether kubectl is here and runs, and whether its kubeconfig can be read; no API server is asked."""

    name: ClassVar[str] = "kube.ability"
    kubeconfig: str = "/etc/kubernetes/admin.conf"

    def about(self) -> tuple[str, ...]:
        """Installed programs, and a file that only a new control plane lays."""
        return ("programs", "file:/etc/kubernetes/pki")

    def ask(self) -> Command:
        """The client's own version, and the file as it reads it."""
        return sh(_ABILITY, CONFIG=self.kubeconfig)

    def parse(self, reply: Reply) -> Ability:
        """A host that cannot be searched is an answer."""
        if reply.exit != 0:
            return Ability(why=f"kubectl cannot be looked for: {reply.complaint[:200]}")
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        return Ability(said.get("kubectl", ""), said.get("why", ""))


def can_ask(kubeconfig: str) -> Question:
    """Asked before the first stop, up or down: what proves a control plane is a program and a file."""
    return Question(
        "kubectl",
        KubeAbility(kubeconfig),
        must=satisfies("there", lambda said: not said.why),
        because="the API servers that come back could not be asked, behind the point of no return",
        hint="put kubectl into /usr/local/bin of that host; its kubeconfig is the step's field `kubeconfig`",
        mended=True,
    )


FACTS: tuple[type[Fact[Any]], ...] = (KubeAbility,)
