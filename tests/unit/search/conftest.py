"""An index of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.sqlite.documents import SqliteDocuments
from tests.support.search import Archive


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    """An empty archive."""
    documents = SqliteDocuments(tmp_path / "index.sqlite")
    yield Archive(documents)
    await documents.close()
