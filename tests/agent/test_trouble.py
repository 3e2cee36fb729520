"""Every way in which a connection fails has words, and the common ones say what to do."""

import socket
import ssl

import pytest

from hids.agent.trouble import in_words


def refused_by_tls() -> ssl.SSLError:
    """What a client meets where somebody answers who speaks no TLS."""
    came = ssl.MemoryBIO()
    came.write(b"HTTP/1.1 400 Bad Request")
    client = ssl.create_default_context().wrap_bio(came, ssl.MemoryBIO(), server_hostname="manager")
    with pytest.raises(ssl.SSLError) as met:
        client.do_handshake()
    return met.value


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ssl.SSLCertVerificationError(), "not of the CA that this agent joined"),
        (refused_by_tls(), "does this manager know the agent's certificate"),
        (socket.gaierror(-2, "Name or service not known"), "cannot find the manager's address: Name or service"),
        (ConnectionRefusedError(111, "Connection refused"), "nobody listens there; is the manager running?"),
        (TimeoutError(), "no answer; is a firewall in between?"),
        (OSError(113, "No route to host"), "No route to host"),
        (OSError(), ""),
        (ValueError("a frame of 5 GiB"), "a frame of 5 GiB"),
    ],
)
def test_words(error: BaseException, words: str):
    assert words in in_words(error)
