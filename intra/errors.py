"""The one exception that commands report without a traceback."""


class IntraError(Exception):
    """A mistake of the user or the environment, told in one line."""

    def _render_traceback_(self) -> list[str]:
        """What notebooks show instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]
