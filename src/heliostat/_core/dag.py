"""Graphs of calls: made with `.bind(...)`, run with `.execute(...)`. Ray's `ray.dag`.

A node knows what it needs and how it is called; an execution computes each node once. Knows the
engine only through `.remote(...)` of what nodes hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from heliostat._core.actors import ActorClass, ActorMethod
    from heliostat._core.remote import RemoteFunction

Values = Mapping[int, Any]  # what came of the nodes below, by the identity of the node


class DAGNode:
    """A step of a graph: what to call, with which arguments. Nodes among them are executed first.

    Nodes are found among the arguments, and in lists, tuples, sets and dicts inside of them.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def add(a, b): return a + b
        >>> three = add.bind(1, 2)
        >>> isinstance(three, ray.dag.DAGNode)
        True
        >>> ray.get(add.bind(three, three).execute())
        6
    """

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._args = tuple(args)
        self._kwargs = dict(kwargs)

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph up to this node: every node below it once, then this one.

        Args:
            args, kwargs: What the graph's InputNode stands for.

        Returns:
            What the node's `.remote(...)` returns: a reference, or references, or the handle of an
            actor; a list of them for a MultiOutputNode. A second execute runs everything anew.

        Raises:
            TypeError: If arguments do not fit what is called.
            IndexError, KeyError: If the graph reads an input that was not given.
        """
        given = args[0] if len(args) == 1 and not kwargs else DAGInputData(*args, **kwargs)
        values: dict[int, Any] = {}
        for node in _in_order(self):
            values[id(node)] = node._run(values, given)
        return values[id(self)]

    def experimental_compile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not offered.

        Raises:
            NotImplementedError: Always; calls here are fast without it.
        """
        raise NotImplementedError(
            "compiled graphs are not offered; call .execute(...) on the graph, and "
            "heliostat.get what it returns"
        )

    def get_args(self) -> tuple[Any, ...]:
        """The positional arguments that were bound."""
        return self._args

    def get_kwargs(self) -> dict[str, Any]:
        """The named arguments that were bound."""
        return dict(self._kwargs)

    def _needs(self) -> Iterator[DAGNode]:
        """The nodes that have to be executed before this one."""
        return _nodes_in((self._args, self._kwargs))

    def _run(self, values: Values, given: Any) -> Any:
        """Call it, now that all below have been."""
        args, kwargs = _filled((self._args, self._kwargs), values)
        return self._remote(values)(*args, **kwargs)

    def _remote(self, values: Values) -> Callable[..., Any]:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        kind = type(self).__name__
        if name == "bind":
            raise AttributeError(f".bind() cannot be used again on a {kind}")
        if name == "remote":
            raise AttributeError(
                f".remote() cannot be used on a {kind}; run the graph up to it with .execute()"
            )
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")


class FunctionNode(DAGNode):
    """A call of a remote function; made by `function.bind(...)`."""

    def __init__(
        self, function: RemoteFunction[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(args, kwargs)
        self._function = function

    def _remote(self, values: Values) -> Callable[..., Any]:
        return self._function.remote

    def __repr__(self) -> str:
        return f"FunctionNode({self._function._code.name})"


class ClassNode(DAGNode):
    """An actor that every execution starts anew; made by `Class.bind(...)`.

    Its methods have a `bind` of their own. Those that were bound before run before, in the order
    in which they were bound.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class Counter:
        ...     def __init__(self, start): self.n = start
        ...     def add(self, by): self.n += by; return self.n
        >>> counter = Counter.bind(10)
        >>> first, second = counter.add.bind(1), counter.add.bind(5)
        >>> ray.get(second.execute())
        16
    """

    def __init__(
        self, class_: ActorClass[Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(args, kwargs)
        self._class = class_
        self._last: ClassMethodNode | None = None
        if any(isinstance(node, (InputNode, InputAttributeNode)) for node in _in_order(self)):
            raise ValueError(
                f"{class_.__name__}.bind() was given an InputNode: the actor has to be made before "
                "the input is known; give the input to one of its methods"
            )

    def _remote(self, values: Values) -> Callable[..., Any]:
        return self._class.remote

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("bind", "remote"):
            return super().__getattr__(name)
        if not callable(getattr(self._class._class, name, None)):
            raise AttributeError(f"class {self._class.__name__} has no method {name!r}")
        return _Unbound(self, name, {})

    def __repr__(self) -> str:
        return f"ClassNode({self._class.__qualname__})"


class _Unbound:
    """A method of a ClassNode, before its arguments are bound."""

    def __init__(self, actor: ClassNode, name: str, options: dict[str, Any]) -> None:
        self._actor = actor
        self._name = name
        self._options = options

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        actor = self._actor
        node = ClassMethodNode(_Later(actor, self._name, self._options, actor._last), args, kwargs)
        actor._last = node
        return node

    def options(self, **options: Any) -> _Unbound:
        return _Unbound(self._actor, self._name, {**self._options, **options})

    def __getattr__(self, name: str) -> NoReturn:
        advice = "; use .bind() instead" if name == "remote" else ""
        raise AttributeError(f"a method of a ClassNode has no {name!r}{advice}")


class _Later:
    """A method of an actor that an execution will make."""

    def __init__(
        self, actor: ClassNode, name: str, options: dict[str, Any], before: ClassMethodNode | None
    ) -> None:
        self.actor = actor
        self.name = name
        self.options = options
        self.before = before


class ClassMethodNode(DAGNode):
    """A call of an actor's method; made by `.bind(...)` of a method."""

    def __init__(
        self, method: _Later | ActorMethod, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(args, kwargs)
        self._method = method

    def _needs(self) -> Iterator[DAGNode]:
        method = self._method
        if isinstance(method, _Later):
            yield method.actor
            if method.before is not None:
                yield method.before
        yield from super()._needs()

    def _remote(self, values: Values) -> Callable[..., Any]:
        method = self._method
        if isinstance(method, _Later):
            method = getattr(values[id(method.actor)], method.name).options(**method.options)
        remote: Callable[..., Any] = method.remote
        return remote

    def __repr__(self) -> str:
        name = self._method.name if isinstance(self._method, _Later) else self._method._name
        return f"ClassMethodNode({name})"


class InputNode(DAGNode):
    """What `execute` is given, wherever it stands in the graph.

    `node[0]`, `node["key"]` and `node.name` stand for parts of it: for the positional and named
    arguments of `execute`, or, if that has just one, for items and attributes of that.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def add(a, b): return a + b
        >>> with ray.dag.InputNode() as given:
        ...     graph = add.bind(given[0], given.by)
        >>> ray.get(graph.execute(1, by=2))
        3
    """

    def __init__(self) -> None:
        super().__init__((), {})

    def __enter__(self) -> InputNode:
        return self

    def __exit__(self, *error: object) -> None:
        """The graph is built; nothing is to be ended."""

    def __getitem__(self, key: int | str) -> InputAttributeNode:
        if not isinstance(key, (int, str)):
            raise TypeError(f"an input is picked by an int or a str, got {key!r}")
        return InputAttributeNode(self, key, is_attribute=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("bind", "remote"):
            return super().__getattr__(name)
        return InputAttributeNode(self, name, is_attribute=True)

    def _run(self, values: Values, given: Any) -> Any:
        return given

    def __repr__(self) -> str:
        return "InputNode()"


class InputAttributeNode(DAGNode):
    """A part of what `execute` is given; made by looking it up in an InputNode."""

    def __init__(self, whole: InputNode, key: int | str, *, is_attribute: bool) -> None:
        super().__init__((whole,), {})
        self._key = key
        self._is_attribute = is_attribute

    @property
    def key(self) -> int | str:
        """Which part: a position or a name."""
        return self._key

    def _run(self, values: Values, given: Any) -> Any:
        try:
            if self._is_attribute and not isinstance(given, DAGInputData):
                return getattr(given, str(self._key))
            return given[self._key]
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise type(error)(
                f"the graph reads input {self._key!r}, which execute() was not given: {error}"
            ) from error

    def __repr__(self) -> str:
        return f"InputAttributeNode({self._key!r})"


class DAGInputData:
    """Several arguments of one `execute`: positional ones by number, others by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = args
        self._kwargs = kwargs

    def __getitem__(self, key: int | str) -> Any:
        return self._args[key] if isinstance(key, int) else self._kwargs[key]

    def __repr__(self) -> str:
        return f"DAGInputData({self._args!r}, {self._kwargs!r})"


class MultiOutputNode(DAGNode):
    """Several ends of one graph; executing it gives the list of what each of them gives.

    Raises:
        ValueError: For anything but a list or tuple of nodes.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def double(x): return 2 * x
        >>> with ray.dag.InputNode() as x:
        ...     graph = ray.dag.MultiOutputNode([double.bind(x), double.bind(double.bind(x))])
        >>> ray.get(graph.execute(1))
        [2, 4]
    """

    def __init__(self, args: Sequence[Any]) -> None:
        if not isinstance(args, (list, tuple)):
            raise ValueError(f"MultiOutputNode takes a list of nodes, got {args!r}")
        super().__init__(args, {})

    def _run(self, values: Values, given: Any) -> Any:
        return list(_filled(self._args, values))

    def __repr__(self) -> str:
        return f"MultiOutputNode({len(self._args)} ends)"


def _in_order(root: DAGNode) -> list[DAGNode]:
    """All nodes that an execution needs, each once and behind those that it needs itself."""
    order: list[DAGNode] = []
    seen: set[int] = set()
    stack: list[tuple[DAGNode, bool]] = [(root, False)]
    while stack:
        node, all_below_are_done = stack.pop()
        if all_below_are_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((below, False) for below in reversed(list(node._needs())))
    return order


def _nodes_in(value: Any) -> Iterator[DAGNode]:
    if isinstance(value, DAGNode):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _nodes_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _nodes_in(item)


def _filled(value: Any, values: Values) -> Any:
    """The value, with what came of nodes in their place; containers without nodes stay the same."""
    if isinstance(value, DAGNode):
        return values[id(value)]
    if next(_nodes_in(value), None) is None:
        return value
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    items = [_filled(item, values) for item in value]
    if hasattr(value, "_fields"):  # a named tuple takes its items one by one
        return type(value)(*items)
    return type(value)(items)
