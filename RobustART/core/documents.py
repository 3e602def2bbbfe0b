"""YAML that users write, parsed within limits: a file of a kilobyte can ask for gigabytes of memory, or never end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from RobustART.core.imaging import read_bytes
from RobustART.core.options import FRACTION, parse_number
from RobustART.errors import ConfigError, DataError, UserError

MAX_BYTES = 2**18
"""Size limit of a YAML file: several times the largest known config, and parsed in about a second."""
MAX_DEPTH = 64
"""Limit on nesting: the schema needs less than ten levels, and the parser's recursion fails above three hundred."""
MAX_NODES = 20_000
"""Limit on values after aliases are expanded; a file of a kilobyte can name one node a billion times."""
MAX_BITS = 1024
"""Size limit of an integer: no float is larger, and Python does not print integers of more than 4,300 digits."""
_FLOAT = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$")


def read_yaml(path: Path, what: str) -> Any:
    """Returns the plain data of a YAML file; ``what`` names its purpose in errors.

    Raises:
        ConfigError: it is not a regular file, exceeds a limit, or is not plain YAML in UTF-8.
    """
    try:
        return parse_yaml(read_bytes(path, what, MAX_BYTES).decode("utf-8"), str(path))
    except (DataError, UnicodeDecodeError) as error:
        place = "" if isinstance(error, DataError) else f"{what} {path} is not text in UTF-8: "
        raise ConfigError(f"{place}{error}") from None


def parse_yaml(text: str, name: str) -> Any:
    """Returns the plain data of YAML, in which dates are strings, and ``1e-4`` and ``8/255`` are numbers.

    Args:
        text: the YAML.
        name: its name in errors.

    Raises:
        ConfigError: it exceeds a limit, repeats a key, or has a tag that makes an object.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{name} has {len(text):,} characters; at most {MAX_BYTES:,} are read")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name} is not a plain YAML file{place}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not a plain YAML file: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """The safe loader with limits, with more numbers, without dates, and without repeated keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node not in self._sizes:
                raise _error(f"the value {event.anchor!r} contains itself", event)
            self._count(self._sizes[node], event)
            return node
        before = self._nodes
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _error(f"it is nested more than {MAX_DEPTH} levels deep", event)
        self._count(1, event)
        node = super().compose_node(parent, index)
        assert node is not None
        self._depth -= 1
        self._sizes[node] = self._nodes - before
        return node

    def _count(self, more: int, event: yaml.Event) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            raise _error(f"it has more than {MAX_NODES:,} values, where each use of an alias counts", event)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (UserError, yaml.YAMLError):
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            kind = node.tag.rpartition(":")[2]
            long = kind == "int" and len(node.value) > MAX_BITS
            raise _error(f"{_shown(node)} is {'too large a number' if long else f'not a valid {kind}'}", node) from None
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise _error(f"{_shown(node)} is too large a number", node)
        if isinstance(value, str) and "\0" in value:
            raise _error("a string has a null character", node)
        return value


def _error(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, place.start_mark)


def _shown(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
    text = str(node.value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    loader.flatten_mapping(node)  # puts what << merges in first, so that the mapping's own keys win
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float)):
            raise _error(f"a key must be a string, got {key!r}", key_node)
        if key in seen and any(key == loader.construct_object(k, deep=True) for k in own if k is not key_node):
            raise _error(f"the key {key!r} is there twice", key_node)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


def _construct_number(loader: _Loader, node: yaml.ScalarNode) -> float:
    mark = node.start_mark
    number = parse_number(node.value, f"the number in line {mark.line + 1}, column {mark.column + 1}")
    return int(number) if number.is_integer() and abs(number) < 2**63 and "/" not in node.value else number


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _tag, _pattern, _first in (("!float", _FLOAT, "-+.0123456789"), ("!fraction", FRACTION, "-+0123456789")):
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Loader.add_constructor(_tag, _construct_number)
