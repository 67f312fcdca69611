"""Figures, tables, films and windows. They are drawn from finished results and change no result.

A plot's own drawing stands in its program. What several programs draw or write stands here.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "figures": ["draw_image_rows", "new_figure", "report_folder", "save_figure"],
        "films": ["check_film", "label_frames", "label_picture", "stack_films", "write_film"],
        "screen": ["Screen", "add_screen_flags"],
        "tables": ["save_tables"],
    },
)
