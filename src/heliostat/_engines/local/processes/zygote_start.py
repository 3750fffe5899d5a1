"""The first lines of a zygote. Run as a program, by an interpreter that may not find Heliostat yet.

Its arguments are made here too, by the driver. It imports nothing but the standard library until
it knows where the driver imports from.
"""

import os
import sys


def arguments(control: int, segment: int, *, own_packages: bool) -> list[str]:
    """The command line that follows the interpreter.

    Args:
        control: The descriptor of the socket to the driver.
        segment: The descriptor of the shared memory.
        own_packages: Whether what is installed for the interpreter comes before the driver's.
    """
    entries = [entry for entry in sys.path if "\n" not in entry]
    stdlib = os.path.dirname(os.__file__)
    first = next((i for i, entry in enumerate(entries) if _is_standard(entry, stdlib)), 0)
    back = [entry for entry in entries[first:] if not _is_standard(entry, stdlib)]
    return [
        os.path.abspath(__file__),
        str(control),
        str(segment),
        "own" if own_packages else "driver",
        "{}.{}".format(*sys.version_info),
        "\n".join(entries),
        "\n".join(entries[:first]),
        "\n".join(back),
    ]


def _is_standard(entry: str, stdlib: str) -> bool:
    inside = (stdlib, os.path.join(stdlib, "lib-dynload"))
    return entry in inside or entry.endswith("python{}{}.zip".format(*sys.version_info))


def main() -> None:
    """Be the zygote."""
    control, segment, packages, version, entries, front, back, *state = sys.argv[1:]
    if "{}.{}".format(*sys.version_info) != version:
        sys.exit(
            f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}, and the "
            f"driver runs Python {version}; functions cannot travel between them"
        )
    if os.readlink("/proc/self/cwd").endswith(" (deleted)"):  # MKL ends a process that is nowhere
        os.chdir("/")
        sys.stderr.write("heliostat: this program's folder was removed; its workers run in /\n")
    here = os.path.dirname(os.path.abspath(__file__))
    own = [entry for entry in sys.path if entry not in ("", here)]
    # Heliostat, and what it needs, are the driver's in any case.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    sys.path[:] = [root, *own, *back.split("\n")] if packages == "own" else entries.split("\n")
    from heliostat._engines.local.processes import zygote  # noqa: PLC0415 - not before the path is right

    if packages == "own":
        ahead = front.split("\n") if front else []
        sys.path[:] = [*ahead, *own, *(e for e in back.split("\n") if e and e not in own)]
    sys.argv[:] = [""]  # as with `python -c`, which programs may expect of a worker
    del sys.modules["__main__"].__file__
    zygote.main(int(control), int(segment), state[0] if state else "")


if __name__ == "__main__":
    main()
