# The agent that drives in some rollouts.
#
# For a run these are the files of its V, M and C, without endings. For a package it is the digest, because the path must
# not count. The user's own code of the agent's V comes with it.

# An earlier run must be finished. Within a chain, the iteration before makes the files, with the same V.
if ITERATION:
    AGENT = configuration.agent_files(CONFIG.rollouts.agent)
    AGENT_DIGEST, AGENT_MODULES = "", VAE_MODULES
else:
    AGENT, AGENT_DIGEST, AGENT_MODULES = configuration.find_agent(
        workflow, CONFIG.rollouts.agent
    )
