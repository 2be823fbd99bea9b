"""The cloud on this machine, and an ``azd`` that notes what it is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.hooks.rest import Rest
from tests.support.cloud import TOKEN, Cloud, cloud_running


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_running() as running:
        yield running


@pytest.fixture
def rest(cloud: Cloud) -> Iterator[Rest]:
    """A client of the cloud that does not wait."""
    client = Rest(cloud.url, lambda: TOKEN, pause=lambda _: None)
    yield client
    client.close()


@pytest.fixture
def azd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """A program ``azd`` on the path; the variables that it was told to set."""
    log = tmp_path / "azd.log"
    program = tmp_path / "bin" / "azd"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1 $2" = "env set" ] && echo "$3=$4" >> "{log}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    def values() -> dict[str, str]:
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        return dict(line.split("=", 1) for line in lines)

    return values
