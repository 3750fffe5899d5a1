"""HEBOSearch: refused with what to use instead; its library cannot be had here."""

from typing import Any

from heliostat.tune.search.searcher import Searcher


class HEBOSearch(Searcher):
    """Not offered: making one says why, and what to use instead.

    Args:
        args: Taken, to be refused with the reason.
        kwargs: Taken, to be refused with the reason.

    Raises:
        NotImplementedError: Always.

    Example:
        >>> HEBOSearch()
        Traceback (most recent call last):
        NotImplementedError: HEBOSearch is not offered: HEBO has had no release since 2024; use BayesOptSearch or OptunaSearch
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "HEBOSearch is not offered: HEBO has had no release since 2024; use BayesOptSearch or OptunaSearch"
        )
