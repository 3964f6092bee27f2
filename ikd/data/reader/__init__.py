"""The one reader of COCO files: a normal form in the cache, and columns that processes share."""

from ikd.data.reader.index import LARGE_BYTES, CocoIndex, categories, indexed, write_normal
from ikd.data.reader.stream import Entry, entries

__all__ = ["LARGE_BYTES", "CocoIndex", "Entry", "categories", "entries", "indexed", "write_normal"]
