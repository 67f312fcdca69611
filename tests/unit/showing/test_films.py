"""Films hold their frames and labels, in every format."""

import shutil

import numpy as np
import pytest
from PIL import Image

from worldmodels.runtime.errors import UserError
from worldmodels.showing.films import MARGIN, check_film, label_frames, label_picture, stack_films, write_film


def test_film_has_its_frames_and_labels(tmp_path):
    frames = np.random.default_rng(1).integers(0, 255, (6, 8, 10, 3), np.uint8)
    pictures = label_frames({"a": frames, "b": frames[..., :1]}, [str(i) for i in range(6)], scale=5)
    assert pictures[0].size == (2 * 10 * 5, 8 * 5 + 2 * MARGIN)
    inside = np.asarray(pictures[3])[MARGIN:-MARGIN]
    assert (inside[2::5, 2:50:5] == frames[3]).all()
    assert (inside[2::5, 52::5] == frames[3, :, :, :1]).all()
    write_film(tmp_path / "x.gif", pictures, fps=10)
    write_film(tmp_path / "x.png", pictures, fps=10)
    for kind in ("gif", "png"):
        with Image.open(tmp_path / f"x.{kind}") as film:
            assert film.n_frames == 6 and film.info["duration"] == 100 and film.info["loop"] == 0
    with pytest.raises(UserError, match=r"expected a film to end in \.gif, \.png or \.mp4, found \.avi"):
        write_film(tmp_path / "x.avi", pictures, fps=10)


def test_frames_of_any_size_get_one_height():
    wide, small, empty = (
        np.full((50, 100, 3), 200, np.uint8),
        np.full((8, 8, 1), 90, np.uint8),
        np.zeros((7, 3, 3), np.uint8),
    )
    picture = np.asarray(label_picture({"a": wide, "b": small, "c": empty}, "note", 40))
    assert picture.shape == (40 + 2 * MARGIN, 80 + 40 + 17, 3)
    inside = picture[MARGIN:-MARGIN]
    assert (inside[:, :80] == 200).all() and (inside[:, 80:120] == 90).all() and not inside[:, 120:].any()


def test_a_film_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.gif").mkdir()
    check_film(tmp_path / "new/film.gif")
    with pytest.raises(UserError, match=r"file: expected a folder to write to"):
        check_film(tmp_path / "file/film.gif")
    with pytest.raises(UserError, match=r"folder\.gif: expected a file to write a film to, found a folder"):
        check_film(tmp_path / "folder.gif")


def test_films_are_stacked():
    red, blue = ([Image.new("RGB", (4, 2), color)] for color in ("red", "blue"))
    stacked = stack_films([[*red, *blue], red])
    assert [picture.size for picture in stacked] == [(4, 4), (4, 4)]
    assert [picture.getpixel((0, y)) for picture in stacked for y in (0, 3)] == [
        (255, 0, 0), (255, 0, 0), (0, 0, 255), (255, 0, 0),
    ]  # fmt: skip
    beside = stack_films([[*red, *blue], red], beside=True)
    assert [picture.size for picture in beside] == [(8, 2), (8, 2)]
    assert [beside[1].getpixel((x, 0)) for x in (0, 4)] == [(0, 0, 255), (255, 0, 0)]


def test_mp4_is_written_by_ffmpeg(tmp_path):
    """Where there is ffmpeg; else the message says what is missing."""
    pictures = label_frames({"a": np.zeros((6, 9, 11, 3), np.uint8)}, [""] * 6, scale=3)
    if shutil.which("ffmpeg"):
        write_film(tmp_path / "x.mp4", pictures, fps=10)
        assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"
    else:
        with pytest.raises(UserError, match="expected ffmpeg to be installed for an MP4, found none"):
            write_film(tmp_path / "x.mp4", pictures, fps=10)
    assert not list(tmp_path.glob(".*"))


def test_film_keeps_small_colored_objects(tmp_path):
    """A red car of 8 pixels on a green field whose every pixel has another green."""
    rng = np.random.default_rng(1)
    frames = np.stack([np.full((64, 64), 100), rng.integers(150, 250, (64, 64)), np.full((64, 64), 100)], -1)
    frames = np.repeat(frames[None].astype(np.uint8), 3, 0)
    frames[:, 40:44, 30:32] = (200, 0, 0)
    write_film(tmp_path / "x.gif", label_frames({"": frames}, [""] * 3, scale=1), fps=10)
    with Image.open(tmp_path / "x.gif") as film:
        red, green, _ = np.asarray(film.convert("RGB"))[MARGIN + 41, 30].astype(int)
    assert red > 150 and green < 60
