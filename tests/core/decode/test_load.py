import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.decoder import DecoderTree
from hids.core.decode.event import decode, undecoded
from hids.core.decode.load import load_decoders
from hids.core.decode.told import FILE_DECODERS, HOST_DECODERS
from hids.core.dialect import Dialect
from hids.core.markup import read
from hids.errors import Problem
from hids.messages.lines import LogLine

P = "<decoder name='p'><prematch>^x </prematch></decoder>\n"
A = "<decoder name='a'><prematch>x</prematch>"
C = "<decoder name='c'><parent>p</parent>"
R = "<regex>a=(\\d)</regex><order>id</order>"


def load(text: str, dialect: Dialect = "ossec") -> tuple[DecoderTree, list[str]]:
    problems: list[Problem] = []
    tree = load_decoders(read("d.xml", text.encode(), problems, strict=True), dialect, problems)
    return tree, [str(problem) for problem in problems]


def test_a_decoder_as_it_is_written() -> None:
    tree, problems = load(
        "<decoder name='q'><program_name>^app</program_name><prematch>^bad</prematch><type>ids</type>"
        "<regex offset='after_prematch'>(\\S+) (\\S+)</regex><order>user, Foo</order></decoder>"
    )
    assert problems == []
    root, rootcheck, *changes = tree.with_program
    assert tree.without_program == ()
    assert (root.name, root.type, root.order, root.regex_offset) == ("q", "ids", ("dstuser", "Foo"), "prematch")
    assert rootcheck.name == "rootcheck"
    assert tree.roots(b"") == (root, rootcheck, *changes)
    assert tree.roots(None) == ()
    again = {f"syscheck_integrity_changed_{times}" for times in ("2nd", "3rd")}
    assert tree.names == {"q", "rootcheck", "sca", "syscheck_answered", *FILE_DECODERS, *HOST_DECODERS, *again}


def test_a_child_hangs_under_every_decoder_of_its_parents_name_before_it() -> None:
    child = f"<decoder name='c'><parent>p</parent>{R}</decoder>"
    tree, problems = load(P + P + child + P)
    assert problems == []
    assert [len(root.children) for root in tree.without_program] == [1, 1, 0]
    assert tree.without_program[0].children[0].name == "p"
    assert tree.count == 4


def test_use_own_name() -> None:
    tree, _ = load(P + f"<decoder name='c'><parent>p</parent><use_own_name>true</use_own_name>{R}</decoder>")
    assert tree.without_program[0].children[0].identity == ("c", "syslog", "p")


def test_a_chain_is_marked_on_all_but_its_last() -> None:
    children = "".join(f"<decoder name='{name}'><parent>p</parent>{R}</decoder>" for name in "cdc")
    tree, _ = load(P + children)
    assert [child.chained for child in tree.without_program[0].children] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<decoder><prematch>x</prematch></decoder>", 'expected <decoder name="...">, got no name'),
        ("<decoder name='a' x='1'><prematch>x</prematch></decoder>", "unknown attribute x of <decoder>"),
        ("<decoder name='a'/>", "needs a <parent>, a <program_name> or a <prematch>"),
        ("<decoder name='a'><prematch>x</prematch><nope/></decoder>", "unknown element <nope>"),
        ("<decoder name='a'><prematch>x</prematch><fts>name</fts></decoder>", "<fts> needs a <regex>"),
        (A + R + "<fts>name, color</fts></decoder>", "<fts> does not know 'color'"),
        (
            "<decoder name='a'><prematch>x</prematch><plugin_decoder>JSON_Decoder</plugin_decoder></decoder>",
            "plugin_decoder must be one of PF_Decoder,",
        ),
        (A + R + "<plugin_decoder>PF_Decoder</plugin_decoder></decoder>", "exclude each other"),
        ("<decoder name='a'><prematch>x</prematch><order>id</order></decoder>", "<regex> and <order> go together"),
        ("<decoder name='a'><prematch>x</prematch><regex>(x)</regex></decoder>", "<regex> and <order> go together"),
        ("<decoder name='a'><prematch>a\\+</prematch></decoder>", "<prematch>: \\+ is no os_regex escape"),
        ("<decoder name='a'><prematch offset='after_regex'>x</prematch></decoder>", "offset of <prematch> must be"),
        ("<decoder name='a'><prematch offset='after_parent'>x</prematch></decoder>", "needs a <parent>"),
        ("<decoder name='a'><prematch type='pcre2'>x</prematch></decoder>", "unknown attribute type of <prematch>"),
        ("<decoder name='a'><prematch>x</prematch><type>odd</type></decoder>", "type must be one of syslog,"),
        (
            A + R.replace("<regex>", "<regex offset='after_regex'>") + "</decoder>",
            "needs an earlier decoder of the same name and parent",
        ),
        (
            P + C + R.replace("<regex>", "<regex offset='after_prematch'>") + "</decoder>",
            "needs a <prematch>",
        ),
        (
            P + "<decoder name='c'><parent>p</parent><use_own_name>yes</use_own_name></decoder>",
            "use_own_name must be true or false",
        ),
        ("<decoder name='c'><parent>p</parent></decoder>", "parent 'p' is not a top-level decoder loaded before"),
        (
            P + f"<decoder name='c'><parent>p</parent>{R}</decoder>"
            f"<decoder name='c'><parent>p</parent><prematch>x</prematch>{R}</decoder>",
            "only the first of several decoders of one name may have a <prematch>",
        ),
        (
            P + "<decoder name='c'><parent>p</parent></decoder>" + f"<decoder name='c'><parent>p</parent>{R}</decoder>",
            "each of several decoders of one name needs a <regex>",
        ),
        (
            "<decoder name='a'><prematch>x</prematch><regex>^abc</regex><order>id</order></decoder>",
            "captures nothing",
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    problems = load(text)[1]
    assert len(problems) == 1, problems
    assert problem in problems[0]
    assert problems[0].startswith("d.xml:")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<decoder name='a'><prematch>(</prematch></decoder>", "<prematch>: pattern (: compilation failed"),
        ("<decoder name='a'><prematch>x</prematch><type>ids</type></decoder>", "unknown element <type>"),
        ("<decoder name='a'><prematch_pcre2>x</prematch_pcre2></decoder>", "unknown element <prematch_pcre2>"),
        ("<decoder name='a'><prematch>x</prematch><prematch>y</prematch></decoder>", "<prematch> is given twice"),
        (
            "<decoder name='a'><prematch>x</prematch><regex>(x)</regex><order>id,,url</order></decoder>",
            "<order> has an empty name",
        ),
    ],
)
def test_ours_is_stricter(text: str, problem: str) -> None:
    problems = load(text, "hids")[1]
    assert any(problem in p for p in problems), problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "<decoder name='a'><prematch type='perl'>x</prematch></decoder>",
            "type of <prematch> must be osregex or pcre2",
        ),
        ("<decoder name='a'><prematch>(a|b)</prematch></decoder>", "must be closed before the next |"),
        ("<decoder name='a'><prematch>x</prematch><pcre2>(x)</pcre2></decoder>", "unknown element <pcre2>"),
        (
            A + "<json_null_field>none</json_null_field></decoder>",
            "json_null_field must be one of string, discard, empty",
        ),
        (
            A + "<plugin_decoder offset='after_regex'>JSON_Decoder</plugin_decoder></decoder>",
            "offset of <plugin_decoder> must be after_parent or after_prematch",
        ),
        (
            P + C + "<plugin_decoder offset='after_prematch'>JSON_Decoder</plugin_decoder></decoder>",
            'offset="after_prematch" needs a <prematch>',
        ),
    ],
)
def test_what_wazuh_refuses(text: str, problem: str) -> None:
    problems = load(text, "wazuh")[1]
    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_wazuhs_types_and_plug_ins() -> None:
    tree, problems = load(
        "<decoder name='a'><program_name type='pcre2'>^A</program_name><prematch type='PCRE2'>b</prematch></decoder>"
        "<decoder name='c'><parent>a</parent><plugin_decoder offset='after_parent'>JSON_Decoder</plugin_decoder></decoder>"
        "<decoder name='c'><parent>a</parent><regex>^x</regex><order> id , Foo.bar </order></decoder>"
        "<decoder name='d'><prematch>x</prematch><regex>(\\S)</regex><order>user,foo</order>"
        "<fts>name, foo, user</fts><accumulate/></decoder>",
        "wazuh",
    )
    assert problems == []
    root, windows, *_others = tree.with_program
    assert windows.name == "windows_eventchannel"
    assert root.program is not None
    assert root.prematch is not None
    assert (root.program.key, root.prematch.key) == (("pcre2", b"^A"), ("pcre2", b"b"))
    first, second = root.children
    assert (first.plugin, first.plugin_offset, first.chained) == ("JSON_Decoder", "parent", True)
    assert second.order == ("id", "Foo.bar")
    (other,) = tree.without_program
    assert other.fts == ("dstuser", "foo")
    assert other.accumulate


@pytest.mark.parametrize(
    ("dialect", "words", "parts"),
    [
        ("ossec", "name, srcuser, location", ("dstuser", "location")),  # any word with "user" is dstuser
        ("wazuh", "name, srcuser, location", ("srcuser", "location")),
        ("ossec", "name,extra_data, srcip", ("srcip", "extra_data")),
        ("wazuh", "name,extra_data, srcip", ("srcip", "data")),
        ("ossec", "name, id, system_name, dstip", ("id", "dstip", "system_name")),
    ],
)
def test_words_of_fts(dialect: Dialect, words: str, parts: tuple[str, ...]) -> None:
    tree, problems = load(A + R + f"<fts>{words}</fts></decoder>", dialect)
    assert problems == []
    assert tree.without_program[0].fts == parts


def test_ours_writes_an_angle_as_in_xml_and_keeps_patterns_as_pcre2() -> None:
    tree, problems = load("<decoder name='a'><prematch>\\<b(?\\<n>c)</prematch></decoder>", "hids")
    assert problems == []
    (root,) = tree.without_program
    assert root.prematch is not None
    assert root.prematch.key == ("pcre2", b"<b(?<n>c)")


WORDS = st.sampled_from(
    [
        "<decoder name='a'>",
        "</decoder>",
        "<parent>a</parent>",
        "<prematch>x</prematch>",
        "<regex>(x)</regex>",
        "<order>id</order>",
        "<prematch offset='after_parent'>",
        "</prematch>",
        "<use_own_name>",
        "<fts>",
        "<plugin_decoder>JSON_Decoder</plugin_decoder>",
        "<accumulate/>",
        "x",
    ]
)


@given(st.lists(WORDS, max_size=12), st.sampled_from(["ossec", "wazuh", "hids"]))
def test_any_elements_give_a_tree_or_problems(words: list[str], dialect: Dialect) -> None:
    load("".join(words), dialect)


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
def test_what_rootcheck_says_is_known_without_a_file(dialect: Dialect) -> None:
    tree, _ = load("", dialect)
    line = LogLine("rootcheck", b"Rootkit 'x' detected.\nmore", 0, 0, "rootcheck")
    event = undecoded(line, dialect)
    decode(tree, event)
    assert event.decoder_name == "rootcheck"
    assert event.fts_key == b"rootcheck Rootkit 'x' detected.\nmore rootcheck"


def test_our_own_dialect_reads_json_and_asks_what_is_new() -> None:
    text = "<decoder name='j'><prematch>^\\{</prematch><plugin_decoder>json</plugin_decoder></decoder>"
    tree, problems = load(text, "hids")
    assert not problems
    event = undecoded(LogLine("/var/log/x", b'{"user": "joe", "a": {"b": [1, "two"]}, "none": null}', 0, 0), "hids")
    decode(tree, event)
    assert event.fields == {"dstuser": b"joe", "a.b": b'[1, "two"]'}
    tree, problems = load(
        "<decoder name='c'><prematch>^r</prematch><regex>^(\\w+) (\\w+)</regex><order>color,shape</order><fts>color, name</fts></decoder>",
        "hids",
    )
    assert not problems
    event = undecoded(LogLine("/var/log/x", b"red round", 0, 0), "hids")
    decode(tree, event)
    assert event.fts_key == b"c red"
