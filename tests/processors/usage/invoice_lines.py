"""Forty lines of invoices of all kinds, models, tiers and days, against list prices written down
here.
"""

from datetime import UTC, datetime

from schemas.definitions.kinds import Model
from schemas.definitions.prices import LongInput, Price, Prices

NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY_BEFORE_O3_FELL = datetime(2025, 6, 9, 23, 59, tzinfo=UTC)
DAY_OF_IT = datetime(2025, 6, 10, tzinfo=UTC)
NIGHT = datetime(2025, 3, 1, 20, tzinfo=UTC)
MORNING = datetime(2025, 3, 1, 9, tzinfo=UTC)


def own(**prices: object) -> Model:
    return Model(
        name="own", provider="house", base_url="http://m", upstream="own-1", price=Price(**prices)
    )


PLAIN = own(input="0.15", output="0.60")
RICH = own(
    input="1",
    output="10",
    cached_input="0.1",
    cache_write="1.25",
    cache_write_1h="2",
    reasoning="12",
    input_audio="20",
    cached_audio="0.4",
    output_audio="40",
    input_image="5",
    cached_image="0.5",
    output_image="30",
    above=(
        LongInput(input_tokens=1_000, input="2", output="15"),
        LongInput(input_tokens=5_000, input="4", output="30"),
    ),
    tiers={"batch": Prices(input="0.5", output="5")},
)
HALF = own(input="1", output="10", cached_input="0.1", input_audio="20")

# Definition or provider and model; when; tier; tokens; the invoice's lines: tokens at US dollars a
# million.
INVOICES = [
    (
        ("openai", "gpt-4o"),
        NOVEMBER,
        "",
        dict(input=1_000, output=500),
        [(1_000, "2.5"), (500, "10")],
    ),
    (
        ("openai", "gpt-4o"),
        NOVEMBER,
        "",
        dict(input=10_000, cached_input=8_192, output=311),
        [(1_808, "2.5"), (8_192, "1.25"), (311, "10")],
    ),
    (("openai", "gpt-4o"), NOVEMBER, "default", dict(input=7, output=1), [(7, "2.5"), (1, "10")]),
    (
        ("openai", "gpt-4o"),
        NOVEMBER,
        "priority",
        dict(input=999, cached_input=128, output=77),
        [(871, "4.25"), (128, "2.125"), (77, "17")],
    ),
    (
        ("openai", "gpt-4o"),
        NOVEMBER,
        "batch",
        dict(input=123_457, output=7_919),
        [(123_457, "1.25"), (7_919, "5")],
    ),
    (
        ("openai", "gpt-4o-2024-08-06"),
        NOVEMBER,
        "",
        dict(input=3, output=3),
        [(3, "2.5"), (3, "10")],
    ),
    (
        ("openai", "gpt-5"),
        NOVEMBER,
        "",
        dict(input=2_048, cached_input=1_024, output=4_096, reasoning=3_840),
        [(1_024, "1.25"), (1_024, "0.125"), (4_096, "10")],
    ),
    (
        ("openai", "gpt-5"),
        NOVEMBER,
        "flex",
        dict(input=2_048, cached_input=1_024, output=4_096, reasoning=3_840),
        [(1_024, "0.625"), (1_024, "0.0625"), (4_096, "5")],
    ),
    (
        ("openai", "gpt-5"),
        NOVEMBER,
        "batch",
        dict(input=2_048, cached_input=1_024, output=4_096),
        [(1_024, "0.625"), (1_024, "0.0625"), (4_096, "5")],
    ),
    (("openai", "gpt-5-mini"), NOVEMBER, "", dict(input=1, output=1), [(1, "0.25"), (1, "2")]),
    (
        ("openai", "gpt-5-mini"),
        NOVEMBER,
        "priority",
        dict(input=100, output=100),
        [(100, "0.45"), (100, "3.6")],
    ),
    (
        ("openai", "gpt-5.4"),
        NOVEMBER,
        "",
        dict(input=272_000, output=100),
        [(272_000, "2.5"), (100, "15")],
    ),
    (
        ("openai", "gpt-5.4"),
        NOVEMBER,
        "flex",
        dict(input=300_000, cached_input=100_000, output=100),
        [(200_000, "2.5"), (100_000, "0.25"), (100, "11.25")],
    ),
    (
        ("openai", "o3"),
        DAY_BEFORE_O3_FELL,
        "",
        dict(input=1_000, output=1_000, reasoning=900),
        [(1_000, "10"), (1_000, "40")],
    ),
    (
        ("openai", "o3"),
        DAY_OF_IT,
        "",
        dict(input=1_000, output=1_000, reasoning=900),
        [(1_000, "2"), (1_000, "8")],
    ),
    (
        ("openai", "gpt-realtime"),
        NOVEMBER,
        "",
        dict(input=1_000, input_audio=500, output=300, output_audio=200),
        [(500, "4"), (500, "32"), (100, "16"), (200, "64")],
    ),
    (
        ("openai", "gpt-realtime"),
        NOVEMBER,
        "",
        dict(
            input=1_000,
            cached_input=300,
            input_audio=500,
            cached_audio=100,
            output=60,
            output_audio=60,
        ),
        [(300, "4"), (200, "0.4"), (400, "32"), (100, "0.4"), (60, "64")],
    ),
    (
        ("openai", "gpt-realtime"),
        NOVEMBER,
        "",
        dict(input=1_000, input_image=700, output=10),
        [(300, "4"), (700, "5"), (10, "16")],
    ),
    (
        ("openai", "gpt-image-1"),
        NOVEMBER,
        "",
        dict(input=1_050, input_image=1_000, output=4_160, output_image=4_160),
        [(50, "5"), (1_000, "10"), (4_160, "40")],
    ),
    (
        ("openai", "gpt-image-1"),
        NOVEMBER,
        "batch",
        dict(input=1_050, input_image=1_000, output=4_160, output_image=4_160),
        [(50, "2.5"), (1_000, "5"), (4_160, "20")],
    ),
    (
        ("anthropic", "claude-haiku-4-5"),
        NOVEMBER,
        "standard",
        dict(input=1_000, output=200),
        [(1_000, "1"), (200, "5")],
    ),
    (
        ("anthropic", "claude-haiku-4-5"),
        NOVEMBER,
        "",
        dict(input=9_000, cached_input=6_000, cache_write=2_000, output=1),
        [(1_000, "1"), (6_000, "0.1"), (2_000, "1.25"), (1, "5")],
    ),
    (
        ("anthropic", "claude-haiku-4-5"),
        NOVEMBER,
        "",
        dict(input=9_000, cache_write=2_000, cache_write_1h=500, output=0),
        [(7_000, "1"), (1_500, "1.25"), (500, "2")],
    ),
    (
        ("anthropic", "claude-haiku-4-5"),
        NOVEMBER,
        "batch",
        dict(input=9_000, cached_input=1_000, cache_write=2_000, cache_write_1h=500, output=40),
        [(6_000, "0.5"), (1_000, "0.05"), (1_500, "0.625"), (500, "1"), (40, "2.5")],
    ),
    (
        ("anthropic", "claude-sonnet-4-5"),
        NOVEMBER,
        "",
        dict(input=200_000, output=1_000),
        [(200_000, "3"), (1_000, "15")],
    ),
    (
        ("anthropic", "claude-sonnet-4-5"),
        NOVEMBER,
        "batch",
        dict(input=200_001, cache_write=1, cache_write_1h=1, output=1_000),
        [(200_000, "3"), (1, "6"), (1_000, "11.25")],
    ),
    (
        ("anthropic", "claude-opus-4-1"),
        NOVEMBER,
        "",
        dict(
            input=333,
            cached_input=111,
            cache_write=111,
            cache_write_1h=111,
            output=99,
            reasoning=50,
        ),
        [(111, "15"), (111, "1.5"), (111, "30"), (99, "75")],
    ),
    (
        ("google", "gemini-2.5-flash"),
        NOVEMBER,
        "",
        dict(input=1_000, input_audio=600, cached_input=300, cached_audio=200, output=50),
        [(300, "0.3"), (400, "1"), (100, "0.03"), (200, "0.1"), (50, "2.5")],
    ),
    (
        ("google", "gemini-2.5-pro"),
        NOVEMBER,
        "",
        dict(input=200_000, output=10),
        [(200_000, "1.25"), (10, "10")],
    ),
    (
        ("google", "gemini-2.5-pro"),
        NOVEMBER,
        "batch",
        dict(input=250_000, output=10),
        [(250_000, "1.25"), (10, "7.5")],
    ),
    (
        ("deepseek", "deepseek-chat"),
        NIGHT,
        "",
        dict(input=1_000, cached_input=400, output=9),
        [(600, "0.135"), (400, "0.035"), (9, "0.55")],
    ),
    (
        ("deepseek", "deepseek-chat"),
        MORNING,
        "",
        dict(input=1_000, cached_input=400, output=9),
        [(600, "0.27"), (400, "0.07"), (9, "1.1")],
    ),
    (
        PLAIN,
        NOVEMBER,
        "",
        dict(input=1_000, cached_input=500, cache_write=200, output=100, reasoning=60),
        [(1_000, "0.15"), (100, "0.60")],
    ),
    (
        PLAIN,
        NOVEMBER,
        "auto",
        dict(input=11, input_audio=4, input_image=4, output=9, output_audio=5, output_image=4),
        [(11, "0.15"), (9, "0.60")],
    ),
    (
        RICH,
        NOVEMBER,
        "",
        dict(
            input=900, cached_input=300, cache_write=200, cache_write_1h=50, output=80, reasoning=30
        ),
        [(400, "1"), (300, "0.1"), (150, "1.25"), (50, "2"), (50, "10"), (30, "12")],
    ),
    (
        RICH,
        NOVEMBER,
        "",
        dict(
            input=1_000,
            cached_input=300,
            input_audio=200,
            cached_audio=50,
            input_image=150,
            cached_image=40,
            output=100,
            output_audio=20,
            output_image=30,
        ),
        [
            (440, "1"),
            (210, "0.1"),
            (50, "0.4"),
            (40, "0.5"),
            (150, "20"),
            (110, "5"),
            (50, "10"),
            (20, "40"),
            (30, "30"),
        ],
    ),
    (RICH, NOVEMBER, "", dict(input=1_001, output=100), [(1_001, "2"), (100, "15")]),
    (
        RICH,
        NOVEMBER,
        "",
        dict(input=5_001, cached_input=5_000, output=1),
        [(5_001, "4"), (1, "30")],
    ),
    (
        RICH,
        NOVEMBER,
        "batch",
        dict(input=5_001, cached_input=5_000, output=1),
        [(5_001, "0.5"), (1, "5")],
    ),
    (
        HALF,
        NOVEMBER,
        "",
        dict(input=100, cached_input=50, input_audio=40, cached_audio=30, output=0),
        [(40, "1"), (20, "0.1"), (10, "20"), (30, "20")],
    ),
]
