"""What a member is started with: its settings, found on its host where etcd itself finds them.

Flags over environment, the unit's environment files over its own; a configuration file alone where one is
named; a manifest of a static pod where there is no unit, or a command of the host's own.
Rule 1: what is not understood is named (`$unclear`), and never taken at its face: a directory that was read
wrongly is "empty", and a restore then loses what lies in the right one.
Rule 2: paths are the host's: those of a container are looked up among its mounts.
Sources: etcd "Configuration options" (a configuration file turns flags and environment off);
systemd.service(5), "Command lines"; kubernetes.io, "Volumes" (hostPath).
"""

from __future__ import annotations

from drrun_steps.etcd.tools import TOOLS
from drrun_steps.service.pods import FOLDER
from drrun_steps.service.yaml import FLAT

_POD = r"""
pod_says() { # MANIFEST: word<tab>W, env<tab>K=V, mount<tab>IN<tab>OUT and unclear<tab>WHY of the container that runs etcd
  pod=$(flat "$1" 2>&1) || { printf 'unclear\t%s\n' "$pod"; return; }
  printf '%s\n' "$pod" | awk -F '\t' '
    { said[$1] = $2; order[NR] = $1 }
    $1 ~ /^spec\.containers\[[0-9]+\]\.(command|args)\[0\]$/ {
      at = $1; sub(/\.(command|args)\[0\]$/, "", at); program = $2; sub(/.*\//, "", program)
      if (program == "etcd") c = at
      else if (program ~ /^(ba|da|a|k)?sh$/) shell = at
    }
    $1 ~ /^spec\.containers\[[0-9]+\]\.name$/ && $2 == "etcd" { named = $1; sub(/\.name$/, "", named) }
    END {
      if (c == "" && named != "" && named == shell) { print "unclear\tits manifest starts etcd by a shell (sh -c)"; exit }
      if (c == "" && named != "" && (named ".command[0]") in said) { print "unclear\tits manifest starts etcd by " said[named ".command[0]"]; exit }
      if (c == "") c = named
      if (c == "") { print "unclear\tits manifest has no container that runs etcd"; exit }
      for (n = 1; n <= NR; n++) {
        k = order[n]
        if (index(k, c ".command[") == 1 || index(k, c ".args[") == 1) {
          print "word\t" said[k]
          if (said[k] ~ /\$\(/) print "unclear\tits manifest has the variable " said[k]
        }
      }
      for (n = 0; (c ".env[" n "].name") in said; n++) {
        if ((c ".env[" n "].value") in said) print "env\t" said[c ".env[" n "].name"] "=" said[c ".env[" n "].value"]
        else if (said[c ".env[" n "].name"] ~ /^ETCD_/) print "unclear\tits manifest takes " said[c ".env[" n "].name"] " from elsewhere (valueFrom)"
      }
      if ((c ".envFrom[0].configMapRef.name") in said || (c ".envFrom[0].secretRef.name") in said) print "unclear\tits manifest takes variables from elsewhere (envFrom)"
      for (n = 0; ("spec.volumes[" n "].name") in said; n++)
        if (("spec.volumes[" n "].hostPath.path") in said) out[said["spec.volumes[" n "].name"]] = said["spec.volumes[" n "].hostPath.path"]
      for (n = 0; (m = c ".volumeMounts[" n "]") && ((m ".mountPath") in said); n++) {
        o = out[said[m ".name"]]
        if ((m ".subPath") in said) o = o "/" said[m ".subPath"]
        if ((m ".subPathExpr") in said) o = ""
        print "mount\t" said[m ".mountPath"] "\t" o
      }
      if (((u = c ".securityContext.runAsUser") in said) || ((u = "spec.securityContext.runAsUser") in said)) print "user\t" said[u]
    }'
}
"""

_UNIT = r"""
variable() { # NAME: what the unit's environment gives it; 1 where it gives nothing
  found=$(printf '%s\n' "$given" | sed -n "s/^[[:space:]]*\"\{0,1\}$1=/=/p" | tail -n 1)
  [ -n "$found" ] || return 1
  printf '%s\n' "${found#=}" |
    sed -e 's/[[:space:]]*$//' -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/" -e 's/"$//'
}
expanded() { # words of ExecStart with ${NAME} and $NAME as systemd puts them in, a word a line; 1 where one is not known
  left=$words; done_words=
  while IFS= read -r w; do
    while :; do
      case $w in *'$'*) ;; *) break ;; esac
      name=$(printf '%s\n' "$w" | sed -n -e 's/^[^$]*${\([A-Za-z_][A-Za-z0-9_]*\)}.*$/\1/p' -e 's/^\$\([A-Za-z_][A-Za-z0-9_]*\)$/\1/p' | head -n 1)
      [ -n "$name" ] && value=$(variable "$name") || { unclear="ExecStart has ${w}, which its environment does not explain"; return 1; }
      case $w in
        "\$$name") w=$(printf '%s\n' "$value" | tr -s ' ' '\n'); break ;;
        *) w="${w%%'${'"$name"'}'*}$value${w#*'${'"$name"'}'}" ;;
      esac
    done
    done_words="$done_words$w
"
  done <<WORDS
$left
WORDS
  words=${done_words%
}
}
assigned() { # what systemctl shows of Environment, a variable a line; old ones do not quote what has blanks in it
  awk '
    function flush() { if (cur != "") print cur; cur = "" }
    { for (n = 1; n <= NF; n++) {
        w = $n
        if (q != "") cur = cur " " w
        else if (match(w, /^\$?["\047][A-Za-z_][A-Za-z0-9_]*=/)) {
          flush(); sub(/^\$/, "", w); q = substr(w, 1, 1); cur = w = substr(w, 2)
        }
        else if (w ~ /^[A-Za-z_][A-Za-z0-9_]*=/) { flush(); cur = w }
        else cur = cur " " w
        if (q != "" && substr(w, length(w)) == q) { cur = substr(cur, 1, length(cur) - 1); q = "" }
      } }
    END { flush() }'
}
joined() { # FILE: its lines, those that end in a backslash with the next one, as systemd reads them
  sed -e ':a' -e '/\\$/!b' -e '$b' -e N -e 's/\\\n//' -e 'ba' -- "$1" 2>/dev/null; echo
}
runs_etcd() { # whether the program of ExecStart is etcd itself; one that changes only how it runs is looked through
  program=$(printf '%s\n' "$words" | head -n 1); program=${program##*/}
  case $program in
    nice|ionice|chrt|taskset|numactl)
      words=$(printf '%s\n' "$words" | awk '/(^|\/)etcd$/ { on = 1 } on')
      [ -n "$words" ] || { unclear="ExecStart runs $program, and no etcd behind it"; return 1; } ;;
    etcd|etcd[0-9]*|etcd-[0-9v]*) ;;
    docker|podman|nerdctl|ctr|crictl|rkt|runc|systemd-nspawn) unclear="ExecStart runs a container ($program): its directories are not the host's"; return 1 ;;
    sh|bash|dash|ash|ksh) unclear="ExecStart runs a shell ($program -c)"; return 1 ;;
    *) unclear="ExecStart runs $program: what that starts etcd with is not known"; return 1 ;;
  esac
}
"""

_FILE = r"""
configured() { # FILE: its settings as flags, those of sections under the names of flags
  conf=$(flat "$1" 2>&1) || { unclear="its configuration file: $conf"; return 1; }
  words=$(printf '%s\n' "$conf" | awk -F '\t' '
    { k = $1; v = $2; gsub(/\\\\/, "\\", v)
      if (sub(/^client-transport-security\./, "", k)) ;
      else if (sub(/^peer-transport-security\./, "peer-", k)) ;
      print "--" k "=" v }')
  given=
}
"""

SETTINGS = (
    TOOLS
    + FLAT
    + FOLDER
    + _POD
    + _UNIT
    + _FILE
    + r"""
show() { systemctl show -p "$1" "$SERVICE" 2>/dev/null | sed "s/^$1=//"; } # systemd 219 has no --value
MANIFEST=$pods/$SERVICE.yaml
[ -r "$MANIFEST" ] || MANIFEST=/var/lib/drrun/stopped/$SERVICE.yaml # as drrun holds it
told=; unclear=; mounts=; pod_user=; in_pod=; started_in=
own_way=/etc/drrun/services/$SERVICE
if [ -x "$own_way" ]; then # neither systemd nor kubelet runs it
  show() { :; }
  MANIFEST=/nonexistent
  told=$("$own_way" settings </dev/null) || { echo "drrun: $own_way settings exits $?" >&2; exit 3; }
  words=$told
elif [ -r "$MANIFEST" ]; then
  show() { :; }
  in_pod=yes
  pod=$(pod_says "$MANIFEST")
  kind() { printf '%s\n' "$pod" | sed -n "s/^$1	//p"; }
  words=$(kind word); told=$(kind env); mounts=$(kind mount); unclear=$(kind unclear | head -n 1); pod_user=$(kind user)
else
  words=$(show ExecStart | sed -n 's/.*argv\[\]=\(.*\) ; ignore_errors=.*/\1/p' | tail -n 1 | tr ' ' '\n')
  started_in=$(show WorkingDirectory | sed 's/^!//'); started_in=${started_in:-/}
  jail=$(show RootDirectory)$(show RootImage)
  case $jail in ''|/) ;; *) unclear="its unit has a root of its own ($jail)" ;; esac
  if [ -z "$words" ]; then # kubelet runs every file of its folder; drrun stops and starts those that end in .yaml
    for f in "$pods/$SERVICE" "$pods/$SERVICE".*; do
      [ ! -f "$f" ] || unclear="its manifest is called $f: drrun reads, stops and starts ${MANIFEST##*/} alone"
    done
  fi
fi
files=$(show EnvironmentFiles | sed 's/ (ignore_errors=[a-z]*)$//')
given=$(printf '%s\n' "$told"; show Environment | assigned; for f in $files; do joined "$f"; done)
raw() { # NAME: the setting as etcd is given it; flags in each of Go's spellings, of which the last one counts
  printf '%s\n' "$words" | awk -v f="$1" '
    want { v = $0; found = 1; want = 0; next }
    { sub(/^--?/, "-"); if (index($0, "-" f "=") == 1) { v = substr($0, length(f) + 3); found = 1 }
      if ($0 == "-" f) { if (f == "force-new-cluster") { v = "true"; found = 1 } else want = 1 } } # a boolean takes no word
    END { if (found) print v; exit !found }' && return
  variable "ETCD_$(printf '%s' "$1" | tr 'a-z-' 'A-Z_')" || : # scripts with -e ask for what is not said, too
}
on_host() { # PATH: where the host has it; nothing where no mount of the host explains it
  [ -n "$in_pod" ] || { printf '%s\n' "$1"; return; }
  printf '%s\n' "$mounts" | awk -F '\t' -v p="$1" '
    { m = $1; sub(/\/+$/, "", m); if ((p == m || index(p, m "/") == 1) && length(m) >= best) { best = length(m); to = $2; rest = substr(p, length(m) + 1) } }
    END { sub(/\/+$/, "", to); if (to != "") print to rest }'
}
setting() {
  case $1 in
    data-dir|wal-dir|*-file)
      at=$(raw "$1")
      if [ "$1$at" = data-dir ] && [ -n "$started_in$in_pod" ] && [ -n "$words" ]; then # etcd's own default
        name=$(raw name); at=${started_in%/}/${name:-default}.etcd
      fi
      [ -z "$at" ] || on_host "$at" ;;
    *) raw "$1" ;;
  esac
}
if [ -z "$told$unclear" ] && [ -n "$words" ] && [ ! -r "$MANIFEST" ]; then expanded && runs_etcd; fi
if [ -z "$unclear" ] && printf '%s\n' "$given" | grep -q '^[[:space:]]*ETCD_[A-Z_]*=\("[^"]*\|'"'[^']*"'\)$'; then
  unclear='its environment has a text of several lines'
fi
placed() { # WHAT PATH: whether it is a directory or file of this host; else `unclear` says why
  case $2 in
    *'$'*|*'"'*|*'#'*|*"'"*) unclear="its $1 is written as $2" ;;
    /*) [ -n "$(on_host "$2")" ] || unclear="its $1 $2 is on no directory of the host: it goes with its container" ;;
    *) unclear="its $1 $2 is no absolute path" ;;
  esac
}
if [ -z "$unclear" ] && conf=$(raw config-file) && [ -n "$conf" ]; then
  placed config-file "$conf"
  [ -n "$unclear" ] || configured "$(on_host "$conf")"
fi
for what in data-dir wal-dir; do
  [ -z "$unclear" ] && [ -n "$words$given" ] || break
  at=$(raw "$what")
  if [ "$what$at" = data-dir ] && [ -n "$in_pod" ]; then unclear='its manifest does not say its data-dir'; break; fi
  case $what$at$started_in in data-dir|data-dir/*) ;; data-dir~*) unclear="its data-dir is not said, and it is started in $started_in"; break ;; esac
  [ -z "$at" ] || placed "$what" "$at"
done
"""
)
"""Before everything that rests on a member's settings: `setting NAME`, and `$unclear`, which names what was not
understood and is empty otherwise."""
