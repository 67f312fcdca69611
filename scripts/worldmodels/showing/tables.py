"""Tables as HTML pages."""

import html
from collections.abc import Sequence
from pathlib import Path

from worldmodels.storage.files import write_atomically

Table = tuple[Sequence[str], list[Sequence]]  # names of the columns, rows

PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px sans-serif; margin: 1.5em; color: #111; background: #fff }}
table {{ border-collapse: collapse; margin: 0 0 1.5em }}
caption {{ text-align: left; font-weight: bold; padding: .4em 0 }}
th, td {{ padding: .25em .9em; border-bottom: 1px solid #ccc; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
</style>{body}</html>
"""


def save_tables(path: str | Path, title: str, tables: dict[str, Table]) -> None:
    """Write the tables as one HTML page.

    Args:
        path: the file, .html.
        title: the page's title.
        tables: caption -> table.
    """
    body = "".join(format_table(caption, names, rows) for caption, (names, rows) in tables.items())
    page = PAGE.format(title=html.escape(title), body=body)
    write_atomically(path, lambda file: file.write(page.encode()))


def format_table(caption: str, names: Sequence[str], rows: list[Sequence]) -> str:
    """Return a table as HTML.

    Args:
        caption: the text above the table.
        names: names of the columns.
        rows: a cell per column. Cells become text and are escaped.
    """
    lines = [format_row(names, "th"), *(format_row(row, "td") for row in rows)]
    return f"<table><caption>{html.escape(caption)}</caption>\n{''.join(lines)}</table>\n"


def format_row(cells: Sequence, tag: str) -> str:
    """Return a row of a table as HTML, each cell in an element of this tag."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>\n"
