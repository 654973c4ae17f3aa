"""The step that gives a new machine the keys of a lost control plane, and certificates of its own.

What all hosts share comes from the archive; what names one host is issued there, by the authorities of the
archive, for the names and addresses that the host has now (hazard H13, pitfall 27: certificates of
another address). It is built beside and put in place by a rename; what was there is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from drrun.spi import (
    Demand,
    Done,
    Effect,
    Host,
    HostStep,
    Refused,
    Repeat,
    Rule,
    Whole,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.etcd.config import Config
from drrun_steps.etcd.ruling import config_fact
from drrun_steps.fields import Listed
from drrun_steps.kube.archive import bring
from drrun_steps.kube.keys import ENCRYPTION, Keys, KubeKeys, keys_fact
from drrun_steps.kube.plan_pods import PodPlan, bracketed
from drrun_steps.service.facts import ServiceState
from drrun_steps.service.flags import ServiceFlag

_INSTALL = r"""
# put the keys of the archive in place, and issue certificates for this host
set -eu
umask 077
new=$PKI.drrun-$RUN; old=$PKI.old-$RUN
case $STAGE in /*/"$RUN") ;; *) echo "drrun: $STAGE is no folder of $RUN" >&2; exit 5 ;; esac
[ ! -e "$PKI/.drrun-$RUN" ] || exit 0
[ -d "${PKI%/*}" ] || mkdir -p -m 0755 -- "${PKI%/*}" # etcd's user has to pass through it
rm -rf -- "$new"
mkdir -p -- "$new/archive" "$new/conf"
tar -C "$new/archive" -xf "$STAGE/keys.tar"
cp -R -- "$new/archive/pki/." "$new/"
days() { openssl x509 -in "$1" -noout -checkend $((DAYS * 86400)) >/dev/null; }
issue() { # FILE AUTHORITY SUBJECT USES ALTERNATIVES
  days "$new/$2.crt" || { echo "drrun: $2.crt ends within $DAYS days: nothing issued by it would last" >&2; exit 6; }
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$new/$1.key"
  openssl req -new -key "$new/$1.key" -subj "$3" -out "$new/request"
  { echo 'basicConstraints=critical,CA:FALSE'; echo 'keyUsage=critical,digitalSignature,keyEncipherment'
    echo "extendedKeyUsage=$4"; [ -z "${5:-}" ] || echo "subjectAltName=$5"; } >"$new/extensions"
  openssl x509 -req -in "$new/request" -CA "$new/$2.crt" -CAkey "$new/$2.key" -days "$DAYS" -sha256 \
    -set_serial "0x$(openssl rand -hex 15)" -extfile "$new/extensions" -out "$new/$1.crt" 2>/dev/null
}
masters=/O=system:masters/CN=
own=$OWN,DNS:localhost,IP:127.0.0.1
kept=
[ ! -r "$new/archive/pki/apiserver.crt" ] ||
  kept=,$(openssl x509 -in "$new/archive/pki/apiserver.crt" -noout -ext subjectAltName |
    sed -n -e 's/ //g' -e 's/IPAddress:/IP:/g' -e '/DNS:\|IP:/p' | head -n 1)
issue apiserver ca /CN=kube-apiserver serverAuth "$own$kept"
issue apiserver-kubelet-client ca "${masters}kube-apiserver-kubelet-client" clientAuth
issue front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
issue apiserver-etcd-client etcd/ca "${masters}kube-apiserver-etcd-client" clientAuth
issue etcd/healthcheck-client etcd/ca "${masters}kube-etcd-healthcheck-client" clientAuth
issue etcd/server etcd/ca "/CN=$NAME" serverAuth,clientAuth "$own"
issue etcd/peer etcd/ca "/CN=$NAME" serverAuth,clientAuth "$own"
plain() { openssl base64 -A -in "$1"; }
config() { # FILE SUBJECT USER
  issue conf/own ca "$2" clientAuth
  cat >"$new/conf/$1.conf" <<EOT
apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {certificate-authority-data: $(plain "$new/ca.crt"), server: "$SERVER"}
users:
- name: $3
  user: {client-certificate-data: $(plain "$new/conf/own.crt"), client-key-data: $(plain "$new/conf/own.key")}
contexts:
- name: $3@kubernetes
  context: {cluster: kubernetes, user: $3}
current-context: $3@kubernetes
EOT
}
config admin "${masters}kubernetes-admin" kubernetes-admin
config controller-manager /CN=system:kube-controller-manager system:kube-controller-manager
config scheduler /CN=system:kube-scheduler system:kube-scheduler
[ -z "$NODE" ] || config kubelet "/O=system:nodes/CN=system:node:$NODE" "system:node:$NODE"
place() { # FROM TO: what was there is kept
  mkdir -p -- "${2%/*}"
  [ ! -e "$2" ] || [ -e "$2.old-$RUN" ] || { cp -p -- "$2" "$2.old-$RUN.new"; mv -f -- "$2.old-$RUN.new" "$2.old-$RUN"; }
  cp -- "$1" "$2.drrun-new"
  sync "$2.drrun-new"
  mv -f -- "$2.drrun-new" "$2"
}
[ -z "$ENCRYPTION" ] || [ ! -r "$new/archive/encryption.yaml" ] || place "$new/archive/encryption.yaml" "$ENCRYPTION"
for name in admin controller-manager scheduler ${NODE:+kubelet}; do place "$new/conf/$name.conf" "${PKI%/*}/$name.conf"; done
rm -rf -- "$new/archive" "$new/conf" "$new/request" "$new/extensions"
chmod 0755 "$new" "$new/etcd"
find "$new" -name '*.crt' -exec chmod 0644 {} + ; chmod 0644 "$new/sa.pub"
# etcd runs as a user of its own, and reads its pairs through its group.
for name in server peer; do chgrp -- "${OWNER#*:}" "$new/etcd/$name.key"; chmod 0640 "$new/etcd/$name.key"; done
: >"$new/.drrun-$RUN"
sync -f "$new" 2>/dev/null || sync
if [ -e "$PKI" ]; then [ ! -e "$old" ] || { echo "drrun: both $PKI and $old exist" >&2; exit 8; }; mv -T -- "$PKI" "$old"; fi
mv -T -- "$new" "$PKI"
rm -rf -- "$STAGE"
"""

_BACK = r"""
# take away the keys that this run brought, and put back what was there
set -eu
case $STAGE in /*/"$RUN") ;; *) echo "drrun: $STAGE is no folder of $RUN" >&2; exit 5 ;; esac
back() { # FILE
  [ ! -e "$1.old-$RUN" ] || { mv -f -- "$1.old-$RUN" "$1"; return; }
  rm -f -- "$1"
}
rm -rf -- "$PKI.drrun-$RUN"
rm -rf -- "$STAGE"
if [ -e "$PKI/.drrun-$RUN" ]; then
  [ -z "$ENCRYPTION" ] || back "$ENCRYPTION"
  for name in admin controller-manager scheduler ${NODE:+kubelet}; do back "${PKI%/*}/$name.conf"; done
  rm -rf -- "$PKI"
fi
[ -e "$PKI" ] || [ ! -e "$PKI.old-$RUN" ] || mv -T -- "$PKI.old-$RUN" "$PKI"
"""


class InstallKeys(HostStep):
    """Give a new machine the keys of an archive, and certificates and kubeconfigs of its own.

    Units must be there, or static pods that kube.static_pods.lay has laid ready (kubelet gets its kubeconfig
    as well then), and nothing of a control plane may run. Certificates are for the host's
    own names and addresses, and for the names in the API server's certificate of before (load
    balancer, service address); the private keys are made on the host and never leave it. What was in
    the folder is kept as `<pki>.old-<run>`. Undo takes the keys away again.
    """

    uses = "kube.keys.install"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("kept",)

    archive: str
    """The archive on the controller, proved by kube.keys.verify."""
    fingerprints: Mapping[str, str]
    """What it holds, from kube.keys.verify."""
    days: Whole = 365
    """How long the certificates are valid; the authorities must be longer."""
    server: str = ""
    """What the kubeconfigs name, as `https://10.0.0.5:6443`; the host's own API server without it."""
    pods: Mapping[str, PodPlan] = {}
    """Hosts of static pods, from kube.static_pods.plan: their kubelets are nodes of the cluster."""
    stage_dir: str = "/var/lib/drrun-keys"
    """Root-only folder on the host for the archive, which is removed when its keys are in place."""
    pki: str = "/etc/kubernetes/pki"
    """The folder of certificates and keys, laid out as kubeadm does."""
    etcd: str = "etcd"
    """etcd's unit."""
    apiserver: str = "kube-apiserver"
    """The API server's unit."""
    controllers: Listed = ("kube-controller-manager", "kube-scheduler")
    """The other units of a control plane."""

    def rules(self) -> Sequence[Demand]:
        """After the archive was proved: half of the keys are worse than none."""
        because = "keys that nobody looked at are found wrong when a cluster already rests on them"
        return [Rule(step_done("kube.keys.verify"), "controller", value=True, because=because)]

    def run(self, host: Host) -> Mapping[str, str]:
        """Look whether it is a new machine that is ready for it; copy, build, swap."""
        config = self._fit(host)
        stage = self._stage(host)
        bring(host, self.archive, stage)
        fact, encryption = keys_fact(host, self.pki, self.apiserver), self._encryption(host)
        host.change(
            "install",
            sh(
                _INSTALL,
                **self._places(host, encryption),
                DAYS=self.days,
                NAME=config.name,
                OWN=alternatives(host, config),
                OWNER=config.owner,
                SERVER=self.server or f"https://{bracketed(host.address)}:6443",
            ),
            sets={fact: satisfies("the archive's, and whole", self._meant)},
            touches=(
                f"file:{self.pki}",
                f"file:{encryption}",
                f"file:{stage}/keys.tar",
                f"client:{self.etcd}",  # members answer nobody without
            ),
            repeat=Repeat.SAFE,
            timeout="2m",
        )
        return {"kept": f"{self.pki}.old-{host.run}"}

    def undo(self, host: Host, done: Done) -> None:
        """Take the keys away, put back what was there."""
        if done.did("make-folder", host.name):
            encryption = self._encryption(host)
            host.change(
                "put-back",
                sh(_BACK, **self._places(host, encryption)),
                touches=(
                    f"file:{self.pki}",
                    f"file:{encryption}",
                    f"file:{self._stage(host)}/keys.tar",
                ),
                repeat=Repeat.SAFE,
            )

    def _places(self, host: Host, encryption: str) -> Mapping[str, str]:
        return {
            "PKI": self.pki,
            "RUN": host.run,
            "STAGE": self._stage(host),
            "ENCRYPTION": encryption,
            "NODE": self.pods[host.name].node if host.name in self.pods else "",
        }

    def _stage(self, host: Host) -> str:
        return f"{self.stage_dir}/{host.run}"

    def _encryption(self, host: Host) -> str:
        flag = host.read(ServiceFlag(self.apiserver, "encryption-provider-config"))
        if ENCRYPTION in self.fingerprints and not flag:
            raise Refused(
                f"{host.name}: the archive has encryption settings, and {self.apiserver} is told of none",
                hint="put --encryption-provider-config into its unit, as in the archive's units/",
            )
        return flag[0] if flag else ""

    def _fit(self, host: Host) -> Config:
        """Etcd's settings on a machine where all is installed and nothing runs."""
        config = host.read(config_fact(host, self.etcd))
        states = {s: host.read(ServiceState(s)) for s in (self.apiserver, *self.controllers)}
        missing = [name for name, state in states.items() if state == "missing"]
        if not config.found or not config.peer_urls or missing:
            lacking = ", ".join(missing) or f"{self.etcd} with its initial-advertise-peer-urls"
            raise Refused(
                f"{host.name} has no {lacking}",
                hint="install the binaries and units of a control plane there, for the host's own address; "
                "the units of before are in the archive, under units/; static pods are made where there is none",
            )
        running = [name for name, state in states.items() if state == "running"]
        if running:
            raise Refused(
                f"{host.name}: {', '.join(running)} runs there: it is no new machine",
                hint="stop it if it is the old cluster's; a control plane that lives is not rebuilt",
            )
        if not host.read(KubeKeys(self.pki)).proved:
            raise Refused(
                f"{host.name} has no openssl", hint="install it: it issues the certificates"
            )
        return config

    def _meant(self, found: Keys) -> bool:
        there = {
            n: d for n, d in self.fingerprints.items() if n != ENCRYPTION or n in found.fingerprints
        }
        return found.fingerprints == there and not found.lost and not found.wrong


def alternatives(host: Host, config: Config) -> str:
    """The names and addresses of a host's certificates, as openssl takes them."""
    urls = [*config.peer_urls.split(","), config.client_url]
    names = [host.name, host.address, *(urlsplit(url).hostname or "" for url in urls)]
    kinds = [f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names if name]
    return ",".join(dict.fromkeys(kinds))


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
