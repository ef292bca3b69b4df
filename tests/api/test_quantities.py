from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import quantities


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0Ki", "0"), ("-0", "0"), ("100m", "100m"), ("0.1", "100m"), ("1.5", "1500m"), ("1000m", "1"),
        ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Ki", "512"), ("100Ki", "100Ki"), ("1023Ki", "1023Ki"), ("1e3", "1e3"),
        ("100e-3", "100e-3"), ("12345", "12345"), ("1000", "1k"), ("1500k", "1500k"), ("2000000", "2M"), ("0.0000000001", "1n"),
        ("1.1n", "2n"), ("-1.1n", "-2n"), (".5", "500m"), ("5.", "5"), ("+7", "7"), ("1E", "1E"), ("1E3", "1e3"),
        ("1234567890123456789012", "9223372036854775807"), ("0.5Mi", "512Ki"), ("1.3Ki", "1331200m"), (2, "2"), (0.5, "500m"),
        ("1e999999999", "9223372036854775807"), ("-1e999999999", "-9223372036854775807"), ("1e-999999999", "1e-9"),
        ("0e999999999", "0"),
    ],
)  # fmt: skip
def test_the_api_shows_the_canonical_form(text: str | int | float, canonical: str) -> None:
    assert quantities.canonical(text) == canonical


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "Mi", ".", "1.1.1", "aoeu", "1i", "0.1mi", "1e", "1Kim", "--1", "1e99999999999", "\u0661", "1\n"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    if text == "1e":
        with pytest.raises(ValueError, match="suffix"):
            quantities.parse(text)
        return
    with pytest.raises(ValueError, match="quantit"):
        quantities.parse(text)


def test_cpu_and_memory_round_up() -> None:
    assert quantities.to_milli("0.0001") == 1
    assert quantities.to_milli("2") == 2000
    assert quantities.to_milli("250m") == 250
    assert quantities.to_bytes("1.5Gi") == 1536 * 1024 * 1024
    assert quantities.to_bytes("1m") == 1
    assert quantities.parse("100m") == Decimal("0.1")


def test_amounts_compare_across_suffixes() -> None:
    assert quantities.equal("1Gi", "1024Mi")
    assert quantities.compare("1G", "1Gi") == -1
    assert quantities.compare("1", "999m") == 1
    assert quantities.is_zero("0Mi") and not quantities.is_zero("1n")
    assert quantities.is_negative("-1m")
    assert quantities.is_whole("3") and not quantities.is_whole("1500m")


def test_sums_look_like_their_parts() -> None:
    assert quantities.add("1Gi", "512Mi") == "1536Mi"
    assert quantities.add("100m", "0.9") == "1"
    assert quantities.add("0", "64Mi") == "64Mi"
    assert quantities.subtract("1Gi", "1Gi") == "0"
    assert quantities.subtract("1", "250m") == "750m"


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**62), 2**62), st.sampled_from(["n", "u", "m", "", "k", "Ki", "Mi", "e3", "e-2"]))
def test_canonical_text_means_the_same_amount_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    canonical = quantities.canonical(text)
    assert quantities.parse(canonical) == quantities.parse(text)
    assert quantities.canonical(canonical) == canonical


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.eE+-numkKMGTPi", max_size=14))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        canonical = quantities.canonical(text)
    except ValueError:
        return
    assert quantities.equal(canonical, text)
    assert quantities.to_bytes(text) >= quantities.parse(text) or quantities.is_negative(text)
    assert quantities.add(text, text) and quantities.subtract(text, text) == "0"
