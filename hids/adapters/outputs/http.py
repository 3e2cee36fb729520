"""What outputs over HTTP share: a session, how long a server asks to wait, and answers that are read up to a bound."""

import ssl

import aiohttp

import hids
from hids.core.delivery import Refused

SHOWN = 200
"""Bytes of a refusal that are shown."""
_MAX_ANSWER = 16 * 1024 * 1024


def open_session(ca_file: str, timeout_s: float) -> aiohttp.ClientSession:
    """A session that trusts this CA, or the system's. Raises OSError (ssl.SSLError is one) when the file is none.

    A connection for each request: one that the server closed meanwhile would look like a failure.
    """
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file or None), force_close=True)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers={"User-Agent": f"hids/{hids.__version__}"},
    )


def after_s(response: aiohttp.ClientResponse) -> float:
    """How long the server asks us to wait; 0 when it does not say so in seconds."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0  # noqa: PLR2004 - a day and more is nonsense


async def answer_of(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer.

    Raises:
        Refused: it is larger than any that we expect.
    """
    data = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        data += chunk
        if len(data) > _MAX_ANSWER:
            raise Refused(f"the answer is larger than {_MAX_ANSWER} bytes")
    return bytes(data)


def shown(answer: bytes) -> str:
    """The beginning of an answer, on one line."""
    return repr(answer[:SHOWN].decode(errors="replace"))
