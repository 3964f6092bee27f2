"""Reading XML that somebody else wrote: nothing outside the file is read, and nothing in it is unfolded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ikd.data.report import DataProblem

MOST_BYTES = 1 << 26
"""Annotations of one image take some kilobytes; a larger file is something else, and would take as much memory."""
NO_DOCTYPE = (
    "must hold no document type: the entities that one declares read other files and addresses, or fill the memory"
)


class Fault(Exception):
    """One fault of a file; whoever reads many collects them."""

    def __init__(self, path: Path, field: str, value: object, rule: str, line: int | None = None) -> None:
        self.problem = DataProblem(str(path), field, value, rule, line)
        super().__init__(str(self.problem))


def read_tree(path: Path) -> Element:
    """Read the root of an XML file.

    Expat asks for nothing outside of the file by itself, and a document type, without which there is no entity, is
    refused before what it declares is read.

    Raises:
        Fault: unreadable, too large, not well-formed (with line and column), or with a document type.
    """
    try:
        if not path.is_file():  # a pipe of this name would be waited for
            raise Fault(path, "file", None, "the annotation file must exist")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise Fault(path, "file", f"{size} bytes", f"must be annotations of one image, at most {MOST_BYTES} bytes")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise Fault(path, "file", str(error), "must be readable") from error
    return _parsed(path, content)


def _parsed(path: Path, content: bytes) -> Element:
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def doctype(name: str, *_: Any) -> NoReturn:
        raise Fault(path, "DOCTYPE", name, NO_DOCTYPE, parser.CurrentLineNumber)

    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        said = "it is empty" if not content.strip() else expat.errors.messages[error.code]
        raise Fault(path, f"column {error.offset + 1}", None, f"must be whole XML ({said})", error.lineno) from error
    except (LookupError, ValueError) as error:
        raise Fault(path, "encoding", str(error), "must be one that expat reads, best UTF-8") from error
    root: Element = builder.close()
    return root
