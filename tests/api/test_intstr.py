import pytest

from edgekube.api import intstr


@pytest.mark.parametrize(
    ("value", "total", "round_up", "expected"),
    [
        (3, 10, True, 3),
        ("25%", 10, True, 3),
        ("25%", 10, False, 2),
        ("0%", 10, True, 0),
        ("100%", 7, False, 7),
        ("150%", 3, True, 5),
    ],
)
def test_percentages_are_of_the_total(value: int | str, total: int, round_up: bool, expected: int) -> None:
    assert intstr.resolve(value, total, round_up) == expected


@pytest.mark.parametrize("value", ["5", "abc%", "", "%", "1.5%", True])
def test_other_text_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="invalid value for IntOrString"):
        intstr.resolve(value, 10, True)
