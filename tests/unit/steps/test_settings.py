"""How etcd is started, read as etcd, systemd and kubelet read it: the real scripts on crafted hosts."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from drrun.spi import Reply
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.etcd.disk import DataDir, EtcdDataDir
from drrun_steps.etcd.identity import conflicts

MANIFEST = (Path(__file__).parent / "recorded" / "manifest-etcd.yaml").read_text()
# What systemd 219 shows: it knows neither --value nor names of properties in another order than asked.
SYSTEMCTL = """#!/bin/sh
case $* in *--value*) echo "systemctl: unrecognized option '--value'" >&2; exit 1 ;; esac
name=; while [ $# -gt 0 ]; do [ "$1" != -p ] || name=$2; shift; done
sed -n "s/^$name=/$name=/p" {state}/unit
"""


class Place:
    """A folder that the scripts take for a host."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.folder, self.shell = folder, shell
        self.data = folder / "data"
        (folder / "bin").mkdir()
        (folder / "manifests").mkdir()
        tool = folder / "bin" / "systemctl"
        tool.write_text(SYSTEMCTL.format(state=folder))
        tool.chmod(0o755)
        self.unit("")

    def unit(self, start: str, *more: str) -> None:
        """A unit that starts etcd so."""
        lines = [*more]
        if start:
            program = start.split(maxsplit=1)[0]
            shown = f"{{ path={program} ; argv[]={start} ; ignore_errors=no ; start_time=[n/a] ; pid=0 }}"
            lines.append(f"ExecStart={shown}")
        (self.folder / "unit").write_text("\n".join(lines) + "\n")

    def pod(self, text: str, name: str = "etcd.yaml") -> None:
        """A manifest of a static pod."""
        (self.folder / "manifests" / name).write_text(text)

    def file(self, name: str, text: str) -> Path:
        """A file of the host."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def ask(self, fact: EtcdConfig | EtcdDataDir) -> Reply:
        """The script as the host would run it."""
        script = fact.ask().script().decode()
        for real, ours in (
            ("/etc/kubernetes/manifests", "manifests"),
            ("/var/lib/drrun", "lib"),
            ("/var/lib/kubelet", "kubelet"),
            ("PATH=/usr/local/sbin:", f"bin:{os.environ['PATH']}:/usr/local/sbin:"),
        ):
            put = f"{self.folder}/{ours}"
            script = script.replace(real, f"PATH={put}" if real.startswith("PATH") else put)
        done = subprocess.run(
            self.shell, input=script.encode(), capture_output=True, check=False, timeout=30
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    @property
    def config(self) -> Config:
        """The member's settings."""
        fact = EtcdConfig()
        return fact.parse(self.ask(fact))

    @property
    def disk(self) -> DataDir:
        """What lies in its data directory."""
        fact = EtcdDataDir()
        return fact.parse(self.ask(fact))


@pytest.fixture
def place(shell: tuple[str, ...], tmp_path: Path) -> Place:
    """One a shell."""
    return Place(tmp_path, shell)


@pytest.mark.field("24")
def test_an_old_systemd_shows_its_properties(place: Place) -> None:
    """Version 219 has no --value: name and value are taken apart here."""
    place.unit("/usr/bin/etcd --name cp1 --data-dir=/srv/etcd", "User=etcd")
    assert (place.config.name, place.config.data_dir, place.config.unclear) == (
        "cp1",
        "/srv/etcd",
        "",
    )


@pytest.mark.field("7")
@pytest.mark.parametrize(
    "start",
    [
        "--name cp1 --data-dir /srv/etcd",
        "-name cp1 -data-dir /srv/etcd",
        "-name=cp1 -data-dir=/srv/etcd",
    ],
)
def test_each_of_gos_spellings_is_read(place: Place, start: str) -> None:
    """One dash or two, one word or two."""
    place.unit(f"/usr/bin/etcd {start}")
    assert (place.config.name, place.config.data_dir) == ("cp1", "/srv/etcd")


@pytest.mark.field("6")
def test_variables_in_a_unit_are_put_in(place: Place) -> None:
    """As systemd does: from its environment and its environment files, a word or several of them."""
    file = place.file("env", 'DATA_DIR=/srv/etcd\nMORE="--wal-dir=/wal --quota-backend-bytes=7"\n')
    place.unit(
        "/usr/bin/etcd --name ${NODE_NAME} --data-dir=${DATA_DIR} $MORE",
        "Environment=NODE_NAME=cp1",
        f"EnvironmentFiles={file} (ignore_errors=no)",
    )
    found = place.config
    assert (found.name, found.data_dir, found.wal_dir, found.quota) == (
        "cp1",
        "/srv/etcd",
        "/wal",
        7,
    )
    assert found.unclear == ""


@pytest.mark.field("4", "6")
@pytest.mark.parametrize(
    ("start", "named"),
    [
        ("/usr/bin/etcd --data-dir=${NOWHERE}", "${NOWHERE}"),
        ("/bin/sh -c 'exec etcd --data-dir /srv'", "a shell (sh -c)"),
        (
            "/usr/bin/docker run --name etcd-v3 -v /srv:/etcd-data etcd --data-dir /etcd-data",
            "docker",
        ),
        ("/usr/bin/etcd --data-dir relative", "no absolute path"),
    ],
)
def test_a_unit_that_is_not_understood_refuses_by_name(
    place: Place, start: str, named: str
) -> None:
    """Nothing is taken at its face, and nobody is told that there is no data."""
    place.unit(start, "InvocationID=1")
    assert named in place.config.unclear
    assert named in conflicts({"cp1": place.config})[0]
    assert place.disk.state in {"unreadable", "missing"}
    assert place.disk.state == "unreadable" or place.disk.ran


@pytest.mark.field("5")
def test_a_configuration_file_counts_alone(place: Place) -> None:
    """Etcd reads nothing beside it: neither flags nor a stale environment file."""
    stale = place.file("env", "ETCD_DATA_DIR=/stale\nETCD_NAME=stale\n")
    conf = place.file(
        "etcd.conf.yml",
        """
        name: cp1
        data-dir: /srv/etcd  # live
        initial-advertise-peer-urls: https://10.0.0.1:2380
        client-transport-security:
          cert-file: /pki/server.crt
        """,
    )
    place.unit(
        f"/usr/bin/etcd --config-file {conf} --name other",
        f"EnvironmentFiles={stale} (ignore_errors=no)",
    )
    found = place.config
    assert (found.name, found.data_dir, found.peer_urls) == (
        "cp1",
        "/srv/etcd",
        "https://10.0.0.1:2380",
    )
    conf.write_text("name: *alias\n")
    assert "configuration file" in place.config.unclear


@pytest.mark.field("3")
def test_a_directory_of_a_container_is_the_hosts(place: Place) -> None:
    """The documented restore changes the hostPath alone: that is where the data lies."""
    place.pod(MANIFEST.replace("      path: /var/lib/etcd\n", f"      path: {place.data}\n"))
    assert place.config.data_dir == str(place.data)
    assert place.config.unclear == ""


@pytest.mark.field("3")
def test_data_that_no_mount_explains_is_not_believed_to_be_on_the_host(place: Place) -> None:
    """It goes with the container: refused by name."""
    place.pod(MANIFEST.replace("--data-dir=/var/lib/etcd", "--data-dir=/elsewhere"))
    assert "/elsewhere" in place.config.unclear


@pytest.mark.field("20")
def test_the_owner_of_a_pods_data_is_who_has_it_now(place: Place) -> None:
    """A pod that runs as another user reads a new directory only if that user owns it."""
    place.data.mkdir()
    os.chown(place.data, 2379, 2379)
    place.pod(MANIFEST.replace("      path: /var/lib/etcd\n", f"      path: {place.data}\n"))
    assert place.config.owner == "2379:2379"


@pytest.mark.field("23")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    - --data-dir=/var/lib/etcd\n", '    - "--data-dir=/var/lib/etcd"\n'),
        ("    - --data-dir=/var/lib/etcd\n", "    - --data-dir\n    - /var/lib/etcd\n"),
        ("    - --data-dir=/var/lib/etcd\n", "    - --data-dir=/var/lib/etcd # where it lies\n"),
        ("    - --data-dir=/var/lib/etcd\n", ""),
        (
            "  containers:\n",
            "  containers:\n  - command: [backup, --data-dir=/backups]\n    name: backup\n",
        ),
    ],
    ids=["quoted", "two items", "a comment", "in env", "a sidecar first"],
)
def test_a_manifest_is_read_however_it_is_written(place: Place, old: str, new: str) -> None:
    """Quotes, flags and values as items of their own, comments, variables, a container beside it."""
    text = MANIFEST.replace(old, new, 1)
    if not new:
        text = text.replace(
            "    name: etcd\n",
            "    env: [{name: ETCD_DATA_DIR, value: /var/lib/etcd}]\n    name: etcd\n",
            1,
        )
    place.pod(text)
    assert (place.config.data_dir, place.config.name, place.config.unclear) == (
        "/var/lib/etcd",
        "cp1",
        "",
    )


@pytest.mark.field("23")
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("    - etcd\n", "    - sh\n    - -c\n    - exec etcd\n", "a shell"),
        ("--name=cp1", "--name=$(NODE)", "$(NODE)"),
        ("apiVersion: v1\n", "apiVersion: &v v1\n", "an anchor"),
    ],
)
def test_a_manifest_that_is_not_understood_refuses_by_name(
    place: Place, old: str, new: str, named: str
) -> None:
    """It is said what stands there; no member is missing and no data gone because of it."""
    place.pod(MANIFEST.replace(old, new, 1))
    assert place.config.found
    assert named in place.config.unclear
    assert place.disk.state == "unreadable"


@pytest.mark.field("v13")
def test_kubelets_folder_may_be_named_in_a_drop_in(place: Place) -> None:
    """The last drop-in that names it counts."""
    (place.folder / "kubelet" / "config.d").mkdir(parents=True)
    place.file("kubelet/config.yaml", "staticPodPath: /nowhere\n")
    place.file("kubelet/config.d/10-here.conf", f'staticPodPath: "{place.folder}/other/" # here\n')
    (place.folder / "other").mkdir()
    (place.folder / "other" / "etcd.yaml").write_text(MANIFEST)
    assert place.config.name == "cp1"


@pytest.mark.field("3", "6")
def test_a_directory_that_is_gone_though_a_member_ran_is_not_nothing(place: Place) -> None:
    """It was started here: its data lies elsewhere, or is lost; nobody says that nothing is lost."""
    place.unit(f"/usr/bin/etcd --data-dir={place.data}", "InvocationID=0123")
    assert (place.disk.state, place.disk.ran) == ("missing", True)
    began = "ExecMainStartTimestamp=Tue 2026-12-01 09:00:00 UTC"
    place.unit(f"/usr/bin/etcd --data-dir={place.data}", began)  # systemd 219 gives a life no id
    assert (place.disk.state, place.disk.ran) == ("missing", True)
    place.unit(
        f"/usr/bin/etcd --data-dir={place.data}", "InvocationID=", "ExecMainStartTimestamp=n/a"
    )
    assert (place.disk.state, place.disk.ran) == ("missing", False)


@pytest.mark.field("7")
def test_the_last_of_a_flag_counts(place: Place) -> None:
    """Go's flags: seen with etcd 3.5.16, which made its directory in the second one."""
    place.unit("/usr/bin/etcd --data-dir=/a --data-dir /b --name=cp1")
    assert place.config.data_dir == "/b"


@pytest.mark.field("7")
@pytest.mark.parametrize("start", ["-force-new-cluster", "--force-new-cluster --name=cp1"])
def test_a_boolean_needs_no_value(place: Place, start: str) -> None:
    """A bare --force-new-cluster is on, as the last word as well (seen with etcd 3.5.16)."""
    place.unit(f"/usr/bin/etcd --data-dir=/a {start}")
    assert place.config.leftovers == ("force-new-cluster",)


@pytest.mark.field("6")
@pytest.mark.parametrize(
    "lines",
    [
        'Environment="OPTS=--name=cp1 --data-dir=/srv/etcd" A=b',
        "Environment=OPTS=--name=cp1 --data-dir=/srv/etcd A=b",
    ],
    ids=["quoted", "systemd 219"],
)
def test_a_variable_of_several_words_is_read_whole(place: Place, lines: str) -> None:
    """As systemctl shows it: the words behind the first one are not lost."""
    place.unit("/usr/bin/etcd $OPTS", lines)
    assert (place.config.name, place.config.data_dir) == ("cp1", "/srv/etcd")


@pytest.mark.field("6")
def test_a_line_of_an_environment_file_goes_on_behind_a_backslash(place: Place) -> None:
    """systemd.exec(5), EnvironmentFile."""
    file = place.file("env", 'OPTS="--name=cp1 \\\n--data-dir=/srv/etcd"\n')
    place.unit("/usr/bin/etcd $OPTS", f"EnvironmentFiles={file} (ignore_errors=no)")
    assert (place.config.name, place.config.data_dir) == ("cp1", "/srv/etcd")


@pytest.mark.field("6")
def test_a_directory_that_is_not_said_is_etcds_own_default(place: Place) -> None:
    """NAME.etcd, in the directory that the unit is started in."""
    place.unit("/usr/bin/etcd --name cp1", f"WorkingDirectory={place.folder}", "InvocationID=1")
    assert place.config.data_dir == f"{place.folder}/cp1.etcd"
    assert place.disk.ran


@pytest.mark.field("4", "6")
@pytest.mark.parametrize(
    ("start", "more", "named"),
    [
        ("/opt/start-etcd.sh", "", "start-etcd.sh"),
        ("/usr/bin/sudo docker run -v /h:/d etcd --data-dir /d", "", "sudo"),
        ("/usr/bin/env etcd --data-dir=/a", "", "env"),
        ("/usr/bin/etcd --data-dir=/a --wal-dir=wal", "", "wal-dir wal"),
        ("/usr/bin/etcd --data-dir=/a", "RootDirectory=/jail", "/jail"),
        ("/usr/bin/etcd --config-file conf.yml", "", "config-file conf.yml"),
    ],
)
def test_what_may_start_etcd_elsewhere_refuses_by_name(
    place: Place, start: str, more: str, named: str
) -> None:
    """A program that is not etcd, a root of its own, a path that is no absolute one."""
    place.unit(start, more)
    assert named in place.config.unclear
    assert place.disk.state == "unreadable"


@pytest.mark.field("6")
def test_a_program_that_changes_only_how_etcd_runs_is_looked_through(place: Place) -> None:
    """Its words are not etcd's."""
    place.unit("/usr/bin/ionice -c2 -n0 /usr/bin/etcd --data-dir=/a")
    assert (place.config.data_dir, place.config.unclear) == ("/a", "")


@pytest.mark.field("3")
@pytest.mark.parametrize(
    "flag", ["--wal-dir=/wal", "--config-file=/conf/etcd.yml"], ids=["log", "file"]
)
def test_a_path_that_no_mount_explains_is_refused(place: Place, flag: str) -> None:
    """A log that goes with its container is not "no log of its own"."""
    place.pod(MANIFEST.replace("    - --name=cp1\n", f"    - --name=cp1\n    - {flag}\n", 1))
    assert "goes with its container" in place.config.unclear
    assert place.disk.state == "unreadable"


@pytest.mark.field("3")
def test_a_pod_without_mounts_has_nothing_on_the_host(place: Place) -> None:
    """The host's directory of the same name is another one."""
    start, end = MANIFEST.index("    volumeMounts:"), MANIFEST.index("  hostNetwork")
    place.pod(MANIFEST[:start] + MANIFEST[end:])
    assert "/var/lib/etcd" in place.config.unclear


@pytest.mark.field("23")
@pytest.mark.parametrize("name", ["etcd.yml", "etcd.manifest", "etcd"])
def test_a_manifest_of_another_name_is_told(place: Place, name: str) -> None:
    """Kubelet runs it; it is not said that this host has no etcd."""
    place.pod(MANIFEST, name)
    assert place.config.found
    assert name in place.config.unclear
