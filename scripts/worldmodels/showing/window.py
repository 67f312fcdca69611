"""A window on the screen, by pygame."""

import os
from collections.abc import Mapping
from types import ModuleType

from PIL import Image

from worldmodels.runtime.errors import UserError

NEEDED = "--render human: expected a display to open a window on, found none"


class Window:
    """A window that shows pictures and knows which keys are pressed.

    It opens with its first picture.

    Args:
        title: of the window.

    Attributes:
        closed: whether the user has pressed Esc or closed the window.
        is_open: whether it has shown a picture.

    Raises:
        UserError: pygame is not installed, or there is no display.
    """

    def __init__(self, title: str) -> None:
        self.pygame, self.title = import_pygame(), title
        self.closed = self.is_open = False
        try:
            self.pygame.display.init()
        except self.pygame.error as error:
            raise UserError(f"{NEEDED} ({error})") from None
        if not os.environ.get("SDL_VIDEODRIVER") and self.pygame.display.get_driver() in ("dummy", "offscreen"):
            raise UserError(NEEDED)
        self.clock = self.pygame.time.Clock()

    def show(self, picture: Image.Image) -> None:
        """Show a picture. The window takes its size."""
        display = self.pygame.display
        # Some environments shut pygame down when they are closed.
        if not display.get_init() or display.get_surface() is None or display.get_surface().get_size() != picture.size:
            self.open(picture.size)
        image = self.pygame.image.frombytes(picture.tobytes(), picture.size, "RGB")
        display.get_surface().blit(image, (0, 0))
        display.flip()

    def open(self, size: tuple[int, int]) -> None:
        """Open the window, width and height in pixels.

        Raises:
            UserError: the display refuses it.
        """
        try:
            self.pygame.display.init()
            self.pygame.display.set_mode(size)
        except self.pygame.error as error:
            raise UserError(f"{NEEDED} ({error})") from None
        self.pygame.display.set_caption(self.title)
        self.is_open = True

    def wait(self, fps: float) -> None:
        """Wait until 1 / fps seconds have passed since the last call, and take in what the user did."""
        self.clock.tick(fps)
        for event in self.pygame.event.get():
            escaped = event.type == self.pygame.KEYDOWN and event.key == self.pygame.K_ESCAPE
            self.closed |= escaped or event.type == self.pygame.QUIT

    @property
    def pressed(self) -> Mapping[int, bool]:
        """Key of pygame -> whether it is down."""
        return self.pygame.key.get_pressed()

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()


def import_pygame() -> ModuleType:
    """Return pygame.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pygame
    except ImportError:
        raise UserError("--render human: expected pygame to be installed (pip install pygame-ce), found none") from None
    return pygame
