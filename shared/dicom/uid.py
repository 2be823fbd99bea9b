"""UIDs as the service compares and checks them (PS3.5 9.1, spec dicomweb.md §2.6)."""

from __future__ import annotations

import re

_SYNTAX = re.compile(r"[0-9.]*[0-9]")
MAX_LENGTH = 64


def normalised(uid: str) -> str:
    """The form by which a UID is identified: without trailing padding (spaces and NULs)."""
    return uid.rstrip(" \0")


def is_valid(uid: str) -> bool:
    """Whether a UID, without its trailing padding, is digits and dots, ends in a digit, ≤ 64.

    Leading zeros and empty components pass: they occur, and are unambiguous (spec §2.6).
    """
    text = normalised(uid)
    return len(text) <= MAX_LENGTH and _SYNTAX.fullmatch(text) is not None
