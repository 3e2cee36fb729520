"""Kernel modules, with lists that are made up: none of these can be loaded for a test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hids.agent.checks import modules
from hids.agent.checks.host import Host

Texts = Callable[..., list[str]]
MakeHost = Callable[..., Host]


@pytest.fixture
def kernel(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """A function: lays out /proc and /sys/module."""

    def lay(
        listed: list[str], loaded: list[str], symbols: list[str], taints: dict[str, str], tainted: int
    ) -> tuple[str, str]:
        proc, sys = tmp_path / "proc", tmp_path / "sys"
        (proc / "sys/kernel").mkdir(parents=True)
        (proc / "modules").write_text("".join(f"{name} 16384 0 - Live 0x0000000000000000\n" for name in listed))
        (proc / "kallsyms").write_text("0 T start\n" + "".join(f"0 t init\t[{name}]\n" for name in symbols))
        (proc / "sys/kernel/tainted").write_text(f"{tainted}\n")
        for name in loaded:
            (sys / name).mkdir(parents=True)
            (sys / name / "initstate").write_text("live\n")
            (sys / name / "taint").write_text(taints.get(name, "") + "\n")
        (sys / "builtin").mkdir(parents=True)
        return str(proc), str(sys)

    return lay


def test_a_sound_kernel(kernel: Callable[..., tuple[str, str]], make_host: MakeHost, texts: Texts):
    assert texts(modules.check(make_host(), *kernel(["ext4"], ["ext4"], ["ext4", "bpf"], {}, 0))) == []


def test_this_kernel_can_be_asked(make_host: MakeHost, texts: Texts):
    assert not [text for text in texts(modules.check(make_host())) if "hidden" in text]


def test_modules_that_hide(kernel: Callable[..., tuple[str, str]], make_host: MakeHost, texts: Texts):
    found = texts(modules.check(make_host(), *kernel(["a", "b"], ["a", "c"], ["a", "d"], {}, 0)))
    assert found == [
        "Kernel module 'b' hidden from /sys/module. It is in /proc/modules.",
        "Kernel module 'c' hidden from /proc/modules. It is in /sys/module.",
        "Kernel module 'd' hidden from /proc/modules and /sys/module. It is in /proc/kallsyms.",
    ]


def test_modules_that_nobody_signed(kernel: Callable[..., tuple[str, str]], make_host: MakeHost, texts: Texts):
    found = texts(modules.check(make_host(), *kernel(["a"], ["a"], [], {"a": "POE"}, 1 << 12 | 1 << 13 | 1 << 1)))
    assert found == [
        "Kernel module 'a' is not of the kernel's own tree and has no valid signature.",
        "The kernel has had a module that was loaded by force, and no module that is loaded says so.",
    ]


def test_a_kernel_without_modules(tmp_path: Path, make_host: MakeHost, texts: Texts):
    assert texts(modules.check(make_host(), str(tmp_path / "none"), str(tmp_path / "none"))) == []
