"""Films: labeled frames side by side, as GIF, as animated PNG or, where ffmpeg is installed, as MP4."""

import io
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import prepare_folder, write_atomically

MARGIN = 18  # height of a line of text, pixels
PALETTE_PICTURES = 8  # pictures of a film that decide on its palette, about


def label_frames(panels: dict[str, np.ndarray], notes: Sequence[str], scale: int = 3) -> list[Image.Image]:
    """Return T pictures: the panels' frames side by side, their labels above and a note below.

    Args:
        panels: label -> frames (T,H,W,C) uint8. All panels have the same T, H and W. C is 1 or 3.
        notes: the line of text below each of the T pictures.
        scale: side of the square that a pixel of a frame becomes, pixels.
    """
    height = scale * next(iter(panels.values())).shape[1]
    return [
        label_picture(dict(zip(panels, frames)), note, height) for frames, note in zip(zip(*panels.values()), notes)
    ]


def label_picture(panels: dict[str, np.ndarray], note: str, height: int) -> Image.Image:
    """Return one picture: frames of any size side by side, their labels above and a note below.

    Args:
        panels: label -> frame (H,W,C) uint8. C is 1 or 3.
        note: the line of text below.
        height: of each frame in the picture, pixels. Its width follows.
    """
    font = ImageFont.load_default(12)
    images = [resize_to_height(frame, height) for frame in panels.values()]
    picture = Image.new("RGB", (sum(image.width for image in images), height + 2 * MARGIN), "black")
    draw, x = ImageDraw.Draw(picture), 0
    for label, image in zip(panels, images):
        picture.paste(image, (x, MARGIN))
        draw.text((x + 4, 2), label, fill="white", font=font)
        x += image.width
    draw.text((4, MARGIN + height + 2), note, fill="white", font=font)
    return picture


def resize_to_height(frame: np.ndarray, height: int) -> Image.Image:
    """Return a frame (H,W,C) uint8 as an image of this height. Where the factor is whole, pixels become squares."""
    image = Image.fromarray(np.repeat(frame, 3 // frame.shape[-1], axis=-1))
    filter_ = Image.Resampling.BILINEAR if height % image.height else Image.Resampling.NEAREST
    return image.resize((max(1, round(image.width * height / image.height)), height), filter_)


def check_film(path: str | Path) -> None:
    """Check that a film of this name can be written.

    Raises:
        UserError: The name ends in none of .gif, .png and .mp4, or it ends in .mp4 and ffmpeg is not installed, or the
            file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".gif", ".png", ".mp4"):
        raise UserError(f"{path}: expected a film to end in .gif, .png or .mp4, found {ending or 'no ending'}")
    if ending == ".mp4" and not shutil.which("ffmpeg"):
        raise UserError(f"{path}: expected ffmpeg to be installed for an MP4, found none; a .gif needs nothing")
    if Path(path).is_dir():
        raise UserError(f"{path}: expected a file to write a film to, found a folder")
    prepare_folder(Path(path).absolute().parent)


def write_film(path: str | Path, pictures: list[Image.Image], fps: float) -> None:
    """Write pictures of one size as a film. The name's ending decides the format.

    A GIF measures time in hundredths of a second, and viewers show no picture for less than two of them. Above 50
    pictures per second a GIF is therefore too slow. Snakemake's report plays an animated PNG of any size, but only
    offers a GIF for download. The PNG is half as large.

    Args:
        path: the file, .gif or .png (both loop) or .mp4 (H.264).
        pictures: the film, picture by picture.
        fps: pictures per second.

    Raises:
        UserError: The name has another ending, ffmpeg is missing or fails, or the file cannot be written.
    """
    check_film(path)
    encode = encode_mp4 if Path(path).suffix.lower() == ".mp4" else encode_animation
    content = encode(path, pictures, fps)
    write_atomically(path, lambda file: file.write(content))


def encode_animation(path: str | Path, pictures: list[Image.Image], fps: float) -> bytes:
    """Return the pictures as a looping GIF or animated PNG, whichever the name's ending says."""
    buffer = io.BytesIO()
    first, *rest = reduce_colors(pictures)
    duration = max(20, round(100 / fps) * 10)  # milliseconds per picture
    kind = Path(path).suffix[1:].upper()
    first.save(buffer, kind, save_all=True, append_images=rest, duration=duration, loop=0)
    return buffer.getvalue()


def encode_mp4(path: str | Path, pictures: list[Image.Image], fps: float) -> bytes:
    """Return the pictures as an MP4, encoded by ffmpeg.

    ffmpeg writes to a file. Through a pipe it could only write a fragmented MP4, which some players refuse.

    Raises:
        UserError: ffmpeg fails.
    """
    size = f"{pictures[0].width}x{pictures[0].height}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]  # H.264 needs even sizes.
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "film.mp4"
        process = subprocess.run(
            ["ffmpeg", "-y", "-loglevel", "error", *raw, *even, str(temporary)],
            input=b"".join(picture.tobytes() for picture in pictures),
            capture_output=True,
        )
        if process.returncode:
            reason = process.stderr.decode(errors="replace").strip().splitlines()[-1]
            raise UserError(f"{path}: cannot be encoded by ffmpeg: {reason}")
        return temporary.read_bytes()


def reduce_colors(pictures: list[Image.Image], colors: int = 64) -> list[Image.Image]:
    """Return the pictures in one palette, without dithering.

    Plain areas stay plain and areas at rest stay the same from picture to picture, so a GIF is a quarter of the size.
    The octree keeps small colored objects, such as a red car. A median cut loses them.
    """
    sample = pictures[:: math.ceil(len(pictures) / PALETTE_PICTURES)]
    column = Image.new("RGB", (sample[0].width, sample[0].height * len(sample)))
    for i, picture in enumerate(sample):
        column.paste(picture, (0, i * picture.height))
    palette = column.quantize(colors, method=Image.Quantize.FASTOCTREE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def stack_films(films: Sequence[list[Image.Image]], beside: bool = False) -> list[Image.Image]:
    """Return the films, all of one size, as one film.

    A film that ends early goes on with its last picture.

    Args:
        films: pictures of each film.
        beside: whether each film is on the right of the previous one. Otherwise it is below.
    """
    width, height = films[0][0].size
    across, down = (len(films), 1) if beside else (1, len(films))
    stacked = []
    for t in range(max(map(len, films))):
        picture = Image.new("RGB", (width * across, height * down))
        for i, film in enumerate(films):
            place = (i * width, 0) if beside else (0, i * height)
            picture.paste(film[min(t, len(film) - 1)], place)
        stacked.append(picture)
    return stacked
