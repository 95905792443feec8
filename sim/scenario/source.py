"""YAML text into a tree that remembers where every key and value stands.

The tree is built from the parser's events, without recursion and without YAML's object machinery: a scenario is plain
data, so anchors, tags and merge keys are refused with a message instead of being half understood.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sim.errors import ScenarioError
from sim.scenario.words import nearest, shown

if TYPE_CHECKING:
    from ruamel.yaml.events import ScalarEvent

LARGEST_FILE_BYTES: Final = 8_000_000
DEEPEST: Final = 50

_NULL: Final = {"", "~", "null", "Null", "NULL"}
_BOOL: Final = {word: word[0] in "tT" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_BASED: Final = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a YAML file: a scalar, a dict of nodes or a list of nodes, with its file and its lines (from 1)."""

    value: Any
    file: str
    line: int
    #: Line of the key in front of it; the value's own line where there is none.
    key_line: int

    @property
    def where(self) -> str:
        """``file:line`` of a scalar, or of the key in front of a collection."""
        line = self.key_line if isinstance(self.value, dict | list) else self.line
        return f"{self.file}:{line}"

    def plain(self) -> Any:
        """The tree as ordinary dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def holding(self, value: Any) -> Node:
        """Another value in the same place."""
        return replace(self, value=value)


def read_file(path: Path) -> Node:
    """Read a YAML file into a tree whose root is a mapping.

    Raises:
        ScenarioError: there is no such file, it is not text, not YAML, or uses what scenarios do without.
    """
    return read_text(_text_of(path), str(path))


def read_text(text: str, file: str) -> Node:
    """Read YAML text into a tree whose root is a mapping; `file` is what messages call it.

    >>> read_text("load:\\n  rate: 120/s", "shop.yaml").value["load"].value["rate"].where
    'shop.yaml:2'
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    builder = _Builder(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except YAMLError as exc:
        raise ScenarioError([*builder.problems, _syntax(exc, text, file)]) from exc
    except (ValueError, IndexError, AttributeError, OverflowError, AssertionError) as exc:
        # The scanner stumbles over some escapes and directives with exceptions of other kinds.
        raise ScenarioError([*builder.problems, f"{file}: this is not YAML: {exc}"]) from exc
    if builder.problems:
        raise ScenarioError(builder.problems)
    root = builder.root
    if root is None or root.value is None:
        raise ScenarioError(f"{file}: the file is empty; a scenario has at least services and load")
    if not isinstance(root.value, dict):
        raise ScenarioError(f"{file}:{root.line}: a scenario is a mapping such as 'services: …', not {shown(root.plain())}")
    return root


def _text_of(path: Path) -> str:
    try:
        if path.is_dir():
            found = sorted(entry.name for entry in path.iterdir() if entry.suffix in (".yaml", ".yml"))
            inside = f"; it holds {', '.join(found[:8])}" if found else ""
            raise ScenarioError(f"{shown_path(path)}: is a directory, not a scenario file{inside}")
        if not path.exists():
            raise ScenarioError(f"{shown_path(path)}: there is no such file{_neighbour(path)}")
        if not path.is_file():
            raise ScenarioError(f"{shown_path(path)}: is not an ordinary file; give the path of a YAML file")
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ScenarioError(f"{shown_path(path)}: is larger than {LARGEST_FILE_BYTES / 1e6:.0f} MB; this is no scenario")
        raw = path.read_bytes()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ScenarioError(f"{shown_path(path)}: cannot be read: {reason}") from exc
    return decode(raw, shown_path(path))


def decode(raw: bytes, file: str) -> str:
    """Bytes of a file as text: UTF-8, with or without a byte-order mark.

    Raises:
        ScenarioError: another encoding, or no text at all.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ScenarioError(f"{file}: is written in UTF-16; save it as UTF-8")
    if b"\0" in raw:
        raise ScenarioError(f"{file}: is a binary file, not YAML text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ScenarioError(f"{file}:{line}: byte 0x{raw[exc.start]:02x} is not UTF-8; save the file as UTF-8") from exc


def shown_path(path: Path) -> str:
    """A path for a message, with what cannot be printed escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))


def _neighbour(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f", nor its directory {shown_path(parent)}"
    found = [entry.name for entry in parent.iterdir() if entry.suffix in (".yaml", ".yml")]
    return f"; {nearest(path.name, found)}" if found else ""


class _Builder:
    """Puts the parser's events together; keeps what it finds wrong and goes on."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[str] = []
        self._documents = 0
        self._open: list[_Frame] = []

    def take(self, event: Any) -> None:
        """Take the next event of the parser."""
        kind = type(event).__name__
        line = event.start_mark.line + 1
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents == 2:
                self._stop(line, "a second document begins here (---); write one per file")
        elif kind == "AliasEvent":
            self._anchor(event, line)
            self._put(None, line)
        elif kind == "ScalarEvent":
            self._check(event, line)
            if _SURROGATE.search(event.value):
                self._say(line, "an escape such as \\ud800 is half a character; write the character itself")
            self._put_scalar(event, line)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._check(event, line)
            self._begin({} if kind == "MappingStartEvent" else [], line)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            frame = self._open.pop()
            self._put(frame.value, frame.line)

    def _check(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            self._anchor(event, line)
        if event.tag is not None and str(event.tag) not in ("!", "None"):
            self._say(line, f"the tag {shown(str(event.tag))} has no meaning here; write plain values")

    def _anchor(self, event: Any, line: int) -> None:
        name = shown(str(event.anchor))
        self._say(line, f"anchors and aliases ({name}) are not read; name a law under laws, or share a file with base")

    def _say(self, line: int, message: str) -> None:
        self.problems.append(f"{self.file}:{line}: {message}")

    def _stop(self, line: int, message: str) -> NoReturn:
        self._say(line, message)
        raise ScenarioError(self.problems)

    def _begin(self, value: Any, line: int) -> None:
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            self._stop(line, "a key must be a word, not a list or a mapping")
        if len(self._open) >= DEEPEST:
            self._stop(line, f"nested more than {DEEPEST} deep; no scenario needs that")
        self._open.append(_Frame(value, line))

    def _put_scalar(self, event: ScalarEvent, line: int) -> None:
        frame = self._open[-1] if self._open else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self._key(frame, event.value, line)
            return
        quoted = event.style in ("'", '"', "|", ">")
        self._put(event.value if quoted else resolve(event.value), line)

    def _key(self, frame: _Frame, text: str, line: int) -> None:
        key = " -> ".join(part.strip() for part in text.split("->")) if "->" in text else text
        if key == "<<":
            self._say(line, "merge keys (<<) are not read; share a file with base")
        elif not key.strip():
            self._say(line, "a key is missing in front of ':'")
        elif key in frame.value:
            first = frame.value[key].key_line
            self._say(line, f"{shown(key)} is here twice, first in line {first}; keep one")
        frame.key, frame.key_line = key, line

    def _put(self, value: Any, line: int) -> None:
        frame = self._open[-1] if self._open else None
        if frame is None:
            self.root = Node(value, self.file, line, line)
        elif isinstance(frame.value, list):
            frame.value.append(Node(value, self.file, line, line))
        elif frame.key is None:  # an alias in the place of a key: said already
            frame.key, frame.key_line = "", line
        else:
            # The parser puts a value that is absent where the next one begins.
            line = frame.key_line if value is None else line
            frame.value[frame.key] = Node(value, self.file, line, frame.key_line)
            frame.key = None


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open, and the key that waits for its value."""

    value: Any
    line: int
    key: str | None = None
    key_line: int = 0


def resolve(text: str) -> Any:
    """The value of an unquoted YAML 1.2 scalar (core schema): null, a boolean, a number, or the text itself.

    Whole numbers of more than 18 digits stay text: nothing in a scenario is so large, and what needs a number says so.

    >>> [resolve(text) for text in ("~", "true", "no", "12", "1e3", "12:30", "0x1F")]
    [None, True, 'no', 12, 1000.0, '12:30', 31]
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not text.strip("+-").isdigit():
        return float(text)
    return _SPECIAL.get(text.lower(), text)


_SYNTAX: Final = (
    ("found character '\\t'", "a tab stands where YAML wants spaces; indent with spaces"),
    ("mapping values are not allowed", "a ':' stands where none can; check the indentation, or quote a text that contains ': '"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("could not find expected ':'", "a ':' is missing after a key, or a text should be quoted"),
    ("did not find expected <document start>", "the indentation does not fit the lines above"),
    ("found unexpected end of stream", "a quotation mark or bracket is opened and never closed"),
    ("expected ',' or ']'", "a ',' or ']' is missing"),
    ("expected ',' or '}'", "a ',' or '}' is missing"),
    ("found undefined alias", "anchors and aliases are not read; name a law under laws, or share a file with base"),
    ("special characters are not allowed", "a control character stands in the text; remove it"),
    ("found character '%'", "a value cannot begin with '%'; write 5 %, or quote it"),
    ("found character '`'", "a value cannot begin with a back-tick; quote it"),
    ("found character '@'", "a value cannot begin with '@'; quote it"),
    ("could not determine a constructor", "tags (!) have no meaning here; write plain values"),
    ("found unknown escape character", "a backslash in double quotes begins an escape; use single quotes for plain text"),
)


def _syntax(exc: Any, text: str, file: str) -> str:
    """One line for an error of the YAML parser, in words, with its line."""
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    if mark is not None:
        line = mark.line + 1
    elif isinstance(getattr(exc, "position", None), int):  # of the reader, which counts characters
        line = text.count("\n", 0, exc.position) + 1
    else:
        line = 1
    said = " ".join(str(exc).split())
    problem = getattr(exc, "problem", None) or getattr(exc, "reason", None) or said
    for pattern, cure in _SYNTAX:
        if pattern in f"{problem} {said}":
            return f"{file}:{line}: {cure}"
    return f"{file}:{line}: this is not YAML: {shown(str(problem))[1:-1]}"


def children(node: Node) -> Iterator[tuple[str | int, Node]]:
    """Keys or indices of a collection with what stands there; nothing for a scalar."""
    if isinstance(node.value, dict):
        yield from node.value.items()
    elif isinstance(node.value, list):
        yield from enumerate(node.value)


def relative_to(node: Node, name: str) -> Path:
    """A path that stands in a file, as seen from the working directory: relative to that file."""
    return Path(os.path.normpath(Path(node.file).parent / name))
