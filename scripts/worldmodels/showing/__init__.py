"""Figures, tables and films of a run, drawn from finished results."""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "figures": ["image_rows"],
        "films": ["label_frames", "write_film"],
        "tables": ["save_tables"],
    },
)
