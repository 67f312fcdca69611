"""The error that a user's mistake ends with."""


class UserError(Exception):
    """A mistake the user can mend: its message names the file or key, what was expected, what was found."""
