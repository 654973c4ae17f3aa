"""The step that packs a control plane's keys and brings them to the controller, for root alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drrun.spi import Effect, Group, GroupStep, Outputs, Refused, Repeat, satisfies, sh
from drrun_steps.file import FileState
from drrun_steps.kube.archive import PRIVATE
from drrun_steps.kube.fingerprints import agreement
from drrun_steps.kube.keys import MEANS, PUBLIC, Keys, keys_fact
from drrun_steps.service.flags import ServiceFlag

_PACK = r"""
# copy the control plane's keys into an archive for root alone
set -eu
umask 077
PATH=$PATH:/usr/sbin:/sbin; export PATH
folder=$FILE.d
mkdir -p -- "${FILE%/*}"
chmod 0700 -- "${FILE%/*}"
rm -rf -- "$folder"
mkdir -p -- "$folder/pki/etcd" "$folder/units"
for name in $NAMES apiserver.crt; do
  [ ! -r "$PKI/$name" ] || cp -- "$PKI/$name" "$folder/pki/$name"
done
[ -z "$ENCRYPTION" ] || cp -- "$ENCRYPTION" "$folder/encryption.yaml"
for unit in $UNITS; do
  for f in /etc/kubernetes/manifests/$unit.yaml /var/lib/drrun/stopped/$unit.yaml \
    $(systemctl show -p FragmentPath "$unit.service" | sed 's/^FragmentPath=//') $(systemctl show -p DropInPaths "$unit.service" | sed 's/^DropInPaths=//') \
    $(systemctl show -p EnvironmentFiles "$unit.service" | sed 's/^EnvironmentFiles=//' | sed 's/ (ignore_errors=[a-z]*)$//'); do
    [ ! -r "$f" ] || { mkdir -p -- "$folder/units${f%/*}"; cp -- "$f" "$folder/units$f"; }
  done
done
named() { # FILES of static pods: what their flags and volumes name
  sed -n -e 's,^ *- --[a-z-]*file=\(/.*\)$,\1,p' -e 's,^ *- --[a-z-]*config=\(/.*\)$,\1,p' "$@"
  awk '/hostPath:/ { getline; at = $2; getline; if ($1 == "type:" && $2 == "File") print at }' "$@"
}
set -- $(find "$folder/units" -type f -name '*.yaml') # units are no YAML
if [ $# -gt 0 ]; then # a host of static pods is made of these, and of kubelet's settings
  for f in $(named "$@" | tr -d '"' | sort -u); do
    case $f in "$PKI"/*|/etc/kubernetes/*.conf|"$ENCRYPTION") continue ;; esac
    [ -f "$f" ] && [ "$(stat -c %s -- "$f")" -le 1048576 ] && ! grep -q 'PRIVATE KEY' "$f" || continue
    mkdir -p -- "$folder/files${f%/*}"
    cp -- "$f" "$folder/files$f"
  done
  mkdir -- "$folder/kubelet"
  for f in config.yaml kubeadm-flags.env; do [ ! -r "/var/lib/kubelet/$f" ] || cp -- "/var/lib/kubelet/$f" "$folder/kubelet/$f"; done
fi
tar -C "$folder" -cf "$FILE.new" .
rm -rf -- "$folder"
sync "$FILE.new"
mv -f -- "$FILE.new" "$FILE"
"""


class SaveKeys(GroupStep):
    """Pack what the hosts of a control plane share into an archive, and bring it to the controller.

    Authorities, token key, encryption settings, and units or manifests, these with the files that they name
    and with kubelet's settings; not the keys of one host. Refused
    where hosts have different ones, or a private key that is not that of the certificate beside it. The
    file has mode 0600 on both sides; on the host it is removed once it was fetched.
    """

    uses = "kube.keys.save"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("file", "fingerprints")

    fetch_to: str
    """Where the archive goes on the controller; empty: nothing is saved, as nobody asked for it."""
    folder: str = "/var/backups/drrun"
    """Root-only folder on the host."""
    pki: str = "/etc/kubernetes/pki"
    """The folder of certificates and keys, laid out as kubeadm does."""
    apiserver: str = "kube-apiserver"
    """The API server's unit or static pod."""
    units: str = "etcd kube-apiserver kube-controller-manager kube-scheduler kubelet"
    """Units or static pods whose files are packed as well."""

    def run(self, group: Group) -> Outputs:
        """Compare, pack on the first host, fetch, remove there."""
        if not self.fetch_to:
            return {"file": "", "fingerprints": {}}
        found = {h.name: h.read(keys_fact(h, self.pki, self.apiserver)) for h in group.hosts}
        agreed = self._agreed(group, found)
        host = group.hosts[0]
        path = f"{self.folder}/keys-{host.run}.tar"
        fact = FileState(path)
        for_root = satisfies(
            "there, for root alone", lambda s: (s.exists, s.mode) == (True, "0600")
        )
        flag = host.read(ServiceFlag(self.apiserver, "encryption-provider-config"))
        host.change(
            "pack",
            sh(
                _PACK,
                FILE=path,
                PKI=self.pki,
                NAMES=" ".join((*PUBLIC, *PRIVATE)),
                ENCRYPTION=flag[0] if flag else "",
                UNITS=self.units,
            ),
            sets={fact: for_root},
            touches=(f"@file:{self.fetch_to}", f"file:{path}"),
            repeat=Repeat.SAFE,
        )
        host.get("fetch", path, Path(self.fetch_to))
        host.change(
            "remove",
            sh('rm -f -- "$FILE"', FILE=path),
            touches=(f"file:{path}",),
            repeat=Repeat.SAFE,
        )
        group.note(f"{self.fetch_to} is as secret as the cluster: keep it apart from the snapshot")
        return {"file": self.fetch_to, "fingerprints": agreed}

    def _agreed(self, group: Group, found: Mapping[str, Keys]) -> Mapping[str, str]:
        agreed, divided = agreement([keys.fingerprints for keys in found.values()])
        wrong = [f"{name} of {host}" for host, keys in found.items() for name in keys.wrong]
        if divided or wrong:
            said = [f"{name} is not the same on every host" for name in divided]
            said += [f"{name} is not the key of what lies beside it" for name in wrong]
            raise Refused(
                f"these keys are not fit to be kept: {'; '.join(said)}",
                hint="find out which host is right (`sha256sum`), and save its keys: "
                "-e role.control_plane=HOST",
            )
        if not agreed:
            raise Refused(f"there are no keys in {self.pki}", hint="set `pki`")
        lost = sorted({name for keys in found.values() for name in keys.lost})
        for name in lost:
            group.note(f"{name} is not on the hosts, and so not in the archive: {MEANS[name]}")
        return agreed
