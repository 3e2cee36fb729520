"""Which rule and decoder files an `ossec.conf` names, in its order: with OSSEC and Wazuh the order decides.

    <rules>    <include>NAME</include>  <decoder>PATH</decoder>  <rule_dir>  <decoder_dir>      OSSEC
    <ruleset>  <rule_dir>  <decoder_dir>  <rule_include>  <decoder_include>  *_exclude          Wazuh

Decoders come first, whatever stands where. An `include` without a folder is meant to lie in `rules/`. Where OSSEC names
no decoder, `etc/decoder.xml` and then `etc/local_decoder.xml` are read. Nothing else of the file counts here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hids.core.markup import Element, read
from hids.errors import ConfigError, Problem

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


def sections_of(conf: str, text: bytes, names: Sequence[str]) -> list[Element]:
    """The sections of these names, in order.

    Raises:
        ConfigError: it cannot be read as an ossec.conf.
    """
    problems: list[Problem] = []
    roots = read(conf, text, problems, strict=False)
    if problems:
        raise ConfigError("\n".join(map(str, problems)))
    return [section for root in roots for section in root.children if section.name in names]


def _named(home: Path, options: list[Element], kind: str) -> Iterator[Path]:
    excluded = {Path(_text(option)).name for option in options if _EXCLUDED.get(option.name) == kind}
    for option in options:
        name = _text(option)
        if not name:
            continue
        if _FILES.get(option.name) == kind:
            yield home / name if "/" in name else home / "rules" / name
        elif _FOLDERS.get(option.name) == kind:
            yield from (path for path in sorted((home / name).glob("*.xml")) if path.name not in excluded)


def _text(option: Element) -> str:
    return option.text.decode("utf-8", "surrogateescape").strip()


def _unique(paths: Iterator[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))
