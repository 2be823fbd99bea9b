"""Secrets that an operation needs while it runs, encrypted where they lie (ADR 0017).

A secret is bound to its operation: what was sealed for one is of no use in another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class SealBroken(Exception):
    """It was sealed with a key that is not there any more, or for another operation."""


class Sealer:
    """Seals and opens.

    Parameters
    ----------
    keys : Sequence[str]
        32 bytes in URL-safe base64 each. The first one seals, all open: so a key can be changed
        while operations run. With none, no secret can be taken.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys

    @property
    def has_key(self) -> bool:
        """Whether secrets can be taken."""
        return bool(self._keys)

    def seal(self, secret: str, owner: str) -> str:
        """The secret as it may lie in a document; ``owner`` names the operation."""
        return self._fernet().encrypt(json.dumps([owner, secret]).encode()).decode("ascii")

    def open(self, sealed: str, owner: str) -> str:
        """The secret.

        Raises
        ------
        SealBroken
            None of the keys fits, or it is another operation's.
        """
        from cryptography.fernet import InvalidToken

        try:
            bound_to, secret = json.loads(self._fernet().decrypt(sealed.encode()))
        except (InvalidToken, ValueError) as error:
            raise SealBroken from error
        if bound_to != owner:
            raise SealBroken
        return str(secret)

    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        if not self._keys:
            raise SealBroken
        return MultiFernet([Fernet(key) for key in self._keys])
