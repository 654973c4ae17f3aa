"""Certificates of a service: those in the files that it is started with, and those that it works with.

A file that was renewed changes nothing by itself: some processes read theirs again at each handshake
(etcd), some once a minute (API servers), some only when they start (controllers). So it is asked what
a process serves, and whether it is younger than what it reads (pitfall 40; kubernetes#102556).
Rule 1: what leaves a host is certificates and digests of public keys, never a key.
"""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from drrun.spi import Command, Fact, Reply, satisfies, sh
from drrun_steps.service import pods

if TYPE_CHECKING:
    from cryptography import x509

KUBELETS = "/var/lib/kubelet/pki/kubelet-client-current.pem"
"""The certificate that a kubelet renews by itself, while an API server answers it."""

_WORDS = (
    pods.POD
    + r"""
LC_ALL=C; export LC_ALL
words() { # variables and words that the service is started with, one a line, flags last
  if is_own; then "$own_way" settings </dev/null || cannot settings "$?"
  elif is_pod; then
    m=$live; [ -e "$m" ] || m=$away
    sed -n 's/^ *- //p' "$m"
  else
    systemctl show -p Environment "$UNIT" | sed 's/^Environment=//'
    systemctl show -p EnvironmentFiles "$UNIT" |
      sed -e 's/^EnvironmentFiles=//' -e 's/ (ignore_errors=[a-z]*)$//' |
      while read -r m; do [ ! -r "$m" ] || grep -v '^[[:space:]]*#' "$m"; done
    systemctl show -p ExecStart "$UNIT" | sed 's/^ExecStart=//' |
      sed -n 's/.*argv\[\]=\(.*\) ; ignore_errors=.*/\1/p'
  fi | tr ' \t' '\n\n' | sed "s/[\"']//g"
}
files() { # those that may hold a certificate: small ones, and what a kubeconfig names
  { words | sed 's/^.*=//'; printf '%s\n' "$ALSO" | tr ',' '\n'; } | grep '^/' | sort -u |
    while read -r f; do
      [ -f "$f" ] && [ "$(stat -Lc %s -- "$f")" -lt 262144 ] || continue
      echo "$f"
      sed -n -e 's/^ *client-certificate: *//p' -e 's/^ *client-key: *//p' \
        -e 's/^ *certificate-authority: *//p' -- "$f" | sed "s/[\"']//g"
    done | sort -u
}
"""
)

_CERTIFICATES = (
    _WORDS
    + r"""
date -u +now=%s
files | while read -r f; do
  [ -r "$f" ] || continue
  printf 'file=%s\n' "$f"
  sed -n '/^-----BEGIN CERTIFICATE/,/^-----END CERTIFICATE/p' -- "$f"
  sed -n -e 's/^ *client-certificate-data: */data=/p' -e 's/^ *certificate-authority-data: */data=/p' -- "$f"
  k=$(sed -n '/BEGIN.*PRIVATE KEY/,/END.*PRIVATE KEY/p' -- "$f"
    sed -n 's/^ *client-key-data: *//p' -- "$f" | base64 -d 2>/dev/null)
  [ -z "$k" ] || printf '%s\n' "$k" | openssl pkey -pubout 2>/dev/null | sha256sum | sed 's/^/key=/'
done
true
"""
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate in a file of a service."""

    file: str
    subject: str
    names: tuple[str, ...]
    """What it may be reached by: DNS names and addresses."""
    ends: str
    """Its notAfter, as `2027-11-23 22:05 UTC`."""
    digest: str
    """sha256 of its DER form."""
    authority: bool
    """Whether it signs others."""
    expired: bool
    """By the host's clock, as all of these."""
    ending: bool
    """Whether it ends within the hours that were asked for."""
    sound: bool
    """Whether an authority of the service signed it, and the service has its key."""

    def __str__(self) -> str:
        """File, subject and end."""
        return f"{self.file} ({self.subject}) {'ended' if self.expired else 'ends'} {self.ends}"


@dataclass(frozen=True, slots=True)
class ServiceCertificates(Fact[tuple[Certificate, ...]]):
    """The certificates in the files that a service is started with, and in the files `also`."""

    name: ClassVar[str] = "service.certificates"
    service: str
    hours: int = 0
    also: tuple[str, ...] = ()

    def about(self) -> tuple[str, ...]:
        """The certificate files."""
        return ("certificates",)

    def ask(self) -> Command:
        """Any file that a flag or a variable names, and kubeconfigs looked into."""
        return sh(_CERTIFICATES, **pods.named(self.service), ALSO=",".join(self.also))

    def parse(self, reply: Reply) -> tuple[Certificate, ...]:
        """In order of files. Raises ValueError when the script broke off, or a file makes no sense."""
        if reply.exit != 0:
            raise ValueError(f"cannot read certificates of {self.service}: {reply.complaint!r}")
        return tuple(_told(reply.text, self.hours))


def _told(text: str, hours: int) -> Iterator[Certificate]:
    held: list[tuple[str, x509.Certificate]] = []
    clock, keys = 0, set[str]()
    file, block = "", list[str]()
    for line in text.splitlines():
        kind, _, value = line.partition("=")
        if kind == "now":
            clock = int(value)
        elif kind == "file":
            file, block = value, []
        elif kind == "key":
            keys.add(value[:64])
        elif kind == "data":
            held += [(file, one) for one in _loaded(base64.b64decode(value).decode())]
        else:
            block.append(line)
            if line.startswith("-----END"):
                held += [(file, one) for one in _loaded("\n".join(block) + "\n")]
                block = []
    now = datetime.fromtimestamp(clock, UTC)
    authorities = [one for _, one in held if _signs(one)]
    for where, one in held:
        yield Certificate(
            where,
            one.subject.rfc4514_string(),
            _names(one),
            f"{one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            hashlib.sha256(_der(one)).hexdigest(),
            _signs(one),
            one.not_valid_after_utc <= now,
            one.not_valid_after_utc <= now + timedelta(hours=hours),
            _public(one) in keys and any(_signed(one, by) for by in authorities),
        )


def _loaded(pem: str) -> list[x509.Certificate]:
    from cryptography import x509

    # Authorities that kubeadm made up to 1.29 have the serial number 0; no operator need read of it.
    warnings.filterwarnings("ignore", message="Parsed a serial number")
    return x509.load_pem_x509_certificates(pem.encode())


def _signs(one: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return one.issuer == one.subject


def _signed(one: x509.Certificate, by: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        one.verify_directly_issued_by(by)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names(one: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(sorted(str(name.value) for name in found))


def _der(one: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return one.public_bytes(Encoding.DER)


def _public(one: x509.Certificate) -> str:
    """The sha256 of its public key, as `openssl pkey -pubout | sha256sum` says it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = one.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


_STALE = (
    _WORDS
    + r"""
said() { # FLAG: its value; a flag counts before etcd's variable
  words | awk -v f="$1" -v k="ETCD_$(printf '%s' "$1" | tr a-z- A-Z_)=" '
    want { v = $0; want = 0 }
    { sub(/^--?/, "-") }
    index($0, "-" f "=") == 1 { v = substr($0, length(f) + 3) }
    $0 == "-" f { want = 1 }
    index($0, k) == 1 { v = substr($0, length(k) + 1) }
    END { print v }'
}
served() { # ADDRESS FILE of each place where it shows a certificate of its files
  for pair in cert-file:listen-client-urls peer-cert-file:listen-peer-urls; do
    f=$(said "${pair%:*}")
    [ -z "$f" ] || said "${pair#*:}" | tr ',' '\n' | sed -n "s|^https://\(.*\)|\1 $f|p"
  done
  f=$(said tls-cert-file); port=$(said secure-port)
  case ${UNIT%.service} in
    kube-apiserver) port=${port:-6443} ;;
    kube-controller-manager) port=${port:-10257} ;;
    kube-scheduler) port=${port:-10259} ;;
  esac
  if [ -n "$f" ] && [ "${port:-0}" != 0 ]; then
    at=$(said bind-address)
    case $at in *:*) at="[$at]" ;; esac
    echo "${at:-127.0.0.1}:$port $f"
  fi
}
print_of() { openssl x509 -noout -enddate -fingerprint -sha256 2>/dev/null; }
pids() {
  if is_own; then "$own_way" status </dev/null 2>/dev/null | sed -n '1s/^\([0-9][0-9]*\)$/\1/p'
  elif is_pod; then
    ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n "s|.*/proc/\([0-9]*\)/exe -> .*/$POD\( (deleted)\)\{0,1\}\$|\1|p"
  else systemctl show -p MainPID "$UNIT" | sed 's/^MainPID=//' | grep -v '^0$'
  fi
}
if ! is_own && ! is_pod; then
  case $(systemctl show -p LoadState "$UNIT" | sed 's/^LoadState=//') in loaded) ;; *) exit 0 ;; esac
fi
began=
for p in $(pids); do
  ticks=$(sed 's/.*) //' "/proc/$p/stat" 2>/dev/null | cut -d' ' -f20)
  [ -z "$ticks" ] || began=$(($(sed -n 's/^btime //p' /proc/stat) + ticks / $(getconf CLK_TCK 2>/dev/null || echo 100)))
done
[ -n "$began" ] || { echo 'it does not run'; exit 0; }
files | while read -r f; do
  [ "$f" != "$KUBELETS" ] && grep -q -e '^-----BEGIN CERTIFICATE' -e 'client-certificate' -- "$f" || continue
  # The kernel says when it booted in whole seconds, and may be one off.
  [ "$(stat -Lc %Z -- "$f")" -le $((began + 2)) ] || echo "$f is newer than the process"
done
served | sed -e 's/^0\.0\.0\.0:/127.0.0.1:/' -e 's/^\[::\]:/[::1]:/' | while read -r at f; do
  command -v openssl >/dev/null || { echo "what $at serves cannot be asked: no openssl here"; continue; }
  shown=$(timeout 5 openssl s_client -connect "$at" </dev/null 2>/dev/null | print_of)
  [ "$shown" != "$(print_of <"$f")" ] || continue
  [ -n "$shown" ] || { echo "$at serves no certificate"; continue; }
  echo "$at serves another one than $f, which ends $(printf '%s\n' "$shown" | sed -n 's/^notAfter=//p')"
done
true
"""
)


@dataclass(frozen=True, slots=True)
class ServiceStale(Fact[tuple[str, ...]]):
    """Why a service may still work with certificates that are no longer in its files; empty: it does not.

    A file of its that is newer than its process, and an address where it serves another certificate
    than its file holds. A host without the service has nothing stale.
    """

    name: ClassVar[str] = "service.stale"
    service: str

    def about(self) -> tuple[str, ...]:
        """The files, and the service's present life."""
        return ("certificates", f"service:{self.service}")

    def ask(self) -> Command:
        """Its start against the files' last change, and a handshake with each address."""
        return sh(_STALE, **pods.named(self.service), ALSO="", KUBELETS=KUBELETS)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """One line a reason. Raises ValueError when the script broke off."""
        if reply.exit != 0:
            raise ValueError(f"cannot ask what {self.service} serves: {reply.complaint!r}")
        return tuple(line for line in reply.text.splitlines() if line)


@dataclass(frozen=True, slots=True)
class ServiceExpired(Fact[tuple[str, ...]]):
    """Certificates that have expired among those that a start of the service would load, in words; authorities not.

    An authority that others have followed may have ended long ago.
    """

    name: ClassVar[str] = "service.expired"
    service: str

    def about(self) -> tuple[str, ...]:
        """The certificate files."""
        return ("certificates",)

    def ask(self) -> Command:
        """The files that its flags, variables and kubeconfigs name."""
        return ServiceCertificates(self.service).ask()

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """One line each. Raises ValueError when the script broke off, or a file makes no sense."""
        found = ServiceCertificates(self.service).parse(reply)
        return tuple(str(one) for one in found if one.expired and not one.authority)


STALE = satisfies("stale", bool)
"""For `ServiceStale`: something is."""

FACTS: tuple[type[Fact[Any]], ...] = (ServiceCertificates, ServiceExpired, ServiceStale)
