"""Flags of a service, changed where its unit's files say them.

A flag stands in the unit itself, in a drop-in, or in an environment file; what stands there is
what an operator will read next year, so that is the place that is changed. Anything else (a second
place, a drop-in over it) would leave a host that says two things.
Rule 1: exactly one place, or nothing is changed and the places are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.service.facts import unit

_FILES = r"""
LC_ALL=C; export LC_ALL
files=$(
  systemctl show -p FragmentPath --value "$UNIT"
  systemctl show -p DropInPaths --value "$UNIT" | tr ' ' '\n'
  systemctl show -p EnvironmentFiles "$UNIT" | sed -e 's/^EnvironmentFiles=//' -e 's/ (ignore_errors=[a-z]*)$//'
)
places() { # FILE:VALUE of each place that says the flag; comments do not count
  for f in $files; do
    [ -r "$f" ] || continue
    awk -v file="$f" -v flag="--$FLAG=" -v key="$KEY=" '
      /^[[:space:]]*[#;]/ { next }
      { at = index($0, flag); n = length(flag)
        if (!at && key != "=") { at = index($0, key); n = length(key) }
        if (!at) next
        if (at > 1 && substr($0, at - 1, 1) ~ /[A-Za-z0-9_-]/) next
        rest = substr($0, at + n)
        quote = substr(rest, 1, 1)
        if (quote == "\"" || quote == "\047") { rest = substr(rest, 2); sub(quote ".*", "", rest) }
        else sub(/["\047 \t\\].*/, "", rest)
        print file ":" rest }' "$f"
  done
}
"""

_WRITE = (
    "# change a flag where the unit's files say it; the old file is set aside\n"
    + _FILES
    + r"""
set -eu
found=$(places)
count=$(printf '%s' "$found" | grep -c . || true)
if [ "$count" = 0 ] && [ -n "$KEY" ]; then # said nowhere: the last environment file says it now
  last=$(systemctl show -p EnvironmentFiles "$UNIT" | sed -n 's/^EnvironmentFiles=\(.*\) (ignore_errors=[a-z]*)$/\1/p' | tail -n 1)
  if [ -w "$last" ]; then
    [ -e "$last.drrun-$RUN" ] || cp -p -- "$last" "$last.drrun-$RUN"
    printf '%s="%s"\n' "$KEY" "$VALUE" >>"$last"
    sync "$last"
    systemctl daemon-reload
    exit 0
  fi
fi
[ "$count" = 1 ] || {
  echo "drrun: $FLAG of $UNIT is said in $count places: $(printf '%s' "$found" | tr '\n' ' ')" >&2; exit 5; }
file=${found%%:*}; old=${found#*:}
[ -e "$file.drrun-$RUN" ] || cp -p -- "$file" "$file.drrun-$RUN"
cp -p -- "$file" "$file.drrun-new"
OLD=$old awk -v flag="--$FLAG=" -v key="$KEY=" '
  BEGIN { old = ENVIRON["OLD"]; new = ENVIRON["VALUE"] }
  /^[[:space:]]*[#;]/ { print; next }
  { at = index($0, flag); n = length(flag)
    if (!at && key != "=") { at = index($0, key); n = length(key) }
    if (at && !(at > 1 && substr($0, at - 1, 1) ~ /[A-Za-z0-9_-]/)) {
      quote = substr($0, at + n, 1)
      if (quote == "\"" || quote == "\047") n++
      $0 = substr($0, 1, at + n - 1) new substr($0, at + n + length(old))
    }
    print }' "$file" >"$file.drrun-new"
sync "$file.drrun-new"
mv -f -- "$file.drrun-new" "$file"
systemctl daemon-reload
"""
)

BACK = (
    "# put the file back that said the flag\n"
    + _FILES
    + r"""
set -eu
for f in $files; do [ ! -e "$f.drrun-$RUN" ] || mv -f -- "$f.drrun-$RUN" "$f"; done
systemctl daemon-reload
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
        return sh(_FILES + "places", UNIT=unit(self.service), FLAG=self.flag, KEY=self.variable)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Raises ValueError when the files cannot be read."""
        if reply.exit != 0:
            raise ValueError(f"cannot read the unit of {self.service}: {reply.complaint!r}")
        return tuple(line.partition(":")[2] for line in reply.text.splitlines())


def set_flag(fact: ServiceFlag, value: str, run: str) -> Command:
    """The command that gives the flag this value in the one place where it is said."""
    return sh(
        _WRITE,
        UNIT=unit(fact.service),
        FLAG=fact.flag,
        KEY=fact.variable,
        VALUE=value,
        RUN=f"{run}-{fact.flag}",
    )


def put_back(fact: ServiceFlag, run: str) -> Command:
    """The command that puts the file back as it was before `set_flag`."""
    return sh(BACK, UNIT=unit(fact.service), RUN=f"{run}-{fact.flag}")
