"""One `[[source]]` of agent.toml: its keys, and whether they make sense together."""

import re
import shlex
from typing import Annotated, Literal

import msgspec

from hids.core.collect.encoding import codec_of
from hids.core.collect.formats import (
    FILE_FORMATS,
    compiled,
    grouping_of,
    line_count,
    regex_grouping,
    writer_of,
)
from hids.core.collect.grouping import Grouping
from hids.core.collect.shape import Shape
from hids.errors import ConfigError

JOURNAL = "journald"
COMMAND_FORMATS = ("command", "full_command")
EVENT_FORMATS = ("evtx", "eventchannel", "macos")

MAX_PATTERNS = 64
_SEPARATORS = {"space": b" ", "none": b"", "tab": b"\t", "keep": b"\n"}
_SHELL_WORDS = frozenset(("|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"))
_FIELD = re.compile(r"[A-Z0-9_]{1,64}")

Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)]


class Multiline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`multiline`, for the format "multi-line-regex"."""

    regex: str
    match: Literal["start", "end", "all"] = "start"
    replace: Literal["space", "none", "tab", "keep"] = "space"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys; conf/agent.toml explains each."""

    path: str = ""
    """A file, a glob, a name with a date pattern, "journald", a channel; empty for commands."""
    format: str = "syslog"
    from_: Literal["end", "start"] = msgspec.field(default="end", name="from")
    exclude: tuple[str, ...] = ()
    encoding: str = ""
    max_age_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Files that were not written for so long are left alone; 0: none."""
    multiline: Multiline | None = None
    ignore: tuple[str, ...] = ()
    restrict: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    out_format: str = ""
    command: str = ""
    alias: str = ""
    frequency_s: Seconds = 360
    timeout_s: Seconds = 60
    filter: tuple[dict[str, str], ...] = ()
    """For the journal: an entry goes on when all fields of one of these tables match."""
    query: str = ""
    """For "eventchannel" an XPath query, for "macos" a predicate."""

    @property
    def name(self) -> str:
        """Names the source in status and in the spool; no two sources have the same."""
        if self.format == "journal":
            return JOURNAL
        if self.is_command:
            return f"command {self.alias or self.command}"
        return f"source {self.path or self.format}"

    @property
    def is_command(self) -> bool:
        """Whether a program is run."""
        return self.format in COMMAND_FORMATS

    @property
    def argv(self) -> list[str]:
        """The command's words; no shell takes part."""
        return shlex.split(self.command)

    @property
    def grouping(self) -> Grouping | None:
        """How lines group into events."""
        if self.multiline is None:
            return grouping_of(self.format)
        form = self.multiline
        return regex_grouping(form.regex, form.match, _SEPARATORS[form.replace], form.timeout_s)

    @property
    def shape(self) -> Shape:
        """What is taken, and how it is written."""
        return Shape(
            writer=writer_of(self.format),
            ignore=self.ignore,
            restrict=self.restrict,
            labels=self.labels,
            out_format=self.out_format,
        )


def check(source: SourceConfig) -> None:
    """Find what the types cannot say.

    Raises:
        ConfigError: what is wrong, and what to write instead.
    """
    if source.is_command:
        _check_command(source)
    elif source.command:
        raise ConfigError('command is for format "command" or "full_command"')
    elif source.format == "journal" or source.path == JOURNAL:
        _check_journal(source)
    elif source.format in EVENT_FORMATS:
        _check_channel(source)
    else:
        _check_file(source)
    if len(source.ignore) + len(source.restrict) > MAX_PATTERNS:
        raise ConfigError(f"ignore and restrict: at most {MAX_PATTERNS} expressions together")
    if bool(source.multiline) != (source.format == "multi-line-regex"):
        raise ConfigError('format "multi-line-regex" and multiline = { regex = "..." } go together')
    if source.filter and source.format != "journal":
        raise ConfigError('filter is for format "journal"; use ignore and restrict')
    if source.query and source.format not in ("eventchannel", "macos"):
        raise ConfigError('query is for format "eventchannel" or "macos"')
    _ = source.grouping, source.shape  # compiles all expressions


def _check_command(source: SourceConfig) -> None:
    if source.path:
        raise ConfigError("a command has no path; name it with alias")
    try:
        words = source.argv
    except ValueError as error:
        raise ConfigError(f"command {source.command!r}: {error}; check its quotes") from error
    if not words:
        raise ConfigError('command is missing, such as command = "df -P"')
    if found := _SHELL_WORDS.intersection(words):
        raise ConfigError(
            f"command {source.command!r}: {min(found)} is for a shell, and none takes part; "
            """if you want one, say so: command = "/bin/sh -c 'netstat -tan | sort'" """.rstrip()
        )


def _check_journal(source: SourceConfig) -> None:
    if (source.path, source.format) != (JOURNAL, "journal"):
        raise ConfigError('path "journald" and format "journal" go together')
    for table in source.filter:
        if not table:
            raise ConfigError("filter: an empty table takes everything; leave it out")
        for field, pattern in table.items():
            if not _FIELD.fullmatch(field):
                raise ConfigError(f"filter: {field!r} is no field of the journal, such as _SYSTEMD_UNIT")
            compiled(pattern)


def _check_channel(source: SourceConfig) -> None:
    if source.format == "evtx" and not source.path.startswith("/"):
        raise ConfigError(f"path must be absolute, got {source.path!r}")
    if source.format == "eventchannel" and not source.path:
        raise ConfigError('path is missing: the name of a channel, such as "Security"')
    if source.format == "macos" and source.path:
        raise ConfigError('format "macos" has no path')


def _check_file(source: SourceConfig) -> None:
    if source.format not in FILE_FORMATS and not line_count(source.format):
        known = (*FILE_FORMATS, "multi-line:N", "journal", *COMMAND_FORMATS, *EVENT_FORMATS)
        raise ConfigError(f"format {source.format!r} is not known; there are {', '.join(known)}")
    if not source.path:
        raise ConfigError("path is missing")
    if not source.path.startswith("/"):
        raise ConfigError(f"path must be absolute, got {source.path!r}")
    if source.encoding:
        codec_of(source.encoding)
