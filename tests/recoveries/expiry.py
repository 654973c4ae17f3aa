"""Giving every certificate of a real cluster another end: soon, long past, or a new one laid ready.

Subject, names, key and authority stay, so that nothing but time is wrong with them.
"""

from __future__ import annotations

import base64
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from drrun_lab import Lab
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

_TAKE = (
    "cd / && tar -cf - etc/kubernetes/pki etc/kubernetes/*.conf "
    "$(ls -d var/lib/kubelet/pki/*.pem 2>/dev/null) | base64 -w0"
)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
_DATA = re.compile(rb"(?<=client-certificate-data: )\S+")

_SERVED = (
    "for at in 127.0.0.1:2379 $(hostname -I | cut -d' ' -f1):2380 127.0.0.1:6443; do "
    "openssl s_client -connect $at </dev/null 2>/dev/null | openssl x509 -noout -enddate; done"
)

Signer = RSAPrivateKey | EllipticCurvePrivateKey


def end_in(lab: Lab, hosts: Iterable[str], ends: timedelta, *, below: str = "/") -> None:
    """Give all certificates on hosts but the authorities' another end, from now; written below a folder."""
    for host in hosts:
        taken = each(lab, _TAKE, [host])[host]
        changed = base64.b64encode(_changed(base64.b64decode(taken), ends)).decode()
        done = lab.ssh(host, f"mkdir -p {below}; base64 -d | tar -C {below} -xpf -", stdin=changed)
        assert done.returncode == 0, done.stderr


def _changed(archive: bytes, ends: timedelta) -> bytes:
    """The same files with other certificates; those that hold none are left out."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as old,
        tarfile.open(fileobj=out, mode="w") as new,
    ):
        files = {m: _content(old, m) for m in old.getmembers() if m.isfile()}
        authorities = _authorities({m.name: content for m, content in files.items()})
        for member, content in files.items():
            if PurePosixPath(member.name).name in {"ca.crt", "front-proxy-ca.crt"}:
                continue
            told = _with_end(content, authorities, ends)
            if told != content:
                member.size = len(told)
                new.addfile(member, io.BytesIO(told))
    return out.getvalue()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _authorities(files: Mapping[str, bytes]) -> dict[x509.Name, tuple[x509.Certificate, Signer]]:
    found = {}
    for name in ("ca", "etcd/ca", "front-proxy-ca"):
        place = f"etc/kubernetes/pki/{name}"
        one = x509.load_pem_x509_certificate(files[f"{place}.crt"])
        key = load_pem_private_key(files[f"{place}.key"], None)
        assert isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey)
        found[one.subject] = (one, key)
    return found


def _with_end(
    content: bytes,
    authorities: Mapping[x509.Name, tuple[x509.Certificate, Signer]],
    ends: timedelta,
) -> bytes:
    def pem(old: bytes) -> bytes:
        one = x509.load_pem_x509_certificate(old)
        if one.issuer not in authorities or one.subject in authorities:
            return old
        return _anew(one, *authorities[one.issuer], ends)

    told = _PEM.sub(lambda found: pem(found[0]), content)
    return _DATA.sub(lambda found: base64.b64encode(pem(base64.b64decode(found[0]))), told)


def _anew(one: x509.Certificate, by: x509.Certificate, key: Signer, ends: timedelta) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(one.subject)
        .issuer_name(by.subject)
        .public_key(one.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + ends)
    )
    for extension in one.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def come_back_expired(lab: Lab, hosts: Iterable[str]) -> None:
    """All certificates ended yesterday, and the hosts were off meanwhile: nothing serves any more."""
    names = list(hosts)
    end_in(lab, names, timedelta(days=-1))
    for name in names:
        lab.power_cut(name)
    for name in names:
        lab.power_on(name)
    for name in names:
        until(lambda name=name: lab.ssh(name, "true").returncode == 0, timeout=90, awaiting=name)  # type: ignore[misc]


def served(lab: Lab, *hosts: str) -> set[datetime]:
    """When the certificates end that etcd (to clients and to peers) and the API servers show there."""
    told = each(lab, _SERVED, hosts)
    return {
        datetime.strptime(line, "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        for text in told.values()
        for line in text.splitlines()
    }
