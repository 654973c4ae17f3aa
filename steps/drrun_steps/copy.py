"""A file of the controller, copied to hosts and verified by its sha256."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drrun.spi import Done, Effect, Fact, Host, HostStep, Outputs, Repeat, Step, sh

_ASIDE = r"""
# set the old file aside, whole or not at all: a full disk cuts a copy short
set -eu
if [ ! -e "$FILE" ] || [ -e "$ASIDE" ]; then exit 0; fi
cp -p -- "$FILE" "$ASIDE.new"
sync "$ASIDE.new"
mv -f -- "$ASIDE.new" "$ASIDE"
"""
_BACK = r"""
# put the old file back, or remove the copy where there was nothing
set -eu
if [ -e "$ASIDE" ]; then mv -f -- "$ASIDE" "$FILE"; exit; fi
[ "$WAS" = no ] || { echo "drrun: $ASIDE, which was set aside, is gone" >&2; exit 5; }
rm -f -- "$FILE"
"""


class Copy(HostStep):
    """Copy a file of the controller to the host, whole or not at all, verified by sha256.

    What was there is set aside first; undo puts it back, or removes the copy where there was
    nothing.
    """

    uses = "copy"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("sha256",)

    source: str
    """The file on the controller."""
    dest: str
    """The file on the host; its folder must exist."""
    mode: str = "0600"
    """Its mode, in octal, quoted."""
    owner: str = ""
    """user:group."""

    def run(self, host: Host) -> Outputs:
        """Set aside, copy."""
        aside = self._aside(host)
        host.change(
            "set-aside",
            sh(_ASIDE, FILE=self.dest, ASIDE=aside),
            touches=(f"file:{aside}",),
            repeat=Repeat.SAFE,
        )
        sha256 = host.put("copy", Path(self.source), self.dest, mode=self.mode, owner=self.owner)
        return {"sha256": sha256}

    def _aside(self, host: Host) -> str:
        return f"{self.dest}.drrun-{host.run}.{host.step}"

    def undo(self, host: Host, done: Done) -> None:
        """Put back what was there."""
        if done.did("copy", host.name):
            was = next(change.before for change in done.changes if change.name == "copy")
            host.change(
                "put-back",
                sh(
                    _BACK,
                    FILE=self.dest,
                    ASIDE=self._aside(host),
                    WAS="yes" if any(was.values()) else "no",
                ),
                touches=(f"file:{self.dest}",),
                repeat=Repeat.SAFE,
            )


STEPS: tuple[type[Step], ...] = (Copy,)
FACTS: tuple[type[Fact[Any]], ...] = ()
