# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Encrypt a short text with a passphrase, in the format of age (age-encryption.org/v1, recipient scrypt).

pyrage chooses the work factor by the machine's current speed, and rejects one that is too hard for the machine that
decrypts. A backup must be readable everywhere, so this module uses a fixed work factor. `age` and pyrage read it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
except ImportError:
    InvalidTag = ValueError  # type: ignore[assignment,misc]  # reported once, by _module.main()

# log2 of scrypt's N: 128 MiB, less than a second. No other is accepted, because the text is not trusted.
WORK = 17
_VERSION = b"age-encryption.org/v1"
_BEGIN, _END = "-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----"
_HEADER = re.compile(
    rb"age-encryption\.org/v1\n-> scrypt ([A-Za-z0-9+/]{22}) ([0-9]{1,2})\n"
    rb"([A-Za-z0-9+/]{43})\n--- ([A-Za-z0-9+/]{43})\n"
)
_LAST_CHUNK = bytes(11) + b"\x01"  # the nonce of a payload of one chunk


class WrongPassphrase(TenantryError):
    """The passphrase is wrong, or the text was damaged."""


def wrap_key(text: str, passphrase: str) -> str:
    """Return the text encrypted, as ASCII armor."""
    salt, file_key, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrapped = ChaCha20Poly1305(_stretched(passphrase, salt)).encrypt(bytes(12), file_key, None)
    header = b"\n".join([_VERSION, b"-> scrypt %s %d" % (_text(salt), WORK), _text(wrapped), b"---"])
    body = ChaCha20Poly1305(_derived(file_key, nonce, b"payload")).encrypt(_LAST_CHUNK, text.encode(), None)
    whole = header + b" " + _text(_mac(file_key, header)) + b"\n" + nonce + body
    lines = re.findall(".{1,64}", base64.b64encode(whole).decode())
    return "\n".join([_BEGIN, *lines, _END, ""])


def unwrap_key(locked: str, passphrase: str) -> str:
    """Return the decrypted text. Raise WrongPassphrase."""
    try:
        whole = base64.b64decode("".join(locked.strip().removeprefix(_BEGIN).removesuffix(_END).split()), validate=True)
    except ValueError:
        raise WrongPassphrase("it is not armored text of age") from None
    found = _HEADER.match(whole)
    if not found or int(found[2]) != WORK:
        raise WrongPassphrase(f"it is not encrypted with a passphrase and the work factor {WORK}")
    salt, wrapped, mac = (base64.b64decode(found[number] + b"==="[: -len(found[number]) % 4]) for number in (1, 3, 4))
    try:
        file_key = ChaCha20Poly1305(_stretched(passphrase, salt)).decrypt(bytes(12), wrapped, None)
        if not hmac.compare_digest(mac, _mac(file_key, whole[: found.start(4) - 1])):
            raise WrongPassphrase("its header was changed")
        nonce, body = whole[found.end() : found.end() + 16], whole[found.end() + 16 :]
        return ChaCha20Poly1305(_derived(file_key, nonce, b"payload")).decrypt(_LAST_CHUNK, body, None).decode()
    except (InvalidTag, ValueError):
        raise WrongPassphrase("the passphrase is wrong or the header was damaged") from None


def _stretched(passphrase: str, salt: bytes) -> bytes:
    size = 2**WORK
    salt = _VERSION + b"/scrypt" + salt
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=size, r=8, p=1, maxmem=129 * 8 * size, dklen=32)


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    """Return the first 32 bytes of HKDF with SHA-256."""
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\x01", "sha256")


def _mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")


def _text(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")
