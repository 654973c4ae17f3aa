"""Whole runs of the real command over a real sshd: output of any size and kind, commands that end badly.

What is counted and compared is on the disk: the run's folder, and files that the commands touch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.transport.site import Said, Site, a_site

from drrun.journal.events import ChangeIntended
from drrun.ports import Job, JobState
from drrun.transport.protocol import OUTPUT_CAP
from drrun.transport.ssh import SshTransport
from drrun.values import Digest

pytestmark = pytest.mark.sshd

GIGABYTE = 1_000_000_000
PEAK = 150
"""MB that a controller may take at its peak."""
FORMATS = ("text", "md", "json", "html", "junit")


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host for all the tests of this file."""
    with a_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(name="site")
def _site(place: Site, tmp_path: Path) -> Site:
    """The host, and an operator's place of its own."""
    (tmp_path / "inventory.yaml").write_bytes((place.folder / "inventory.yaml").read_bytes())
    return Site(tmp_path, place.sshd, place.enter)


def script(text: str, **more: Any) -> Mapping[str, Any]:
    """A step that runs a script."""
    return {"uses": "script", "on_unknown": "ask", "with": {"script": text, **more}}


def block(site: Site, size: int) -> tuple[Path, bytes]:
    """A file of random bytes for commands to print."""
    path, data = site.folder / "block", os.urandom(size)
    path.write_bytes(data)
    path.chmod(0o644)
    return path, data


FLOODS: Mapping[str, Callable[[Path, bytes], tuple[str, bytes]]] = {
    "no-newline": lambda path, _: (f"head -c {GIGABYTE} /dev/zero", bytes(OUTPUT_CAP)),
    "lines": lambda path, _: (
        f"yes 'all is well on this host' | head -c {GIGABYTE}",
        (b"all is well on this host\n" * (OUTPUT_CAP // 25 + 1))[:OUTPUT_CAP],
    ),
    "binary": lambda path, data: (
        f"n=0; while [ $n -lt 250 ]; do cat {path}; n=$((n + 1)); done",
        (data * (OUTPUT_CAP // len(data) + 1))[:OUTPUT_CAP],
    ),
}
"""What prints a gigabyte, and the part of it that is kept."""


@pytest.fixture(name="figure")
def _figure(record_property: Callable[[str, object], None]) -> Callable[[str, Said], None]:
    """Has a command's peak printed at the end, and holds it to the limit."""

    def tell(what: str, said: Said) -> None:
        record_property("measured", f"{what}: {said.peak:.0f} MB at its peak (limit {PEAK})")
        assert said.peak <= PEAK

    return tell


Figure = Callable[[str, Said], None]


@pytest.mark.parametrize("kind", FLOODS)
def test_a_gigabyte_of_output(site: Site, kind: str, figure: Figure) -> None:
    """The command succeeds, the controller stays small, what is kept is exact, and the cut is said."""
    text, expected = FLOODS[kind](*block(site, 4_000_000))
    said = site.drrun(site.steps(script(f"{text}\necho done >&2")), "--yes")
    assert said.code == 0, said.err
    [done] = site.finished
    sha256 = hashlib.sha256(expected).hexdigest()
    assert (done.stdout, hashlib.sha256(site.kept(done)).hexdigest()) == (sha256, sha256)
    assert (done.out_size, done.out_cut) == (OUTPUT_CAP, True)
    assert (site.kept(done, "err"), done.err_cut) == (b"done\n", False)
    cut = f"stdout after {OUTPUT_CAP} bytes"
    assert f'cut="{cut}"' in said.err
    assert f"! cut  h1 s1.run: {cut}; what came after was not kept" in said.out
    figure(f"1 GB, {kind}: drrun", said)
    told = site.drrun("logs")
    assert told.out.endswith(f"stderr: done\n! cut: {cut}; what came after that was not kept\n")
    figure(f"1 GB, {kind}: drrun logs", told)
    told = site.drrun("logs", "--output", "json")
    assert told.out.endswith('", "stderr": "done\\n", "intact": true}\n')
    figure(f"1 GB, {kind}: drrun logs --output json", told)


def test_every_report_of_a_gigabyte_says_its_cut(site: Site, figure: Figure) -> None:
    """And a failed command's last kept words are shown as what they are."""
    text, _ = FLOODS["lines"](*block(site, 1))
    said = site.drrun(site.steps(script(f"{text}\nexit 9")), "--yes")
    cut = f"stdout after {OUTPUT_CAP} bytes"
    assert said.code == 1
    assert f"h1 run was cut: {cut}" in said.err
    lines = OUTPUT_CAP // 25 + 1
    assert f"h1 run stdout (3 of {lines}):\n    all is well on this host\n" in said.err
    figure("1 GB, failed: drrun", said)
    for words in (["status"], *(["report", "--format", kind] for kind in FORMATS)):
        told = site.drrun(*words)
        assert told.code == 0, told.err
        assert cut in told.out or '"stdout_cut": true' in told.out
        figure(f"1 GB, failed: drrun {' '.join(words)}", told)


def test_sixteen_hosts_at_once(site: Site, figure: Figure) -> None:
    """As many as are followed at a time, each flooding both streams: blocks, not outputs, are held."""
    names = [f"h{n}" for n in range(1, 17)]
    inventory = site.folder / "inventory.yaml"
    hosts = ", ".join(f"{name}: {{address: 127.0.0.1}}" for name in names)
    text = inventory.read_text().replace("h1: {address: 127.0.0.1}", hosts)
    inventory.write_text(text.replace("[h1]", f"[{', '.join(names)}]"))
    flood = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2"
    said = site.drrun(site.steps(script(flood)), "--yes")
    assert said.code == 0, said.err
    assert [done.out_size + done.err_size for done in site.finished] == [40_000_000] * 16
    figure("16 hosts, 40 MB each: drrun", said)


# --- going on with an output -------------------------------------------------------------------


def test_an_output_goes_on_where_it_stopped(site: Site) -> None:
    """A controller that is killed and resumed in the middle keeps each byte once, and no command twice."""
    path, data = block(site, 3_333_333)
    gate, log = site.folder / "gate", site.folder / "log"
    os.mkfifo(gate)
    text = (
        f"echo once >>{log}\ncat {path}\ncat {path} >&2\nread x <{gate}\ncat {path}\necho end >&2"
    )
    with site.begun(site.steps(script(text)), "--yes") as first:
        until(first, lambda: site.printed("err") == len(data))
    with gate.open("w") as writer:
        writer.write("go\n")
    said = site.drrun("resume")
    assert said.code == 0, said.err
    [done] = site.finished
    assert site.kept(done) == data * 2
    assert site.kept(done, "err") == data + b"end\n"
    assert done.stdout == hashlib.sha256(data * 2).hexdigest()
    assert done.stderr == hashlib.sha256(data + b"end\n").hexdigest()
    assert log.read_text() == "once\n"
    assert site.drrun("logs", "--output", "json").out.endswith('"intact": true}\n')


def until(process: subprocess.Popen[bytes], so: Callable[[], bool]) -> None:
    """Wait until it is so, while the process lives; it is given half a minute."""
    for _ in range(600):
        if so():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"drrun ended with {process.wait(0.05)} before it was so")
    pytest.fail("it never was so")


# --- commands that end badly: what peers lose ---------------------------------------------------

ENDS = {
    "exit-3": ("exit 3", 3),
    "set-e-false": ("set -e; false; echo not reached", 1),
    "kills-itself": ("kill -9 $$", 137),
    "kills-its-group": ("trap '' TERM; kill -TERM 0; kill -KILL 0", 137),
    "no-such-program": ("no-such-program-here", 127),
    "255": ("exit 255", 255),
}


@pytest.mark.parametrize("hosts", ["members", "controller"])
@pytest.mark.parametrize("kind", ENDS)
def test_every_end_is_told(site: Site, kind: str, hosts: str) -> None:
    """However a command ends, its code and its every line are in journal, screen, logs and report."""
    text, code = ENDS[kind]
    said = site.drrun(site.steps(script(f"echo one; echo two\n{text}"), hosts=hosts), "--yes")
    assert said.code == 1, said.err
    [done] = site.finished
    assert (done.code, site.kept(done)) == (code, b"one\ntwo\n")
    assert f"run ended with {code}" in said.err
    assert f" rc={code} " in said.err
    told = site.drrun("logs")
    assert f" s1.run rc={code} " in told.out
    assert told.out.splitlines()[2:4] == ["one", "two"]
    assert f"run ended with {code}" in site.drrun("report").out


@pytest.mark.parametrize("hosts", ["members", "controller"])
def test_many_lines_come_in_order(site: Site, hosts: str) -> None:
    """Every line of both streams is kept, from the first command of a script to the last."""
    text = "for n in $(seq 2000); do echo out $n; echo err $n >&2; done"
    assert site.drrun(site.steps(script(text), hosts=hosts), "--yes").code == 0
    [done] = site.finished
    for stream in ("out", "err"):
        lines = [f"{stream} {n}" for n in range(1, 2001)]
        assert site.kept(done, stream).decode().splitlines() == lines
    told = site.drrun("logs").out.splitlines()
    assert (told[-4001], told[-2001], told[-1]) == (
        "   $ for n in $(seq 2000); do echo out $n; echo err $n >&2; done",
        "out 2000",
        "stderr: err 2000",
    )


def test_the_same_token_twice(site: Site) -> None:
    """After a run has ended and the host was told to forget, its tokens still start nothing."""
    log = site.folder / "log"
    log.touch(mode=0o666)
    log.chmod(0o666)
    book = site.steps(script(f"echo once >>{log}"))
    assert site.drrun(book, "--yes").code == 0
    [intent] = [event for event in site.events if isinstance(event, ChangeIntended)]
    line = SshTransport().connect(site.sshd.target(become="none"))
    try:
        again = Job(
            site.run.name, intent.token, 9, f"echo again >>{log}\n".encode(), Digest("0" * 64)
        )
        assert line.launch(again).state is JobState.FENCED  # the run gave the host back
        line.fence(site.run.name, 9, "tests")
        report = line.launch(again)
        line.release(site.run.name, 9)
    finally:
        line.close()
    assert (report.state, report.code) == (JobState.EXITED, 0)
    assert log.read_text() == "once\n"


# --- bytes that are no text ---------------------------------------------------------------------

NASTY = rb"\033[2J\033]0;title\007\377\302\233 31m\342\200\256 end"


def test_nothing_from_a_host_moves_the_cursor(site: Site) -> None:
    """What a command printed reaches no screen as an escape, and is exact in its file."""
    text = f"printf '{NASTY.decode()}\\n'; printf '{NASTY.decode()}\\n' >&2; exit 4"
    said = site.drrun(site.steps(script(text)), "--yes")
    assert said.code == 1
    [done] = site.finished
    raw = b"\x1b[2J\x1b]0;title\x07\xff\xc2\x9b 31m\xe2\x80\xae end\n"
    assert site.kept(done) == site.kept(done, "err") == raw
    assert done.complaint == r"\x1b[2J\x1b]0;title\x07\xff\x9b 31m\u202e end"
    shown = said.out + said.err
    for words in (
        ["logs"],
        ["logs", "--output", "json"],
        ["status"],
        ["watch"],
        ["watch", "--output", "json"],
        *(["report", "--format", kind] for kind in ("text", "md", "json", "html", "junit")),
    ):
        told = site.drrun(*words)
        assert told.code == (1 if "watch" in words else 0), told.err
        shown += told.out + told.err
    assert not set(shown) & {
        *map(chr, range(9)),
        *map(chr, range(0x0B, 0x20)),
        *map(chr, range(0x7F, 0xA0)),
        "\u202e",
    }
    assert r"stderr: \x1b[2J" in site.drrun("logs").out
    log = json.loads(site.drrun("logs", "--output", "json").out)
    assert log["stderr"] == raw.decode("utf-8", "backslashreplace")


def test_a_value_with_a_nul_byte_is_refused(site: Site) -> None:
    """Binary output may be kept, but no command can be given it: refused before anything is sent."""
    give = {
        "uses": "command",
        "on_unknown": "ask",
        "with": {"argv": ["echo", "{{ steps.s1.outputs.stdout }}"]},
    }
    said = site.drrun(site.steps(script("printf 'a\\000b'"), give), "--yes")
    assert said.code == 1, said.err
    assert "NUL byte" in said.err
    assert [done.unit for done in site.finished] == ["s1@h1"]
    assert site.kept(site.finished[0]) == b"a\0b"


# --- commands of 200 kB -------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", ["members", "controller"])
def test_a_command_of_200_kilobytes(site: Site, hosts: str) -> None:
    """One line, many lines, many words, a check, a variable and a file of that size all arrive whole."""
    filler, file = "x" * 200_000, site.folder / "file"
    words = [f"w{n:06}" for n in range(30_000)]
    lines = "\n".join(f": {n:08} is a line that does nothing" for n in range(5000))
    book = site.steps(
        script(f"v={filler}\necho ${{#v}}"),
        script(f"{lines}\necho done"),
        {"uses": "command", "on_unknown": "ask", "with": {"argv": ["echo", *words]}},
        script(f"touch {site.folder}/made", check_script=f": {filler}\ntest -e {site.folder}/made"),
        script("printenv V | wc -c", env={"V": "x" * 131_000}),
        {"uses": "file", "with": {"path": str(file), "content": filler}},
        hosts=hosts,
    )
    for words_ in (
        ["lint", book],
        [book, "--dry-run"],
        [book, "--yes"],
        ["logs"],
        ["report"],
        ["status"],
    ):
        said = site.drrun(*words_)
        assert said.code == 0, said.err
    kept = [site.kept(done).decode() for done in site.finished]
    assert kept == ["200000\n", "done\n", " ".join(words) + "\n", "", "131001\n", ""]
    assert file.read_text() == filler
    assert max(map(len, (site.run / "journal.jsonl").read_bytes().splitlines())) < 500_000
