"""Reading known_hosts, and judging a key, with known answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from drrun.transport.known_hosts import (
    KnownHosts,
    KnownKey,
    fingerprint,
    lookup_name,
    parse_line,
)

A = "AAAAC3NzaC1lZDI1NTE5AAAAIPZ7mmyfxQm7c4hyKX0oFPSbuXbfCTRwHmBPLrFyCo6y"
B = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def key(line: str) -> KnownKey:
    """One line that must be readable."""
    parsed = parse_line(line, "file:1")
    assert parsed is not None
    return parsed


def load(tmp_path: Path, text: str) -> KnownHosts:
    """A file that holds `text`, and one that does not exist."""
    file = tmp_path / "known_hosts"
    file.write_bytes(text.encode("latin-1"))
    return KnownHosts.load([str(tmp_path / "absent"), str(file)])


@pytest.mark.parametrize(
    ("patterns", "name", "matches"),
    [
        ("cp1", "cp1", True),
        ("cp1", "cp11", False),
        ("CP1", "cp1", True),
        ("cp?", "cp1", True),
        ("cp*", "cp1.example", True),
        ("*,!cp1", "cp1", False),
        ("*,!cp1", "cp2", True),
        ("!cp1", "cp2", False),
        ("[cp1]:2222", "[cp1]:2222", True),
        ("[cp1]:2222", "c", False),
        ("cp1,10.0.0.1", "10.0.0.1", True),
        ("10.0.0.*", "10.0.0.77", True),
        ("10.0.0.*", "10.0.1.77", False),
    ],
)
def test_patterns(patterns: str, name: str, *, matches: bool) -> None:
    """Names match as in OpenSSH: case, commas, * and ?, negation, brackets as themselves."""
    assert key(f"{patterns} ssh-ed25519 {A}").names(name) is matches


def test_hashed_names_as_ssh_keygen_writes_them(tmp_path: Path) -> None:
    """What `ssh-keygen -H` hashes is found by its plain name, and by no other."""
    file = tmp_path / "known_hosts"
    file.write_text(f"[cp1.example]:2222 ssh-ed25519 {A}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    assert b"cp1" not in file.read_bytes()
    known = KnownHosts.load([str(file)])
    assert known.of("CP1.example", 2222)
    assert not known.of("cp2.example", 2222)


def test_a_broken_hash_matches_nothing() -> None:
    """A hash that is none is no wildcard."""
    assert not key(f"|1|x|y ssh-ed25519 {A}").names("x")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("cp1 ssh-ed25519", "not a known_hosts line"),
        (f"cp1 ssh-ed25519 {A[:-3]}%%%", "not base64"),
        (f"cp1 ssh-rsa {A}", "the key is no ssh-rsa"),
        (f"@surprise cp1 ssh-ed25519 {A}", "no marker that is known"),
    ],
)
def test_bad_lines_say_what_is_wrong(line: str, complaint: str) -> None:
    """Every line that is skipped has a reason."""
    with pytest.raises(ValueError, match=complaint):
        parse_line(line, "file:1")


def test_one_bad_line_hides_no_other(tmp_path: Path) -> None:
    """Rubbish, latin-1 and markers around a good line leave it readable, and are reported."""
    known = load(
        tmp_path,
        f"# caf\xe9\n\nrubbish\n@cert-authority *.x ssh-ed25519 {B}\ncp1 ssh-ed25519 {A} \xe9\n",
    )
    assert known.judge("cp1", 22, key(f"cp1 ssh-ed25519 {A}").blob)[0] == "known"
    assert known.authorities("h.x", 22)
    assert not known.of("h.x", 22)
    assert len(known.complaints) == 1
    assert known.complaints[0].startswith(f"{tmp_path / 'known_hosts'}:3:")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (f"cp1 ssh-ed25519 {A}", "known"),
        (f"cp1 ssh-ed25519 {B}\ncp1 ssh-ed25519 {A}", "known"),
        (f"cp1 ssh-ed25519 {B}", "changed"),
        (f"cp2 ssh-ed25519 {A}", "unknown"),
        (f"@cert-authority cp1 ssh-ed25519 {A}", "unknown"),
        (f"cp1 ssh-ed25519 {A}\n@revoked * ssh-ed25519 {A}", "revoked"),
        (f"@revoked cp2 ssh-ed25519 {A}\ncp1 ssh-ed25519 {A}", "known"),
    ],
)
def test_verdicts(tmp_path: Path, text: str, verdict: str) -> None:
    """Known, changed, unknown and revoked, each by the lines that speak of the host."""
    assert (
        load(tmp_path, text + "\n").judge("cp1", 22, key(f"x ssh-ed25519 {A}").blob)[0] == verdict
    )


def test_a_bare_name_vouches_for_another_port_only_by_the_same_key(tmp_path: Path) -> None:
    """As in OpenSSH: the same key on another port is known, another key is unknown, not changed."""
    known = load(tmp_path, f"cp1 ssh-ed25519 {A}\n")
    assert known.judge("cp1", 2222, key(f"x ssh-ed25519 {A}").blob)[0] == "known"
    assert known.judge("cp1", 2222, key(f"x ssh-ed25519 {B}").blob)[0] == "unknown"


def test_the_best_kind_comes_first(tmp_path: Path) -> None:
    """Ed25519 before RSA, whatever the file's order: the plan's fingerprint is stable."""
    rsa = "AAAAB3NzaC1yc2EAAAADAQAB"
    known = load(tmp_path, f"cp1 ssh-rsa {rsa}\ncp1 ssh-ed25519 {A}\n")
    assert [line.kind for line in known.of("cp1", 22)] == ["ssh-ed25519", "ssh-rsa"]


def test_fingerprints_are_openssh_s(tmp_path: Path) -> None:
    """The same text as `ssh-keygen -l`."""
    file = tmp_path / "key.pub"
    file.write_text(f"ssh-ed25519 {A}\n")
    said = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True).stdout
    assert fingerprint(key(f"x ssh-ed25519 {A}").blob) == said.decode().split()[1]


@pytest.mark.parametrize(
    ("host", "port", "name"), [("CP1", 22, "cp1"), ("cp1", 2222, "[cp1]:2222"), ("::1", 22, "::1")]
)
def test_lookup_names(host: str, port: int, name: str) -> None:
    """Port 22 is not named; others stand behind brackets."""
    assert lookup_name(host, port) == name
