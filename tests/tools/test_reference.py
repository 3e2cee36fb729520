"""docs/reference/ says what the program says."""

from pathlib import Path

import pytest

import hids
from tools import reference

ROOT = Path(hids.__file__).resolve().parent.parent
PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str):
    written = (ROOT / "docs" / "reference" / name).read_text()
    assert written == PAGES[name], "run tools/reference.py"


def test_every_command_has_its_place():
    for heading in ("## hids-manager run", "## hids-agent join", "## hidsctl agent token", "## hidsctl alerts"):
        assert f"\n{heading}\n" in PAGES["cli.md"]


def test_options_and_examples_are_told():
    assert "| `--follow`, `-f` |" in PAGES["cli.md"]
    assert "hidsctl alerts --since 2h --level 7" in PAGES["cli.md"]


def test_every_section_of_the_configuration_is_told():
    for section in ("[listen]", "[workers]", "[[ruleset]]", "[spool]", "[syscheck]", "[[source]]"):
        assert section in PAGES["config.md"]
