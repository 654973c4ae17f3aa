"""Admission webhooks that block the way back: told, set aside where the operator names them, put back.

A webhook with `failurePolicy: Fail` refuses whatever it guards while nobody answers for its Service.
After a restore its pods may be gone, and it may be what keeps them from coming back.
Rule 1: what guards a cluster is never set aside without a name from the operator, and a run that set it
aside does not end before it is put back.
Rule 2: Endpoints are those of the snapshot until controllers and kubelets have worked: that one is there
proves nothing yet, that none is there does.
Sources: openshift-docs#56284, deckhouse#11020, capsule#2036 (recovery.md 1.12, pitfall 38).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import (
    Command,
    Demand,
    Done,
    Duty,
    Effect,
    Fact,
    Host,
    NotKnown,
    Outputs,
    Predicate,
    Repeat,
    Reply,
    StepFailed,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.fields import Listed
from drrun_steps.kube.aggregated import ENDPOINTS, KubeAggregatedLost
from drrun_steps.kube.api import ApiStep
from drrun_steps.kube.facts import KUBECTL
from drrun_steps.kube.orphans import KubeOrphans, told

WEBHOOKS = "@kube-webhooks"
"""The component: the cluster's webhook configurations."""

_HOOKS = r"""
hooks() {
  api get validatingwebhookconfigurations,mutatingwebhookconfigurations -o go-template='{{range .items}}'\
'{{$c := .}}{{range .webhooks}}{{$c.kind}}|{{$c.metadata.name}}|{{.name}}|{{.failurePolicy}}|'\
'{{with .clientConfig.service}}{{.namespace}}/{{.name}}{{end}}{{"\n"}}{{end}}{{end}}'
}
"""

_LIST = r"""
hooks=$(hooks) || exit 3
[ -n "$hooks" ] || exit 0
printf '%s\n' "$hooks"
"""

_SET = r"""
hooks=$(hooks) || exit 3
umask 077
kept=/var/lib/drrun/webhooks/$RUN
mkdir -p -- "$kept" || exit
printf '%s\n' "$hooks" | while IFS='|' read -r kind configuration hook policy service; do
  case " $NAMES " in
    *" $configuration "*) [ "$policy" = Fail ] || continue ;;
    *) case " $HOOKS " in *" $kind/$configuration/$hook "*) ;; *) continue ;; esac ;;
  esac
  file=$kept/$kind-$configuration.json
  [ -e "$file" ] || api get "$kind" "$configuration" -o json >"$file" || exit
  api patch "$kind" "$configuration" --type=strategic \
    -p "{\"webhooks\":[{\"name\":\"$hook\",\"failurePolicy\":\"$POLICY\"}]}" </dev/null || exit
done
"""
"""One field of one webhook: what else it holds may have been changed meanwhile, such as its CA."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook of a configuration."""

    kind: str
    """ValidatingWebhookConfiguration or MutatingWebhookConfiguration."""
    configuration: str
    name: str
    policy: str
    """Fail or Ignore: what becomes of a request when nobody answers."""
    service: str = ""
    """NAMESPACE/NAME; empty where it is asked by URL."""
    ready: bool = False
    """Whether its Service has a ready endpoint, as the API tells."""

    @property
    def key(self) -> str:
        """KIND/CONFIGURATION/NAME."""
        return f"{self.kind}/{self.configuration}/{self.name}"

    @property
    def blocks(self) -> bool:
        """Whether it refuses what it guards: nobody can answer for it."""
        return self.policy == "Fail" and bool(self.service) and not self.ready


@dataclass(frozen=True, slots=True)
class KubeWebhooks(Fact[tuple[Webhook, ...]]):
    """The admission webhooks of the cluster, and whether somebody is there to answer."""

    name: ClassVar[str] = "kube.webhooks"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The configurations, the API server here, and etcd behind it."""
        return (WEBHOOKS, "service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """Two lists, of names alone."""
        return _api(self, _HOOKS + _LIST + ENDPOINTS)

    def parse(self, reply: Reply) -> tuple[Webhook, ...]:
        """In the API's order. Raises StepFailed when it does not tell."""
        if reply.exit != 0:
            raise StepFailed(f"the API server tells no webhooks: {reply.complaint[:300]}")
        hooks, _, ready = reply.text.partition("== ready\n")
        there = set(ready.splitlines())
        rows = (line.split("|") for line in hooks.splitlines())
        return tuple(Webhook(k, c, n, p, s, ready=s in there) for k, c, n, p, s in rows)


def _api(asked: Any, text: str, **env: object) -> Command:
    named = {"CONFIG": asked.kubeconfig, "SERVER": asked.server, "TLS_NAME": asked.tls_name}
    return sh(KUBECTL + text, **named, **env)


class _Webhooks(ApiStep):
    """The webhooks of the cluster."""

    def _fact(self) -> KubeWebhooks:
        return KubeWebhooks(self.kubeconfig, self.server, self.tls_name)

    def _set(self, host: Host, name: str, policy: str, keys: Sequence[str]) -> None:
        """Give these webhooks, by KIND/CONFIGURATION/NAME, a policy."""
        host.change(
            name,
            self._command(policy, HOOKS=" ".join(keys), NAMES="", RUN=host.run),
            sets={self._fact(): _all(policy, keys)},
            touches=(WEBHOOKS,),
            repeat=Repeat.SAFE,
        )

    def _command(self, policy: str, **env: object) -> Command:
        text = f"# set failurePolicy {policy}, keep what was\n{_HOOKS}{_SET}"
        return _api(self, text, POLICY=policy, **env)


def _all(policy: str, keys: Sequence[str]) -> Predicate:
    return satisfies(
        f"{policy} for {', '.join(keys)}",
        lambda found: all(one.policy == policy for one in found if one.key in keys),
    )


class Webhooks(_Webhooks):
    """Tell which webhooks refuse what they guard; set those aside that the operator names.

    Aggregated APIs that nobody answers for are told as well, and what controllers will delete or detach
    as soon as they start: this stands where they have not.

    Each with `failurePolicy: Fail` whose Service has no ready endpoint is told; only configurations in
    `ignore` are set to Ignore, whole objects kept in /var/lib/drrun/webhooks/RUN on the host. Undo puts
    them back; `kube.webhooks.restore` does when their pods are there.
    """

    uses = "kube.webhooks"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("ignored",)

    ignore: Listed = ()
    """Configurations that may be set aside, by name."""

    def rules(self) -> Sequence[Demand]:
        """What is set aside is put back."""
        because = "a webhook that is set aside and forgotten guards nothing, for ever"
        back = Duty(step_done("kube.webhooks.restore"), "", value=True, because=because)
        return [*super().rules(), back]

    def checkable(self) -> bool:
        """Each says its policy."""
        return True

    def run(self, host: Host) -> Outputs:
        """Read, tell, and set aside what was named."""
        found: Any = host.read(self._fact())
        known = not isinstance(found, NotKnown)
        if known:
            self._tell(host, found)
            self._tell_others(host)
        else:
            host.note("which webhooks block the way back is told when the API server answers")
        if not self.ignore:
            return {"ignored": []}
        host.change(
            "ignore",
            self._command("Ignore", NAMES=" ".join(self.ignore), HOOKS="", RUN=host.run),
            sets={self._fact(): satisfies("with none of those named at Fail", self._none_fails)},
            touches=(WEBHOOKS,),
            only_if=(
                self._fact(),
                satisfies("with one of those named at Fail", lambda now: not self._none_fails(now)),
            ),
            repeat=Repeat.SAFE,
        )
        return {"ignored": [one.key for one in found if self._named(one)] if known else found}

    def _named(self, one: Webhook) -> bool:
        return one.policy == "Fail" and one.configuration in self.ignore

    def _none_fails(self, found: Sequence[Webhook]) -> bool:
        return not any(self._named(one) for one in found)

    def _tell(self, host: Host, found: Sequence[Webhook]) -> None:
        known = {one.configuration for one in found}
        for name in self.ignore:
            if name not in known:
                host.note(f"there is no webhook configuration {name!r}: nothing to set aside")
        for one in found:
            if self._named(one):
                host.note(f"{one.key} is set to Ignore: until it is put back, nothing guards there")
            elif one.blocks:
                host.note(
                    f"{one.key} refuses what it guards: {one.service} has no ready endpoint; where "
                    f"that keeps its own pods away, it can be set aside: {one.configuration}"
                )

    def _tell_others(self, host: Host) -> None:
        asked = (self.kubeconfig, self.server, self.tls_name)
        lost: Any = host.read(KubeAggregatedLost(*asked))
        for api in () if isinstance(lost, NotKnown) else lost:
            host.note(
                f"nobody answers for the API {api}: until somebody does, no namespace is deleted, nothing "
                "is collected, and clients wait; if it is gone for good, delete its APIService"
            )
        for line in told(host.read(KubeOrphans(*asked))):
            host.note(line)

    def undo(self, host: Host, done: Done) -> None:
        """Back to Fail, where this step changed it."""
        if done.did("ignore", host.name):
            before = done.before(self._fact()) or ()
            self._set(host, "put-back", "Fail", [one.key for one in before if self._named(one)])


class RestoreWebhooks(_Webhooks):
    """Put webhooks back that were set aside, when somebody is there to answer for them.

    While a Service has no ready endpoint it stops, and says which: `drrun resume` waits again.
    """

    uses = "kube.webhooks.restore"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    ignored: Listed = ()
    """What `kube.webhooks` set aside: its output of that name."""
    within: str = "120s"
    """How long their pods may take to come up."""

    def checkable(self) -> bool:
        """Each says its policy."""
        return True

    def run(self, host: Host) -> None:
        """Wait for an endpoint, then back to Fail."""
        if not self.ignored:
            return
        mine = self.ignored
        host.require(
            self._fact(),
            satisfies(
                "with a ready endpoint for each that was set aside",
                lambda found: not any(o.service and not o.ready for o in found if o.key in mine),
            ),
            because="a webhook that is put back before its pods are there blocks the way back again",
            hint="bring its pods up, then resume; until then what it guards is not guarded",
            within=self.within,
        )
        self._set(host, "put-back", "Fail", mine)

    def undo(self, host: Host, done: Done) -> None:
        """Set aside again: the undo of what set them aside puts them back."""
        if done.did("put-back", host.name):
            self._set(host, "ignore-again", "Ignore", self.ignored)
