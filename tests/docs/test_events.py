"""The example of docs/events.md runs."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from shared.fanout.events import signature

_TEXT = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")


def test_the_example_knows_a_genuine_event() -> None:
    [source] = re.findall(r"```python\n(.*?)```", _TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    is_genuine = names["is_genuine"]
    body, now = b'[{"id": "1"}]', int(time.time())
    both = signature(body, ["new secret", "old secret"], now)
    for secret in ("new secret", "old secret"):
        assert is_genuine(secret, both, body)
        assert not is_genuine(secret, both, body + b" ")
        assert not is_genuine(secret, signature(body, [secret], now - 3600), body)
    assert not is_genuine("other", both, body)
