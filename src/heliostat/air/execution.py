"""Resources that are asked for first and used when they are there; Ray's `ray.air.execution`.

A request is some bundles. A manager says when it can be met, and what runs on it then.
"""

from __future__ import annotations

import abc
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import heliostat as ray
from heliostat.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from heliostat.util.scheduling_strategies import PlacementGroupSchedulingStrategy

__all__ = [
    "AcquiredResources",
    "FixedResourceManager",
    "PlacementGroupResourceManager",
    "ResourceManager",
    "ResourceRequest",
]

Bundle = dict[str, float]


class ResourceRequest:
    """Bundles that are needed at once; the first is the head's.

    Args:
        bundles: The resources of each; the head's may be empty.
        strategy: Where they may be, as for `placement_group`.
        args, kwargs: More arguments of `placement_group`.

    Raises:
        ValueError: If nothing is asked for.

    Example:
        >>> from heliostat.air import ResourceRequest
        >>> ResourceRequest([{"CPU": 1}, {"CPU": 2}]).required_resources
        {'CPU': 3.0}
    """

    def __init__(
        self,
        bundles: Sequence[Mapping[str, float]],
        strategy: str = "PACK",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        shapes = [{k: float(v) for k, v in bundle.items() if v != 0} for bundle in bundles]
        self.head_bundle_is_empty = bool(shapes) and not shapes[0]
        self.strategy = strategy
        self._bundles = shapes[1:] if self.head_bundle_is_empty else shapes
        if not all(self._bundles) or not self._bundles:
            raise ValueError(
                f"a ResourceRequest needs resources in every bundle but the first, got {bundles!r}"
            )
        self._more = (args, kwargs)

    @property
    def bundles(self) -> list[Bundle]:
        """The bundles that are not empty."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def head_cpus(self) -> float:
        """CPUs of the head's bundle."""
        return 0.0 if self.head_bundle_is_empty else self._bundles[0].get("CPU", 0.0)

    @property
    def required_resources(self) -> Bundle:
        """All bundles together."""
        total: Counter[str] = Counter()
        for bundle in self._bundles:
            total.update(bundle)
        return dict(total)

    def to_placement_group(self) -> PlacementGroup:
        """Set the resources aside."""
        args, kwargs = self._more
        return placement_group(self.bundles, self.strategy, *args, **kwargs)

    def _key(self) -> tuple[Any, ...]:
        shapes = tuple(tuple(sorted(bundle.items())) for bundle in self._bundles)
        return shapes, self.head_bundle_is_empty, self.strategy, repr(self._more)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceRequest) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"ResourceRequest({self._bundles!r}, strategy={self.strategy!r})"


class AcquiredResources(abc.ABC):
    """What a request has become: remote functions and actor classes are made to run on it.

    Args:
        resource_request: The request.
    """

    def __init__(self, resource_request: ResourceRequest) -> None:
        self.resource_request = resource_request

    def annotate_remote_entities(self, entities: Sequence[Any]) -> list[Any]:
        """The same remote functions and classes, each on a bundle of its own.

        Args:
            entities: As many as there are bundles, or fewer; the first is the head.

        Raises:
            RuntimeError: If there are more.
        """
        request = self.resource_request
        places = [*([None] if request.head_bundle_is_empty else []), *range(len(request.bundles))]
        if len(entities) > len(places):
            raise RuntimeError(
                f"{len(entities)} remote functions or classes for {len(places)} bundles of "
                f"{request}; ask for a bundle more"
            )
        return [
            self._on(entity, {} if place is None else request.bundles[place], place)
            for entity, place in zip(entities, places, strict=False)
        ]

    @abc.abstractmethod
    def _on(self, entity: Any, bundle: Bundle, place: int | None) -> Any: ...


def _options(bundle: Bundle) -> dict[str, Any]:
    rest = {key: amount for key, amount in bundle.items() if key not in ("CPU", "GPU", "memory")}
    memory = {"memory": int(bundle["memory"])} if "memory" in bundle else {}
    cpus, gpus = bundle.get("CPU", 0.0), bundle.get("GPU", 0.0)
    return {"num_cpus": cpus, "num_gpus": gpus, "resources": rest, **memory}


class _Counted(AcquiredResources):
    def _on(self, entity: Any, bundle: Bundle, place: int | None) -> Any:
        return entity.options(**_options(bundle))


class _Grouped(AcquiredResources):
    def __init__(self, resource_request: ResourceRequest, group: PlacementGroup) -> None:
        super().__init__(resource_request)
        self.placement_group = group

    def _on(self, entity: Any, bundle: Bundle, place: int | None) -> Any:
        strategy = PlacementGroupSchedulingStrategy(
            self.placement_group, -1 if place is None else place, True
        )
        return entity.options(scheduling_strategy=strategy, **_options(bundle))


class ResourceManager(abc.ABC):
    """Who is asked for resources, and gives them when they are there."""

    @abc.abstractmethod
    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Ask; a request may be made several times."""

    @abc.abstractmethod
    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Ask for one less."""

    @abc.abstractmethod
    def has_resources_ready(self, resource_request: ResourceRequest) -> bool:
        """Whether one can be acquired now."""

    @abc.abstractmethod
    def acquire_resources(self, resource_request: ResourceRequest) -> AcquiredResources | None:
        """Take one; None if it is not there yet."""

    @abc.abstractmethod
    def free_resources(self, acquired_resource: AcquiredResources) -> None:
        """Give one back."""

    def get_resource_futures(self) -> list[ray.ObjectRef[Any]]:
        """References that are there when a request can be met: something to wait for."""
        return []

    def update_state(self) -> None:  # noqa: B027 - who counts has nothing to look at
        """Look what has come; `has_resources_ready` does so as well."""

    @abc.abstractmethod
    def clear(self) -> None:
        """Forget all requests, and give all back that is not acquired."""


class FixedResourceManager(ResourceManager):
    """Counts: what is acquired together is never more than a total.

    Args:
        total_resources: The total; all of the session if left out.

    Example:
        >>> from heliostat.air.execution import FixedResourceManager, ResourceRequest
        >>> manager, one = FixedResourceManager({"CPU": 1}), ResourceRequest([{"CPU": 1}])
        >>> manager.request_resources(one)
        >>> manager.has_resources_ready(one), manager.acquire_resources(one) is not None
        (True, True)
    """

    def __init__(self, total_resources: Mapping[str, float] | None = None) -> None:
        self._total = dict(ray.cluster_resources() if total_resources is None else total_resources)
        self._asked: Counter[ResourceRequest] = Counter()
        self._used: list[AcquiredResources] = []

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Ask.

        Raises:
            RuntimeError: For a placement that counting alone cannot keep.
        """
        if resource_request.strategy == "STRICT_SPREAD":
            raise RuntimeError(
                f"{resource_request} cannot be met by counting; use PlacementGroupResourceManager"
            )
        self._asked[resource_request] += 1

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Ask for one less."""
        self._asked[resource_request] = max(0, self._asked[resource_request] - 1)

    def has_resources_ready(self, resource_request: ResourceRequest) -> bool:
        """Whether it was asked for, and fits."""
        free = dict(self._total)
        for one in self._used:
            for name, amount in one.resource_request.required_resources.items():
                free[name] = free.get(name, 0.0) - amount
        wanted = resource_request.required_resources
        fits = all(free.get(name, 0.0) + 1e-9 >= amount for name, amount in wanted.items())
        return self._asked[resource_request] > 0 and fits

    def acquire_resources(self, resource_request: ResourceRequest) -> AcquiredResources | None:
        """Take one; None if it is not there."""
        if not self.has_resources_ready(resource_request):
            return None
        self._asked[resource_request] -= 1
        taken = _Counted(resource_request)
        self._used.append(taken)
        return taken

    def free_resources(self, acquired_resource: AcquiredResources) -> None:
        """Give one back."""
        self._used.remove(acquired_resource)

    def clear(self) -> None:
        """Forget all requests, and all that was acquired."""
        self._asked.clear()
        self._used.clear()


class PlacementGroupResourceManager(ResourceManager):
    """Sets resources aside in placement groups, which nobody else can use meanwhile.

    Args:
        update_interval_s: Means nothing: asking whether a group is there takes microseconds.
    """

    def __init__(self, update_interval_s: float = 0.1) -> None:
        del update_interval_s
        self._groups: dict[ResourceRequest, deque[tuple[PlacementGroup, Any]]] = {}

    def request_resources(self, resource_request: ResourceRequest) -> None:
        """Ask: a placement group is made."""
        group = resource_request.to_placement_group()
        self._groups.setdefault(resource_request, deque()).append((group, group.ready()))

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        """Remove one of its groups, the newest.

        Raises:
            RuntimeError: If there is none.
        """
        waiting = self._groups.get(resource_request)
        if not waiting:
            raise RuntimeError(f"{resource_request} was not asked for, or is acquired already")
        remove_placement_group(waiting.pop()[0])

    def has_resources_ready(self, resource_request: ResourceRequest) -> bool:
        """Whether a group of it is there."""
        return bool(self._ready(resource_request))

    def acquire_resources(self, resource_request: ResourceRequest) -> AcquiredResources | None:
        """Take one; None if none is there."""
        ready = self._ready(resource_request)
        if not ready:
            return None
        self._groups[resource_request].remove(ready[0])
        return _Grouped(resource_request, ready[0][0])

    def free_resources(self, acquired_resource: AcquiredResources) -> None:
        """Remove its group; what runs in it ends."""
        if isinstance(acquired_resource, _Grouped):
            remove_placement_group(acquired_resource.placement_group)

    def get_resource_futures(self) -> list[ray.ObjectRef[Any]]:
        """References to wait for, of all groups that are not acquired."""
        return [ref for groups in self._groups.values() for _, ref in groups]

    def clear(self) -> None:
        """Remove all groups that are not acquired."""
        for groups in self._groups.values():
            for group, _ in groups:
                remove_placement_group(group)
        self._groups.clear()

    def _ready(self, request: ResourceRequest) -> list[tuple[PlacementGroup, Any]]:
        waiting = self._groups.get(request, ())
        return [one for one in waiting if ray.wait([one[1]], timeout=0)[0]]
