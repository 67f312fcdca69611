"""Tables as HTML pages."""

import html
from collections.abc import Sequence
from pathlib import Path

from worldmodels.storage.files import write_atomically

PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px sans-serif; margin: 1.5em; color: #111; background: #fff }}
table {{ border-collapse: collapse; margin: 0 0 1.5em }}
caption {{ text-align: left; font-weight: bold; padding: .4em 0 }}
th, td {{ padding: .25em .9em; border-bottom: 1px solid #ccc; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
</style>{body}</html>
"""


def save_tables(path: str | Path, title: str, tables: dict[str, tuple[Sequence[str], list[Sequence]]]) -> None:
    """Tables as one HTML page.

    Args:
        tables: caption -> (names of the columns, rows).
    """

    def line(cells: Sequence, tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(
        f"<table><caption>{html.escape(caption)}</caption>\n{line(names, 'th')}"
        + "".join(line(row, "td") for row in rows)
        + "</table>\n"
        for caption, (names, rows) in tables.items()
    )
    page = PAGE.format(title=html.escape(title), body=body)
    write_atomically(path, lambda file: file.write(page.encode()))
