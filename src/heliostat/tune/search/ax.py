"""AxSearch: refused with what to use instead; its library cannot be had here."""

from typing import Any

from heliostat.tune.search.searcher import Searcher


class AxSearch(Searcher):
    """Not offered: making one says why, and what to use instead.

    Args:
        args: Taken, to be refused with the reason.
        kwargs: Taken, to be refused with the reason.

    Raises:
        NotImplementedError: Always.

    Example:
        >>> AxSearch()
        Traceback (most recent call last):
            ...
        NotImplementedError: AxSearch is not offered: nobody has tried Heliostat with Ax; use BayesOptSearch or OptunaSearch
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "AxSearch is not offered: nobody has tried Heliostat with Ax; use BayesOptSearch or OptunaSearch"
        )
