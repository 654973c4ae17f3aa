"""The words of the command line: help, slips, errors, colours, and a bug's end."""

from __future__ import annotations

import io
import sys

import pytest
from inline_snapshot import snapshot
from tests.unit.cli.conftest import Desk

from drrun.cli.ending import guarded
from drrun.cli.main import run
from drrun.cli.terminal import Terminal
from drrun.cli.verbs import VERBS


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """`drrun --help` lists every verb, those of other packages too, and exits 0."""
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in (*VERBS, "lab"))


def test_help_loads_neither_parser_nor_engine() -> None:
    """The fast answers import no pydantic, paramiko, networkx, jinja2, rich or cyclopts."""
    import subprocess

    code = (
        "import sys; from drrun.cli.main import run; run(['--help']);"
        "heavy={'pydantic','paramiko','networkx','jinja2','rich','cyclopts','yaml'};"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str, desk: Desk) -> None:
    """Each verb's module loads and its --help exits 0."""
    said = desk(verb, "--help")
    assert said.code == 0
    assert verb in said.out


def test_no_words_is_usage(desk: Desk) -> None:
    """`drrun` alone prints the overview and exits 2."""
    assert desk().code == 2


def test_a_slip_is_told_from_a_file(desk: Desk) -> None:
    """A word that is nothing exits 2 and names the nearest verb."""
    said = desk("resum")
    assert said.code == 2
    assert said.err == snapshot("""\
drrun: 'resum' is not a file, not a stock runbook and not a verb
  next: did you mean `resume`?
""")


def test_a_verb_after_its_options_is_told(desk: Desk) -> None:
    """`drrun -v status` says where the verb goes."""
    said = desk("-v", "status")
    assert said.code == 2
    assert "is a verb" in said.err


def test_a_file_named_like_a_verb_is_reached_by_its_path(desk: Desk) -> None:
    """./resume is a file, resume is the verb."""
    (desk.folder / "resume").write_text((desk.folder / "demo.yaml").read_text())
    assert desk("./resume", "--dry-run").code == 0


def test_an_unknown_option_is_usage(desk: Desk) -> None:
    """An option that is not there exits 2 with the verb's help as the next move."""
    said = desk("demo.yaml", "--dry-runn")
    assert said.code == 2
    assert said.err == snapshot("""\
drrun: Unknown option: --dry-runn. Did you mean --dry-run?
  next: `drrun run --help`
""")


def test_no_inventory_says_where_one_is_looked_for(desk: Desk) -> None:
    """Without -i, $DRRUN_INVENTORY and ./inventory.yaml: exit 2, all three named."""
    (desk.folder / "inventory.yaml").unlink()
    said = desk("demo.yaml", "-n")
    assert said.code == 2
    assert said.err == snapshot("""\
drrun: there is no inventory: -i was not given, DRRUN_INVENTORY is not set, and there is no ./inventory.yaml
  next: name one: -i INVENTORY, or begin one with `drrun init DIR`
""")


def test_the_environment_names_the_inventory(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """$DRRUN_INVENTORY is used when -i is not given."""
    (desk.folder / "inventory.yaml").rename(desk.folder / "other.yaml")
    monkeypatch.setenv("DRRUN_INVENTORY", str(desk.folder / "other.yaml"))
    assert desk("demo.yaml", "-n").code == 0


def test_extra_must_be_a_pair(desk: Desk) -> None:
    """-e without = is a usage error; the same key twice as well."""
    assert desk("demo.yaml", "-n", "-e", "x").code == 2
    assert desk("demo.yaml", "-n", "-e", "x=1", "-e", "x=2").code == 2


def test_an_error_is_json_when_json_is_asked_for(desk: Desk) -> None:
    """With --output json an error is a record on standard output too."""
    said = desk("status", "nothing", "-o", "json")
    assert said.code == 2
    assert '"type": "error"' in said.out
    assert '"exit_code": 2' in said.out


def test_a_bug_is_short_and_kept(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug exits 70 with one line and the path of a file that holds the traceback."""

    def broken() -> int:
        raise ZeroDivisionError("oh")

    assert guarded(broken) == 70
    said = capsys.readouterr().err
    assert "a bug in drrun: ZeroDivisionError" in said
    assert "Traceback" not in said
    kept = list((desk.folder).glob("elsewhere/tracebacks/*.txt"))
    assert "Traceback" in kept[0].read_text()


def test_a_pipe_that_breaks_elsewhere_is_a_bug_and_no_success(desk: Desk) -> None:
    """Only a reader of ours that left is exit 0: a broken pipe to anybody else must not look so."""

    def broken() -> int:
        raise BrokenPipeError

    assert guarded(broken) == 70
    assert "a bug in drrun: BrokenPipeError" in desk.capture.readouterr().err


def test_an_interrupt_outside_a_run_exits_130(desk: Desk) -> None:
    """^C where nothing runs leaves with 130."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    assert guarded(interrupted) == 130


class _Gone(io.StringIO):
    """A pipe whose reader left."""

    def write(self, text: str, /) -> int:
        """Fail as the kernel does."""
        raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_that_left_costs_no_run() -> None:
    """Writing to a closed pipe is swallowed."""
    gone = Terminal(out=_Gone(), err=_Gone())
    gone.say("x")
    gone.warn("y")
    gone.give({})


class _Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_colours_only_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Auto paints a terminal, but neither with NO_COLOR nor on TERM=dumb; always paints all."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Terminal(out=_Screen()).paints(_Screen())
    assert not Terminal().paints(io.StringIO())
    assert Terminal(color="always").paints(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Terminal().paints(_Screen())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not Terminal().paints(_Screen())
    assert not Terminal(err=_Screen()).animated


def test_marks_are_painted() -> None:
    """A line's mark gets its colour, the rest none."""
    screen = Terminal(color="always")
    assert screen.painted("  ✔ done", io.StringIO()) == "  \x1b[32m✔\x1b[0m done"
    assert screen.painted("plain", io.StringIO()) == "plain"
