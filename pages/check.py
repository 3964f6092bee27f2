"""Does a built site need another host? Prints what its pages would fetch from elsewhere, and fails if there is any.

    python -m pages.check build/site

A link that a reader may follow is no harm; a script, style, font or picture that a page fetches by itself is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
"""Tags that fetch something, and the attribute that says what."""
NO_FETCH = {"canonical", "next", "prev", "alternate"}
"""What a `<link>` says without a browser fetching it."""
ADDRESS = re.compile(r"^(?:https?:)?//")
IN_STYLE = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)")


class _Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADS.get(tag, "")) or ""
        if ADDRESS.match(address) and not NO_FETCH.intersection((given.get("rel") or "").split()):
            self.found.append(address)
        if "mermaid" in (given.get("class") or "").split():  # the theme fetches its drawing script from elsewhere
            self.found.append("mermaid's script")


def fetched(site: Path) -> Iterator[tuple[Path, str]]:
    """Yield each page or style of a site that fetches something from another host, and what.

    Args:
        site: folder of a built site.
    """
    for page in sorted(site.rglob("*.html")):
        parser = _Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        for address in parser.found:
            yield page, address
    for style in sorted(site.rglob("*.css")):
        for both in IN_STYLE.findall(style.read_text(encoding="utf-8")):
            yield style, "".join(both)


def main() -> None:
    """Check the site that is named."""
    (folder,) = sys.argv[1:]
    if not any(Path(folder).glob("*.html")):
        sys.exit(f"error: {folder}: must hold a built site; make docs builds one")
    found = list(fetched(Path(folder)))
    for page, address in found:
        print(f"{page}: fetches {address}", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
