"""What a member is started with: its settings, found on its host where etcd itself finds them.

Flags over environment, the unit's environment files over its own; a manifest of a static pod where
there is no unit, or a command of the host's own.
"""

from __future__ import annotations

from drrun_steps.etcd.tools import TOOLS

SETTINGS = (
    TOOLS
    + r"""
show() { systemctl show -p "$1" --value "$SERVICE" 2>/dev/null; }
pods=$(sed -n 's/^staticPodPath:[[:space:]]*//p' /var/lib/kubelet/config.yaml 2>/dev/null | tr -d '"')
MANIFEST=${pods:-/etc/kubernetes/manifests}/$SERVICE.yaml
[ -r "$MANIFEST" ] || MANIFEST=/var/lib/drrun/stopped/$SERVICE.yaml # as drrun holds it
told=
own_way=/etc/drrun/services/$SERVICE
if [ -x "$own_way" ]; then # neither systemd nor kubelet runs it
  show() { :; }
  MANIFEST=/nonexistent
  told=$("$own_way" settings </dev/null) || { echo "drrun: $own_way settings exits $?" >&2; exit 3; }
  words=$told
elif [ -r "$MANIFEST" ]; then
  show() { :; }
  words=$(sed -n 's/^ *- \(--[a-z].*\)$/\1/p' "$MANIFEST")
else
  words=$(show ExecStart | sed -n 's/.*argv\[\]=\(.*\) ; ignore_errors=.*/\1/p' | tail -n 1 | tr ' ' '\n')
fi
files=$(show EnvironmentFiles | sed 's/ (ignore_errors=[a-z]*)$//')
given=$(printf '%s\n' "$told"; show Environment | tr ' ' '\n'; for f in $files; do cat "$f" 2>/dev/null; echo; done)
setting() {
  printf '%s\n' "$words" | awk -v f="$1" '
    want { print; found = 1; exit }
    { sub(/^--?/, "-"); if (index($0, "-" f "=") == 1) { print substr($0, length(f) + 3); found = 1; exit }
      if ($0 == "-" f) want = 1 }
    END { exit !found }' && return
  key=ETCD_$(printf '%s' "$1" | tr 'a-z-' 'A-Z_')
  printf '%s\n' "$given" | sed -n "s/^[[:space:]]*\"\{0,1\}$key=//p" | tail -n 1 |
    sed -e 's/[[:space:]]*$//' -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/" -e 's/"$//'
}
"""
)
