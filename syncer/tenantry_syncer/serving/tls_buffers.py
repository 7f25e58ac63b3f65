"""Reduce asyncio's buffer per TLS connection, a quarter of a megabyte by default: there may be hundreds."""

from __future__ import annotations

from asyncio import sslproto


def limit() -> None:
    """Set the buffer size for the whole process."""
    sslproto.SSLProtocol.max_size = 64 * 1024
