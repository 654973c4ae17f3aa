"""Values as API servers store them in etcd: of whom they are, and with which key they are encrypted.

Sources: etcd's mvccpb.KeyValue; k8s.io/apimachinery generated.proto (runtime.Unknown, ObjectMeta).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from drrun_steps.etcd.bolt import Bolt

ENCRYPTED = b"k8s:enc:"
_PROTOBUF = b"k8s\x00"


def stored(bolt: Bolt) -> Iterator[tuple[bytes, bytes]]:
    """Every revision of every key, oldest first; the value of one that was deleted is empty."""
    for _, raw in bolt.items(b"key", sys.maxsize):
        fields = _fields(raw)
        yield bytes(fields.get(1, b"")), bytes(fields.get(5, b""))


def key_of(value: bytes) -> str:
    """`k8s:enc:aescbc:v1:key1:…` as `aescbc:key1`."""
    parts = value[:300].split(b":")
    return b":".join((parts[2], parts[4] if len(parts) > 4 else b"")).decode("utf-8", "replace")


def uid_of(value: bytes) -> str:
    """The UID of a stored object, as protobuf or JSON; empty where it cannot be read."""
    try:
        if value.startswith(_PROTOBUF):  # runtime.Unknown.raw, .metadata, .uid
            found = _nested(value[len(_PROTOBUF) :], 2, 1, 5)
            return found.decode("ascii", "replace")
        return str(json.loads(value)["metadata"]["uid"])
    except (ValueError, LookupError, TypeError):
        return ""


def _nested(data: bytes, *path: int) -> bytes:
    for number in path:
        data = _fields(data)[number]
    return data


def _fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a protobuf message, the last of each number; numbers are skipped."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            _, at = _varint(data, at)
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            found[tag >> 3] = data[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}.get(tag & 7, len(data))
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
