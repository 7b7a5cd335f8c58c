"""From a password people can type to the 32-byte pre-shared key of the handshakes.

Whoever completes a handshake with one of us can try passwords offline afterwards; that is true of every scheme without
a password-authenticated key exchange. So each try must cost memory and time. Called once per password at start-up; it
takes about a tenth of a second, so a shell calls it in a thread.
"""

import unicodedata

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from weave.errors import LocalError

PSK_BYTES = 32
OPEN_PSK = bytes(PSK_BYTES)
"""Stands for "no password": everybody has it, the mesh is encrypted but open."""

ARGON2_MEMORY_KIB = 46 * 1024
"""OWASP's recommendation for Argon2id; above what a GPU core has to itself, below what an edge device cannot spare."""
ARGON2_PASSES = 2
"""OWASP asks for one at this memory; two cost us a tenth of a second, once."""
ARGON2_LANES = 1
SALT = b"weave mesh password 3"
"""Fixed, as all hosts of a mesh must reach the same key from the password alone; the memory, not the salt, is what
makes a precomputed table of common passwords dear. Changing any of these four values splits every running mesh."""

MAX_PASSWORD_BYTES = 1024


def stretch(password: str) -> bytes:
    """Return the pre-shared key of a password; equal passwords give equal keys however their accents were typed."""
    secret = unicodedata.normalize("NFC", password).encode("utf-8", "surrogateescape")
    if not secret:
        raise LocalError("the password is empty; give one, or leave the option out for a mesh without password")
    if len(secret) > MAX_PASSWORD_BYTES:
        raise LocalError(f"the password is longer than {MAX_PASSWORD_BYTES} bytes; was the right file given?")
    return Argon2id(
        salt=SALT, length=PSK_BYTES, iterations=ARGON2_PASSES, lanes=ARGON2_LANES, memory_cost=ARGON2_MEMORY_KIB
    ).derive(secret)
