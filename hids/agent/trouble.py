"""Why there is no connection to a manager, in words for a person, and what to do about it."""

import socket
import ssl


def in_words(error: BaseException) -> str:  # noqa: PLR0911 - a table
    """A failed connection, and what to do about it."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                "the manager's certificate is not of the CA that this agent joined: another manager, or someone in "
                "between; join again if the manager was set up anew"
            )
        case ssl.SSLError():
            return (
                f"TLS: {error.reason or error}; does this manager know the agent's certificate? If it was removed, "
                "join again with a new token"
            )
        case socket.gaierror():
            return f"cannot find the manager's address: {error.strerror}"
        case ConnectionRefusedError():
            return "nobody listens there; is the manager running?"
        case TimeoutError():
            return "no answer; is a firewall in between?"
        case OSError():
            return error.strerror or str(error)
        case _:
            return str(error)
