"""The words of docstrings, comments, messages and documents: those of the field."""

import ast
import io
import re
import tokenize

import pytest

from tests.conftest import ROOT

BANNED = {
    "stands": "is, are", "stand": "is, are", "told": "reports, says", "is said": "reports", "goes on": "resumes, continues",
    "go on": "resume, continue", "what cannot be": "what is invalid", "is none": "is missing, is not one",
    "are none": "are missing", "a text": "a string", "of its own": "own", "of their own": "own", "whole number": "integer",
    "whole numbers": "integers", "held against": "compared with", "hold against": "compare with",
}  # fmt: skip
"""Words that the field does not use, and what it says instead."""
_WORDS = re.compile(
    rf"(?<!there )\b({'|'.join(sorted(BANNED, key=len, reverse=True))})\b(?!-| colour| errors| of\b)", re.IGNORECASE
)
_NONE = re.compile(r"(is|are) None\b")
"""The value, of which sentences speak too."""
PACKAGE = sorted((ROOT / "RobustART").rglob("*.py"))
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "exprs/README.md")]


def prose_of(path):
    """Yields (line, text) of the strings and comments of a module."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def faults(lines):
    found = [
        (line, match[0]) for line, text in lines for match in _WORDS.finditer(text) if not _NONE.fullmatch(match[0])
    ]
    return [f"{line}: {words!r} (say: {BANNED[words.lower()]})" for line, words in found]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules(path):
    assert not faults(prose_of(path))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents(path):
    assert not faults(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))


def test_the_list_finds_words_in_strings_and_comments(tmp_path):
    path = tmp_path / "x.py"
    path.write_text('"""A text. It has a colour of its own."""\n\nx = f"it stands {1}"  # a whole number\n')
    assert [fault.split(" (")[0] for fault in faults(prose_of(path))] == [
        "1: 'A text'", "1: 'of its own'", "3: 'stands'", "3: 'a whole number'".replace("a ", ""),
    ]  # fmt: skip
