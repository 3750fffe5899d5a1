"""ZOOptSearch: refused with what to use instead; its library cannot be had here."""

from typing import Any

from heliostat.tune.search.searcher import Searcher


class ZOOptSearch(Searcher):
    """Not offered: making one says why, and what to use instead.

    Args:
        args: Taken, to be refused with the reason.
        kwargs: Taken, to be refused with the reason.

    Raises:
        NotImplementedError: Always.

    Example:
        >>> ZOOptSearch()
        Traceback (most recent call last):
        NotImplementedError: ZOOptSearch is not offered: ZOOpt has had no release since 2022; use OptunaSearch or NevergradSearch
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "ZOOptSearch is not offered: ZOOpt has had no release since 2022; use OptunaSearch or NevergradSearch"
        )
