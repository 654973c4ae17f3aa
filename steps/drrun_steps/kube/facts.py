"""What a host's API server says, asked without printing any object's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, sh

FIND = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Where images of machines keep programs of their own; and beside kubelet, wherever that is.
PATH=$PATH:/opt/bin:/opt/local/bin:/opt/kubernetes/bin:/usr/local/kubernetes/bin:/snap/bin
beside=$(systemctl show -p ExecStart kubelet 2>/dev/null | sed -n 's|^ExecStart={ path=\([^ ;]*\)/[^ /;]* ;.*|\1|p' | head -n 1)
PATH=$PATH${beside:+:$beside}
export PATH
"""
"""Where programs of Kubernetes are looked for. Flatcar and Fedora CoreOS have them in /opt/bin."""

KUBECTL = (
    FIND
    + r"""
command -v kubectl >/dev/null || { echo "no kubectl on this host: looked in $PATH" >&2; exit 127; }
api() {
  env -i PATH="$PATH" HOME=/nonexistent timeout "${LIMIT:-20}" kubectl --kubeconfig "$CONFIG" \
    --server "$SERVER" --tls-server-name "$TLS_NAME" --cache-dir=/dev/null --request-timeout=10s "$@"
}
"""
)


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether an API server is ready; `why` names the checks that failed."""

    ready: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class KubeReady(Fact[Ready]):
    """Whether this host's own API server is ready, etcd included (/readyz)."""

    name: ClassVar[str] = "kube.ready"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, and etcd behind it."""
        return ("service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """Never through the load balancer: it would answer for another host."""
        return _ask(self, "api get --raw '/readyz?verbose'")

    def parse(self, reply: Reply) -> Ready:
        """Not answering is an answer."""
        if reply.exit == 0 and "readyz check passed" in reply.text:
            return Ready(ready=True)
        both = reply.text + reply.stderr.decode("utf-8", "replace")
        failed = [line for line in both.splitlines() if line.startswith("[-]")]
        return Ready(ready=False, why="; ".join(failed)[:300] or reply.complaint[:300])


@dataclass(frozen=True, slots=True)
class KubeServes(Fact[bool]):
    """Whether this host's own API server is ready, as a plain yes or no: what `keep` counts."""

    name: ClassVar[str] = "kube.serves"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, and etcd behind it."""
        return ("service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """Never through the load balancer: it would answer for another host."""
        return _ask(self, "api get --raw /readyz >/dev/null")

    def parse(self, reply: Reply) -> bool:
        """Not answering is an answer."""
        return reply.exit == 0


@dataclass(frozen=True, slots=True)
class Secrets:
    """How many Secrets could be listed, and whether one could be read: never their data."""

    listed: int = 0
    read: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class KubeSecrets(Fact[Secrets]):
    """Whether Secrets can be decrypted: proves that the encryption keys fit the snapshot (H11)."""

    name: ClassVar[str] = "kube.secrets"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, and etcd behind it."""
        return ("service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """The list decrypts all of them; what is printed are names and a size."""
        return _ask(
            self,
            "list=$(api get secrets --all-namespaces --no-headers "
            "-o custom-columns=NS:.metadata.namespace,N:.metadata.name) || exit 3\n"
            "printf 'listed=%s\\n' \"$(printf '%s' \"$list\" | grep -c .)\"\n"
            'set -- $(printf "%s" "$list" | head -n 1)\n'
            "[ $# = 0 ] && exit 0\n"
            'size=$(api get secret -n "$1" "$2" -o jsonpath="{.metadata.name}{.data}" | wc -c)\n'
            '[ "$size" -gt 0 ] && echo read=yes\ntrue',
        )

    def parse(self, reply: Reply) -> Secrets:
        """Only counts leave the host."""
        if reply.exit != 0:
            return Secrets(why=reply.complaint[:300] or f"exit {reply.exit}")
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        return Secrets(int(said.get("listed", "0")), "read" in said)


@dataclass(frozen=True, slots=True)
class KubeLease(Fact[str]):
    """When the holder of a component's lease last renewed it (renewTime); empty without one.

    /healthz of a controller manager stays ok while it cannot reach its API server (lab.md F2):
    only a lease that moves tells that it works.
    """

    name: ClassVar[str] = "kube.lease"
    component: str
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The component and its API server, wherever the holder runs."""
        return (f"@{self.component}", "@kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """One field of one Lease in kube-system."""
        text = "api get lease -n kube-system \"$NAME\" -o 'jsonpath={.spec.renewTime}'"
        return _ask(self, text, NAME=self.component)

    def parse(self, reply: Reply) -> str:
        """Nothing where it cannot be asked."""
        return reply.text.strip() if reply.exit == 0 else ""


def _ask(
    fact: KubeReady | KubeServes | KubeSecrets | KubeLease, text: str, **env: object
) -> Command:
    return sh(
        KUBECTL + text,
        CONFIG=fact.kubeconfig,
        SERVER=fact.server,
        TLS_NAME=fact.tls_name,
        **env,
    )


FACTS: tuple[type[Fact[Any]], ...] = (KubeReady, KubeServes, KubeSecrets, KubeLease)
