"""The cluster's certificates and kubeconfigs, laid out as kubeadm lays them out.

All keys are on P-256: three API servers and their clients shake hands often, and RSA costs this
machine's cores seconds at each boot.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=3650)
_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def crt(self) -> bytes:
        """The certificate, as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pem_key(self) -> bytes:
        """The private key, as unencrypted PEM."""
        return private_pem(self.key)


@dataclass(frozen=True, slots=True)
class Authorities:
    """What is common to all hosts of a cluster: three authorities and the token-signing key."""

    cluster: Pair
    etcd: Pair
    front_proxy: Pair
    service_accounts: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Authorities:
        """Make fresh ones."""
        return cls(
            _authority("kubernetes"),
            _authority("etcd-ca"),
            _authority("front-proxy-ca"),
            _new_key(),
        )

    def shared_files(self) -> dict[str, bytes]:
        """Files below /etc/kubernetes/pki that are the same on every control-plane host."""
        public = self.service_accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        files = {"sa.key": private_pem(self.service_accounts), "sa.pub": public}
        for name, pair in (
            ("ca", self.cluster),
            ("etcd/ca", self.etcd),
            ("front-proxy-ca", self.front_proxy),
        ):
            files |= {f"{name}.crt": pair.crt, f"{name}.key": pair.pem_key}
        return files

    def host_files(self, host: str, address: str, balancer: str) -> dict[str, bytes]:
        """Files below /etc/kubernetes/pki of one host: its servers' and clients' pairs."""
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        serving = (host, *names, "kubernetes.default.svc.cluster.local", "localhost")
        addresses = ("127.0.0.1", "10.96.0.1", address, balancer)
        local = ("127.0.0.1", address)
        masters = "system:masters"
        pairs = {
            "apiserver": issue(
                self.cluster, "kube-apiserver", uses=[_SERVER], names=serving, addresses=addresses
            ),
            "apiserver-kubelet-client": issue(
                self.cluster, "kube-apiserver-kubelet-client", masters, uses=[_CLIENT]
            ),
            "front-proxy-client": issue(self.front_proxy, "front-proxy-client", uses=[_CLIENT]),
            "apiserver-etcd-client": issue(
                self.etcd, "kube-apiserver-etcd-client", masters, uses=[_CLIENT]
            ),
            "etcd/healthcheck-client": issue(
                self.etcd, "kube-etcd-healthcheck-client", masters, uses=[_CLIENT]
            ),
        }
        for name in ("server", "peer"):
            pairs[f"etcd/{name}"] = issue(
                self.etcd,
                host,
                uses=[_SERVER, _CLIENT],
                names=(host, "localhost"),
                addresses=local,
            )
        return {
            f"{name}.{ending}": content
            for name, pair in pairs.items()
            for ending, content in (("crt", pair.crt), ("key", pair.pem_key))
        }

    def kubeconfig(self, user: str, server: str, group: str = "") -> bytes:
        """A kubeconfig for one identity against one API server address."""
        pair = issue(self.cluster, user, group, uses=[_CLIENT])
        return f"""\
apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
    certificate-authority-data: {_base64(self.cluster.crt)}
    server: {server}
users:
- name: {user}
  user:
    client-certificate-data: {_base64(pair.crt)}
    client-key-data: {_base64(pair.pem_key)}
contexts:
- name: {user}@kubernetes
  context: {{cluster: kubernetes, user: {user}}}
current-context: {user}@kubernetes
preferences: {{}}
""".encode()


def issue(
    authority: Pair,
    common_name: str,
    organization: str = "",
    *,
    uses: list[x509.ObjectIdentifier],
    names: Iterable[str] = (),
    addresses: Iterable[str] = (),
) -> Pair:
    """Make a key and a certificate for it, signed by `authority`."""
    key = _new_key()
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = _builder(x509.Name(parts), authority.certificate.subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), False)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(IPv4Address(address)) for address in addresses]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The form that Go's TLS and token code read: PKCS #8 is refused for token keys by some."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _authority(name: str) -> Pair:
    key = _new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, False)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # An hour back: a host's clock may lag behind this machine's.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
