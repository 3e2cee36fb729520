"""What the databases of dpkg, rpm and apk say: which package has which files, and what is in them. Parsing only.

A line that is not understood is left out: what is not there explains nothing.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

MAX_PATH = 4_096
"""Bytes, PATH_MAX."""

_MD5 = re.compile(rb"[0-9a-f]{32}")
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")
_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}
"""By the digits of a digest."""
_SHA1_BYTES = 20
_RPM_FIELDS = 4


MAX_ALTERNATIVE_LINES = 10_000


class Owned(NamedTuple):
    """A path of a package."""

    path: bytes
    """Absolute."""
    digest: str = ""
    """Hex; MD5, SHA-1 or SHA-256, as its length tells. Empty: the package does not say."""
    is_conffile: bool = False
    """The administrator may change it."""
    target: bytes = b""
    """Where a symbolic link points, if the package says so."""


class Package(NamedTuple):
    """A package that is installed."""

    name: str
    version: str
    stamp: str
    """Another after each installation, upgrade or removal."""
    at_ms: int
    """When it was installed or upgraded; 0: the database does not tell."""
    conffiles: tuple[Owned, ...] = ()
    """As dpkg's status has them, which its lists do not tell."""


class DpkgEntry(NamedTuple):
    """One paragraph of dpkg's status file."""

    name: str
    architecture: str
    version: str
    conffiles: tuple[Owned, ...]


def algorithm_of(digest: str) -> str:
    """Which algorithm made a digest of a package."""
    return _ALGORITHMS[len(digest)]


def dpkg_status(lines: Iterable[bytes]) -> Iterator[DpkgEntry]:
    """Paragraphs of /var/lib/dpkg/status (deb822: fields, and lines that go on with a blank)."""
    fields: dict[bytes, bytes] = {}
    conffiles: list[Owned] = []
    field = b""
    for line in _with_end(lines):
        if not line.strip():
            if b"package" in fields:
                yield DpkgEntry(
                    _text(fields[b"package"]),
                    _text(fields.get(b"architecture", b"")),
                    _text(fields.get(b"version", b"")),
                    tuple(conffiles),
                )
            fields, conffiles, field = {}, [], b""
        elif line.startswith((b" ", b"\t")):
            if field == b"conffiles":
                conffiles.extend(_conffile(line))
        else:
            field, _, value = line.partition(b":")
            field = field.lower()
            if field in (b"package", b"architecture", b"version"):
                fields[field] = value.strip()


def _with_end(lines: Iterable[bytes]) -> Iterator[bytes]:
    yield from lines
    yield b""


def _conffile(line: bytes) -> Iterator[Owned]:
    words = line.split()
    while words and words[-1] in (b"obsolete", b"remove-on-upgrade"):
        words.pop()
    if len(words) > 1:
        path = b" ".join(words[:-1])
        digest = _text(words[-1]) if _MD5.fullmatch(words[-1]) else ""  # "newconffile" until it is configured
        if path.startswith(b"/") and len(path) <= MAX_PATH:
            yield Owned(path, digest, is_conffile=True)


def dpkg_conffiles(lines: Iterable[bytes], paths: tuple[bytes, ...]) -> Iterator[Owned]:
    """What the lines of /var/lib/dpkg/status say of some conffiles; without taking the file apart."""
    beginnings = tuple(b" %b " % path for path in paths)
    for line in lines:
        if line.startswith(beginnings):
            yield from (each for each in _conffile(line) if each.path in paths and each.digest)


def dpkg_sums(lines: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    """(absolute path, MD5) of info/PACKAGE.md5sums."""
    for line in lines:
        digest, blank, path = line.rstrip(b"\n").partition(b"  ")
        if blank and _MD5.fullmatch(digest) and 0 < len(path) <= MAX_PATH:
            yield b"/" + path.removeprefix(b"./"), digest.decode()


def dpkg_list(text: bytes, roots: tuple[bytes, ...]) -> Iterator[bytes]:
    """Absolute paths of info/PACKAGE.list that lie below some directories, themselves included."""
    for found in _below(roots).finditer(text):
        if len(found[0]) <= MAX_PATH:
            yield found[0]


def is_below(path: bytes, roots: tuple[bytes, ...]) -> bool:
    """Whether a path lies below some directory, or is one; an empty one is the root directory."""
    return any(path == root or path.startswith(root + b"/") for root in roots)


@lru_cache(maxsize=8)
def _below(roots: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """One expression: a host has a thousand lists, and most have nothing of what is looked for."""
    if not roots:
        return re.compile(rb"(?!)")
    return re.compile(rb"(?m)^(?=/)(?:" + b"|".join(map(re.escape, roots)) + rb")(?:/[^\n]*)?$")


def alternative_links(lines: Iterable[bytes], name: bytes) -> Iterator[Owned]:
    """The links of one file of /var/lib/dpkg/alternatives: two for the name, two for each that follows it.

    The file has the mode, the link, then pairs of name and link up to an empty line.
    """
    rows = [line.rstrip(b"\n") for line in islice(lines, MAX_ALTERNATIVE_LINES)]
    named = [name, *rows[1 : rows.index(b"") if b"" in rows else len(rows)]]
    for each, link in zip(named[::2], named[1::2], strict=False):
        if each and b"/" not in each and link.startswith(b"/") and len(link) <= MAX_PATH:
            yield Owned(link)
            yield Owned(b"/etc/alternatives/" + each)


def apk_installed(  # noqa: PLR0912 - one branch a field
    lines: Iterable[bytes], at_ms: int
) -> Iterator[tuple[Package, tuple[Owned, ...]]]:
    """Packages of /lib/apk/db/installed with their files; what is below /etc is the administrator's.

    Args:
        lines: of the file.
        at_ms: when it was written: apk does not tell when a package was installed.
    """
    name = version = checksum = folder = b""
    files: list[Owned] = []
    for line in _with_end(lines):
        key, value = line[:2], line[2:].rstrip(b"\n")
        match key:
            case b"C:":
                checksum = value
            case b"P:":
                name = value
            case b"V:":
                version = value
            case b"F:":
                folder = b"/" + value if value else b""
                if value and len(value) < MAX_PATH:
                    files.append(Owned(folder))
            case b"R:":
                if len(folder) + len(value) < MAX_PATH:
                    files.append(Owned(folder + b"/" + value, is_conffile=folder.startswith(b"/etc")))
            case b"Z:":
                if files:
                    files[-1] = files[-1]._replace(digest=_apk_digest(value))
            case _ if not line.strip():
                if name:
                    stamp = _text(checksum + b" " + version)
                    yield Package(_text(name), _text(version), stamp, at_ms), tuple(files)
                name = version = checksum = folder = b""
                files = []
            case _:
                pass


def _apk_digest(value: bytes) -> str:
    """Q1 and base64 is a SHA-1; others are of no use to us."""
    try:
        digest = base64.b64decode(value[2:], validate=True) if value.startswith(b"Q1") else b""
    except (binascii.Error, ValueError):
        return ""
    return digest.hex() if len(digest) == _SHA1_BYTES else ""


RPM_PACKAGES = "%{NAME}.%{ARCH}\\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\t%{INSTALLTIME}\\t%{DBINSTANCE}\\n"
"""Query format of `rpm -qa` for `rpm_packages`."""
RPM_FILES = "[%{FILENAMES}\\t%{FILEDIGESTS}\\t%{FILEFLAGS:fflags}\\t%{FILELINKTOS}\\n]"
"""Query format of `rpm -q` for `rpm_files`."""


def rpm_packages(lines: Iterable[bytes]) -> Iterator[tuple[str, Package]]:
    """(number in the database, package) of `rpm -qa --qf RPM_PACKAGES`."""
    for line in lines:
        words = _text(line.rstrip(b"\n")).split("\t")
        if len(words) == _RPM_FIELDS and words[2].isdecimal() and words[3].isdecimal():
            name, version, at_s, number = words
            yield number, Package(name, version.removeprefix("0:"), f"{number} {at_s}", int(at_s) * 1000)


def rpm_files(lines: Iterable[bytes]) -> Iterator[Owned]:
    """Files of `rpm -q --qf RPM_FILES`."""
    for line in lines:
        words = line.rstrip(b"\n").split(b"\t")
        if len(words) == _RPM_FIELDS and words[0].startswith(b"/") and len(words[0]) <= MAX_PATH:
            digest = _text(words[1])
            yield Owned(words[0], digest if _HEX.fullmatch(digest) else "", b"c" in words[2], words[3])


def _text(value: bytes) -> str:
    """A name or a version, of a bounded length."""
    return value[:256].decode("utf-8", "backslashreplace")[:256]
