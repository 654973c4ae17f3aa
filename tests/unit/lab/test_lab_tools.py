"""This machine's tools are run with a deadline, and waits end with evidence."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from drrun.errors import LabError
from drrun_lab import cli
from drrun_lab.access import shell_words
from drrun_lab.commands import attempt, run
from drrun_lab.lab import Lab
from drrun_lab.packages import install_missing, require_root
from drrun_lab.progress import Progress
from drrun_lab.waiting import until


def test_a_tool_that_hangs_is_killed_with_its_children() -> None:
    """The deadline holds for a shell's children as well: nothing is left behind."""
    with pytest.raises(LabError, match="did not end within"):
        run(["sh", "-c", "sleep 61.5 & wait"], timeout=0.2)
    listed = run(["ps", "-eo", "args"])
    assert "sleep 61.5" not in listed


def test_a_failed_tool_shows_its_last_lines() -> None:
    """The reason is in what the tool said last, not in its exit code."""
    with pytest.raises(LabError, match="exit 3 from") as caught:
        run(["sh", "-c", "echo the reason >&2; exit 3"])
    assert "the reason" in caught.value.message


def test_a_missing_tool_is_named() -> None:
    """With the command that installs it."""
    with pytest.raises(LabError, match="drrun-no-such-tool is not installed") as caught:
        attempt(["drrun-no-such-tool"])
    assert "lab up" in caught.value.hint


def test_a_wait_in_vain_tells_what_for_and_why() -> None:
    """Both the condition and the evidence are in the error."""
    with pytest.raises(LabError, match="in vain for the sun") as caught:
        until(lambda: False, timeout=0.05, every=0.01, awaiting="the sun", evidence=lambda: "night")
    assert caught.value.message.endswith("night")


def test_an_ordinary_user_is_told_what_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is touched, with the next move."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root") as caught:
        require_root("drrun lab up")
    assert "sudo" in caught.value.hint
    with pytest.raises(LabError, match="installing drrun-package needs root"):
        install_missing({"drrun-no-such-tool": "drrun-package"}, Progress(quiet=True))


def test_up_as_an_ordinary_user_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not even a lock file is left."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("DRRUN_LAB_STATE", str(tmp_path / "state"))
    with pytest.raises(LabError, match="needs root"):
        Lab.up("lab", progress=Progress(quiet=True))
    assert not (tmp_path / "state").exists()


def test_progress_is_a_plain_line_with_the_time_taken() -> None:
    """Readable in a log as on a terminal: no cursor tricks."""
    stream = io.StringIO()
    Progress(stream).say("booting")
    assert stream.getvalue().endswith("s  booting\n")
    assert "\x1b" not in stream.getvalue()


def test_one_word_is_a_script_and_several_are_a_command() -> None:
    """`exec cp1 'a; b'` is a script; `exec cp1 -- touch 'a b'` keeps its arguments apart."""
    assert shell_words(["systemctl stop etcd; true"]) == "systemctl stop etcd; true"
    assert shell_words(["touch", "a b"]) == "touch 'a b'"


def test_asking_for_a_lab_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status says how to make one, exec fails with the next move, down has nothing to do."""
    monkeypatch.setenv("DRRUN_LAB_STATE", str(tmp_path))
    assert cli.status() == 0
    assert "drrun lab up" in capsys.readouterr().out
    assert cli.execute("cp1", "true") == 1
    assert "next: `drrun lab up --name lab`" in capsys.readouterr().err
    assert cli.down() == 0
    assert not list(tmp_path.iterdir())
