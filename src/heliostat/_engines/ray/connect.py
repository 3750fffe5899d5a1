"""How a driver joins a cluster, or starts one; and how the cluster's workers come to have Heliostat."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from heliostat import _alias
from heliostat._core.options import UNIT, InitOptions
from heliostat._engines.ray import environment, kept, theirs
from heliostat._engines.ray.address import Address, expect_somebody, parse
from heliostat._engines.ray.groups import most_nodes
from heliostat._engines.ray.host import Home
from heliostat._gpus import VISIBLE, gpu_count
from heliostat._version import __version__
from heliostat.exceptions import RaySystemError, RuntimeEnvSetupError

_SIZES = (
    "num_cpus", "num_gpus", "resources", "object_store_memory", "object_spilling_directory", "labels",
)  # fmt: skip
_PATIENCE_S = 60.0  # for the first worker to start
# What workers get that lack Heliostat; both are pure Python.
_SHIPPED = ("heliostat", "cloudpickle")


class Joined(NamedTuple):
    """A session that has begun."""

    home: Home
    address: str
    leave: Callable[[], None]  # ends it, unless Ray was there before


def join(options: InitOptions) -> Joined:
    """Begin a session as the options say."""
    address = parse(options.address)
    most_nodes()  # or why it is none, before anything has begun
    if address.kind != "local":
        _leave_sizes_to(options)
    ray = theirs.ray()
    home = Home(_alias.installed(), options.logging, ())
    if ray.is_initialized():  # by the program itself: it is not ours to end
        return Joined(home, str(address), stay)
    _expect_ray(address)
    arguments = _arguments(options, address)
    leave = functools.partial(_leave, ray)
    try:
        _begin(ray, address, arguments)
        if _lacking(ray, {}):
            home = home._replace(modules=_SHIPPED)
            brought = environment.of_a_task(environment.shipping({}, _SHIPPED), ())
            if lacks := _lacking(ray, brought):
                raise RuntimeEnvSetupError(
                    f"the workers of the Ray cluster at {address} cannot run Heliostat {__version__}: "
                    f"{lacks}. Install it on every node, or into the image they run: "
                    f"pip install heliostat=={__version__}"
                )
            ray.shutdown()
            env = environment.shipping(arguments.get("runtime_env") or {}, _SHIPPED)
            _begin(ray, address, {**arguments, "runtime_env": env})
    except BaseException:
        leave()
        raise
    return Joined(home, str(address), leave)


def stay() -> None:
    """Do not end a session that others have begun."""


def _leave(ray: Any) -> None:
    """End the session, and take along what it has put into the cluster."""
    if ray.is_initialized():
        kept.take_away()
        ray.shutdown()


def _leave_sizes_to(options: InitOptions) -> None:
    """A cluster has its own sizes: refuse others, or say that they are not used.

    A program that runs on one machine says how much of it to use; it is not changed when
    HELIOSTAT_ADDRESS sends it to a cluster.
    """
    plain = InitOptions()
    given = [name for name in _SIZES if getattr(options, name) != getattr(plain, name)]
    if not given:
        return
    what = f"{', '.join(given)}: the cluster at {options.address} has its own"
    if options.address != os.environ.get("HELIOSTAT_ADDRESS"):
        raise ValueError(f"init(address={options.address!r}) with {what}; leave it out")
    print(f"heliostat: not used: {what} (HELIOSTAT_ADDRESS)", file=sys.stderr)  # noqa: T201


def _arguments(options: InitOptions, address: Address) -> dict[str, Any]:
    """What `ray.init` is told."""
    arguments: dict[str, Any] = {
        "namespace": options.namespace or None,
        "log_to_driver": options.log_to_driver,
        "logging_level": "ERROR",
        "configure_logging": False,
    }
    if options.runtime_env is not None:
        arguments["runtime_env"] = environment.of_the_session(options.runtime_env)
    if address.kind == "local":
        cpus, gpus = options.num_cpus, options.num_gpus
        sizes = {
            "num_cpus": len(os.sched_getaffinity(0)) if cpus is None else cpus,
            "num_gpus": gpu_count(os.environ.get(VISIBLE)) if gpus is None else gpus,
            "resources": {name: units / UNIT for name, units in options.resources},
            "object_store_memory": options.object_store_memory,
            "object_spilling_directory": options.object_spilling_directory or None,
            "labels": dict(options.labels),
        }
        arguments |= {name: value for name, value in sizes.items() if value not in (None, {})}
        arguments["include_dashboard"] = False
    return arguments


def _expect_ray(address: Address) -> None:
    """Fail at once where no Ray answers: Ray itself would wait for half a minute and more."""
    place = address
    if address.kind == "auto":
        find = theirs.module("_private.services").get_ray_address_from_environment
        try:
            place = parse(find("auto", None))
        except ConnectionError:
            raise ConnectionError(
                'address="auto" finds no Ray cluster on this machine: start one with `ray start '
                '--head`, or say where it is: address="ray://host:10001"'
            ) from None
    said = f'address="auto" is {place} here' if place is not address else f"address={str(place)!r}"
    expect_somebody(place, said)


def _begin(ray: Any, address: Address, arguments: dict[str, Any]) -> None:
    try:
        ray.init(address=str(address), **arguments)
    except RuntimeError as error:
        if "ersion" not in str(error):
            raise
        own = f"Ray {ray.__version__} and Python {sys.version.split()[0]}"
        there = re.search(r"Ray: (\S+)\s+Python: (\S+)", str(error))
        version, python = there.groups() if there else ("<the cluster's>", "<the cluster's>")
        raise ImportError(
            f"the cluster at {address} does not fit {own}, which run here: {error}. Install what it "
            f"has: pip install ray=={version} in Python {python}"
        ) from None


def _lacking(ray: Any, env: dict[str, Any]) -> str:
    """Why a worker in that environment cannot run us, in words; empty if it can."""

    def look() -> tuple[str, str]:
        try:
            import heliostat._core.codec  # noqa: PLC0415 - runs elsewhere
        except ImportError as error:
            return "", str(error)
        return heliostat.__version__, ""

    look.__module__ = "__main__"  # it travels by value, since workers may lack us
    remote = ray.remote(num_cpus=0, name="heliostat: look for heliostat", runtime_env=env)(look)
    try:
        version, error = ray.get(remote.remote(), timeout=_PATIENCE_S)
    except ray.exceptions.GetTimeoutError:
        raise RaySystemError(
            f"the cluster has started no worker within {_PATIENCE_S:g} s: look at `ray status`, "
            "and whether its nodes have memory and CPUs left"
        ) from None
    except ray.exceptions.RuntimeEnvSetupError as failed:
        raise RuntimeEnvSetupError(f"the runtime_env could not be made: {failed}") from None
    if error:
        return f"they lack it ({error})"
    return "" if version == __version__ else f"they have version {version} of it"
