"""What people set: mistakes are named, and what is written out is read back."""

import msgspec
import pytest
import tomli

from hids.core.response.policy import Command, Policy, Response, ResponseLimits, as_toml, check
from hids.errors import ConfigError

GOOD = Response(command="firewall-drop", level=10)


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        (Policy(responses=(Response(command="nothing", level=1),)), "there is no [[command]] 'nothing'"),
        (Policy(responses=(Response(command="firewall-drop"),)), "expected level, groups or rules"),
        (Policy(responses=(GOOD, GOOD)), "is there twice"),
        (Policy(responses=(msgspec.structs.replace(GOOD, location="server"),)), "needs [responses] server_agent"),
        (Policy(responses=(msgspec.structs.replace(GOOD, location="defined-agent"),)), "go together"),
        (Policy(responses=(msgspec.structs.replace(GOOD, agent="web1"),)), "go together"),
        (Policy(responses=(msgspec.structs.replace(GOOD, name="a b"),)), "expected a plain name"),
        (Policy(commands=(Command(name="x", executable="../sh"),)), "expected a plain name"),
        (Policy(commands=(Command(name="x"), Command(name="x"))), "each name once"),
        (Policy(commands=(Command(name="x", executable="firewall-drop", expect=()),)), "needs expect"),
        (Policy(commands=(Command(name="x", extra_args=("a\nb",)),)), "printable"),
        (Policy(limits=ResponseLimits(allow=("10.0.0.0/99",))), "expected addresses or networks"),
        (Policy(limits=ResponseLimits(allow_users=("-x",))), "expected user names"),
    ],
)
def test_mistakes_are_named(policy: Policy, complaint: str):
    with pytest.raises(ConfigError) as raised:
        check(policy, "manager.toml")
    assert complaint in str(raised.value)
    assert str(raised.value).startswith("manager.toml: ")


def test_what_is_written_is_read_back():
    policy = Policy(
        limits=ResponseLimits(allow=("10.0.0.0/8", "2001:db8::/32")),
        commands=(
            Command(
                name="notify", executable="n.sh", expect=("srcip", "user"), extra_args=('a "b" \\ c',), form="wazuh"
            ),
        ),
        responses=(
            Response(command="notify", groups=("*a", "b"), rules=(1, 2), repeated_offenders=(5, 60), match="all"),
        ),
    )
    check(policy, "x")
    tree = tomli.loads(as_toml(policy))
    assert msgspec.convert(tree["responses"], ResponseLimits) == policy.limits
    assert tuple(msgspec.convert(tree["command"], list[Command])) == policy.commands
    assert tuple(msgspec.convert(tree["response"], list[Response])) == policy.responses
