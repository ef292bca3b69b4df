"""Quantities: 100m, 1Gi, compared and added exactly.

Enters: text, quantities, whole numbers.
Leaves: quantities, numbers.
Source: Kubernetes' CEL quantity library.
Next: api.quantities.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from edgekube.api import quantities
from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.values import INT_MAX, INT_MIN

DECLARATIONS: Final = """
string_to_quantity quantity(string) -> kubernetes.Quantity
is_quantity_string isQuantity(string) -> bool
quantity_sign sign(kubernetes.Quantity) -> int
quantity_is_greater_than kubernetes.Quantity.isGreaterThan(kubernetes.Quantity) -> bool
quantity_is_less_than kubernetes.Quantity.isLessThan(kubernetes.Quantity) -> bool
quantity_compare_to kubernetes.Quantity.compareTo(kubernetes.Quantity) -> int
quantity_get_float kubernetes.Quantity.asApproximateFloat() -> double
quantity_get_int kubernetes.Quantity.asInteger() -> int
quantity_is_integer kubernetes.Quantity.isInteger() -> bool
quantity_add kubernetes.Quantity.add(kubernetes.Quantity) -> kubernetes.Quantity
quantity_add_int kubernetes.Quantity.add(int) -> kubernetes.Quantity
quantity_sub kubernetes.Quantity.sub(kubernetes.Quantity) -> kubernetes.Quantity
quantity_sub_int kubernetes.Quantity.sub(int) -> kubernetes.Quantity
"""


class Quantity:
    __slots__ = ("amount",)
    type_name: Final = "kubernetes.Quantity"
    equality_cost_is_one: Final = True

    def __init__(self, amount: Decimal) -> None:
        self.amount: Final = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.amount == self.amount

    def __hash__(self) -> int:
        return hash(self.amount)


def _quantity(text: Any) -> Quantity:
    if type(text) is not str:
        raise no_such_overload()
    try:
        return Quantity(quantities.parse(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: Any) -> bool:
    try:
        _quantity(text)
    except EvaluationError:
        if type(text) is not str:
            raise
        return False
    return True


def _amount(value: Any, ints: bool = False) -> Decimal:
    if isinstance(value, Quantity):
        return value.amount
    if ints and type(value) is int:
        return Decimal(value)
    raise no_such_overload()


def order(left: Any, right: Any) -> int:
    a, b = _amount(left), _amount(right)
    return (a > b) - (a < b)


def _is_integer(value: Any) -> bool:
    amount = _amount(value)
    return amount == amount.to_integral_value() and INT_MIN <= amount <= INT_MAX


def _as_integer(value: Any) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return int(_amount(value))


def _sign(value: Any) -> int:
    amount = _amount(value)
    return (amount > 0) - (amount < 0)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "quantity": _quantity,
    "isQuantity": _is_quantity,
    "sign": _sign,
    "isGreaterThan": lambda left, right: order(left, right) > 0,
    "isLessThan": lambda left, right: order(left, right) < 0,
    "compareTo": order,
    "asApproximateFloat": lambda value: float(_amount(value)),
    "asInteger": _as_integer,
    "isInteger": _is_integer,
    "add": lambda left, right: Quantity(_amount(left) + _amount(right, True)),
    "sub": lambda left, right: Quantity(_amount(left) - _amount(right, True)),
}
