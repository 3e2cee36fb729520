"""Which rule and decoder files an `ossec.conf` names, in its order: with OSSEC and Wazuh the order decides.

    <rules>    <include>NAME</include>  <decoder>PATH</decoder>  <rule_dir>  <decoder_dir>      OSSEC
    <ruleset>  <rule_dir>  <decoder_dir>  <rule_include>  <decoder_include>  *_exclude          Wazuh

Decoders come first, whatever stands where. An `include` without a folder is meant to lie in `rules/`. Where OSSEC names
no decoder, `etc/decoder.xml` and then `etc/local_decoder.xml` are read.

And the reports that it asks for: <reports>. Nothing else of the file counts here.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hids.adapters.ossec_sections import sections_of, text_of
from hids.core.markup import Element

NAMES = ("etc/ossec.conf", "ossec.conf")

_SECTIONS = ("rules", "ruleset")
_FILES = {"include": "rules", "rule_include": "rules", "decoder": "decoders", "decoder_include": "decoders"}
_FOLDERS = {"rule_dir": "rules", "decoder_dir": "decoders"}
_EXCLUDED = {"rule_exclude": "rules", "decoder_exclude": "decoders"}
_DEFAULT_DECODERS = ("etc/decoder.xml", "etc/local_decoder.xml")


def ruleset_files(home: Path, conf: str, text: bytes) -> list[Path]:
    """The files that the configuration names, decoders first; empty when it names none.

    Args:
        home: the installation's folder, to which the names are relative.
        conf: name of the configuration, for messages.
        text: what stands in it.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    options = [option for section in sections_of(conf, text, _SECTIONS) for option in section.children]
    rules = _unique(_named(home, options, "rules"))
    decoders = _unique(_named(home, options, "decoders"))
    if rules and not decoders:
        decoders = [path for name in _DEFAULT_DECODERS if (path := home / name).is_file()]
    return decoders + rules


def reports_toml(conf: str, text: bytes, *, mailed: bool = True) -> str:
    """The reports that it asks for, as `[[report]]` tables of manager.toml; empty when there are none.

    OSSEC looks for the texts of its filters anywhere in a value, so they get a * at both ends. `mailed` is False where no
    [[output]] of type email comes along, without which manager.toml takes no `email_to`: it becomes a comment.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    titles: Counter[str] = Counter()
    return "\n".join(_report(section, titles, mailed=mailed) for section in sections_of(conf, text, ("reports",)))


def _report(section: Element, titles: Counter[str], *, mailed: bool) -> str:  # noqa: PLR0912 - one branch an element
    """One table. A title is in the name of the report's file, so the second one of the same gets a number."""
    title = next((text_of(option) for option in section.children if option.name == "title"), "") or "Report"
    titles[title] += 1
    lines = ["[[report]]", f"title = {_quoted(title if titles[title] == 1 else f'{title} ({titles[title]})')}"]
    filters: dict[str, list[str]] = {}
    related: list[str] = []
    recipients: list[str] = []
    for option in section.children:
        value = text_of(option)
        match option.name:
            case "title":
                pass
            case "frequency" if value in ("daily", "weekly", "monthly"):
                lines.append(f"frequency = {_quoted(value)}")
            case "showlogs":
                lines.append(f"show_logs = {'true' if value == 'yes' else 'false'}")
            case "email_to":
                recipients += value.replace(",", " ").split()
            case "level" if value.isdigit():
                lines.append(f"level = {value}")
            case "rule":
                lines.append(f"rule = [{', '.join(part for part in re.split(r'[|, ]+', value) if part.isdigit())}]")
            case "group" | "category":
                filters.setdefault("group", []).extend(f"*{part.strip(', ')}*" for part in value.split("|"))
            case "location" | "srcip" | "user" | "filename" if option.get("type") == "relation":
                related.append(f"[{_quoted(option.name)}, {_quoted(value)}]")
            case "location" | "srcip" | "user" | "filename":
                filters.setdefault(option.name, []).extend(f"*{part.strip()}*" for part in value.split("|"))
            case "type" if value == "email":
                pass  # there is no other
            case _:
                lines.append(f"# not taken over: {_quoted(option.name)} = {_quoted(value)}")
    lines += [f"{key} = [{', '.join(map(_quoted, values))}]" for key, values in filters.items()]
    if recipients:
        lines.append("# mailed through the server of the first [[output]] of type email")
        lines.append(f"{'' if mailed else '# '}email_to = [{', '.join(map(_quoted, recipients))}]")
    lines += [f"related = [{', '.join(related)}]"] if related else []
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """A TOML basic string: JSON's, but for the characters that only TOML forbids."""
    return msgspec.json.encode(value.encode("utf-8", "replace").decode()).decode().replace("\x7f", "\\u007f")


def _named(home: Path, options: list[Element], kind: str) -> Iterator[Path]:
    excluded = {Path(_file_name(option)).name for option in options if _EXCLUDED.get(option.name) == kind}
    for option in options:
        name = _file_name(option)
        if not name:
            continue
        if _FILES.get(option.name) == kind:
            yield home / name if "/" in name else home / "rules" / name
        elif _FOLDERS.get(option.name) == kind:
            yield from (path for path in sorted((home / name).glob("*.xml")) if path.name not in excluded)


def _file_name(option: Element) -> str:
    """Any bytes, as the file system has them."""
    return option.text.decode("utf-8", "surrogateescape").strip()


def _unique(paths: Iterator[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))
