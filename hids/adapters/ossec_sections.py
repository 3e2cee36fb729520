"""An ossec.conf taken apart: its sections, their options, and all complaints at once. Shared by the readers of its sections."""

from collections.abc import Callable, Iterable, Sequence

from hids.core.markup import Element, read
from hids.errors import ConfigError, Problem


def roots_of(conf: str, text: bytes) -> tuple[Element, ...]:
    """Its outermost elements; there may be several.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    problems: list[Problem] = []
    roots = read(conf, text, problems, strict=False)
    if problems:
        raise ConfigError("\n".join(map(str, problems)))
    return roots


def sections_of(conf: str, text: bytes, names: Sequence[str] = ()) -> list[Element]:
    """The sections of these names, in order; without names all.

    Raises:
        ConfigError: as `roots_of`.
    """
    sections = [section for root in roots_of(conf, text) for section in root.children]
    return [section for section in sections if section.name in names] if names else sections


def text_of(element: Element) -> str:
    """Its text, without the space around it. TOML can hold Unicode only: other bytes become U+FFFD."""
    return element.text.decode("utf-8", "replace").strip()


def take_all(options: Iterable[Element], take: Callable[[Element], None]) -> None:
    """Have each option taken.

    Raises:
        ConfigError: all that `take` did not understand (ValueError), a line each.
    """
    problems: list[Problem] = []
    for option in options:
        try:
            take(option)
        except ValueError as error:
            problems.append(option.problem(str(error)))
    if problems:
        raise ConfigError("\n".join(map(str, problems)))


class Options:
    """The options of one section, or of several: where one stands twice, the last counts, unless all are asked for."""

    def __init__(self, *sections: Element) -> None:
        self._found: dict[str, list[str]] = {}
        for section in sections:
            for option in section.children:
                self._found.setdefault(option.name, []).append(text_of(option))

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def one(self, name: str, default: str = "") -> str:
        """The last value; `default` where there is none."""
        return self._found.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        """All values, in order."""
        return self._found.get(name, [])

    def yes(self, name: str) -> bool:
        """Whether the last value is yes."""
        return self.one(name) == "yes"
