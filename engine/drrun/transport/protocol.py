"""drrun/1 as text: the requests a host is sent, and what its answers mean. Pure.

Rule 1: a request is one line of [A-Za-z0-9._-] words, then exactly the bytes it announced.
Rule 2: an answer is found by its nonce; whatever a login script prints before it is skipped.
Rule 3: sizes come before bytes, so that output may hold anything.

docs/reference/host-protocol.md is the contract; agent.sh is the other side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from drrun.errors import Refused
from drrun.ports import Job, JobReport, JobState, Leftover, LeftoverState

OUTPUT_CAP = 64 << 20
"""Bytes of a stream that a host keeps of one job."""

PAGE = 1 << 19
"""Bytes of a stream that one answer carries."""

CODED_LIMIT = 800
"""Characters up to which a script travels as a line: shells read a pipe byte by byte."""

_UNSAFE = re.compile(rb"[^ -\[\]-~]")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TOKEN = re.compile(r"c-[0-9a-z][0-9a-z._-]{0,61}")
_WORD = re.compile(r"[A-Za-z0-9._:+-]{1,128}")


class BadAnswerError(ValueError):
    """The host spoke, but not drrun/1."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request line, and the bytes that follow it."""

    line: str
    payload: bytes = b""

    @property
    def wire(self) -> bytes:
        """What is sent."""
        return self.line.encode() + b"\n" + self.payload


@dataclass(frozen=True, slots=True)
class Header:
    """An answer's first line. `send` announces the bytes of stdout and stderr that follow."""

    state: str
    boot_id: str = ""
    code: int | None = None
    size: tuple[int, int] = (0, 0)
    send: tuple[int, int] = (0, 0)
    cut: int = 0
    """1: stdout was cut, 2: stderr was; 3: both."""
    timed_out: bool = False
    why: str = ""

    def report(self, out: bytes, err: bytes) -> JobReport:
        """The answer as the port tells it. Raises BadAnswerError on a state that is not one."""
        try:
            state = JobState(self.state)
        except ValueError:
            raise BadAnswerError(f"{self.state!r} is no state of a job: {self.why}") from None
        return JobReport(
            state=state,
            boot_id=self.boot_id,
            code=self.code if state is JobState.EXITED else None,
            why=self.why,
            out=out,
            err=err,
            out_size=self.size[0],
            err_size=self.size[1],
            out_cut=bool(self.cut & 1),
            err_cut=bool(self.cut & 2),
            timed_out=self.timed_out,
        )


def parse_header(line: str) -> Header:
    """`state=… boot=… …` with `why=` last, for it may hold anything. Raises BadAnswerError."""
    front, _, why = line.partition(" why=")
    fields = dict(word.partition("=")[::2] for word in front.split())
    try:
        return Header(
            state=fields["state"],
            boot_id=fields.get("boot", ""),
            code=int(fields["code"]) if fields.get("code") else None,
            size=_pair(fields.get("size", "0,0")),
            send=_pair(fields.get("send", "0,0")),
            cut=int(fields.get("cut", "0")),
            timed_out=fields.get("late", "0") != "0",
            why=why.strip(),
        )
    except (KeyError, ValueError) as exc:
        raise BadAnswerError(f"not an answer of drrun/1: {line[:200]!r}") from exc


def _pair(text: str) -> tuple[int, int]:
    first, second = text.split(",")
    return int(first), int(second)


def split_answer(data: bytes, nonce: str) -> tuple[Header, int] | None:
    """The header in `data` and where its bytes begin; None while it is not all there."""
    mark = b"\n" + nonce.encode() + b" "
    start = data.find(mark)
    if start < 0:
        return None
    end = data.find(b"\n", start + 1)
    if end < 0:
        return None
    line = data[start + len(mark) : end].decode("utf-8", "backslashreplace")
    return parse_header(line), end + 1


def launch(job: Job, cap: int = OUTPUT_CAP) -> Request:
    """Claim and start. Raises Refused on a NUL byte: a shell would silently drop it."""
    if b"\0" in job.script:
        raise Refused(
            "a script holds a NUL byte, which no shell can carry",
            hint="put binary data into a file and upload it",
        )
    line = coded(job.script) if len(job.script) <= CODED_LIMIT else b""
    short = 0 < len(line) <= CODED_LIMIT
    words = (
        *_job(job.run, job.token),
        str(_epoch(job.epoch)),
        str(_millis(job.timeout)),
        str(int(job.durable)),
        str(cap),
        str(len(line if short else job.script)),
        _word(str(job.witness)),
        str(_millis(job.wait)),
        "line" if short else "raw",
    )
    return Request(" ".join(("launch", *words)), line + b"\n" if short else job.script)


def coded(script: bytes) -> bytes:
    """The script as one line of ASCII that `printf %b` turns back: no program need read it."""
    return _UNSAFE.sub(lambda found: b"\\0%03o" % found[0][0], script)


def poll(run: str, token: str, *, out_from: int, err_from: int, wait: float) -> Request:
    """Ask for the state and the output from two offsets on."""
    where = " ".join(_job(run, token))
    return Request(f"poll {where} {int(out_from)} {int(err_from)} {_millis(wait)} {PAGE}")


def abandon(run: str, token: str, epoch: int) -> Request:
    """Make the token unable to begin."""
    return Request(f"abandon {' '.join(_job(run, token))} {_epoch(epoch)}")


def kill(run: str, token: str, grace: float) -> Request:
    """End the job's process group."""
    return Request(f"kill {' '.join(_job(run, token))} {_millis(grace)}")


def ack(run: str, token: str, *more: str) -> Request:
    """Empty the job's folder, and those of more jobs of the run; the answer tells of the last."""
    return Request(" ".join(("ack", *_job(run, token), *(_job(run, other)[1] for other in more))))


def fence(run: str, epoch: int, holder: str) -> Request:
    """Raise the epoch, take the host's lock. `holder` is for people: one line, any words."""
    words = " ".join(holder.split()) or "somebody"
    return Request(f"fence {_run(run)} {_epoch(epoch)} {words}")


def release(run: str, epoch: int) -> Request:
    """Give the host's lock back."""
    return Request(f"release {_run(run)} {_epoch(epoch)}")


def sweep(run: str, epoch: int, *, dry: bool) -> Request:
    """Remove what a run that is over left; with `dry`, say how much that is."""
    return Request(f"sweep {_run(run)} {_epoch(epoch)}{' dry' if dry else ''}")


def strays(*, dry: bool) -> Request:
    """Remove agents of other versions; with `dry`, name them."""
    return Request(f"strays - -{' dry' if dry else ''}")


def leftover(header: Header) -> Leftover:
    """What a sweep's answer says. Raises BadAnswerError on a word that is none of it."""
    try:
        found = LeftoverState(header.state)
    except ValueError:
        raise BadAnswerError(f"no answer to a sweep: {header.state!r} {header.why}") from None
    count = re.fullmatch(r"jobs=(\d+) kib=(\d*)", header.why)
    if count is None:
        return Leftover(found, why=header.why)
    return Leftover(found, jobs=int(count[1]), kib=int(count[2] or 0))


def install(agent: bytes) -> Request:
    """Keep the agent on the host, for supervisors to run."""
    return Request(f"install - {len(agent)}", agent)


def _run(run: str) -> str:
    if not _RUN.fullmatch(run):
        raise Refused(f"{run!r} cannot name a run on a host: letters, digits and . _ - only")
    return run


def _job(run: str, token: str) -> tuple[str, str]:
    if not _TOKEN.fullmatch(token):
        raise Refused(f"{token!r} is no token: c- and lower-case letters and digits")
    return _run(run), token


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise Refused(f"{text!r} cannot be handed to a host as a word")
    return text


def _epoch(epoch: int) -> int:
    if epoch < 0:
        raise Refused(f"an epoch is not negative: {epoch}")
    return epoch


def _millis(seconds: float) -> int:
    return max(0, round(seconds * 1000))
