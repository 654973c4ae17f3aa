"""Proving who we are: the keys that may do it, in order, and one clear error when none does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

from drrun.errors import AuthError, Unreachable
from drrun.transport.deadline import Deadline
from drrun.transport.ssh_config import Hop

TRIES = 5
"""sshd hangs up after six."""


@dataclass(slots=True)
class Keys:
    """The keys for one hop, in order: files named, then the agent's. `notes` say what was not used."""

    hop: Hop
    notes: list[str] = field(default_factory=list)
    agent: paramiko.Agent | None = None

    def close(self) -> None:
        """Let go of the ssh agent; its keys sign no more."""
        if self.agent is not None:
            self.agent.close()

    def __iter__(self) -> Iterator[tuple[str, paramiko.PKey]]:
        seen: set[bytes] = set()
        wanted = list(self.hop.identities)
        for label, key in (*self._files(wanted), *self._agent(wanted)):
            blob = bytes(key.asbytes()) + (b"cert" if key.public_blob else b"")
            if blob not in seen:
                seen.add(blob)
                yield label, key

    def _files(self, paths: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
        for path in paths:
            if not Path(path).exists():
                continue
            certificate = Path(f"{path}-cert.pub")
            for with_certificate in (True, False):
                if with_certificate and not certificate.exists():
                    continue
                key = self._load(path)
                if key is None:
                    break
                if with_certificate:
                    try:
                        key.load_certificate(str(certificate))
                    except (ValueError, OSError, paramiko.SSHException) as exc:
                        self.notes.append(f"{certificate}: {exc}")
                        continue
                yield (str(certificate) if with_certificate else path), key

    def _load(self, path: str) -> paramiko.PKey | None:
        try:
            return paramiko.PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError):
            # cryptography says TypeError when a key wants a passphrase and got none.
            self.notes.append(f"{path} is encrypted: ssh-add {path}")
        except (ValueError, OSError, paramiko.SSHException) as exc:
            self.notes.append(f"{path}: {exc}")
        except Exception as exc:  # noqa: BLE001 - the key formats' readers raise their own kinds
            self.notes.append(f"{path}: {type(exc).__name__} {exc}")
        return None

    def _agent(self, paths: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
        if not self.hop.agent:
            return
        try:
            self.agent = paramiko.Agent()
            keys = self.agent.get_keys()
        except (paramiko.SSHException, OSError) as exc:
            self.notes.append(f"the ssh agent did not answer: {exc}")
            return
        named = {blob for path in paths if (blob := _public(path))}
        # Those that belong to a named file first: sshd counts tries.
        for key in sorted(keys, key=lambda key: key.asbytes() not in named):
            yield f"agent key {key.comment or key.get_name()}", key


def _public(path: str) -> bytes | None:
    import base64

    try:
        words = Path(f"{path}.pub").read_text(encoding="utf-8", errors="replace").split()
        return base64.b64decode(words[1])
    except (OSError, IndexError, ValueError):
        return None


def log_in(transport: paramiko.Transport, hop: Hop, deadline: Deadline) -> None:
    """Authenticate. Raises AuthError naming what was tried, Unreachable when the line broke."""
    keys = Keys(hop)
    try:
        _try_each(transport, keys, deadline)
    finally:
        keys.close()


def _try_each(transport: paramiko.Transport, keys: Keys, deadline: Deadline) -> None:
    hop = keys.hop
    tried: list[str] = []
    for label, key in keys:
        if len(tried) == TRIES:
            keys.notes.append(f"more keys were not tried: a server allows few ({TRIES})")
            break
        tried.append(label)
        transport.auth_timeout = deadline.need()
        try:
            rest = transport.auth_publickey(hop.user, key)
        except paramiko.BadAuthenticationType as exc:
            allowed = ", ".join(exc.allowed_types)
            raise AuthError(
                f"{hop}: the server takes no keys, only: {allowed}",
                hint="drrun logs in by key; allow PubkeyAuthentication for this account",
            ) from exc
        except paramiko.AuthenticationException as exc:
            if not transport.is_active():
                keys.notes.append(str(exc))
                break
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if not deadline.left:
                raise TimeoutError(f"no answer to the login within {deadline.total:g} s") from exc
            raise Unreachable(
                f"{hop}: the line broke during login: {exc}", hint="try again; see sshd's log"
            ) from exc
        else:
            if not rest:
                return
            raise AuthError(
                f"{hop}: the server wants more than a key: {', '.join(rest)}",
                hint="drrun cannot answer a second factor; use an account without one",
            )
    raise AuthError(_refusal(hop, tried, keys.notes), hint=_hint(hop, tried, keys.notes))


def _refusal(hop: Hop, tried: list[str], notes: list[str]) -> str:
    what = f"tried {', '.join(tried)}" if tried else "there was no key to try"
    return f"{hop}: permission denied: " + "; ".join((what, *notes))


def _hint(hop: Hop, tried: list[str], notes: list[str]) -> str:
    if any("encrypted" in note for note in notes):
        return "drrun asks for no passphrase: load the key into an agent with ssh-add"
    if not tried:
        return "name a key file as `identity` in the inventory, or start an ssh agent"
    port = f" -p {hop.port}" if hop.port != 22 else ""
    return f"see what ssh does: ssh -v{port} {hop.user}@{hop.host} true"
