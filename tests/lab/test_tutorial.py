"""docs/tutorial/recover-a-cluster.md does what it says: its commands are run, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drrun_lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "recover-a-cluster.md"
BLOCK = re.compile(
    r"^```sh(?: exit=(?P<code>\d+)| (?P<last>last))?\n(?P<script>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def test_the_tutorial_runs(fresh: Lab, tmp_path: Path) -> None:
    """Every block ends as the page says, in one shell, on the lab of the tests.

    The last block, which takes the lab down, is left out.
    """
    parts = ["set -eu"]
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["last"]:
            continue
        script = block["script"]
        if block["code"]:
            script = f"code=0; {script.strip()} || code=$?; [ $code = {block['code']} ]\n"
        parts.append(script)
    assert len(parts) > 8
    text = "\n".join(parts).replace("practice/", f"{fresh.layout.name}/")
    text = text.replace("--name practice", f"--name {fresh.layout.name}")
    text = text.replace(f"/var/lib/drrun-lab/{fresh.layout.name}", str(fresh.folder))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script_file = tmp_path / "tutorial.sh"
    script_file.write_text(text)
    done = subprocess.run(
        ["bash", "-x", script_file],
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "DRRUN_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "accept_loss=" in done.stdout
    assert "hello" in done.stdout
    assert done.stdout.count("etcd.old-") >= 1
