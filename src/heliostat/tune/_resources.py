"""Resources of a trial in bundles, in every form in which users may give them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heliostat.train import ScalingConfig

Resources = Mapping[str, float]


def parse_resources(resources: Resources) -> dict[str, float]:
    """Resources as users write them, with the names the cluster has: `cpu` is `CPU`, `gpu` is `GPU`."""
    parsed: dict[str, float] = {}
    for name, amount in resources.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not amount >= 0:
            raise ValueError(f"resources[{name!r}] must be a number >= 0, got {amount!r}")
        if amount:
            parsed[name.upper() if name in ("cpu", "gpu") else name] = amount
    return parsed


@dataclass(frozen=True)
class PlacementGroupFactory:
    """Resources of a trial in bundles: the first for the trial itself, the rest for what it starts.

    Args:
        bundles: One dict of resources a bundle.
        strategy: "PACK", "SPREAD" or "STRICT_PACK"; one machine meets them all.

    Raises:
        ValueError: No bundles, or another strategy.

    Example:
        >>> PlacementGroupFactory([{"CPU": 1}, {"CPU": 2}]).required_resources
        {'CPU': 3}
    """

    bundles: Sequence[Resources]
    strategy: str = "PACK"

    def __post_init__(self) -> None:
        if not self.bundles:
            raise ValueError(
                "PlacementGroupFactory needs at least one bundle; [{}] asks for nothing"
            )
        if self.strategy not in ("PACK", "SPREAD", "STRICT_PACK"):
            raise ValueError(
                f'strategy must be "PACK", "SPREAD" or "STRICT_PACK" on one machine, '
                f"got {self.strategy!r}"
            )
        object.__setattr__(self, "bundles", [parse_resources(bundle) for bundle in self.bundles])

    @cached_property
    def required_resources(self) -> dict[str, float]:
        """The sum of the bundles."""
        total: dict[str, float] = {}
        for bundle in self.bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0) + amount
        return total

    @property
    def head_cpus(self) -> float:
        """The CPUs of the first bundle: those of the trial itself."""
        return self.bundles[0].get("CPU", 0)


Request = PlacementGroupFactory | Callable[[dict[str, Any]], Any]
ONE_CPU = PlacementGroupFactory([{"CPU": 1}])


def as_request(resources: Any) -> PlacementGroupFactory:
    """Resources in any form users may give them, as bundles."""
    if isinstance(resources, PlacementGroupFactory):
        return resources
    if isinstance(resources, ScalingConfig):  # the trial's own, then its workers'
        if resources.is_open:
            raise ValueError(
                f"with_resources() needs numbers, got {resources}; a function of the config may say "
                "what each trial needs: lambda config: {'cpu': config['cpus']}"
            )
        for name in ("accelerator_type", "label_selector"):
            if value := getattr(resources, name):
                raise ValueError(
                    f"ScalingConfig({name}={value!r}) places what a trial starts, which says so by "
                    f"itself: .options({name}=...) of its actors, or a trainer with this "
                    "ScalingConfig; leave it out here"
                )
        return PlacementGroupFactory([{}, resources.total_resources])
    if isinstance(resources, Mapping):
        return PlacementGroupFactory([resources])
    raise TypeError(
        f'resources must be a dict such as {{"cpu": 1, "gpu": 0.5}} or a PlacementGroupFactory, '
        f"got {resources!r}"
    )
