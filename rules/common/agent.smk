# The agent that drives in some rollouts: the files of its V, M and C without endings, or the digest of its package, whose
# path must not count; and the user's own code of its V.

# An earlier run must be finished. Within a chain, the iteration before makes the files, with the same V.
if ITERATION:
    AGENT = configuration.agent_files(CONFIG.rollouts.agent)
    AGENT_DIGEST, AGENT_MODULES = "", VAE_MODULES
else:
    AGENT, AGENT_DIGEST, AGENT_MODULES = configuration.find_agent(
        workflow, CONFIG.rollouts.agent
    )
