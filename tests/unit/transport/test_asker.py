"""A shell that is asked again and again, in every shell that it may meet."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drrun.errors import Unreachable
from drrun.transport.asker import Asker, AskerEnded, Marked, opening, question
from drrun.transport.deadline import Deadline
from drrun.transport.line import ShellLine
from drrun.transport.local import LocalProcess
from drrun.transport.process import Kept

from .conftest import Lines


@pytest.fixture
def asked(lines: Lines, shell: tuple[str, ...]) -> ShellLine:
    """A line to this machine in each shell, already asked once."""
    line = lines(shell)
    assert line.ask(b"echo first", timeout=10).stdout == b"first\n"
    return line


def alone(line: ShellLine) -> int:
    """The pid of the shell that answers."""
    return int(line.ask(b"echo $$", timeout=10).stdout)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A pipe on which a process can wait until the test is over."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    holder = os.open(path, os.O_RDWR)
    yield path
    os.write(holder, b"\n" * 9)
    os.close(holder)


def test_one_shell_answers_many_questions(asked: ShellLine) -> None:
    """A question takes no channel of its own."""
    assert len({alone(asked) for _ in range(5)}) == 1


def test_questions_do_not_meet(asked: ShellLine) -> None:
    """Variables, functions, options, directory, umask, traps: nothing of one is there for the next."""
    first = (
        b"cd /; umask 000; V=leaked; f() { echo leaked; }; set -e -u; trap 'echo bye' EXIT\n"
        b"exec 2>&1; set -- a b; PATH=/nowhere; exit 3\n"
    )
    reply = asked.ask(first, timeout=10)
    assert (reply.exit, reply.stdout) == (3, b"bye\n")
    second = b'pwd; umask; echo "${V-none} $# ${PATH#*:/usr/sbin}"; f; echo "$-"'
    seen = asked.ask(second, timeout=10).stdout
    fresh = asked.ask(second, timeout=10).stdout
    assert seen == fresh
    assert b"leaked" not in seen
    assert b"\nnone 0 " in seen


def test_every_exit_comes_back(asked: ShellLine) -> None:
    """By `exit`, by its last command, by errexit, by a signal to a child: the code is the script's."""
    for script, code in (
        (b"exit 77", 77),
        (b"false", 1),
        (b"set -e\nfalse\necho never", 1),
        (b"sh -c 'kill -9 $$'", 137),
        (b"return 4", 4),
        (b": ok", 0),
    ):
        assert asked.ask(script, timeout=10).exit == code, script


def test_any_bytes_come_through(asked: ShellLine) -> None:
    """NUL, non-UTF-8, no newline at the end, an empty stream: both are what the script wrote."""
    reply = asked.ask(rb"printf '\000\377\n\n'; printf '\n\n\000x' >&2", timeout=10)
    assert (reply.stdout, reply.stderr) == (b"\0\xff\n\n", b"\n\n\0x")
    reply = asked.ask(b":", timeout=10)
    assert (reply.stdout, reply.stderr) == (b"", b"")


def test_a_flood_is_cut_and_the_next_answer_is_whole(asked: ShellLine) -> None:
    """What is over the limit is dropped, on both streams; the shell is used again."""
    pid = alone(asked)
    flood = b"head -c 3000000 /dev/zero >&2 & head -c 3000000 /dev/zero; wait; exit 4"
    reply = asked.ask(flood, timeout=20, limit=1000)
    assert (reply.exit, len(reply.stdout), len(reply.stderr)) == (4, 1000, 1000)
    assert reply.truncated
    assert alone(asked) == pid


def test_a_script_that_is_no_shell_spoils_nothing(asked: ShellLine) -> None:
    """A syntax error is told as before, by the shell's own end; the next question is answered."""
    reply = asked.ask(b"if )", timeout=10)
    assert reply.exit not in {0, None}
    assert reply.stdout == b""
    assert b"syntax" in reply.stderr.lower()
    assert asked.ask(b"echo next", timeout=10).stdout == b"next\n"


def test_a_syntax_error_never_runs_the_question_before(asked: ShellLine, tmp_path: Path) -> None:
    """Whatever a shell makes of a broken function, the one before it is not called again."""
    effect = tmp_path / "effect"
    asked.ask(f"echo x >>{effect}".encode(), timeout=10)
    asked.ask(b"if )", timeout=10)
    assert effect.read_text() == "x\n"


def test_a_script_may_kill_its_shell(asked: ShellLine) -> None:
    """`kill -9 $$` ends with no exit, as a program's end by a signal does; the next is answered."""
    assert asked.ask(b"echo said; kill -9 $$", timeout=10).exit is None
    assert asked.ask(b"echo next", timeout=10).stdout == b"next\n"


def test_a_shell_that_died_idle_is_replaced(asked: ShellLine) -> None:
    """Somebody ends the shell between two questions: the second is asked in a new one."""
    pid = alone(asked)
    os.kill(pid, 9)
    assert alone(asked) != pid


@pytest.mark.parametrize(
    "daemon",
    [b"(read x <%s; echo late) &", b"(read x <%s; echo late) 2>&- &"],
    ids=["both", "stdout"],
)
def test_a_daemon_never_writes_into_the_next_answer(
    asked: ShellLine, gate: Path, daemon: bytes
) -> None:
    """While anybody holds stdout the question is not over; the next one has a shell of its own."""
    pid = alone(asked)
    with pytest.raises(Unreachable, match=r"within 0\.5 s"):
        asked.ask(daemon % str(gate).encode() + b" echo here", timeout=0.5)
    with gate.open("w") as late:
        late.write("go\n")
    assert alone(asked) != pid


def test_a_shell_that_says_what_nobody_asked_is_left(asked: ShellLine, gate: Path) -> None:
    """What a question left behind complains of later is not in the next answer."""
    pid = alone(asked)
    script = f"sh -c 'read x <{gate}; echo late >&2' >/dev/null & echo here".encode()
    assert asked.ask(script, timeout=10).stdout == b"here\n"
    (idle,) = [shell for shell in asked._lanes._idle if isinstance(shell, Asker)]
    with gate.open("w") as late:
        late.write("go\n")
    deadline = Deadline.after(10)
    while not idle.broken:
        deadline.need()
    reply = asked.ask(b"echo $$; echo mine >&2", timeout=10)
    assert (int(reply.stdout) != pid, reply.stderr) == (True, b"mine\n")


def test_a_daemon_that_lets_go_holds_nobody(asked: ShellLine, gate: Path) -> None:
    """A program in the background that has neither stream is no part of the question."""
    script = f"sh -c 'read x <{gate}' >/dev/null 2>&1 & echo here".encode()
    assert asked.ask(script, timeout=10).stdout == b"here\n"


def test_what_a_child_says_after_the_script_is_kept(asked: ShellLine) -> None:
    """The output is over when its last writer is, as it was with a channel of its own."""
    reply = asked.ask(b"(sleep 0.1; echo late) & echo early; exit 6", timeout=10)
    assert (reply.exit, reply.stdout) == (6, b"early\nlate\n")


def test_a_login_script_that_talks_is_not_heard(shell: tuple[str, ...]) -> None:
    """What a shell's start printed is no answer; when the shell cannot start, it is all there is."""
    noisy = ("sh", "-c", 'echo hello; echo oops >&2; exec "$@"', "sh", *shell, "-s")
    asker = Asker(LocalProcess(noisy))
    reply = asker.ask(b"echo out; echo err >&2", Deadline.after(10), 99)
    asker.close()
    assert (reply.stdout, reply.stderr) == (b"out\n", b"err\n")
    asker = Asker(LocalProcess(("sh", "-c", "echo no such user >&2; exit 9")))
    with pytest.raises(AskerEnded) as ended:
        asker.ask(b"echo", Deadline.after(10), 99)
    asker.close()
    assert (ended.value.reply.exit, ended.value.reply.stderr) == (9, b"no such user\n")
    assert ended.value.first


def test_half_a_script_is_never_run(shell: tuple[str, ...], tmp_path: Path) -> None:
    """Wherever a line breaks before the end of a script, nothing of the script has run."""
    effect = tmp_path / "effect"
    script = f"echo x >{effect}\n".encode()
    wire = question(script, "mark")
    for cut in range(wire.index(b"\n{ (") + 1):
        told = opening("nonce") + wire[:cut]
        subprocess.run([*shell, "-s"], input=told, capture_output=True, check=False, timeout=10)
        assert not effect.exists(), told
    subprocess.run([*shell, "-s"], input=opening("nonce") + wire, capture_output=True, check=True)
    assert effect.exists()


@given(
    noise=st.binary(max_size=30),
    body=st.binary(max_size=60),
    late=st.binary(max_size=9),
    pieces=st.lists(st.integers(1, 9), max_size=60),
    limit=st.integers(0, 60),
)
def test_a_stream_is_cut_at_its_marks(
    noise: bytes, body: bytes, late: bytes, pieces: list[int], limit: int
) -> None:
    """However it comes in pieces, all between the first and the last mark is kept, to the limit."""
    assume(b"N" not in noise + body + late)
    told = noise + b"\nN \n" + body + b"\nN.1 7\n" + late + b"\nN.1 0\n"
    marked = Marked(Kept(limit, bytearray()), b"\nN ", b"\nN.1 ", 2)
    at = 0
    for size in [*pieces, len(told)]:
        marked(told[at : at + size])
        at += size
        assert marked.over == (at >= len(told))
    assert marked.words == ["7", "0"]
    assert bytes(marked.kept.data) == (body + late)[:limit]
    assert marked.kept.cut == (len(body + late) > limit)


def test_questions_from_many_threads(lines: Lines) -> None:
    """Twenty at once on the few shells that a connection may have: each gets its own answer."""
    line, seen = lines(), dict[int, bytes]()

    def ask(n: int) -> None:
        seen[n] = line.ask(b"echo %d" % n, timeout=20).stdout

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {n: b"%d\n" % n for n in range(20)}
