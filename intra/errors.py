"""The one exception that commands report without a traceback."""


class IntraError(Exception):
    """A mistake of the user or the environment, told in one line."""
