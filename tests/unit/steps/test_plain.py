"""Commands, scripts, files, copies, waits, HTTP, people."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.unit.steps.recorded_answers import said

from drrun.spi import Done, DoneChange, Refused, Repeat, Reply, Step, StepFailed
from drrun.testing import FakeHost
from drrun_steps import command, copy, file, http, human, script, wait
from drrun_steps.host import HostListening
from drrun_steps.probes import Answer, CommandCheck, HttpAnswer


def test_a_command_is_never_repeated_by_itself() -> None:
    """Nobody but its author knows what it does."""
    host = FakeHost("h", replies={"run": Reply(0, b"done\n", b"")})
    outputs = command.Run(argv=("touch", "/a b"), touches=("service:x",)).run(host)
    assert outputs == {"stdout": "done"}
    assert (host.changes[0].repeat, command.Run.repeat) == (None, Repeat.NEVER)  # the type's word
    assert host.changes[0].command.argv == ("touch", "/a b")
    assert host.changes[0].touches == ("service:x",)


def test_a_command_with_a_check_is_asked_first() -> None:
    """What is done already is not done again."""
    fact = CommandCheck(("test", "-e", "/a"))
    step = command.Run(argv=("touch", "/a"), check=("test", "-e", "/a"))
    host = FakeHost("h", {fact: True})
    step.run(host)
    assert host.changes == []
    host.answers[fact] = False
    step.run(host)
    assert host.changes[0].sets == {fact: True}
    assert fact.parse(said("", code=1)) is False


def test_an_exit_that_was_not_named_is_a_failure() -> None:
    """And one that was named is none."""
    host = FakeHost("h", replies={"run": Reply(3, b"", b"no\n")})
    with pytest.raises(StepFailed):
        command.Run(argv=("x",)).run(host)
    other = FakeHost("h", replies={"run": Reply(3, b"", b"")})
    command.Run.model_validate({"argv": ["x"], "exits": ["0", "3"]}).run(other)


def test_values_reach_a_script_as_environment_only() -> None:
    """A quote or a dollar stays what it is: no template touches the text."""
    host = FakeHost("h")
    script.Script(script="echo $NAME", env={"NAME": "$(rm -rf /) 'x'"}).run(host)
    sent = host.changes[0].command
    assert sent.text == "echo $NAME"
    done = subprocess.run(["/bin/sh"], input=sent.script(), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "$(rm -rf /) 'x'"


def test_a_file_is_written_only_when_it_differs() -> None:
    """Content, mode and owner."""
    digest = hashlib.sha256(b"x\n").hexdigest()
    fact = file.FileState("/etc/x")
    same = file.FileState("/etc/x").parse(said(f"644 root:root\n{digest}  -\n"))
    step = file.Put(path="/etc/x", content="x\n")
    host = FakeHost("h", {fact: same})
    step.run(host)
    assert host.changes == []
    host.answers[fact] = fact.parse(said(""))
    step.run(host)
    assert host.answers[fact] == same


def test_a_file_is_put_back(tmp_path: Path) -> None:
    """By a real shell: written over, set aside, and back again."""
    path = tmp_path / "x"
    path.write_text("old")
    host = FakeHost("h", {file.FileState(str(path)): file.State(exists=True)})
    owner = f"{path.owner()}:{path.group()}"
    step = file.Put(path=str(path), content="it's $new", owner=owner)
    step.run(host)
    _shell(host, 0)
    assert path.read_text() == "it's $new"
    before = {file.FileState(str(path)).key: {"exists": True}}
    step.undo(host, Done((DoneChange("write", "h", before),), {}))
    _shell(host, 1)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _shell(host: FakeHost, number: int) -> None:
    sent = host.changes[number].command.script()
    subprocess.run(["/bin/sh"], input=sent, check=True)


def test_a_copy_sets_aside_what_was_there(tmp_path: Path) -> None:
    """Undo puts it back only when something was copied."""
    source = tmp_path / "a"
    source.write_bytes(b"abc")
    host = FakeHost("h")
    step = copy.Copy(source=str(source), dest="/etc/a")
    assert step.run(host) == {"sha256": hashlib.sha256(b"abc").hexdigest()}
    assert host.change_names == ["set-aside", "copy"]
    step.undo(host, Done((), {}))
    step.undo(host, Done((DoneChange("copy", "h", {}),), {}))
    assert host.change_names[2:] == ["put-back"]


@pytest.mark.parametrize("kind", ["file", "copy"])
def test_what_a_full_disk_cut_short_is_not_what_is_put_back(
    kind: str, shell: tuple[str, ...], tmp_path: Path
) -> None:
    """What was there is set aside whole or not at all: a copy that was cut short is no old file."""
    path, source = tmp_path / "x", tmp_path / "source"
    path.write_text("old and long\n")
    source.write_text("new\n")
    step: file.Put | copy.Copy = copy.Copy(source=str(source), dest=str(path))
    if kind == "file":
        step = file.Put(path=str(path), content="new\n")
    host = FakeHost("h", {file.FileState(str(path)): file.State(exists=True, sha256="0")})
    step.run(host)
    script = host.changes[0].command.script()
    full = subprocess.run(
        shell, input=b"trap '' XFSZ\nulimit -f 0\n" + script, capture_output=True, check=False
    )
    assert full.returncode != 0
    assert path.read_text() == "old and long\n"
    subprocess.run(shell, input=script, capture_output=True, check=True)
    assert Path(f"{path}.drrun-{host.run}.{host.step}").read_text() == "old and long\n"


def test_waits_are_for_conditions() -> None:
    """A port, a command, an answer."""
    url = "http://127.0.0.1/x"
    host = FakeHost(
        "h",
        {
            HostListening(80): True,
            CommandCheck(("true",)): True,
            HttpAnswer(url): Answer(200, "all fine"),
        },
    )
    wait.Port.model_validate({"port": "80"}).run(host)
    wait.Done(argv=("true",)).run(host)
    wait.Answers(url=url, body="fine").run(host)
    with pytest.raises(Refused):
        wait.Port.model_validate({"port": "80", "open": "false"}).run(host)


def test_an_url_that_does_not_answer_is_an_answer() -> None:
    """Status 0 with the reason."""
    assert HttpAnswer("u").parse(said("hello\n200")) == Answer(200, "hello")
    dead = HttpAnswer("u").parse(said("\n000", code=7, err="curl: (7) Failed to connect"))
    assert dead == Answer(0, why="curl: (7) Failed to connect")
    host = FakeHost("h", {HttpAnswer("u"): dead})
    with pytest.raises(Refused, match="Failed to connect"):
        http.Get(url="u").run(host)


def test_a_person_must_say_the_word() -> None:
    """Anything else refuses; the run can be resumed and asks again."""
    host = FakeHost("controller")
    assert human.Confirm(question="drained?").run(host) == {"answer": "yes"}
    with pytest.raises(Refused, match="drained"):
        human.Confirm(question="drained?").run(FakeHost("controller", says="no"))


@pytest.mark.parametrize("printed", [b"x" * 65_537, b"\xff" * 65_537])
def test_too_much_output_is_no_value(printed: bytes) -> None:
    """The step succeeds, a note says so, and there is nothing that a later step could take for all of it."""
    for step in (command.Run(argv=("x",)), script.Script(script="x")):
        host = FakeHost("h", replies={"run": Reply(0, printed, b"")})
        assert step.run(host) == {}
        assert host.notes == ["no `stdout` to refer to: h: run printed 65537 bytes"]
        whole = FakeHost("h", replies={"run": Reply(0, b"x" * 65_536, b"")})
        assert step.run(whole) == {"stdout": "x" * 65_536}


@pytest.mark.parametrize(
    ("step", "fields", "where"),
    [
        (command.Run, {"argv": ["echo", "x" * 131_072]}, ("argv", 1)),
        (command.Run, {"argv": ["echo", "ü" * 65_536]}, ("argv", 1)),
        (command.Run, {"argv": ["x"], "check": ["x" * 131_072]}, ("check", 0)),
        (script.Script, {"script": "x", "env": {"VALUE": "x" * 131_066}}, ("env",)),
    ],
)
def test_what_no_program_can_be_given_is_refused(
    step: type[Step], fields: Mapping[str, object], where: tuple[str | int, ...]
) -> None:
    """Linux takes 128 KiB in one argument or variable: one byte more is a mistake of the runbook."""
    with pytest.raises(ValidationError, match="no program more than 131072") as caught:
        step.model_validate(fields)
    assert caught.value.errors()[0]["loc"] == where


@pytest.mark.parametrize("words", [["printf", "%s", "x" * 131_071], ["printf", "%s", "ü" * 65_535]])
def test_the_largest_argument_arrives(words: list[str]) -> None:
    """The limit is the kernel's own, to the byte."""
    command.Run.model_validate({"argv": words})
    host = FakeHost("h")
    command.Run(argv=tuple(words)).run(host)
    sent = host.changes[0].command.script().replace(b"printf", b"/usr/bin/printf", 1)
    done = subprocess.run(["/bin/sh"], input=sent, capture_output=True, check=True)
    assert done.stdout.decode() == words[2]


def test_the_largest_variable_arrives() -> None:
    """The limit is the kernel's own, to the byte."""
    host = FakeHost("h")
    value = "x" * 131_065
    script.Script.model_validate({"script": "printenv VALUE", "env": {"VALUE": value}}).run(host)
    sent = host.changes[0].command.script()
    done = subprocess.run(["/bin/sh"], input=sent, capture_output=True, check=True)
    assert done.stdout.decode() == f"{value}\n"


def test_a_check_may_print_what_it_likes() -> None:
    """Only its exit is an answer: nothing of a flood on stdout comes back."""
    for ask in (CommandCheck(("yes",)).ask(), script.ScriptCheck("yes").ask()):
        done = subprocess.run(
            ["/bin/sh"],
            input=ask.script().replace(b"yes", b"echo yes"),
            capture_output=True,
            check=True,
        )
        assert done.stdout == b""
