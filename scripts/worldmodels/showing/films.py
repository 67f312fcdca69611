"""Films: frames side by side with their labels, as GIF, animated PNG or, where ffmpeg is installed, MP4."""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import write_atomically

MARGIN = 18  # pixels of a line of text


def label_frames(panels: dict[str, np.ndarray], notes: Sequence[str], scale: int = 3) -> list[Image.Image]:
    """Frames side by side under their labels, with a line below.

    Args:
        panels: label -> frames (T,H,W,C) uint8, as many and as large in each; C is 1 or 3.
        notes: the line below each of the T pictures.
        scale: pixels a pixel of the frames becomes.
    """
    font = ImageFont.load_default(12)
    pictures = []
    for frames, note in zip(zip(*panels.values()), notes):
        row = np.concatenate([np.repeat(frame, 3 // frame.shape[-1], axis=-1) for frame in frames], axis=1)
        enlarged = Image.fromarray(row).resize((row.shape[1] * scale, row.shape[0] * scale), Image.Resampling.NEAREST)
        picture = Image.new("RGB", (enlarged.width, enlarged.height + 2 * MARGIN), "black")
        picture.paste(enlarged, (0, MARGIN))
        draw = ImageDraw.Draw(picture)
        for i, label in enumerate(panels):
            draw.text((i * enlarged.width // len(panels) + 4, 2), label, fill="white", font=font)
        draw.text((4, MARGIN + enlarged.height + 2), note, fill="white", font=font)
        pictures.append(picture)
    return pictures


def check_film(path: str | Path) -> None:
    """Raise UserError if no film of this name could be written: another ending, or MP4 without ffmpeg."""
    ending = Path(path).suffix.lower()
    if ending not in (".gif", ".png", ".mp4"):
        raise UserError(f"{path}: expected a film to end in .gif, .png or .mp4, found {ending or 'no ending'}")
    if ending == ".mp4" and not shutil.which("ffmpeg"):
        raise UserError(f"{path}: expected ffmpeg to be installed for an MP4, found none; a .gif needs nothing")


def write_film(path: str | Path, pictures: list[Image.Image], fps: float) -> None:
    """A looping GIF or animated PNG or, by the ending, an MP4 (H.264) of pictures of one size.

    GIFs know hundredths of a second only, and viewers none below two: beyond 50 pictures a second they slow down.
    Snakemake's report shows a PNG, of any size and moving; a GIF it only offers for download. The PNG is half as large.

    Raises:
        UserError: as check_film.
    """
    check_film(path)
    ending = Path(path).suffix.lower()
    if ending == ".mp4":
        write_atomically(path, lambda file: file.write(encode_mp4(path, pictures, fps)))
    else:
        buffer = io.BytesIO()
        first, *rest = reduce_colors(pictures)
        duration = max(20, round(100 / fps) * 10)
        first.save(buffer, ending[1:].upper(), save_all=True, append_images=rest, duration=duration, loop=0)
        write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def reduce_colors(pictures: list[Image.Image], colors: int = 64) -> list[Image.Image]:
    """The pictures in one palette for all, without dithering: plain areas stay plain and still ones stay the same,
    which makes a GIF four times smaller. The octree keeps small coloured things, such as a red car, that a median cut
    loses.
    """
    sample = pictures[:: -(-len(pictures) // 8)]
    together = Image.new("RGB", (sample[0].width, sample[0].height * len(sample)))
    for i, picture in enumerate(sample):
        together.paste(picture, (0, i * picture.height))
    palette = together.quantize(colors, method=Image.Quantize.FASTOCTREE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def stack(films: Sequence[list[Image.Image]]) -> list[Image.Image]:
    """Films of one size as one, each below the other; those that end earlier show their last picture on."""
    length = max(map(len, films))
    width, height = films[0][0].size
    stacked = []
    for t in range(length):
        stacked.append(Image.new("RGB", (width, height * len(films))))
        for row, film in enumerate(films):
            stacked[-1].paste(film[min(t, len(film) - 1)], (0, row * height))
    return stacked


def encode_mp4(path: str | Path, pictures: list[Image.Image], fps: float) -> bytes:
    """By ffmpeg, through a file: MP4 cannot be written to a pipe without fragments, which some players refuse."""
    size = f"{pictures[0].width}x{pictures[0].height}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]  # H.264 wants even sizes
    with tempfile.TemporaryDirectory() as folder:  # one of this process's own
        temporary = Path(folder) / "film.mp4"
        done = subprocess.run(
            ["ffmpeg", "-y", "-loglevel", "error", *raw, *even, str(temporary)],
            input=b"".join(p.tobytes() for p in pictures),
            capture_output=True,
        )
        if done.returncode:
            raise UserError(f"{path}: cannot be made: {done.stderr.decode(errors='replace').strip().splitlines()[-1]}")
        return temporary.read_bytes()
