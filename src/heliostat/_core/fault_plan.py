"""What a test says is to go wrong in workers, in the words of `heliostat._faults`.

`ACTION:PLACE` and then how often: a probability, or `#3` for the third time in each process.
"""

from __future__ import annotations

from collections.abc import Sequence

ACTIONS = {
    "kill": "SIGKILL",
    "segv": "SIGSEGV",
    "stop": "SIGSTOP",
    "exit": "exit=1",
    "raise": "raise",
    "delay": "delay=0.05",
}
PLACES = {
    "task": "worker.task",
    "call": "worker.call",
    "code": "worker.code",
    "result": "worker.result",
    "write": "store.write",
}


def parse(faults: Sequence[str], seed: int) -> str:
    """The line that arms workers.

    Args:
        faults: Each is an action, a place, and how often: a probability, or `#N`.
        seed: For the probabilities.

    Raises:
        TypeError: If it is a text and no list of texts, or the seed is no whole number.
        ValueError: If one cannot be read.

    Example:
        >>> parse(["kill:task:0.1", "raise:call:#3"], 7)
        'worker.task:SIGKILL:p=0.1:seed=7,worker.call:raise:nth=3'
    """
    if isinstance(faults, str) or not all(isinstance(fault, str) for fault in faults):
        raise TypeError(f'faults= is a list such as ["kill:task:0.1"], got {faults!r}')
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"fault_seed= must be a whole number, got {seed!r}")
    return ",".join(_one(fault, seed) for fault in faults)


def _one(fault: str, seed: int) -> str:
    parts = fault.split(":")
    if len(parts) != 3:
        raise ValueError(f"faults: {fault!r} is not ACTION:PLACE:HOW_OFTEN, as kill:task:0.1 is")
    action, place, often = parts
    name, _, seconds = action.partition("=")
    if name not in ACTIONS or (seconds and name != "delay"):
        raise ValueError(
            f"faults: {action!r} in {fault!r} is none of {', '.join(ACTIONS)} and delay=SECONDS"
        )
    if place not in PLACES:
        raise ValueError(f"faults: {place!r} in {fault!r} is none of {', '.join(PLACES)}")
    does = f"delay={_number(seconds, fault)}" if seconds else ACTIONS[name]
    if place == "code" and does.startswith("SIG"):
        does += "=soon"  # while the code runs
    return f"{PLACES[place]}:{does}:{_often(often, fault, seed)}"


def _often(text: str, fault: str, seed: int) -> str:
    if text.startswith("#"):
        if not text[1:].isdigit() or int(text[1:]) < 1:
            raise ValueError(f"faults: {text!r} in {fault!r} is no number from #1 on")
        return f"nth={int(text[1:])}"
    share = _number(text, fault)
    if not 0 < share <= 1:
        raise ValueError(f"faults: {text} in {fault!r} is not above 0 and at most 1")
    return f"p={share:g}:seed={seed}"


def _number(text: str, fault: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"faults: {text!r} in {fault!r} is no number") from None
