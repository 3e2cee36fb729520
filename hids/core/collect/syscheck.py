"""The section `[syscheck]` of agent.toml: which folders are checked, for what, when, and at what cost."""

import re
from typing import Annotated, Literal

import msgspec

from hids.errors import ConfigError

Attribute = Literal[
    "size",
    "permissions",
    "owner",
    "group",
    "mtime",
    "inode",
    "links",
    "sha256",
    "sha1",
    "md5",
    "target",
    "acl",
    "capabilities",
    "label",
    "xattrs",
]
"""What a path may be checked for, as alerts name it. `type` always is."""

WhoProvider = Literal["auto", "fanotify", "audit"]
"""How the kernel is asked who changes files."""

DEFAULT_CHECK: tuple[Attribute, ...] = (
    "size",
    "permissions",
    "owner",
    "group",
    "mtime",
    "inode",
    "links",
    "sha256",
    "target",
    "acl",
    "capabilities",
    "label",
    "xattrs",
)
"""All but the weak hashes."""

MAX_DIRECTORIES = 1024
MAX_RECURSION = 1024
Day = Literal["", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_GLOB = re.compile(r"[*?\[]")


class DirectoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[[syscheck.directory]]`: a folder with options of its own, for all below it that no nearer one names."""

    path: str
    check: tuple[Attribute, ...] = DEFAULT_CHECK
    realtime: bool | None = None
    """None: as `[syscheck]` says."""
    whodata: bool | None = None
    """None: as `[syscheck]` says."""
    report_changes: bool = False
    """Keep copies of text files, and tell what changed inside."""
    restrict: tuple[str, ...] = ()
    """Expressions; files are checked whose whole path holds a match of one. None: all files."""
    recursion: Annotated[int, msgspec.Meta(ge=0, le=MAX_RECURSION)] = 256
    """Levels below the folder; 0: only what is right in it."""
    ignore: tuple[str, ...] = ()
    """Globs over whole paths, besides those of `[syscheck]`."""
    growing: tuple[str, ...] = ()
    """Globs over whole paths of files that may grow at their end without a word."""


class SyscheckConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[syscheck]`."""

    directories: tuple[str, ...] = ()
    """Folders with all options at their default."""
    directory: tuple[DirectoryConfig, ...] = ()
    ignore: tuple[str, ...] = ()
    """Globs over whole paths; `*` also matches `/`."""
    ignore_regex: tuple[str, ...] = ()
    """Expressions; paths that hold a match of one are left out."""
    nodiff: tuple[str, ...] = ()
    """Globs over whole paths of files whose content is never kept or told."""
    scan_interval_s: int = 43_200
    """From the end of a scan to the next; 0: only at `scan_day` and `scan_time`."""
    scan_day: Day = ""
    scan_time: str = ""
    """"HH:MM", local time."""
    scan_on_start: bool = True
    realtime: bool = True
    alert_new_files: bool = True
    """False: new files are recorded, and not told."""
    max_file_bytes: int = 1024**3
    """Larger files are watched, but not hashed."""
    max_files: Annotated[int, msgspec.Meta(ge=1)] = 2_000_000
    """Paths that are known at once; those beyond are told of once, and not checked."""
    skip_nfs: bool = True
    """Leave out what is mounted from elsewhere."""
    prefilter_cmd: tuple[str, ...] = ()
    """What to run, with the path as last argument, instead of reading a file; its output is hashed."""
    diff_max_bytes: Annotated[int, msgspec.Meta(ge=0, le=16 * 1024**2)] = 256 * 1024
    """Larger files are not compared by content."""
    diff_budget_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * 1024**2
    """On disk for all kept copies."""
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    ioprio: Literal["normal", "low", "idle"] = "low"
    max_bytes_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of files that are hashed; 0: no limit."""
    disabled: bool = False
    packages: bool = True
    """Ask the host's package managers who answers for a change."""
    whodata: bool = False
    """Ask the kernel which process made a change. Includes `realtime`."""
    whodata_provider: WhoProvider = "auto"
    """How it is asked; "auto": by fanotify, and by the audit subsystem where that does not work."""

    @property
    def is_on(self) -> bool:
        """Whether there is anything to check."""
        return not self.disabled and bool(self.directories or self.directory)

    @property
    def folders(self) -> tuple[DirectoryConfig, ...]:
        """All folders with their options."""
        return (*(DirectoryConfig(path=path) for path in self.directories), *self.directory)


def merged(own: SyscheckConfig, shared: SyscheckConfig) -> SyscheckConfig:
    """What the manager sets, with the folders and patterns of the agent's own file added.

    A folder that both name has the options of the agent's own file. Commands are the agent's own only.
    """
    named = {folder.path for folder in own.folders}
    return msgspec.structs.replace(
        shared,
        directories=(*own.directories, *(path for path in shared.directories if path not in named)),
        directory=(*own.directory, *(folder for folder in shared.directory if folder.path not in named)),
        ignore=tuple(dict.fromkeys((*own.ignore, *shared.ignore))),
        ignore_regex=tuple(dict.fromkeys((*own.ignore_regex, *shared.ignore_regex))),
        nodiff=tuple(dict.fromkeys((*own.nodiff, *shared.nodiff))),
        prefilter_cmd=own.prefilter_cmd,
    )


def check(config: SyscheckConfig) -> None:
    """Find what the types cannot say.

    Raises:
        ConfigError: which key, what was expected, what came.
    """
    if len(config.folders) > MAX_DIRECTORIES:
        raise ConfigError(f"[syscheck]: at most {MAX_DIRECTORIES} folders, got {len(config.folders)}")
    for path in config.directories:
        _check_path("[syscheck] directories", path)
    seen = set(config.directories)
    for number, folder in enumerate(config.directory, start=1):
        where = f"[[syscheck.directory]] number {number}"
        _check_path(f"{where}: path", folder.path)
        if folder.path in seen:
            raise ConfigError(f"{where}: path {folder.path!r} is there twice")
        seen.add(folder.path)
        _check_expressions(f"{where}: restrict", folder.restrict)
    _check_expressions("[syscheck] ignore_regex", config.ignore_regex)
    if config.scan_time and not _TIME.fullmatch(config.scan_time):
        raise ConfigError(f'[syscheck] scan_time: expected "HH:MM" such as "03:30", got {config.scan_time!r}')
    if config.scan_interval_s < 0 or (config.scan_interval_s == 0 and not (config.scan_time or config.scan_day)):
        raise ConfigError(
            f"[syscheck] scan_interval_s: at least 1, got {config.scan_interval_s}; 0 goes with scan_day or scan_time"
        )
    if config.max_file_bytes < 0:
        raise ConfigError(f"[syscheck] max_file_bytes: 0 or more, got {config.max_file_bytes}")
    if config.prefilter_cmd and not config.prefilter_cmd[0].startswith("/"):
        raise ConfigError(
            f"[syscheck] prefilter_cmd: expected a program with its whole path, got {config.prefilter_cmd[0]!r}"
        )


def _check_path(where: str, path: str) -> None:
    if not path.startswith("/") or _GLOB.search(path) or "\0" in path:
        raise ConfigError(f"{where}: expected absolute paths without patterns, got {path!r}")


def _check_expressions(where: str, expressions: tuple[str, ...]) -> None:
    for expression in expressions:
        try:
            re.compile(expression)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(f"{where}: {expression!r} is no expression that Python knows: {error}") from error
