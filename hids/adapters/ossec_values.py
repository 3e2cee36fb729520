"""What values in an ossec.conf mean, and how a section is written in TOML. Shared by the readers of its sections."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

YES_NO: Final = {"yes": True, "no": False}
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*(am|pm)?", re.IGNORECASE)
_NOON, _HOURS = 12, 24


def truth(name: str, text: str) -> bool:
    """`yes` or `no`.

    Raises:
        ValueError: it is neither; `name` begins the complaint, here and below.
    """
    if text.lower() not in YES_NO:
        raise ValueError(f"{name}: expected yes or no, got {text!r}")
    return YES_NO[text.lower()]


def number(name: str, text: str) -> int:
    """A number without a sign.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{name}: expected a number, got {text!r}")
    return int(text)


def time_of_day(name: str, text: str) -> str:
    """A time of day in OSSEC's spellings, such as "9pm" and "9:30 pm" -> "21:00".

    Raises:
        ValueError: it is none.
    """
    found = _CLOCK.fullmatch(text)
    if found is not None:
        hour, half = int(found[1]), (found[3] or "").lower()
        if half and hour <= _NOON:
            hour = hour % _NOON + (_NOON if half == "pm" else 0)
        if hour < _HOURS:
            return f"{hour:02d}:{found[2] or '00'}"
    raise ValueError(f"{name}: expected a time such as 21:30 or 9:30 pm, got {text!r}")


def alternatives(text: str) -> list[str]:
    """The texts of an expression of OSSEC's simple kind (sregex).

    Raises:
        ValueError: it says what does not match.
    """
    if text.startswith("!"):
        raise ValueError(f"{text!r}: what does not match cannot be taken over; say what does")
    return [part for part in text.split("|") if part.strip("^$")]


def toml_rows(config: msgspec.Struct, defaults: msgspec.Struct, leave_out: Collection[str] = ()) -> Iterator[str]:
    """`key = value` of all keys that differ from their defaults."""
    for key in config.__struct_fields__:
        value = getattr(config, key)
        if key not in leave_out and value != getattr(defaults, key):
            # JSON spells texts, numbers, truth and lists of them as TOML does.
            yield f"{key} = {json.dumps(value, ensure_ascii=True)}"
