"""key_lines finds the keys that tomllib finds, on the lines where they stand, and survives any text."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.settings.toml_keys import KeyPath, key_lines

TOKENS = (
    *"abk12.,=[]{}#\"'\\ \n\t",
    "a = 1\n",
    "b.c = 2\n",
    "[a]\n",
    "[[t]]\n",
    "[a.b]\n",
    "[t.x]\n",
    '"q k" = 1\n',
    '"\\u0041" = 1\n',
    "'l.k' = 1\n",
    '"""',
    "'''",
    '"""x"""',
    '""""x"""""',
    "''",
    '""',
    "\r\n",
    "1979-05-27 07:32:00",
    "{ a = 1, b.c = [1, 2] }",
    "[1, # one\n 2,\n]",
    "[{ a = 1 },\n{ b = '}' }]",
    'k = """\n[no]\nx = 1\n\\""" """\n',
    "inf",
    "true",
    "\ud7ff",
)
SOUP = st.lists(st.sampled_from(TOKENS), max_size=40).map("".join)
VALUES = (
    "1979-05-27 07:32:00",
    "{ a = 1, b.c = [1, 2] }",
    "[1, # one\n 2,\n]",
    "[{ a = 1 },\n{ b = '}' }]",
    '"""\n[no]\nx = 1\n\\""" """',
    '""""x"""""',
    "'''\n''x'''",
    '"# \\" ="',
    "-inf",
)
STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a.", "'x y' . ", '"\\n".']),
        st.sampled_from(VALUES),
        st.sampled_from(["", "\n", "# x = 1\n", "[[arr]]\n", "[[t.arr]]\n", "[t.'N']\n", "[t.arrN.a]\n"]),
    ),
    max_size=12,
).map(
    lambda rows: "".join(
        f"{prefix}k{number} = {value} # =\n{after.replace('N', str(number))}"
        for number, (prefix, value, after) in enumerate(rows)
    )
)


def paths(value: Any, here: KeyPath = ()) -> Iterator[KeyPath]:
    if here:
        yield here
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from paths(member, (*here, name))


def check(document: str) -> bool:
    lines = key_lines(document)
    try:
        expected = set(paths(tomllib.loads(document)))
    except ValueError:
        return False
    assert set(lines) == expected
    return True


@given(st.one_of(SOUP, STATEMENTS, st.text()))
def test_the_same_keys_as_tomllib(document: str) -> None:
    check(document)


@given(STATEMENTS)
def test_the_line_is_where_the_key_stands(document: str) -> None:
    assert check(document)
    rows = document.split("\n")
    for path, line in key_lines(document).items():
        if str(path[-1]).startswith("k"):
            assert f"{path[-1]} =" in rows[line - 1]


@given(STATEMENTS, st.data())
def test_cut_anywhere(document: str, data: st.DataObject) -> None:
    check(document[: data.draw(st.integers(0, len(document)))])


@pytest.mark.parametrize("length", range(60))
def test_every_prefix_of_a_document_with_everything(length: int) -> None:
    document = 'a="""\n"""\n[b."c d"]\ne=[1,\n{f=\'\'\'\n\'\'\'}]\n[[g]]\n[[g]]\nh.i=2\n'
    check(document[:length])


def test_lines() -> None:
    document = (
        "# comment\n"  # 1
        "top = 1\n"
        "\n"
        "[uplinks.main] # header\n"  # 4
        'text = """\n'
        "fake = 1\n"
        '[fake]"""\n'
        "dotted . key = [\n"  # 8
        "  'one', # ]\n"
        "  { two = 2 },\n"  # 10
        "]\n"
        "[[radio]]\n"  # 12
        "port = 1\n"
        "[[radio]]\n"  # 14
        "port = 2\n"
        "[radio.sub]\n"
        '"quoted key" = { a = 1, b.c = 2 }\n'  # 17
    )
    assert key_lines(document) == {
        ("top",): 2,
        ("uplinks",): 4,
        ("uplinks", "main"): 4,
        ("uplinks", "main", "text"): 5,
        ("uplinks", "main", "dotted"): 8,
        ("uplinks", "main", "dotted", "key"): 8,
        ("uplinks", "main", "dotted", "key", 0): 9,
        ("uplinks", "main", "dotted", "key", 1): 10,
        ("uplinks", "main", "dotted", "key", 1, "two"): 10,
        ("radio",): 12,
        ("radio", 0): 12,
        ("radio", 0, "port"): 13,
        ("radio", 1): 14,
        ("radio", 1, "port"): 15,
        ("radio", 1, "sub"): 16,
        ("radio", 1, "sub", "quoted key"): 17,
        ("radio", 1, "sub", "quoted key", "a"): 17,
        ("radio", 1, "sub", "quoted key", "b"): 17,
        ("radio", 1, "sub", "quoted key", "b", "c"): 17,
    }
    assert check(document)


@pytest.mark.parametrize("nest", ["[", "{a=", "a=[", "a.", '"', "'''", "[[", "[a]\n", "\\", "#"])
def test_deep_and_long_documents_end(nest: str) -> None:
    key_lines("a=" + nest * 20_000)
    key_lines(nest * 20_000)
