"""The error that a user's mistake ends with."""


class UserError(Exception):
    """A mistake that the user can correct.

    Its message names the file or the key, what was expected and what was found.
    """
