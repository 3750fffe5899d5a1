"""What operators do, by Ray's names for it, beside the names that kernels have here."""

from enum import Enum

__all__ = ["KERNELS", "Operation"]


class Operation(Enum):
    """What a `BinaryExpr` or `UnaryExpr` does with its operands."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MOD = "mod"
    FLOORDIV = "floordiv"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    EQ = "eq"
    NE = "ne"
    AND = "and"
    OR = "or"
    NOT = "not"
    IS_NULL = "is_null"
    IS_NOT_NULL = "is_not_null"
    IN = "in"
    NOT_IN = "not_in"


_O = Operation
KERNELS = {
    "add": _O.ADD, "subtract": _O.SUB, "multiply": _O.MUL, "divide": _O.DIV, "modulo": _O.MOD,
    "floor_divide": _O.FLOORDIV, "greater": _O.GT, "less": _O.LT, "greater_equal": _O.GE,
    "less_equal": _O.LE, "equal": _O.EQ, "not_equal": _O.NE, "and_kleene": _O.AND,
    "or_kleene": _O.OR, "invert": _O.NOT, "is_null": _O.IS_NULL, "is_valid": _O.IS_NOT_NULL,
    "is_in": _O.IN,
}  # fmt: skip
