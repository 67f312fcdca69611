"""Where does an agent lose points in CarRacing-v3? Plays tracks of the official test again, and sorts them by cause.

python -m bench.lost_points --logdir results/carracing --episodes 100
"""

from argparse import Namespace
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from worldmodels.envs import seeding
from worldmodels.playing.evaluation import AgentPlayer, check_agent
from worldmodels.playing.replays import RecordedLane
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.workers import worker_pool

TAIL = 100  # last steps of an episode, by which a car that stands is known
STANDING = 2.0  # m/s; a slower car stands
JUMP = 20  # tiles; the nearest tile jumps further only where two parts of the road lie side by side
LEFT_THE_FIELD = -50.0  # the environment's reward for leaving the field is -100


class Episode(NamedTuple):
    """What happened in an episode.

    Attributes:
        cause: why it has no more points.
        score: the return.
        lap: steps of the first lap; NaN if the car did not get round.
        missed: tiles that it did not visit.
    """

    cause: str
    score: float
    lap: float
    missed: int


def main(args: Namespace) -> None:
    run, env = run_config_from_args(args), section_from_args(args, EnvConfig)
    if not env.id.startswith("CarRacing"):
        raise UserError(f"env.id: expected CarRacing, found {env.id}")
    env = check_agent(run.logdir, env)
    seeds = seeding.evaluation_seeds(args.episodes)
    workers = min(args.threads, len(seeds))
    with worker_pool(workers, start_player, AgentPlayer.load, run.logdir, env, run.device) as pool:
        jobs = [pool.submit(run_with_player, play_episode, seed) for seed in seeds]
        episodes = [job.result() for job in jobs]
    lost = [1000 - episode.score for episode in episodes]
    log.info("%s: %.1f of 1000 points are lost per track, %d tracks", run.logdir, np.mean(lost), len(seeds))
    print("| cause | tracks | mean return | points lost, of all tracks | steps of the first lap | missed tiles |")
    print("|---|---|---|---|---|---|")
    for cause, group in by_cause(episodes):
        scores, laps, missed = (np.array([getattr(e, name) for e in group]) for name in ("score", "lap", "missed"))
        share = (1000 - scores).sum() / len(episodes)
        lap = "" if np.isnan(laps).all() else f"{np.nanmean(laps):.0f}"
        print(f"| {cause} | {len(group)} | {scores.mean():.0f} | {share:.1f} | {lap} | {missed.mean():.1f} |")


def by_cause(episodes: list[Episode]) -> list[tuple[str, list[Episode]]]:
    """Return the episodes by their cause, the one that costs most first."""
    groups = defaultdict(list)
    for episode in episodes:
        groups[episode.cause].append(episode)
    return sorted(groups.items(), key=lambda item: -sum(1000 - episode.score for episode in item[1]))


def play_episode(player: AgentPlayer, seed: int) -> Episode:
    """Play the test's episode of this seed again, and say what happened."""
    lane = RecordedLane(player.instances, seed)
    player.play_lanes(lane)
    return describe(np.array(lane.rewards), np.array(lane.path[:-1]), lane.track)


def describe(rewards: np.ndarray, path: np.ndarray, track: np.ndarray) -> Episode:
    """Say what happened in an episode.

    Args:
        rewards: (T,).
        path: (T, 3), see replays.Replay.
        track: (N, 4), see replays.Replay.
    """
    centers, half_width = (track[:, :2] + track[:, 2:]) / 2, np.linalg.norm(track[0, :2] - track[0, 2:]) / 2
    distances = np.linalg.norm(path[:, None, :2] - centers, axis=2)
    laps = np.flatnonzero(progress(distances.argmin(axis=1), len(track)) >= 0.97 * len(track))
    points_per_tile = 1000 / len(track)
    missed = len(track) - round((rewards.sum() + 0.1 * len(rewards)) / points_per_tile)
    stands = path[-TAIL:, 2].mean() < STANDING
    is_off_road = distances[-TAIL:].min(axis=1).mean() > half_width
    if missed == 0:
        cause = "lap finished"
    elif rewards[-1] < LEFT_THE_FIELD:
        cause, missed = "left the field", missed - round(100 / points_per_tile)
    elif len(laps):
        cause = "second lap, for missed tiles"
    elif stands:
        cause = f"stands {'beside' if is_off_road else 'on'} the road"
    else:
        cause = "lost beside the road" if is_off_road else "out of time in the first lap"
    return Episode(cause, float(rewards.sum()), float(laps[0]) if len(laps) else np.nan, missed)


def progress(nearest: np.ndarray, tiles: int) -> np.ndarray:
    """Return how many tiles the car is ahead of its start in each step, from its nearest tile (T,)."""
    moves = (np.diff(nearest, prepend=nearest[0]) + tiles // 2) % tiles - tiles // 2
    return np.where(np.abs(moves) > JUMP, 0, moves).cumsum()


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig)
    parser.add_argument("--episodes", type=int, default=100, help="tracks (default: %(default)s)")
    run_program(parser, main)
