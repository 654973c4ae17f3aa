"""The steps that renew the certificates of a host, and prove that its processes work with them.

drrun signs nothing by guess: kubeadm takes subject and names from the old certificates; where there
is no kubeadm, only the operator knows who signs. What comes out is held against what was there.
Sources: kubernetes.io, "Certificate Management with kubeadm"; recovery.md 1.11; kubeadm#1753 (a
kubelet's own certificate is none of those that it renews).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from drrun.spi import (
    Command,
    Done,
    Effect,
    Fact,
    Host,
    HostStep,
    NotKnown,
    Refused,
    Repeat,
    Reply,
    StepFailed,
    Whole,
    satisfies,
    sh,
)
from drrun_steps.fields import Listed
from drrun_steps.service.certificates import (
    KUBELETS,
    Certificate,
    ServiceCertificates,
    ServiceStale,
)

_PATH = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
"""

_ABLE = (
    _PATH
    + r"""
command -v kubeadm >/dev/null || { echo 'there is no kubeadm'; exit 0; }
[ -d /etc/kubernetes/pki ] || { echo 'there is no /etc/kubernetes/pki'; exit 0; }
[ -s /etc/kubernetes/pki/ca.key ] || echo 'ca.key is not in /etc/kubernetes/pki: its authority is elsewhere'
"""
)


@dataclass(frozen=True, slots=True)
class KubeadmUnable(Fact[str]):
    """Why kubeadm cannot renew this host's certificates; empty where it can."""

    name: ClassVar[str] = "kube.kubeadm_unable"

    def about(self) -> tuple[str, ...]:
        """The programs, and the authority's key."""
        return ("programs", "authority")

    def ask(self) -> Command:
        """Whether it is there, and the key that it signs with."""
        return sh(_ABLE)

    def parse(self, reply: Reply) -> str:
        """Its first line."""
        return reply.text.partition("\n")[0]


_KEEP = (
    "# keep certificates and keys as they are, where only root looks\n"
    + _PATH
    + r"""
set -eu
umask 077
[ ! -e "$KEPT" ] || exit 0
mkdir -p -- "${KEPT%/*}"
IFS='
'
set --
for f in /etc/kubernetes/pki /etc/kubernetes/*.conf /var/lib/kubelet/pki; do
  [ ! -e "$f" ] || set -- "$@" "$f"
done
for f in $FILES; do # with the keys beside them, whatever they are called
  set -- "$@" "$f" $(grep -l -s -e '-----BEGIN' -- "${f%/*}"/*) || true
done
tar -cPf "$KEPT.new" -- "$@"
sync "$KEPT.new"
mv -f -- "$KEPT.new" "$KEPT"
"""
)

_BACK = (
    "# put the old certificates and keys back\n"
    + _PATH
    + r"""
exec tar -xPpf "$KEPT"
"""
)

_RENEW = (
    "# renew the certificates of this host\n"
    + _PATH
    + r"""
set -eu
if [ -n "$BY" ]; then exec sh -c "$BY"; fi
renew='kubeadm certs renew'
kubeadm certs renew --help >/dev/null 2>&1 || renew='kubeadm alpha certs renew' # before 1.20
env -i PATH="$PATH" HOME=/root $renew all ${CONFIG:+--config "$CONFIG"}
# A kubelet renews its own while an API server answers it; one that has expired keeps it from starting.
[ -e "$PEM" ] && ! openssl x509 -in "$PEM" -noout -checkend 0 >/dev/null || exit 0
umask 077
ca=/etc/kubernetes/pki/ca
new=${PEM%/*}/kubelet-client-$(date -u +%Y-%m-%d-%H-%M-%S).pem
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
openssl pkey -in "$PEM" -out "$tmp/key"
openssl x509 -in "$PEM" -x509toreq -signkey "$tmp/key" -out "$tmp/csr" 2>/dev/null
echo 'extendedKeyUsage=clientAuth' >"$tmp/ext"
openssl x509 -req -in "$tmp/csr" -CA "$ca.crt" -CAkey "$ca.key" -days 365 -extfile "$tmp/ext" \
  -set_serial "0x$(openssl rand -hex 8)" -out "$tmp/crt"
cat "$tmp/crt" "$tmp/key" >"$new"
ln -s -- "$new" "$PEM.new"
mv -fT -- "$PEM.new" "$PEM"
"""
)


class _Certificates(HostStep):
    """Whose certificates, and how long they must last."""

    hours: Whole = 24 * 30
    """How long certificates must last."""
    services: Listed = (
        *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
        "kubelet",
    )
    """Whose certificates they are; those that a host lacks are passed over."""
    also: Listed = ("/etc/kubernetes/admin.conf",)
    """Further certificates and kubeconfigs that must last."""

    def _facts(self) -> Sequence[ServiceCertificates]:
        first, *rest = self.services
        return [
            ServiceCertificates(first, self.hours, self.also),
            *(ServiceCertificates(service, self.hours) for service in rest),
        ]


class Renew(_Certificates):
    """Renew the certificates that this host's services are started with, where some end soon.

    By `kubeadm certs renew all` where kubeadm made the host and its authority's key is there; else by
    the command `by`, which puts new ones in the place of the old (a copy, a request to a vault). All
    are kept aside first. Afterwards each must last, be signed by an authority that the service knows,
    have its key beside it, and be good for every name that the old one was good for. Processes are not
    restarted. An authority that has expired, or ends as soon, is refused: nothing it signs outlasts it.
    Undo puts the old files back.
    """

    uses = "kube.certificates.renew"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    by: str = ""
    """A line of shell that renews them in place; kubeadm where it is empty."""
    config: str = ""
    """A file with kubeadm's ClusterConfiguration on the host, if it is not to ask the cluster."""

    def run(self, host: Host) -> None:
        """Look, keep, renew, look again."""
        before = {fact: host.read(fact) for fact in self._facts()}
        found = list(dict.fromkeys(one for held in before.values() for one in held))
        leaves = [one for one in found if not one.authority]
        due = [one for one in leaves if _due(one)]
        if not leaves:
            raise Refused(
                f"{host.name}: no file that {', '.join(self.services)} are started with holds a "
                "certificate",
                hint="name their units with `services`, or take the host out of the role",
            )
        if not due:
            host.note(f"{host.name}: {len(leaves)} certificates last long enough: left as they are")
            return
        self._authorities(host, found)
        self._able(host, due[0])
        for one in due:
            host.note(f"{host.name}: {one}")
        files = "\n".join(sorted({one.file for one in found}))
        kept = _kept(host.run)
        host.change(
            "keep",
            sh(_KEEP, KEPT=kept, FILES=files),
            touches=(f"file:{kept}",),
            repeat=Repeat.SAFE,
        )
        host.change(
            "renew",
            sh(_RENEW, BY=self.by, CONFIG=self.config, PEM=KUBELETS),
            touches=("certificates", *self._revived(due)),
            repeat=Repeat.SAFE,
            timeout="5m",
        )
        for fact, held in before.items():
            self._as_good(host, held, host.read(fact))

    def _as_good(self, host: Host, old: Sequence[Certificate], now: object) -> None:
        if isinstance(now, NotKnown):
            return
        if bad := list(worse(old, cast(tuple[Certificate, ...], now))):
            raise StepFailed(
                f"{host.name}: what was put in their place is no good: {'; '.join(bad)}",
                hint="no process was restarted yet; `drrun abort --undo` puts the old ones back",
            )

    def undo(self, host: Host, done: Done) -> None:
        """The old files, keys and all."""
        if done.did("renew", host.name):
            host.change(
                "put-back",
                sh(_BACK, KEPT=_kept(host.run)),
                touches=("certificates",),
                repeat=Repeat.SAFE,
            )

    def _revived(self, due: Sequence[Certificate]) -> Sequence[str]:
        """What may answer again, or come up, everywhere, when certificates that expired are renewed."""
        if not any(one.expired for one in due):
            return []
        return [f"{of}{service}" for service in self.services for of in ("@", "@up:")]

    def _authorities(self, host: Host, found: Sequence[Certificate]) -> None:
        ending = [one for one in found if one.authority and one.ending]
        if ending:
            raise Refused(
                f"{host.name}: an authority {'has expired' if ending[0].expired else 'ends soon'}: "
                f"{ending[0]}; nothing that it signs outlasts it",
                hint="a new authority is another job: sign all certificates anew by it, and give "
                "every client both authorities until the last one has changed; keep sa.key as it is",
            )

    def _able(self, host: Host, due: Certificate) -> None:
        why = "" if self.by else host.read(KubeadmUnable())
        if why:
            raise Refused(
                f"{host.name}: {due}, and nobody said how it is renewed: {why}",
                hint="say it with -e by='COMMAND', which puts new certificates in the place of the "
                "old, as by='cp -a /root/new/. /etc/kubernetes/'; or put them there by hand, then "
                "run this again",
            )


class Prove(_Certificates):
    """Prove that certificates last, and that every process works with those that its files hold."""

    uses = "kube.certificates.prove"
    effect = Effect.READ
    repeat = Repeat.SAFE

    within: str = "60s"
    """How long it may take until a process has read them."""

    def run(self, host: Host) -> None:
        """Files first, then processes."""
        for fact in self._facts():
            host.require(
                fact,
                satisfies("lasting", lambda found: not any(map(_due, found))),
                because="a certificate that ends takes its process away",
                hint="renew it with kube-certs-renew",
            )
        for service in self.services:
            host.require(
                ServiceStale(service),
                (),
                because="what a process works with may be older than what its files hold",
                hint=f"restart {service} on {host.name}",
                within=self.within,
            )


def _kept(run: str) -> str:
    return f"/var/lib/drrun/aside/certificates-{run}.tar"


def _due(one: Certificate) -> bool:
    """A kubelet's own is its own affair until it has expired."""
    return one.expired if one.file == KUBELETS else one.ending


def worse(old: Sequence[Certificate], now: Sequence[Certificate]) -> Iterator[str]:
    """What is wrong with certificates that were renewed, in words."""
    new = {one.file: one for one in reversed(now) if not one.authority}
    for was in (one for one in old if not one.authority):
        one = new.get(was.file)
        if one is None:
            yield f"{was.file} holds no certificate any more"
        elif _due(one):
            yield str(one)
        elif was.sound and not one.sound:
            yield f"{one.file}: its key is not beside it, or no authority here signed it"
        elif lost := set(was.names) - set(one.names):
            yield f"{one.file} is not good for {', '.join(sorted(lost))} any more"


FACTS: tuple[type[KubeadmUnable], ...] = (KubeadmUnable,)
