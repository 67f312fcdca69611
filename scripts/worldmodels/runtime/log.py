"""The logger of all messages. What shows them is set up in program.py."""

import logging

log = logging.getLogger("worldmodels")
