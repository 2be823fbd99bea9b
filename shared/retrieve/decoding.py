"""Decode and encode frames on threads, few at a time: each takes a core and much memory."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from shared.dicom import transfer_syntax
from shared.dicom.frames import PixelDescription
from shared.dicom.pixels import (
    NativeFrame,
    decode_frame,
    decoded_description,
    encode_frame,
)

_CORES = max(1, os.cpu_count() or 1)
AT_ONCE = asyncio.Semaphore(_CORES)
"""Held while a thread works on pixels."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def in_threads(
    items: AsyncIterator[_Item], work: Callable[[_Item], _Result]
) -> AsyncIterator[_Result]:
    """Do ``work`` on each item; results in order, as many ahead as there are cores."""
    running: deque[asyncio.Task[_Result]] = deque()
    try:
        async for item in items:
            running.append(asyncio.create_task(_one(item, work)))
            if len(running) > _CORES:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _one(item: _Item, work: Callable[[_Item], _Result]) -> _Result:
    async with AT_ONCE:
        return await asyncio.to_thread(work, item)


def recoding(
    pixels: PixelDescription, target: str, *, is_encapsulated: bool
) -> Callable[[bytes], NativeFrame]:
    """What turns a stored frame into one of the target transfer syntax.

    Parameters
    ----------
    pixels : PixelDescription
        Of the stored frames.
    target : str
        Transfer syntax UID.
    is_encapsulated : bool
        Whether the stored frames are compressed.

    Returns
    -------
    callable
        From a frame's bytes to those of the target; raises ``CorruptData``.
    """
    native = decoded_description(pixels) if is_encapsulated else pixels

    def work(frame: bytes) -> NativeFrame:
        found = (
            decode_frame(frame, pixels)
            if is_encapsulated
            else NativeFrame(frame, pixels.photometric_interpretation)
        )
        if target not in transfer_syntax.ENCODABLE:
            return found
        return NativeFrame(
            encode_frame(found.data, native, target), found.photometric_interpretation
        )

    return work
