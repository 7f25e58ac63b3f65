"""What asyncio holds per encrypted connection: by itself a quarter of a megabyte, and there may be hundreds of them."""

from __future__ import annotations

from asyncio import sslproto


def limit() -> None:
    """For the whole process."""
    sslproto.SSLProtocol.max_size = 64 * 1024
