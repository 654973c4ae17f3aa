"""One failure for each kind of undo of the other stock recoveries, on units of systemd."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.recoveries.expiry import end_in
from tests.recoveries.states import MEMBERS, dies_for_good, knows_one_member
from tests.undo.scene import At, Scene, differences

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ANSWERED = ("--yes", "--no-input")
LAID_READY = "/root/new"


RENEWAL = ("kube-certs-renew.yaml", "-e", f"by=cp -a {LAID_READY}/. /")


def undone_whole(scene: Scene, at: At, *words: str) -> None:
    """Failed there and undone, everything stands as it did."""
    before = scene.stands()
    run = scene.failed(at, [*words, *ANSWERED])
    code, told = scene.undone(run)
    assert (code, scene.bad_ends(run, undo=True)) == (8, []), told
    assert differences(before, scene.stands()) == []


def test_one_seed_instead_of_all_members(scene: Scene) -> None:
    """restore-cluster-seed, at the swap of its one member."""
    with scene.case() as before:
        words = ["restore-cluster-seed.yaml", *scene.restore[1:], "-e", "role.seed=cp1"]
        run = scene.failed(At("install", "install", "cp1"), words)
        code, told = scene.undone(run)
        assert code == 8, told
        scene.back(before)


def test_a_drill_leaves_nothing(scene: Scene) -> None:
    """backup-drill: the folder beside the live member."""
    with scene.case():
        snapshot = f"snapshot={scene.snapshot}"
        undone_whole(
            scene,
            At("drill", "drill", "cp1"),
            *("backup-drill.yaml", "-e", snapshot, "-e", "role.drill=cp1"),
        )


def test_a_flag_of_api_servers_is_put_back(scene: Scene) -> None:
    """apiserver-etcd-servers: told and restarted on one host, told on the second."""
    with scene.case():
        knows_one_member(scene.lab)
        undone_whole(scene, At("servers", "restart", "cp2"), "apiserver-etcd-servers.yaml")
    scene.dirty = True


def test_old_certificates_are_put_back(scene: Scene) -> None:
    """kube-certs-renew: renewed on some hosts, kept on one; no process was restarted."""
    with scene.case():
        end_in(scene.lab, MEMBERS, timedelta(days=365), below=LAID_READY)
        end_in(scene.lab, MEMBERS, timedelta(days=9))
        undone_whole(scene, At("renew", "renew", "cp2"), *RENEWAL)
    scene.dirty = True


def test_a_rescue_is_taken_back_to_the_survivor(scene: Scene) -> None:
    """etcd-quorum-rescue, at the swap: the survivor's data, and two hosts without any, as they were."""
    with scene.case():
        dies_for_good(scene.lab)
        to = f"to={scene.folder / 'survivor.db'}"
        before = scene.stands()
        run = scene.failed(
            At("install", "install", "cp1"), ["etcd-quorum-rescue.yaml", "-e", to, *ANSWERED]
        )
        scene.undone(run)
        assert differences(before, scene.stands()) == []
    scene.dirty = True
