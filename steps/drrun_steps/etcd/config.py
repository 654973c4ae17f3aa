"""How a host's member is configured.

All of it is read from the unit and the host, before anything is stopped: a manifest differs per
member, and one host's flags copied to another are a classic way to lose a cluster (lab.md F5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from drrun.spi import Command, Fact, Json, Reply, sh
from drrun_steps.etcd.settings import SETTINGS
from drrun_steps.service.flags import ServiceFlag


@dataclass(frozen=True, slots=True)
class Config:
    """A member as its host starts it. `found` is false where no unit or manifest names etcd."""

    found: bool
    name: str = ""
    data_dir: str = ""
    wal_dir: str = ""
    peer_urls: str = ""
    client_url: str = ""
    initial_cluster: str = ""
    owner: str = ""
    """user:group that etcd runs as."""
    quota: int = 0
    mount: bool = False
    """Whether the data directory is a mount point: it cannot be renamed."""
    leftovers: tuple[str, ...] = ()
    """What must not outlive an emergency: force-new-cluster, a copy in kubelet's folder (1.14)."""
    unclear: str = ""
    """What of its settings was not understood, by name; empty when all was."""


_CONFIG = (
    SETTINGS
    + r"""
[ -n "$words$given$unclear" ] || { echo found=no; exit 0; }
echo found=yes
[ -z "$unclear" ] || printf 'unclear=%s\n' "$unclear" | head -n 1
dir=${DATA_DIR:-$(setting data-dir)}
for s in name wal-dir initial-advertise-peer-urls advertise-client-urls initial-cluster quota-backend-bytes force-new-cluster; do
  printf '%s=%s\n' "$s" "$(setting $s)"
done
printf 'data-dir=%s\n' "$dir"
user=$(show User); group=$(show Group)
[ -z "$pod_user" ] || { user=$pod_user; group=$pod_user; }
if [ -d "$dir" ] && { [ -x "$own_way" ] || [ -r "$MANIFEST" ]; }; then # as the directory of now has it
  user=$(stat -c %U -- "$dir"); group=$(stat -c %G -- "$dir")
  [ "$user" != UNKNOWN ] || user=$(stat -c %u -- "$dir")
  [ "$group" != UNKNOWN ] || group=$(stat -c %g -- "$dir")
fi
user=${user:-root}
printf 'owner=%s:%s\n' "$user" "${group:-$(id -gn "$user" 2>/dev/null || echo root)}"
real=$(readlink -f -- "$dir" || printf '%s' "$dir")
awk -v d="$real" '$5 == d { print "mount=yes" }' /proc/self/mountinfo
if [ -r "$MANIFEST" ]; then # kubelet runs every file of its folder, whatever it is called
  for f in "${MANIFEST%/*}"/*; do
    [ "$f" = "$MANIFEST" ] || ! grep -q -e '--initial-advertise-peer-urls' "$f" || printf 'second=%s\n' "$f"
  done
fi
"""
)


@dataclass(frozen=True, slots=True)
class EtcdConfig(Fact[Config]):
    """The member's settings as its unit (or static pod) gives them."""

    name: ClassVar[str] = "etcd.config"
    service: str = "etcd"
    data_dir: str = ""

    def about(self) -> tuple[str, ...]:
        """Unit files, which a stop or a hold leaves as they are."""
        return (f"unit:{self.service}",)

    def ask(self) -> Command:
        """The unit's words and environment files, and the mount table."""
        return sh(_CONFIG, SERVICE=self.service, DATA_DIR=self.data_dir)

    def parse(self, reply: Reply) -> Config:
        """Raises ValueError when the script broke off."""
        if reply.exit != 0:
            raise ValueError(f"cannot read etcd's settings: {reply.complaint!r}")
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        if said.get("found") != "yes":
            return Config(found=False)
        forced = said.get("force-new-cluster", "") not in {"", "false"}
        left = ["force-new-cluster"] if forced else []
        if "second" in said:
            left.append(f"a second manifest, {said['second']},")
        return Config(
            found=True,
            name=said["name"] or "default",
            data_dir=said["data-dir"].rstrip("/") or f"/{said['name'] or 'default'}.etcd",
            wal_dir=said["wal-dir"].rstrip("/"),
            peer_urls=said["initial-advertise-peer-urls"],
            client_url=said["advertise-client-urls"].partition(",")[0],
            initial_cluster=said["initial-cluster"],
            owner=said["owner"],
            quota=int(said["quota-backend-bytes"] or 0),
            mount="mount" in said,
            leftovers=tuple(left),
            unclear=said.get("unclear", ""),
        )

    def pinned(self, answer: Config) -> Json:
        """Who the member is and where its data lies; a quota may be raised meanwhile."""
        return {
            "name": answer.name,
            "data_dir": answer.data_dir,
            "wal_dir": answer.wal_dir,
            "peer_urls": answer.peer_urls,
            "initial_cluster": answer.initial_cluster,
            "owner": answer.owner,
        }


def cluster_flag(service: str) -> ServiceFlag:
    """Where a unit of etcd says its initial cluster."""
    return ServiceFlag(service, "initial-cluster", "ETCD_INITIAL_CLUSTER")


def state_flag(service: str) -> ServiceFlag:
    """Where a unit of etcd says whether it begins a cluster or joins one."""
    return ServiceFlag(service, "initial-cluster-state", "ETCD_INITIAL_CLUSTER_STATE")


def named(initial_cluster: str) -> dict[str, str]:
    """`a=http://x:2380,b=…` as name -> URLs; a name may come several times."""
    found: dict[str, list[str]] = {}
    for part in filter(None, initial_cluster.split(",")):
        name, _, url = part.partition("=")
        found.setdefault(name, []).append(url)
    return {name: ",".join(urls) for name, urls in found.items()}


def host_of(url: str) -> str:
    """The host part of a peer or client URL."""
    return urlsplit(url).hostname or ""


FACTS: tuple[type[Fact[Any]], ...] = (EtcdConfig,)
