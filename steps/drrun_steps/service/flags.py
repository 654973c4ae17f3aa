"""Flags of a service, changed where its unit's files say them.

A flag stands in the unit itself, in a drop-in, in an environment file, or in a manifest; what stands there is
what an operator will read next year, so that is the place that is changed. Anything else (a second
place, a drop-in over it) would leave a host that says two things.
Rule 1: exactly one place, or nothing is changed and the places are named. One of etcd that is said nowhere is
said in the last environment file, or in the manifest: kubeadm's first host has no --initial-cluster-state.
Rule 2: what a command of the host's own says (`own`) is read, and never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.service import pods
from drrun_steps.service.yaml import FLAT

_FILES = (
    pods.POD
    + FLAT
    + r"""
LC_ALL=C; export LC_ALL
if is_own; then files=
elif is_pod; then files=$live; [ -e "$live" ] || files=$away
else files=$(
  systemctl show -p FragmentPath "$UNIT" | sed 's/^FragmentPath=//'
  systemctl show -p DropInPaths "$UNIT" | sed 's/^DropInPaths=//' | tr ' ' '\n'
  systemctl show -p EnvironmentFiles "$UNIT" | sed -e 's/^EnvironmentFiles=//' -e 's/ (ignore_errors=[a-z]*)$//'
); fi
aside() { # FILE: where the old one is kept; in kubelet's folder it would be another pod
  if is_pod; then printf '%s' "/var/lib/drrun/aside/${1##*/}.drrun-$RUN"
  else printf '%s' "$1.drrun-$RUN"; fi
}
keep() { # FILE: whole, or not at all: a full disk cuts a copy short
  kept_at=$(aside "$1")
  [ ! -e "$kept_at" ] || return 0
  mkdir -p -m 700 -- "${kept_at%/*}"
  cp -p -- "$1" "$kept_at.new"; sync "$kept_at.new"; mv -f -- "$kept_at.new" "$kept_at"
}
# Where the value begins in a line that says the flag: in each of Go's spellings (one dash or two, one word or
# two), or as a variable; 0 where it does not. On the next line: minus one.
at_of='
  function at_of(s,   re) {
    if (s ~ /^[[:space:]]*[#;]/) return 0
    re = "(^|[[:space:]\"\047])--?" flag "(=|[[:space:]]+[^[:space:]\\\\])"
    if (match(s, re)) return substr(s, RSTART + RLENGTH - 1, 1) == "=" ? RSTART + RLENGTH : RSTART + RLENGTH - 1
    if (s ~ ("(^|[[:space:]\"\047])--?" flag "[\"\047]?[[:space:]]*\\\\?$")) return -1
    if (key != "" && match(s, "(^|[^A-Za-z0-9_-])" key "=")) return RSTART + RLENGTH
    return 0
  }'
places() { # FILE:VALUE of each place that says the flag; comments do not count
  if is_own; then
    words=$("$own_way" settings </dev/null) || cannot settings "$?"
    printf '%s\n' "$words" | sed -n "s|^--$FLAG=|$own_way:|p; s|^${KEY:-.none}=|$own_way:|p"
    return
  fi
  for f in $files; do
    [ -r "$f" ] || continue
    awk -v file="$f" -v flag="$FLAG" -v key="$KEY" "$at_of"'
      { line = $0 # a line may say it twice
        while (at = at_of(line)) {
          if (at < 0) { print file ":(on the next line)"; break }
          rest = substr(line, at)
          quote = substr(rest, 1, 1)
          if (quote == "\"" || quote == "\047") { rest = substr(rest, 2); sub(quote ".*", "", rest) }
          else sub(/["\047 \t\\].*/, "", rest)
          print file ":" rest
          line = substr(line, at + length(rest))
        } }' "$f"
  done
}
"""
)

_WRITE = (
    "# change a flag where the unit's files say it; the old file is set aside\n"
    + _FILES
    + r"""
set -eu
if is_own; then
  echo "drrun: what $UNIT is started with is $own_way's to say: change --$FLAG there" >&2; exit 5
fi
anew() { # FILE PROGRAM: written beside it, then put in its place
  new=${1%/*}/.${1##*/}.drrun-new
  cp -p -- "$1" "$new"
  OLD=$old awk -v flag="$FLAG" -v key="$KEY" "$at_of$2" "$1" >"$new"
  sync "$new"
  if is_pod; then # kubelet ends a pod whose manifest it cannot read; nor may it mean more or less than it did
    read_back=$(flat "$new" 2>&1 | awk -F '\t' -v f="$FLAG" '
      $1 ~ /^spec\.containers\[[0-9]+\]\.(command|args)\[[0-9]+\]$/ {
        w = $2; sub(/^--?/, "-", w)
        if (want) { print w; want = 0 }
        else if (index(w, "-" f "=") == 1) print substr(w, length(f) + 3)
        else if (w == "-" f) want = 1
      }')
    [ "$read_back" = "$VALUE" ] || {
      rm -f -- "$new"
      echo "drrun: $1 is written in a way in which --$FLAG cannot be changed: write it as a line of its own, - --$FLAG=VALUE" >&2; exit 5; }
  fi
  mv -f -- "$new" "$1"
}
if [ "$FLAG" = initial-cluster ]; then
  for f in $files; do
    [ -r "$f" ] && grep -v '^[[:space:]]*[#;]' "$f" | grep -Eq -e "(^|[[:space:]\"'[,])--?discovery" -e ETCD_DISCOVERY || continue
    echo "drrun: $f has etcd find its members by discovery: beside it, etcd starts with no --$FLAG" >&2; exit 5
  done
fi
case $KEY in ETCD_*)
  for f in $files; do
    [ -r "$f" ] && grep -v '^[[:space:]]*[#;]' "$f" | grep -Eq -e "(^|[[:space:]\"'[,])--?config-file" -e ETCD_CONFIG_FILE || continue
    echo "drrun: $f has etcd read a configuration file, and nothing beside it: change $FLAG there" >&2; exit 5
  done
  if is_pod && grep -v '^[[:space:]]*#' "$files" | grep -Eq "$KEY([^A-Z_]|\$)"; then
    echo "drrun: $files gives etcd $KEY as a variable: write it as a flag, - --$FLAG=VALUE" >&2; exit 5
  fi ;;
esac
found=$(places)
count=$(printf '%s' "$found" | grep -c . || true)
if [ "$count" = 0 ] && [ -n "$KEY" ]; then # said nowhere
  if is_pod; then # a flag of its own, behind one that only etcd has: there may be other containers
    old=
    keep "$files"
    anew "$files" '
      { print }
      !done && match($0, /^ *- ["\047]?--?(initial-advertise-peer-urls|listen-peer-urls|advertise-client-urls)=/) {
        match($0, /^ *- /); print substr($0, 1, RLENGTH) "--" flag "=" ENVIRON["VALUE"]; done = 1 }'
    exit 0
  fi
  # The last environment file says it now.
  last=$(systemctl show -p EnvironmentFiles "$UNIT" | sed -n 's/^EnvironmentFiles=\(.*\) (ignore_errors=[a-z]*)$/\1/p' | tail -n 1)
  if [ -w "$last" ]; then
    keep "$last"
    printf '%s="%s"\n' "$KEY" "$VALUE" >>"$last"
    sync "$last"
    systemctl daemon-reload
    exit 0
  fi
fi
[ "$count" = 1 ] || {
  echo "drrun: $FLAG of $UNIT is said in $count places: $(printf '%s' "$found" | tr '\n' ' ')" >&2; exit 5; }
file=${found%%:*}; old=${found#*:}
case $old in '(on the next line)')
  echo "drrun: $file says $FLAG of $UNIT on two lines: write it on one, as --$FLAG=VALUE" >&2; exit 5 ;;
esac
keep "$file"
anew "$file" '
  BEGIN { old = ENVIRON["OLD"]; new = ENVIRON["VALUE"] }
  { at = at_of($0)
    if (at > 0) {
      quote = substr($0, at, 1)
      if (quote == "\"" || quote == "\047") at++
      $0 = substr($0, 1, at - 1) new substr($0, at + length(old))
    }
    print }'
is_pod || systemctl daemon-reload
"""
)

BACK = (
    "# put the file back that said the flag\n"
    + _FILES
    + r"""
set -eu
for f in $files; do
  old=$(aside "$f"); new=${f%/*}/.${f##*/}.drrun-new
  [ ! -e "$old" ] || { cp -p -- "$old" "$new"; sync "$new"; mv -f -- "$new" "$f"; rm -f -- "$old"; }
done
is_pod || systemctl daemon-reload
"""
)


@dataclass(frozen=True, slots=True)
class ServiceFlag(Fact[tuple[str, ...]]):
    """The values that a unit's files give a flag: one where it is said once.

    `variable` is the name of an environment variable that says the same, if there is one.
    """

    name: ClassVar[str] = "service.flag"
    service: str
    flag: str
    variable: str = ""

    def about(self) -> tuple[str, ...]:
        """This flag in the unit's files."""
        return (f"flag:{self.service}:{self.flag}",)

    def ask(self) -> Command:
        """The unit, its drop-ins, its environment files."""
        return sh(_FILES + "places", **pods.named(self.service), FLAG=self.flag, KEY=self.variable)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Raises ValueError when the files cannot be read."""
        if reply.exit != 0:
            raise ValueError(f"cannot read the unit of {self.service}: {reply.complaint!r}")
        return tuple(line.partition(":")[2] for line in reply.text.splitlines())


def set_flag(fact: ServiceFlag, value: str, run: str) -> Command:
    """The command that gives the flag this value in the one place where it is said."""
    return sh(
        _WRITE,
        **pods.named(fact.service),
        FLAG=fact.flag,
        KEY=fact.variable,
        VALUE=value,
        RUN=f"{run}-{fact.flag}",
    )


def put_back(fact: ServiceFlag, run: str) -> Command:
    """The command that puts the file back as it was before `set_flag`."""
    return sh(BACK, **pods.named(fact.service), RUN=f"{run}-{fact.flag}")
