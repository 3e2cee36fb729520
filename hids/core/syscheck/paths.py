"""Paths as the store keeps them: the folder with its last slash, and the name in it."""

import re

_LAST = re.compile(r"[/\\](?=[^/\\]*$)")
"""Files of Windows and keys of its registry are parted by backslashes."""


def split(path: str) -> tuple[str, str]:
    """(folder, name), which joined are the path again; "/" is an empty name in "/"."""
    if path.startswith("/"):
        end = path.rfind("/") + 1
    else:
        found = _LAST.search(path)
        end = found.end() if found else 0
    return path[:end], path[end:]


def folder_of(path: str) -> str:
    """The path of a directory as the folder of its entries; empty for the empty path."""
    return path if not path or path.endswith(("/", "\\")) else path + ("/" if "/" in path else "\\")


def is_below(path: str, top: str) -> bool:
    """Whether a path is `top` itself or lies below it. Everything is below the empty path."""
    return not top or path == top or path.startswith(folder_of(top))


def range_of(top: str) -> tuple[str, str]:
    """Folders below a directory, itself included, are those from the first up to but without the second."""
    folder = folder_of(top)
    return (folder, folder[:-1] + chr(ord(folder[-1]) + 1)) if folder else ("", "\U0010ffff")
