"""What is measured: the service on its local host, with an Azurite on disk; and the files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import dicom
from tests.support.azurite import azurite_running
from tests.support.server import Server

DICOM = {"Content-Type": "application/dicom"}


@contextmanager
def service() -> Iterator[tuple[str, Server]]:
    """The connection string of an Azurite, and the service on it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "azurite").mkdir()
        with (
            azurite_running(folder / "azurite", in_memory=False) as connection,
            Server(connection=connection, data=folder / "data", seed=True) as server,
        ):
            yield connection, server


def ct_files(count: int) -> list[bytes]:
    """CT instances of half a megabyte in series of 100."""
    study = dicom.new_uid()
    files = []
    for number in range(count):
        if number % 100 == 0:
            series = dicom.new_uid()
        ds = dicom.ct(
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            InstanceNumber=number,
            Rows=512,
            Columns=512,
            PixelData=bytes(512 * 512 * 2),
        )
        files.append(dicom.part10(ds))
    return files
