"""Measure how long scripted players survive in Take Cover, on the seeds of the official test.

python -m bench.take_cover --episodes 100

The blind player walks from wall to wall. The seeing player is told where the fireballs are and how they fly, and takes
the move that is hit last. Their scores say what an agent gains by looking: more than the blind player's, and hardly
more than the seeing one's.
"""

import argparse
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from worldmodels.envs import seeding
from worldmodels.envs.making import make_gymnasium
from worldmodels.playing.scores import summarize_returns
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_program
from worldmodels.runtime.score_text import score_text

DoomObject = Any  # vizdoom.Object: the class is known once VizDoom is imported
ENV = EnvConfig(id="VizdoomTakeCover-v1", import_="vizdoom.gymnasium_wrapper", max_episode_steps=2100)
STAND, UP, DOWN = 0, 2, 1  # actions: y grows by moving right
WALLS = 17.0, 751.0  # the least and the largest y of the player, in Doom's units
TURN = 84.0  # units from a wall at which the blind player turns
ACCELERATION, FRICTION = 0.78, 0.90625  # of a walking player, units per tic^2, and per tic
HORIZON = 60  # tics that the seeing player looks ahead; a fireball crosses the room in 48
TICS = np.arange(1, HORIZON + 1)
REACH = 26.0, 30.0  # a fireball hits a player who is that near, along the room and across


def main(args: argparse.Namespace) -> None:
    env = make_gymnasium(ENV)
    game = env.unwrapped.game
    game.close()
    game.set_objects_info_enabled(True)
    game.init()
    for name, player in (("blind", walk), ("seeing", evade)):
        lengths = [play_episode(env, seed, player) for seed in seeding.evaluation_seeds(args.episodes)]
        result = summarize_returns(lengths)
        log.info("the %s player: %s over %d episodes", name, score_text(result["mean"], result["std"]), len(lengths))
    env.close()


def play_episode(env: gym.Env, seed: int, player: Callable[[list, int], int]) -> int:
    """Return the length of an episode, in tics."""
    env.reset(seed=seed)
    action, tics, ended = UP, 0, False
    while not ended:
        action = player(env.unwrapped.game.get_state().objects, action)
        _, _, terminated, truncated, _ = env.step(action)
        tics, ended = tics + 1, terminated or truncated
    return tics


def find_player(objects: list) -> DoomObject:
    """Return the player among the objects of Doom's state."""
    return next(each for each in objects if each.name == "DoomPlayer")


def walk(objects: list, last: int) -> int:
    """Return the blind player's action: the last one, or the other direction near a wall."""
    y = find_player(objects).position_y
    if y > WALLS[1] - TURN:
        return DOWN
    return UP if y < WALLS[0] + TURN else last


def evade(objects: list, last: int) -> int:
    """Return the seeing player's action: the first of the moves that is hit last. It prefers to walk on."""
    player = find_player(objects)
    balls = [each for each in objects if each.name == "DoomImpBall"]
    along = 1 if last == UP else -1
    moves = [(along, HORIZON), (along, 8), (along, 16), (along, 30), (0, HORIZON), (-along, HORIZON), (-along, 16)]
    hits = [first_hit(player, foresee(player, *move), balls) for move in moves]
    return {1: UP, 0: STAND, -1: DOWN}[moves[int(np.argmax(hits))][0]]


def foresee(player: DoomObject, direction: int, turn: int) -> np.ndarray:
    """Return the player's y in the next tics, (HORIZON,), who turns around after some tics."""
    y, speed, path = player.position_y, player.velocity_y, []
    for tic in range(HORIZON):
        speed = FRICTION * speed + ACCELERATION * (direction if tic < turn else -direction)
        y += speed
        if not WALLS[0] <= y <= WALLS[1]:
            y, speed = float(np.clip(y, *WALLS)), 0.0
        path.append(y)
    return np.array(path)


def first_hit(player: DoomObject, path: np.ndarray, balls: list) -> int:
    """Return the tic at which the first fireball hits a player on this path; HORIZON + 1 if none does."""
    first = HORIZON + 1
    for ball in balls:
        x = ball.position_x + ball.velocity_x * TICS - player.position_x
        y = ball.position_y + ball.velocity_y * TICS - path
        hit = (np.abs(x) < REACH[0]) & (np.abs(y) < REACH[1])
        if hit.any():
            first = min(first, int(TICS[hit.argmax()]))
    return first


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--episodes", type=int, default=32, help="episodes (default: %(default)s)")
    run_program(parser, main)
