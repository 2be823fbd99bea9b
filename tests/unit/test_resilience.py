"""Waits are bounded: of a request, and of what it leaves to be tidied up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from shared import resilience
from shared.config import SettingMissing, load_settings
from shared.errors import Unavailable
from shared.resilience import (
    FRONT_END_S,
    TIDY_S,
    Deadline,
    Patience,
    regardless_of_cancellation,
    tidied,
)

_SETTINGS = {
    "DicomStorage": "UseDevelopmentStorage=true",
    "DICOM_SQLITE_DIRECTORY": "index",
    "DICOM_PUBLIC_BASE_URL": "http://127.0.0.1",
    "DICOM_SIGN_IN": "off",
}


async def test_work_that_hangs_is_unavailable() -> None:
    deadline = Deadline(0.01)
    with pytest.raises(Unavailable):
        async with deadline.bounding():
            await asyncio.Event().wait()


async def test_a_body_that_arrives_puts_it_off() -> None:
    deadline = Deadline(0.2)

    async def slow_piece() -> Mapping[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request"}

    receive = deadline.watching(slow_piece)
    async with deadline.bounding():
        for _ in range(8):
            await receive()
    await receive()  # of an answer under way: nothing is bounded any more


async def test_a_timeout_of_the_work_itself_stays_what_it_is() -> None:
    async def work() -> None:
        async with Deadline(60).bounding(), asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()


async def test_cancelled_work_is_finished() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.02)
        done.set()

    waiting = asyncio.create_task(regardless_of_cancellation(work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done.is_set()


async def test_nobody_is_kept_by_work_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resilience, "TIDY_S", 0.01)
    release, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await release.wait()
        ended.set()
        raise ValueError("nobody hears it")

    waiting = asyncio.create_task(regardless_of_cancellation(work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await tidied(work())
    assert not ended.is_set()
    release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ended.is_set(), "it goes on"


def test_the_defaults_answer_before_azure_gives_up() -> None:
    patience = Patience()
    assert patience.fits
    assert patience.call_s < patience.request_s < FRONT_END_S - TIDY_S


def test_the_settings_are_read() -> None:
    found = load_settings(
        {
            **_SETTINGS,
            "DICOM_STORE_SILENCE_SECONDS": "2.5",
            "DICOM_STORE_TRIES": "4",
            "DICOM_REQUEST_SECONDS": "30",
        }
    )
    assert found.patience == Patience(2.5, 4, 30)
    assert found.patience.connect_s == 2.5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DICOM_STORE_SILENCE_SECONDS", "0"),
        ("DICOM_STORE_TRIES", "0"),
        ("DICOM_REQUEST_SECONDS", "0"),
        ("DICOM_REQUEST_SECONDS", "215"),
        ("DICOM_REQUEST_SECONDS", "soon"),
    ],
)
def test_a_setting_that_cannot_hold_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingMissing, match=name):
        load_settings({**_SETTINGS, name: text})
