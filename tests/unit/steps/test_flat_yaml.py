"""The host's reader of YAML against PyYAML, with every awk that is here: the same values, or a refusal."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drrun_steps.service.yaml import FLAT

AWKS = [awk for awk in ("mawk", "busybox awk", "gawk") if shutil.which(awk.partition(" ")[0])]
MANIFEST = (Path(__file__).parent / "recorded" / "manifest-etcd.yaml").read_text()
pytestmark = pytest.mark.parametrize("awk", AWKS)


def flat(text: str, folder: Path, awk: str) -> tuple[int, str, str]:
    """Exit code, lines and complaint of `flat`."""
    file = folder / "it.yaml"
    file.write_text(text, encoding="utf-8")
    script = FLAT.replace("LC_ALL=C awk '", f"LC_ALL=C {awk} '")
    done = subprocess.run(
        ["sh", "-c", f'{script}\nflat "$1"', "sh", str(file)],
        capture_output=True,
        check=False,
        timeout=20,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def meant(value: object, path: str = "") -> Iterator[str]:
    """The lines that a document is to give."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from meant(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from meant(inner, f"{path}[{number}]")
    else:
        text = "" if value in (None, "null", "~") else str(value)
        text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        yield f"{path}\t{text}\n"


def read(text: str) -> str:
    """What PyYAML makes of it, every scalar as text."""
    return "".join(meant(yaml.load(text, Loader=yaml.BaseLoader)))


CRAFTED = {
    "kubeadm": MANIFEST,
    "flow": 'a: {b: [1, \'two\', "thr\\"ee"], c: {}, d: []}\n',
    "json": json.dumps(
        {"kind": "Pod", "spec": {"containers": [{"name": "etcd", "command": ["a", "b c"]}]}},
        indent=1,
    ),
    "comments": "# first\na: b # second\n\n# third\nc: 'd # e'\nf: g#h\n",
    "list under a key": "a:\n- b\n- c: d\n  e: f\n-   g: h\ni: j\n",
    "lists of lists": "a:\n  - - x\n    - y\n  - [z, [w]]\n",
    "literal": "a: |\n  x\n    y\n\n  z\nb: |-\n  last\nc: >-\n  one\n  line\n",
    "quotes over lines": "a: \"one\n  two \\\n  three\"\nb: 'it''s'\n",
    "plain over lines": "a: one\n  two\n  three\nb: c\n",
    "urls": "a: https://x:2379,https://[::1]:2379\nb: --flag=a:b\n",
    "nothing": "a:\nb: ''\nc: null\nd: ~\n",
    "quoted keys": "\"a.b\": c\n'd e': f\n",
    "marker": "---\na: b\n",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_it_reads_what_pyyaml_reads(tmp_path: Path, awk: str, name: str) -> None:
    """Block and flow collections, quotes, comments, blocks of text, JSON."""
    code, lines, complaint = flat(CRAFTED[name], tmp_path, awk)
    assert (code, complaint) == (0, "")
    assert lines == read(CRAFTED[name])


REFUSED = {
    "a: &x b\n": "an anchor (&)",
    "a: *x\n": "an alias (*)",
    "a: !!str b\n": "a tag (!)",
    "a:\n  <<: {b: c}\n": "a merge key (<<)",
    "a:\n\tb: c\n": "a tab as indentation",
    "a: b\n---\nc: d\n": "a second document",
    "a: b\na: c\n": "a key that is there twice",
    "a: [b, c\n": "does not end",
    "a: 'b\n": "does not end",
    "a: b: c\n": "a colon inside of a value",
    "? a\n: b\n": "a complex key",
    "a: |2\n  b\n": "the sign",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_it_does_not_understand_is_refused_by_name(
    tmp_path: Path, awk: str, text: str
) -> None:
    """No line is printed, and the reason names construct, file and line."""
    code, lines, complaint = flat(text, tmp_path, awk)
    assert (code, lines) == (3, "")
    assert REFUSED[text] in complaint
    assert "it.yaml:" in complaint


WORDS = st.text("ab-=/:. #'\"{}[],&*!|>%@`~?x0\\", max_size=12).filter(lambda word: word != "~")
KEYS = st.text("abcdef-/", min_size=1, max_size=6)
TREES = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tree=st.dictionaries(KEYS, TREES, min_size=1, max_size=3),
    flow=st.sampled_from([None, True, False]),
)
def test_whatever_it_reads_is_right(
    tmp_path: Path,
    awk: str,
    tree: object,
    flow: bool | None,  # noqa: FBT001
) -> None:
    """Of any document that PyYAML writes: the same lines as PyYAML reads, or none at all."""
    text = yaml.safe_dump(tree, default_flow_style=flow, width=40)
    code, lines, _ = flat(text, tmp_path, awk)
    assert code == 3 or lines == read(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: |\n  x\n  # text, no comment\n",
        "a: |+\n  x\n\n",
        'a: "x\n\n  y"\n',
        "a:\n- k: " + "v" * 9000 + "\n",
        "a: |\n  x\n...\n",
    ],
    ids=[
        "a sign of comments",
        "empty lines at the end",
        "an empty line in quotes",
        "long",
        "ended",
    ],
)
def test_text_at_its_edges_is_read_whole(text: str, tmp_path: Path, awk: str) -> None:
    """The last lines of a block of text, line feeds within quotes, items longer than mawk formats."""
    assert flat(text, tmp_path, awk)[:2] == (0, read(text))
