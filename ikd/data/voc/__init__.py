"""PASCAL VOC's XML files, and what other tools write in their form, as COCO json."""

from ikd.data.voc.convert import VocImport, import_voc
from ikd.data.voc.layout import VOC_CLASSES, parse_parts

__all__ = ["VOC_CLASSES", "VocImport", "import_voc", "parse_parts"]
