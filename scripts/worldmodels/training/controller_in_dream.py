"""C's training in M's dreams (paper, section 4)."""

import torch

from worldmodels.envs.instances import Instances
from worldmodels.playing.agent import load_world_model
from worldmodels.playing.dream_episodes import load_first_latents
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.search.dream_player import DreamPlayer
from worldmodels.search.evaluator import share_cores
from worldmodels.storage.checkpoints import load_checkpoint
from worldmodels.training.controller import Workers, train_controller


def train_controller_in_dream(
    env: EnvConfig, config: WMControllerConfig, seed: int, identity: str, device: str, cores: int
) -> dict:
    """Train C in M's dreams, see training.controller.train_controller. The environment only says what its actions are.

    Args:
        identity: stamp of the configuration, code and models; a saved state with another stamp is not continued.
        device: of the workers, see devices.choose_device.
        cores: to use at most, beside config.max_workers.

    Returns:
        What best.tar holds, see train_controller. Its env_steps have 0 for C's training. And dream_steps.

    Raises:
        UserError: a model is missing, damaged or cannot dream, or the settings do not suit the actions, the device or
            the memory.
    """
    choose_device(device)  # a wrong one ends here, not in a worker
    check_dreams(f"{config.logdir}/mdrnn/best.tar")
    world = load_world_model(config.logdir, torch.device("cpu"))
    instances = Instances(env)
    instances.close()
    world.squash(config.squash, instances.space)
    time_limit = min(config.time_limit or instances.time_limit, instances.time_limit)
    count, _ = share_cores(cores, config)
    arguments = (config, device, instances.space, time_limit)
    best, steps = train_controller(world, Workers(DreamPlayer.load, arguments, count), config, seed, identity)
    return best | {"env_steps": {**best["env_steps"], "controller": 0}, "dream_steps": steps}


def check_dreams(path: str) -> None:
    """Check that C can learn in the dreams of M's checkpoint.

    Raises:
        UserError: M has not learnt to predict rewards, or the checkpoint does not say where dreams start.
    """
    load_first_latents(path)
    saved = load_checkpoint(path)
    if not saved["config"]["include_reward"]:
        raise UserError(
            f"{path}: expected an M that predicts the reward, which C needs in its dreams, found one trained with "
            "mdrnn.include_reward: false"
        )
    if not saved["terminals"]:
        log.warning("ctrl: M has seen no episode that the environment ended, so its dreams go on to the time limit")
