"""Why a request to the server is not answered."""


class Refusal(Exception):
    """A request that is refused; the text is for the one who sent it.

    Args:
        status: of HTTP.
        reason: one line.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status
        self.reason = reason
