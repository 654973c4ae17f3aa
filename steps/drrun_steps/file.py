"""A small file with given content, put in place atomically; what was there is set aside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from drrun.spi import Command, Done, Effect, Fact, Host, HostStep, Repeat, Reply, Step, sh

_WRITE = r"""
# write the file anew, set the old one aside
set -eu
umask 077
content=$CONTENT; unset CONTENT # a variable above 128 KiB would keep every program from starting
if [ -e "$FILE" ] && [ ! -e "$ASIDE" ]; then # whole, or not at all: a full disk cuts a copy short
  cp -p -- "$FILE" "$ASIDE.new"; sync "$ASIDE.new"; mv -f -- "$ASIDE.new" "$ASIDE"
fi
printf '%s' "$content" >"$FILE.drrun-new"
chmod "$MODE" "$FILE.drrun-new"
[ -z "$OWNER" ] || chown "$OWNER" "$FILE.drrun-new"
sync "$FILE.drrun-new"
mv -f -- "$FILE.drrun-new" "$FILE"
"""

_BACK = r"""
# put the old file back
set -eu
if [ -e "$ASIDE" ]; then mv -f -- "$ASIDE" "$FILE"; elif [ "$WAS" = no ]; then rm -f -- "$FILE"; fi
"""


@dataclass(frozen=True, slots=True)
class State:
    """A file as it is; all empty when there is none."""

    exists: bool
    sha256: str = ""
    mode: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class FileState(Fact[State]):
    """Content (as sha256), mode and owner of a file."""

    name: ClassVar[str] = "file.state"
    path: str

    def about(self) -> tuple[str, ...]:
        """The file."""
        return (f"file:{self.path}",)

    def ask(self) -> Command:
        """`stat` and a hash."""
        text = '[ -e "$F" ] || exit 0; stat -c "%a %U:%G" -- "$F"; sha256sum <"$F"'
        return sh(text, F=self.path)

    def parse(self, reply: Reply) -> State:
        """Raises ValueError when the file cannot be read."""
        if reply.exit != 0:
            raise ValueError(f"cannot read {self.path}: {reply.complaint}")
        words = reply.text.split()
        if not words:
            return State(exists=False)
        return State(True, words[2], words[0].zfill(4), words[1])


class Put(HostStep):
    """Give a file this content, mode and owner, atomically. Its old self is set aside.

    Undo puts the old file back, or removes the new one where there was none.
    """

    uses = "file"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    path: str
    """The file; its folder must exist."""
    content: str
    """All of it."""
    mode: str = Field(default="0644", pattern=r"^0?[0-7]{3,4}$")
    """Its mode, in octal, quoted."""
    owner: str = ""
    """user:group, or nothing: root as root."""

    def run(self, host: Host) -> None:
        """Write it unless it is so already."""
        fact = FileState(self.path)
        found = host.read(fact)
        digest = hashlib.sha256(self.content.encode()).hexdigest()
        wanted = State(True, digest, self.mode.zfill(4), self.owner or "root:root")
        if found != wanted:
            host.change(
                "write",
                sh(
                    _WRITE,
                    FILE=self.path,
                    ASIDE=f"{self.path}.drrun-{host.run}.{host.step}",
                    CONTENT=self.content,
                    MODE=self.mode,
                    OWNER=self.owner or "root:root",
                ),
                sets={fact: wanted},
                repeat=Repeat.SAFE,
            )

    def undo(self, host: Host, done: Done) -> None:
        """Put back what was there."""
        if not done.did("write", host.name):
            return
        fact = FileState(self.path)
        before = done.before(fact) or State(exists=False)
        host.change(
            "put-back",
            sh(
                _BACK,
                FILE=self.path,
                ASIDE=f"{self.path}.drrun-{host.run}.{host.step}",
                WAS="yes" if before.exists else "no",
            ),
            sets={fact: before},
            repeat=Repeat.SAFE,
        )


STEPS: tuple[type[Step], ...] = (Put,)
FACTS: tuple[type[Fact[Any]], ...] = (FileState,)
