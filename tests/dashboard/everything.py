"""A bit of everything that the dashboard shows, under names that would run if a page let them."""

import pytest

import heliostat as ray

EVIL = "<img src=x onerror=heard.push('evil')>"
ANSI = "\x1b[31mred\x1b[0m\x1b]0;title\x07"


@ray.remote
def square(x: int) -> int:
    print(EVIL, ANSI, x)
    return x * x


@ray.remote
def fail() -> None:
    raise ValueError(EVIL)


@ray.remote(num_cpus=0)
class Counter:
    def add(self) -> int:
        return 1


def tasks_and_actors() -> list[object]:
    """What is to be kept, so that it is there when somebody looks."""
    counter = Counter.options(name=EVIL).remote()
    ray.get([square.options(name=EVIL).remote(n) for n in range(20)])
    ray.get([square.remote(n) for n in range(20)])
    with pytest.raises(ValueError, match="img"):
        ray.get(fail.remote())
    ray.get([counter.add.remote() for _ in range(3)])
    group = ray.util.placement_group([{"CPU": 0.5}], name=EVIL)
    ray.get(group.ready())
    return [counter, group, ray.put(b"x" * (1 << 20))]
