"""Which of etcd's tools a host has, where they are, and what can be restored with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, sh

TOOLS = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/var/lib/drrun/tools:/opt/bin:/opt/etcd:/usr/local/etcd
export PATH
if ! command -v etcdctl >/dev/null && ! command -v etcdutl >/dev/null; then
  for p in $(ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's|.*/proc/\([0-9]*\)/exe -> .*/etcd$|\1|p'); do
    PATH=$PATH:/proc/$p/root/usr/local/bin:/proc/$p/root/usr/bin
  done
fi
"""
"""Where etcd's tools are: the host's own, those that a staging kept, or in the container of the member
that runs (H14: a host that kubeadm made has none; the image has both, linked statically)."""

OFFLINE = r"""
offline() {
  for t in etcdutl etcdctl; do
    if command -v $t >/dev/null; then
      env -i PATH="$PATH" ETCDCTL_API=3 timeout "${LIMIT:-60}" $t "$@"; return
    fi
  done
  echo 'drrun: neither etcdutl nor etcdctl on this host' >&2; return 127
}
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a host can restore with. `bump` is whether revisions can be raised (3.5.10, 3.4.27)."""

    restore: str = ""
    bump: bool = False
    version: str = ""
    """Of etcd itself, else of the tool."""
    tool: str = ""
    """The version of the tool that restores; empty where it does not say."""


ASK_TOOLS = r"""
export ETCDCTL_API=3
for t in etcdutl etcdctl; do
  command -v $t >/dev/null || continue
  help=$(timeout 10 $t snapshot restore --help 2>&1) || continue
  case $help in *--data-dir*) ;; *) continue ;; esac # etcdctl since 3.6 shows the help of `snapshot`, and exits 0
  echo "restore=$t"
  case $help in *--bump-revision*) echo bump=yes;; esac
  break
done
[ -z "${t-}" ] || timeout 10 $t version 2>/dev/null | sed -n 's/^etcd[cu]tl version: /tool=/p'
timeout 10 etcd --version 2>/dev/null | sed -n 's/^etcd Version: /version=/p'
timeout 10 etcdctl version 2>/dev/null | sed -n 's/^etcdctl version: /version=/p'
true
"""
"""What is said of the tools that PATH finds."""


def tools_of(reply: Reply) -> Tools:
    """What `ASK_TOOLS` said; a host without tools is an answer."""
    said: dict[str, str] = {}
    for line in reply.text.splitlines():
        name, _, value = line.partition("=")
        said.setdefault(name, value)
    return Tools(
        said.get("restore", ""), "bump" in said, said.get("version", ""), said.get("tool", "")
    )


@dataclass(frozen=True, slots=True)
class EtcdTools(Fact[Tools]):
    """The restore tool of this host and what it can do, asked of the tool itself."""

    name: ClassVar[str] = "etcd.tools"

    def about(self) -> tuple[str, ...]:
        """The installed programs."""
        return ("programs",)

    def ask(self) -> Command:
        """Versions and a help text: no tool is trusted by its version (0.1 in recovery.md)."""
        return sh(TOOLS + ASK_TOOLS)

    def parse(self, reply: Reply) -> Tools:
        """A host without tools is an answer."""
        return tools_of(reply)


FACTS: tuple[type[Fact[Any]], ...] = (EtcdTools,)
