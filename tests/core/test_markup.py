import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.markup import (
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_TEXT_BYTES,
    OSSEC_VARIABLE,
    VARIABLE,
    Element,
    expand,
    read,
)
from hids.errors import Problem


def parsed(text: bytes, *, strict: bool = True) -> tuple[tuple[Element, ...], list[str]]:
    problems: list[Problem] = []
    return read("f.xml", text, problems, strict=strict), [str(problem) for problem in problems]


def only(text: bytes) -> Element:
    elements, problems = parsed(text)
    assert problems == []
    assert len(elements) == 1
    return elements[0]


def test_elements_attributes_and_lines() -> None:
    group = only(b'<group name="a,b">\n  <rule id=\'1\'\n        level="3">\n<match>x</match></rule>\n</group>')
    rule = group.children[0]
    assert (group.name, group.line, group.get("name")) == ("group", 1, "a,b")
    assert [(a.name, a.value, a.line) for a in rule.attributes] == [("id", "1", 2), ("level", "3", 3)]
    assert (rule.children[0].name, rule.children[0].text, rule.children[0].line) == ("match", b"x", 4)
    assert rule.get("nope") is None


def test_several_roots_and_names_without_case() -> None:
    elements, problems = parsed(b"<Group NAME='a'></GROUP><decoder name='x'/>")
    assert problems == []
    assert [(e.name, e.get("name")) for e in elements] == [("group", "a"), ("decoder", "x")]


def test_text_is_neither_trimmed_nor_decoded() -> None:
    assert only(b"<match> a&amp;b \xff</match>").text == b" a&amp;b \xff"


def test_an_escaped_angle_is_text() -> None:
    assert only(rb"<regex>\<b\<</regex>").text == rb"\<b\<"


@pytest.mark.parametrize("comment", [b"<!-- x -- y -->", b"<!-- x !>", b"<! <rule> >-->", b"<!-->"])
def test_comments_vanish_even_inside_text(comment: bytes) -> None:
    assert only(b"<match>a" + comment + b"b</match>").text == b"ab"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"<group>\n<rule>\n</group>", "f.xml:3: expected </rule> for line 2, got </group>"),
        (b"<group>\n\n", "f.xml:3: <group> of line 1 is never closed; add </group>"),
        (b"</group>", "f.xml:1: expected no end tag, as nothing is open, got </group>"),
        (b"\n<!-- never", "f.xml:2: a comment is never closed; end it with -->"),
        (b"<match>a < b</match>", "f.xml:1: expected an element name, got '< b</match>'; in texts write < as \\<"),
        (b"<rule id=5></rule>", "f.xml:1: in <rule>: expected name=\"value\" or >, got 'id=5></rule>'"),
        (b"<a x='1' x='2'/>", "f.xml:1: attribute x is given twice; keep one"),
        (b"<a/>\n stray", "f.xml:2: text outside of any element: 'stray'; in texts write < as \\<"),
        (b"<a>x<b/></a>", "f.xml:1: text beside the elements of <a>: 'x'"),
        (b"<a><b/>\ny</a>", "f.xml:2: text beside the elements of <a>: 'y'"),
        (b"</a b>", "f.xml:1: expected an end tag, got '</a b>'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: bytes, problem: str) -> None:
    assert parsed(text)[1] == [problem]


def test_what_stood_before_a_break_is_kept() -> None:
    elements, problems = parsed(b"<a/><b>")
    assert [e.name for e in elements] == ["a"]
    assert len(problems) == 1


def test_stray_text_is_dropped_unless_strict() -> None:
    elements, problems = parsed(b"x <a/> y <b>t</b>", strict=False)
    assert problems == []
    assert [e.name for e in elements] == ["a", "b"]


def test_bounds() -> None:
    assert "nested deeper" in parsed(b"<a>" * (MAX_DEPTH + 1))[1][0]
    assert "text of <a> may have" in parsed(b"<a>" + b"x" * (MAX_TEXT_BYTES + 1) + b"</a>")[1][0]
    assert "split it" in parsed(b" " * (MAX_FILE_BYTES + 1))[1][0]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    parsed(text)
    parsed(text, strict=False)


@given(st.text(alphabet="<>/!-ab=\"' \n\\", max_size=60))
def test_any_markup_is_read_or_refused(text: str) -> None:
    elements, problems = parsed(text.encode())
    assert all(element.line >= 1 for element in elements)
    assert all(problem.startswith("f.xml:") for problem in problems)


# ---- variables --------------------------------------------------------------------------------------------------


def expanded(text: bytes, *, ossec: bool = False) -> tuple[list[Element], list[str]]:
    problems: list[Problem] = []
    elements = read("f.xml", text, problems, strict=True)
    result = list(expand(elements, OSSEC_VARIABLE if ossec else VARIABLE, problems))
    return result, [problem.text for problem in problems]


def test_variables_reach_texts_and_attributes_behind_them() -> None:
    elements, problems = expanded(b'<var name="X">v</var><a b="$X."><c>1$X|$X</c></a>')
    assert problems == []
    assert elements[0].get("b") == "v."
    assert elements[0].children[0].text == b"1v|v"


def test_dollars_stay_where_no_variable_is_defined() -> None:
    assert expanded(b"<a>^x$|$Y</a>")[0][0].text == b"^x$|$Y"


@pytest.mark.parametrize("text", [b"abc$", b"a$|b$", b"(a$)b", b"$X"])
def test_dollars_that_name_nothing_stay(text: bytes) -> None:
    elements, problems = expanded(b'<var name="X">v</var><a>' + text + b"</a>")
    assert elements[0].text == text
    assert problems == []


def test_an_unknown_variable_is_a_problem() -> None:
    assert expanded(b'<var name="X">v</var><a>x $NO y</a>')[1] == [
        "$NO is not defined; add <var> before it or drop the $"
    ]


def test_ossecs_names_end_at_four_bytes_only() -> None:
    elements, problems = expanded(b'<var name="A-B">v</var><a>$A-B,$A-B.</a>', ossec=True)
    assert (elements[0].text, problems) == (b"v,v.", [])


def test_a_variable_needs_a_name() -> None:
    assert expanded(b"<var>v</var>")[1] == ['expected <var name="X">value</var>, got no name']
