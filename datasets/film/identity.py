"""Identities as keyed hashes: the same patient has the same hash in every table under one output root, and no other.

A plain hash of a patient number can be undone by trying all numbers; HMAC-SHA256 (RFC 2104, FIPS 198-1) can't without
the key. The key stays in `<root>/.hash-key`, readable by its owner only, and is copied nowhere.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from datasets.files import read_short_text

KEY_BYTES = 32
KEY_FILE = ".hash-key"
_HASHED = re.compile(r"([0-9a-f]{8}):([0-9a-f]{16})")


def hash_key(root: Path, override: Path | None = None) -> bytes:
    """The key of an output root, made on first use.

    Args:
        root: made if missing. Its key is `<root>/.hash-key`, 64 hex digits, mode 0600.
        override: a key file to use instead; it must exist.

    Raises:
        ValueError: the key file is missing (override), unreadable, empty or no key of 32 bytes in hex.
        OSError: the root can't be written to.
    """
    if override is not None:
        return _read_key(override)
    root.mkdir(parents=True, exist_ok=True)
    path = root / KEY_FILE
    if not path.exists():
        _make_key(path)
    return _read_key(path)


def keyed_hash(key: bytes, text: str) -> str:
    """HMAC-SHA256 of the UTF-8 text, its first 16 hex digits (64 bits: two of a million patients collide in 3e-8).

    Bytes of a file name that are no UTF-8, which Python carries as lone surrogates, are hashed as they are on disk. What
    `as_hashed` made under this key is not hashed again, so that a patient of a table without names is known in a folder.
    """
    hashed = _HASHED.fullmatch(text)
    if hashed is not None and hashed[1] == key_id(key):
        return hashed[2]
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]


def as_hashed(key: bytes, value: str) -> str:
    """A hash of `keyed_hash` as it stands in a table in place of a name: with what names its key."""
    return f"{key_id(key)}:{value}"


def short_name(kind: str, value: str) -> str:
    """A name to be read, of a hash of `keyed_hash`: "institution 3f2a91". Of 100, two are alike in 3 of 10,000 tables."""
    return f"{kind} {value[:6]}"


def hashed_by(text: str) -> str | None:
    """Which key a text of `as_hashed` was made with, by its `key_id`; None for any other text."""
    hashed = _HASHED.fullmatch(text)
    return hashed[1] if hashed is not None else None


def key_id(key: bytes) -> str:
    """Names a key without giving it away, 8 hex digits: tables with different ones must not be joined."""
    return hmac.new(key, b"EnD-CXR key identifier", hashlib.sha256).hexdigest()[:8]


def _make_key(path: Path) -> None:
    """Write a new key so that of two processes one wins and neither ever sees half a key."""
    draft = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
    text = secrets.token_hex(KEY_BYTES) + "\n"
    with contextlib.suppress(FileExistsError):  # the other process was first: its key holds
        try:
            _write_new(draft, text)
            # O_EXCL on the name itself shows the other process an empty file; a link appears whole or not at all.
            os.link(draft, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            _write_new(path, text)
        finally:
            draft.unlink(missing_ok=True)


def _write_new(path: Path, text: str) -> None:
    """Create a file for its owner only; FileExistsError if there is one."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _read_key(path: Path) -> bytes:
    """The key in a file; raises ValueError, see `hash_key`."""
    try:
        key = bytes.fromhex(read_short_text(path))
    except OSError as error:
        raise ValueError(f"the key file {path} can't be read: {error.strerror}") from None
    except ValueError:  # never shown: it may be a damaged key
        raise ValueError(f"the key file {path} is no hex number: it must hold {2 * KEY_BYTES} hex digits") from None
    if len(key) < KEY_BYTES:
        raise ValueError(f"the key file {path} holds {len(key)} bytes: it must hold {KEY_BYTES} as hex digits or more")
    return key
