"""Text to expression: `filter(expr="a > 0 and b in [1, 2]")`. Parsed by Python's grammar, never run."""

import ast
from typing import Any

import pyarrow.compute as pc

from heliostat.data._expr import Call, Column, Expr, Literal

COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "modulo",
    ast.BitAnd: "and_kleene",
    ast.BitOr: "or_kleene",
}


def parse(text: str) -> Expr:
    """The expression that a text says.

    Args:
        text: Names of columns, constants, `and or not in`, comparisons, arithmetic, and Arrow's
            functions of one or more values, such as `is_null(a)`.

    Returns:
        An expression.

    Raises:
        ValueError: if it says anything else; names the part.

    Example:
        >>> parse("a > 0 and not b in [1, 2]")
        ((col('a') > 0) & ~is_in(col('b'), values=(1, 2)))
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"cannot read the expression {text!r}: {error.msg}") from error
    return _of(tree.body, text)


def _of(node: ast.expr, text: str) -> Expr:
    match node:
        case ast.BoolOp():
            return _boolean(node, text)
        case ast.UnaryOp():
            return _unary(node, text)
        case ast.BinOp(left, op, right) if type(op) in BINARY:
            return Call(BINARY[type(op)], (_of(left, text), _of(right, text)))
        case ast.Compare(left, ops, comparators):
            return _compare([left, *comparators], ops, text)
        case ast.Name(name):
            return Column(name)
        case ast.Constant(value):
            return Literal(value)
        case ast.Attribute(value, attr):
            return Call("struct_field", (_of(value, text),), (("indices", attr),))
        case ast.Call(ast.Name(name), args, []) if callable(getattr(pc, name, None)):
            return Call(name, tuple(_of(one, text) for one in args))
    raise _unknown(node, text)


def _unary(node: ast.UnaryOp, text: str) -> Expr:
    match node.op, node.operand:
        case ((ast.Not() | ast.Invert()), operand):
            return ~_of(operand, text)
        case ast.USub(), ast.Constant(int() | float() as value):
            return Literal(-value)
        case ast.USub(), operand:
            return -_of(operand, text)
    raise _unknown(node, text)


def _boolean(node: ast.BoolOp, text: str) -> Expr:
    first, *others = [_of(one, text) for one in node.values]
    for other in others:
        first = first & other if isinstance(node.op, ast.And) else first | other
    return first


def _compare(values: list[ast.expr], ops: list[ast.cmpop], text: str) -> Expr:
    whole: Expr | None = None
    for left, op, right in zip(values, ops, values[1:], strict=False):
        value = _of(left, text)
        if isinstance(op, ast.In | ast.NotIn):
            part = value.is_in(_constants(right, text))
            part = ~part if isinstance(op, ast.NotIn) else part
        elif type(op) in COMPARE:
            part = Call(COMPARE[type(op)], (value, _of(right, text)))
        else:
            raise ValueError(
                f"cannot read {ast.unparse(right)!r} in the expression {text!r}: `is` compares "
                "objects; write is_null(a), or =="
            )
        whole = part if whole is None else whole & part
    assert whole is not None
    return whole


def _constants(node: ast.expr, text: str) -> list[Any]:
    try:
        values = ast.literal_eval(node)
        if not isinstance(values, str | bytes):
            return list(values)
    except (ValueError, TypeError) as error:
        raise _unknown(node, text) from error
    raise _unknown(node, text)


def _unknown(node: ast.expr, text: str) -> ValueError:
    return ValueError(
        f"cannot read {ast.unparse(node)!r} in the expression {text!r}; it takes columns, "
        "constants, `and or not in`, comparisons, arithmetic and functions of Arrow's"
    )
