# The agent that drives in some rollouts: the files of its V, M and C without endings, and the user's own code of its V.

# An earlier run must be finished. Within a chain, the iteration before makes the files, with the same V.
if ITERATION:
    AGENT, AGENT_MODULES = configuration.agent_files(CONFIG.rollouts.agent), VAE_MODULES
else:
    AGENT, AGENT_MODULES = configuration.find_agent(workflow, CONFIG.rollouts.agent)
