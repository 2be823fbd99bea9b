"""The app, but while the file ``HOLD`` is there, studies wait before they are indexed by new tags.

The file says how many may pass. Each study is a step of its own.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from shared.operations.reindex import Reindexer
from shared.tags.indexing import TagIndexer
from shared.tags.models import ExtendedTag

_ROOT = Path(__file__).resolve().parents[3]
_hold = Path(os.environ["HOLD"])
_index_study = TagIndexer.index_study
_passed = 0


async def _held(self: TagIndexer, pk: str, entries: Sequence[ExtendedTag]) -> None:
    global _passed  # noqa: PLW0603 — one count for the process
    while _hold.exists() and _passed >= int(_hold.read_text("ascii") or "0"):
        await asyncio.sleep(0.05)
    _passed = _passed + 1 if _hold.exists() else 0
    await _index_study(self, pk, entries)


TagIndexer.index_study = _held  # type: ignore[method-assign]
Reindexer.__init__.__kwdefaults__["step_s"] = 0.0  # type: ignore[index]

_found = importlib.util.spec_from_file_location("the_app", _ROOT / "function_app.py")
assert _found is not None
assert _found.loader is not None
_module = importlib.util.module_from_spec(_found)
_found.loader.exec_module(_module)
app = _module.app
