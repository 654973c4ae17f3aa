"""SSH keys of a lab: one that logs in everywhere, and one a host that proves which host it is."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


@dataclass(frozen=True, slots=True)
class SshKey:
    """An Ed25519 key pair in OpenSSH's own formats."""

    private: bytes
    public: str

    @classmethod
    def new(cls) -> SshKey:
        """Make a fresh pair, without a passphrase."""
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        return cls(private, public.decode())
