"""What is written into a host before it boots: certificates, logins, units."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from cryptography import x509

from drrun_lab import units
from drrun_lab.base import ETCD_UID
from drrun_lab.keys import SshKey
from drrun_lab.layout import LabSpec, Layout
from drrun_lab.provision import Credentials, HostFile, host_files, write_files

SUBNET = IPv4Network("10.70.211.0/24")
LAYOUT = Layout("lab", LabSpec(), SUBNET)


@pytest.fixture(scope="module")
def credentials() -> Credentials:
    """One set for all tests here."""
    return Credentials.new()


def _files(layout: Layout, host: str, credentials: Credentials) -> dict[str, HostFile]:
    files = host_files(layout, layout.host(host), credentials, SshKey.new())
    return {file.path: file for file in files}


def test_a_control_plane_host_is_laid_out_as_kubeadm_does(credentials: Credentials) -> None:
    """Runbooks find certificates and kubeconfigs where real clusters have them."""
    paths = set(_files(LAYOUT, "cp1", credentials))
    pki = {
        *("ca", "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client"),
        *("front-proxy-ca", "front-proxy-client"),
        *("etcd/ca", "etcd/server", "etcd/peer", "etcd/healthcheck-client"),
    }
    wanted = {f"etc/kubernetes/pki/{name}.{end}" for name in pki for end in ("crt", "key")}
    wanted |= {f"etc/kubernetes/pki/sa.{end}" for end in ("pub", "key")}
    names = ("admin", "controller-manager", "scheduler")
    wanted |= {f"etc/kubernetes/{name}.conf" for name in names}
    assert wanted <= paths


def test_secrets_are_not_for_everybody(credentials: Credentials) -> None:
    """Private keys are root's, those of etcd its group's too; no key is world-readable."""
    for path, file in _files(LAYOUT, "cp1", credentials).items():
        if path.endswith(".key"):
            etcd = path.startswith("etc/kubernetes/pki/etcd/")
            assert (file.mode, file.gid) == ((0o640, ETCD_UID) if etcd else (0o600, 0)), path


def test_the_api_servers_certificate_names_every_way_in(credentials: Credentials) -> None:
    """Its host, the load balancer, loopback and the service names."""
    content = _files(LAYOUT, "cp2", credentials)["etc/kubernetes/pki/apiserver.crt"].content
    certificate = x509.load_pem_x509_certificate(content)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        IPv4Address(address)
        for address in ("127.0.0.1", "10.96.0.1", "10.70.211.12", LAYOUT.haproxy_address)
    }
    dns = set(names.get_values_for_type(x509.DNSName))
    assert {"cp2", "kubernetes", "kubernetes.default.svc", "localhost"} <= dns


def test_certificates_are_signed_by_their_authorities(credentials: Credentials) -> None:
    """An etcd client certificate of the cluster's authority would be refused by etcd."""
    files = _files(LAYOUT, "cp1", credentials)
    for leaf, authority in (("apiserver", "ca"), ("apiserver-etcd-client", "etcd/ca")):
        certificate, issuer = (
            x509.load_pem_x509_certificate(files[f"etc/kubernetes/pki/{name}.crt"].content)
            for name in (leaf, authority)
        )
        certificate.verify_directly_issued_by(issuer)


def test_hosts_share_authorities_and_the_encryption_key(credentials: Credentials) -> None:
    """Else a token or a Secret written through one API server is refused by the next."""
    first, second = (_files(LAYOUT, host, credentials) for host in ("cp1", "cp2"))
    for path in ("pki/ca.crt", "pki/sa.key", "pki/etcd/ca.crt", "encryption.yaml"):
        assert first[f"etc/kubernetes/{path}"] == second[f"etc/kubernetes/{path}"]
    host_key = "etc/ssh/ssh_host_ed25519_key"
    assert first[host_key] != second[host_key]


def test_the_load_balancer_holds_no_secret_of_the_cluster(credentials: Credentials) -> None:
    """It balances bytes; certificates end at the API servers."""
    paths = _files(LAYOUT, "lb", credentials)
    assert not [path for path in paths if path.startswith("etc/kubernetes")]
    assert "etc/haproxy/haproxy.cfg" in paths


def test_without_kubernetes_there_is_only_etcd(credentials: Credentials) -> None:
    """No unit of the control plane, and of the certificates only etcd's."""
    paths = _files(Layout("lab", LabSpec(kube=False), SUBNET), "cp1", credentials)
    kube = [path for path in paths if "kube" in path and "/pki/etcd/" not in path]
    assert not kube


def test_a_spare_has_every_unit_and_starts_none(credentials: Credentials) -> None:
    """It waits with its certificates in place; joining is the runbook's work."""
    files = _files(Layout("lab", LabSpec(spares=1), SUBNET), "sp1", credentials)
    assert "etc/systemd/system/etcd.service" in files
    assert "etc/kubernetes/pki/etcd/peer.key" in files
    assert not [path for path in files if ".wants/" in path]
    assert b'INITIAL_CLUSTER_STATE="existing"' in files["etc/default/etcd"].content


def test_an_api_server_asks_its_own_etcd_first() -> None:
    """All members are listed, so that it outlives its own one; its own is the nearest."""
    unit = units.kube_apiserver(LAYOUT, LAYOUT.host("cp2"))
    addresses = ("10.70.211.12", "10.70.211.11", "10.70.211.13")
    assert f"--etcd-servers={','.join(f'https://{a}:2379' for a in addresses)}" in unit


def test_every_member_names_the_whole_cluster() -> None:
    """A member that lists fewer peers than there are refuses to start."""
    settings = units.etcd_settings(LAYOUT, LAYOUT.host("cp3"))
    members = ",".join(f"{m.name}=https://{m.address}:2380" for m in LAYOUT.members)
    assert f'ETCD_INITIAL_CLUSTER="{members}"' in settings
    assert 'ETCD_NAME="cp3"' in settings


def test_files_replace_links_and_keep_modes(tmp_path: Path) -> None:
    """Writing through a link of the base would change something else."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "etc/name").symlink_to(tmp_path / "elsewhere")
    file = HostFile("etc/name", b"new", 0o600, uid=os.getuid(), gid=os.getgid())
    write_files(tmp_path, [file])
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert (tmp_path / "etc/name").read_bytes() == b"new"
    assert (tmp_path / "etc/name").stat().st_mode & 0o777 == 0o600
