"""Hashes of a file that was found, as OSSEC appends them: for looking it up."""

import hashlib

from hids.agent.checks.regular import open_regular

MAX_BYTES = 512 * 1024 * 1024
_CHUNK = 256 * 1024


def hashes(path: str) -> str:
    """` MD5=... SHA1=... SHA256=...`; empty for what is no regular file that can be read."""
    file = open_regular(path)
    if file is None:
        return ""
    digests = [hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha1", "sha256")]
    with file:
        left = MAX_BYTES
        try:
            while left > 0 and (chunk := file.read(_CHUNK)):
                left -= len(chunk)
                for digest in digests:
                    digest.update(chunk)
        except OSError:
            return ""
    md5, sha1, sha256 = (digest.hexdigest() for digest in digests)
    return f" MD5={md5} SHA1={sha1} SHA256={sha256}"
