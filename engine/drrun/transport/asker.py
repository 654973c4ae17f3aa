"""One shell on a host that is asked again and again: a question costs some forks, not a channel.

For a channel sshd pays a process, a login shell and six packets. This shell is there already. It
knows nothing of drrun/1, claims nothing, opens no file: what it is told is all there is of it.

Rule 1: a question is one function. What did not arrive whole, or is no shell, never runs.
Rule 2: it is over when nobody holds its stdout any more, so no answer holds another's bytes. To
wait for stderr as well would cost a second program: what still comes there spoils the shell.
Rule 3: what ends the shell (a syntax error, `kill -9 $$`) ends this one only. Of its first question
that is the answer, as a program's end is; of a later one it proves nothing, and a fresh one is asked.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from drrun.transport.deadline import Deadline
from drrun.transport.process import Kept, Process
from drrun.transport.protocol import BadAnswerError
from drrun.values import Reply

# sshd gives accounts a PATH without sbin, where half of what an operator needs lives. What a login
# script printed lies before the marks, and is no answer.
_OPENING = b"""exec 8>&1
case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;; esac
printf '\\n%%s \\n' %(mark)s; printf '\\n%%s \\n' %(mark)s >&2
"""

# `cat` ends when nobody holds stdout. The parentheses keep an `exit` from skipping the code; what is
# closed in them by `exec`, no process of the script's can hold.
_QUESTION = b"""drrun_ask() {
%(script)s
}
{ (exec 8>&-; drrun_ask); printf '\\n%%s %%s\\n' %(mark)s $?; } </dev/null | cat >&8
printf '\\n%%s %%s\\n' %(mark)s $?; printf '\\n%%s \\n' %(mark)s >&2; unset -f drrun_ask
"""


def opening(nonce: str) -> bytes:
    """What a shell is told once, before its first question."""
    return _OPENING % {b"mark": nonce.encode()}


def question(script: bytes, mark: str) -> bytes:
    """What it is told for each. Stdout has two marks: the script's exit, and whether all came."""
    return _QUESTION % {b"script": script, b"mark": mark.encode()}


class AskerEnded(Exception):
    """The shell ended under a question. `first`: it was its first one, so `reply` is the answer."""

    def __init__(self, reply: Reply, *, first: bool) -> None:
        super().__init__("the shell ended")
        self.reply = reply
        self.first = first


@dataclass(slots=True)
class Marked:
    """One stream, as it comes: words between marks are taken out, the rest is kept."""

    kept: Kept
    noise: bytes
    """The mark before which nothing counts; empty when it was seen before."""
    mark: bytes
    marks: int
    """How often it is to come."""
    words: list[str] = field(default_factory=list)
    _rest: bytes = b""

    @property
    def over(self) -> bool:
        """Whether all marks have come."""
        return len(self.words) == self.marks

    def __call__(self, data: bytes) -> None:
        """Take the next bytes."""
        self._rest += data
        if self.noise and self._word(self.noise) is not None:
            self.kept.data.clear()
            self.kept.cut, self.noise = False, b""
        while not self.noise and not self.over and (word := self._word(self.mark)) is not None:
            self.words.append(word.decode("ascii", "backslashreplace"))

    def _word(self, mark: bytes) -> bytes | None:
        """Keep what surely stands before the next mark; give what stands between it and LF."""
        at = self._rest.find(mark)
        # Without it, its beginning may be there already.
        sure = at if at >= 0 else max(0, len(self._rest) - len(mark) + 1)
        self.kept(self._rest[:sure])
        self._rest = self._rest[sure:]
        word, found, rest = self._rest[len(mark) :].partition(b"\n")
        if at < 0 or not found:
            return None
        self._rest = rest
        return word

    def end(self) -> None:
        """No mark follows any more: the shell has ended."""
        self.kept(self._rest)


class Asker:
    """A shell that waits for questions. Not safe for two threads at once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._nonce = secrets.token_hex(8)
        self._asked = 0

    def ask(self, script: bytes, deadline: Deadline, limit: int) -> Reply:
        """Run a script to its end, and to that of all that hold its streams.

        Raises AskerEnded, TimeoutError, OSError, and BadAnswerError when its end makes no sense.
        """
        first, self._asked = self._asked == 0, self._asked + 1
        mark = f"{self._nonce}.{self._asked}"
        noise = f"\n{self._nonce} ".encode() if first else b""
        out, err = (
            Marked(Kept(limit, bytearray()), noise, f"\n{mark} ".encode(), marks)
            for marks in (2, 1)
        )
        wire = question(script, mark)
        self._send(opening(self._nonce) + wire if first else wire, deadline)
        while not (out.over and err.over):
            got = self._process.receive(deadline)
            if got is None:
                out.end()
                err.end()
                raise AskerEnded(_reply(self._process.status(deadline), out, err), first=first)
            stream, data = got
            (err if stream == "err" else out)(data)
        code, passed = out.words
        if not code.isdecimal() or passed != "0":
            raise BadAnswerError(f"a script's output did not come whole: {out.words}")
        return _reply(int(code), out, err)

    def _send(self, data: bytes, deadline: Deadline) -> None:
        try:
            self._process.send(data, deadline)
        except TimeoutError:
            raise
        except OSError:
            pass  # it ended early (sudo refusing): its last words are still to be read

    @property
    def broken(self) -> bool:
        """Whether it is known to be gone, or says what nobody asked for."""
        return self._process.broken or self._process.talking

    def close(self) -> None:
        """End it."""
        self._process.close()


def _reply(code: int | None, out: Marked, err: Marked) -> Reply:
    cut = out.kept.cut or err.kept.cut
    return Reply(code, bytes(out.kept.data), bytes(err.kept.data), truncated=cut)
