"""What a worker process keeps between its tasks: one player.

A player holds what takes long to load: networks and environments. `worker_pool(count, start_player, load, ...)` starts
a player in each worker. `pool.submit(run_with_player, task, ...)` calls `task(player, ...)` in one of the workers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Player(Protocol):
    """Whatever plays episodes in a worker process."""

    def close(self) -> None:
        """Close the player's environments."""


@dataclass
class ProcessPlayer:
    """The player of this process."""

    player: Player | None = None


PROCESS_PLAYER = ProcessPlayer()


def start_player(number: int, load: Callable[..., Player], *arguments: Any) -> Callable[[], None]:
    """Load the player of this worker process.

    Args:
        number: of the worker, from 0 on.
        load: is called as load(number, *arguments).
        arguments: further arguments of load.

    Returns:
        The function that closes the player's environments. The worker calls it when it ends.
    """
    player = load(number, *arguments)
    PROCESS_PLAYER.player = player
    return player.close


def run_with_player(task: Callable[..., Any], *arguments: Any) -> Any:
    """Return task(player, *arguments), with the player that `start_player` loaded in this process."""
    assert PROCESS_PLAYER.player is not None, "the worker pool has no player"
    return task(PROCESS_PLAYER.player, *arguments)
