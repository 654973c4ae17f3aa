"""A control plane's keys: what is known of them without knowing them.

The authorities, the key that signs tokens of service accounts and the encryption settings are in no
snapshot, and a restored etcd without them is of no use: nobody trusts its API servers, no token is
valid, no Secret can be read (pitfalls 36 and 37, hazard H11). Their fingerprints go into the manifest of a
snapshot; they themselves only into an archive that somebody asked for.
Rule 1: a private key goes from file to file. No answer, no output and no journal holds one; what they
hold are sha256 of certificates, of public keys, and of a file with 256 random bits in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Host, Reply, sh
from drrun_steps.service.flags import ServiceFlag

PUBLIC = ("ca.crt", "front-proxy-ca.crt", "etcd/ca.crt", "sa.pub")
"""Files of kubeadm's layout that are the same on every control-plane host."""
ENCRYPTION = "encryption"
"""What the encryption settings are called among them, whatever their file is called."""
MEANS: Mapping[str, str] = {
    "ca.crt": "kubelets, controllers and users trust no API server whose certificate it did not sign",
    "ca.key": "no certificate can be issued that kubelets, controllers and users trust",
    "front-proxy-ca.crt": "aggregated APIs trust nobody",
    "front-proxy-ca.key": "no certificate can be issued that aggregated APIs trust",
    "etcd/ca.crt": "members of etcd and their clients trust nobody",
    "etcd/ca.key": "no certificate can be issued that members of etcd and their clients trust",
    "sa.pub": "no token of a service account is valid",
    "sa.key": "every token of every service account is void, and no new one can be signed",
    ENCRYPTION: "what is encrypted in the snapshot, Secrets first of all, is lost for good",
}
"""File -> what is the matter where it is lost."""

_KEYS = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
sum() { # NAME FILE
  [ -r "$2" ] && { s=$(sha256sum <"$2"); echo "sum=$1 ${s%% *}"; }
}
for name in $PUBLIC; do sum "$name" "$PKI/$name"; done
[ -z "$ENCRYPTION" ] || sum encryption "$ENCRYPTION"
command -v openssl >/dev/null || { echo proved=no; exit 0; }
fits() { # PRIVATE FILE: the public half of a key is what its certificate or public file says
  [ -r "$PKI/$1" ] || { echo "lost=$1"; return; }
  case $2 in
    *.crt) public=$(openssl x509 -in "$PKI/$2" -noout -pubkey 2>/dev/null) ;;
    *) public=$(openssl pkey -pubin -in "$PKI/$2" -pubout 2>/dev/null) ;;
  esac
  [ "$(openssl pkey -in "$PKI/$1" -pubout 2>/dev/null)" = "$public" ] || echo "wrong=$1"
}
for name in $PUBLIC; do [ ! -r "$PKI/$name" ] || fits "${name%.*}.key" "$name"; done
true
"""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a host's keys are, told by what is public of them."""

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """File -> its sha256; one that is not there is left out."""
    lost: tuple[str, ...] = ()
    """Private keys that are not there, beside a certificate that is."""
    wrong: tuple[str, ...] = ()
    """Private keys that are not those of the certificate or public key beside them."""
    proved: bool = True
    """Whether that could be asked: it takes openssl."""

    def differing(self, recorded: Mapping[str, str]) -> tuple[str, ...]:
        """The files that are not what was recorded, or that do not work. Encryption is not among them.

        Keys are added to the encryption settings for good reasons: those are compared by name.
        """
        other = {n for n in PUBLIC if n in recorded and self.fingerprints.get(n) != recorded[n]}
        signs = "sa.pub" in recorded and "sa.key" in {*self.lost, *self.wrong}
        return tuple(n for n in PUBLIC if n in other or (n == "sa.pub" and signs))


@dataclass(frozen=True, slots=True)
class KubeKeys(Fact[Keys]):
    """Fingerprints of a host's authorities, token key and encryption settings; never a key."""

    name: ClassVar[str] = "kube.keys"
    pki: str = "/etc/kubernetes/pki"
    encryption: str = ""

    def about(self) -> tuple[str, ...]:
        """The folder and the settings."""
        return (f"file:{self.pki}", f"file:{self.encryption}")

    def ask(self) -> Command:
        """Sums of files, and whether each private key fits; openssl prints public halves to itself."""
        return sh(_KEYS, PKI=self.pki, ENCRYPTION=self.encryption, PUBLIC=" ".join(PUBLIC))

    def parse(self, reply: Reply) -> Keys:
        """No file is an answer. Raises ValueError when it broke off."""
        if reply.exit != 0:
            raise ValueError(f"cannot read {self.pki}: {reply.complaint!r}")
        said = [line.partition("=")[::2] for line in reply.text.splitlines()]
        sums = (value.partition(" ")[::2] for name, value in said if name == "sum")
        return Keys(
            dict(sums),
            tuple(value for name, value in said if name == "lost"),
            tuple(value for name, value in said if name == "wrong"),
            proved=("proved", "no") not in said,
        )


def keys_fact(host: Host, pki: str, apiserver: str) -> KubeKeys:
    """The fact for a host, with the encryption settings that its API server is started with."""
    flag = host.read(ServiceFlag(apiserver, "encryption-provider-config"))
    return KubeKeys(pki, flag[0] if flag else "")


FACTS: tuple[type[Fact[Any]], ...] = (KubeKeys,)
