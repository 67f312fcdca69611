"""C's training in the environment (paper, section 2.5 and appendix A.4)."""

import torch

from worldmodels.envs.instances import Instances
from worldmodels.playing.agent import WorldModel, load_world_model
from worldmodels.runtime.config import EnvConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.training_log import log_core_share
from worldmodels.search.environment_player import EnvironmentPlayer
from worldmodels.search.evaluator import share_cores
from worldmodels.training.controller import Workers, train_controller


def train_controller_in_environment(
    env: EnvConfig, backend: str, config: WMControllerConfig, seed: int, identity: str, device: str, cores: int
) -> dict:
    """Train C in the environment, see training.controller.train_controller.

    Args:
        backend: what steps the environment, see backends.choose_backend.
        identity: stamp of the configuration, code and models; a saved state with another stamp is not continued.
        device: of the workers, see devices.choose_device.
        cores: to use at most, beside config.max_workers.

    Returns:
        What best.tar holds, see train_controller. Its env_steps include the steps of C's training.

    Raises:
        UserError: a model is missing or damaged, or the settings do not suit the environment, the device or the memory.
    """
    choose_device(device)  # a wrong one ends here, not in a worker
    world = load_world_model(config.logdir, torch.device("cpu"))
    env = settle_environment(env, backend, config, world)
    count, threads = share_cores(cores, config)
    if threads > 1:
        log_core_share(count, threads)
    arguments = (config.logdir, env, backend, config, device, threads)
    best, steps = train_controller(world, Workers(EnvironmentPlayer.load, arguments, count), config, seed, identity)
    return best | {"env_steps": {**best["env_steps"], "controller": steps}}


def settle_environment(env: EnvConfig, backend: str, config: WMControllerConfig, world: WorldModel) -> EnvConfig:
    """Return the environment's configuration for the workers, in which env.frames and env.reuse are settled.

    Raises:
        UserError: the environment cannot be made, or M or ctrl.squash does not suit its actions.
    """
    instances = Instances(env)
    world.squash(config.squash, instances.space)
    if backend == "gymnasium":
        instances.settle_reuse()
    instances.close()
    return instances.config
