"""Packed text, as it lies in our databases and goes to agents: zstd frames that say their size."""

import zstandard

MAX_BYTES = 64 * 1024 * 1024
"""Of unpacked text. The lane closes a group at 8 MiB of alerts; a single outcome may carry it over that."""


def unpack(data: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Unpack one frame.

    Raises:
        ValueError: it is damaged, does not say its size, or is larger than `max_bytes`.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= max_bytes:
            raise ValueError(f"says that it unpacks to {size} bytes, at most {max_bytes} bytes are allowed")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"does not unpack: {error}") from error
