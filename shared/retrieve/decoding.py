"""Decode frames on threads, few at a time: a decode takes a core, and memory for its pixels."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator

from shared.dicom.frames import PixelDescription
from shared.dicom.pixels import decode_frame

_AT_ONCE = asyncio.Semaphore(max(1, os.cpu_count() or 1))


async def decoded(frames: AsyncIterator[bytes], pixels: PixelDescription) -> AsyncIterator[bytes]:
    """Compressed frames as native ones, in explicit VR little endian.

    Raises
    ------
    CorruptData
        A frame cannot be decoded.
    """
    try:
        async for frame in frames:
            async with _AT_ONCE:
                native = await asyncio.to_thread(decode_frame, frame, pixels)
            yield native
    finally:
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()
