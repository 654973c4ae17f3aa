"""A step type for real processes: an effect that can be counted, held up by a gate that a test opens."""

from __future__ import annotations

from drrun.spi import Effect, Host, HostStep, Repeat, sh


class Once(HostStep):
    """Write a word to a file, and never twice; wait for the gate first, if there is one."""

    uses, effect, repeat = "fire.once", Effect.CHANGE, Repeat.NEVER
    file: str
    word: str
    gate: str = ""
    code: int = 0

    def run(self, host: Host) -> None:
        """Say that it began, wait, write, end."""
        command = sh(
            'echo "begun $W" >>"$F.begun"\n'
            '[ -z "$G" ] || until [ -e "$G" ]; do sleep 0.02; done\n'
            'echo "$W" >>"$F"; echo "wrote $W"; exit "$C"',
            F=self.file,
            W=self.word,
            G=self.gate,
            C=str(self.code),
        )
        host.change("write", command)


STEPS = (Once,)
