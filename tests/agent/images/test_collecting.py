"""Which images go, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from edgekube.agent.images.collecting import (
    Collector,
    Fullness,
    Known,
    bytes_to_free,
    chosen,
    detected,
    not_enough,
    removable,
    too_old,
)
from edgekube.containerd.model import Image
from edgekube.node_rules import NodeRules

RULES = NodeRules()


def image(name: str, *, pinned: bool = False) -> Image:
    return Image(f"sha256:{name}", (f"r/{name}:1",), (f"r/{name}@sha256:9",), 100, pinned=pinned)


def test_what_is_used_or_pinned_stays_and_the_least_recent_goes_first() -> None:
    images = [image("old"), image("used"), image("pause", pinned=True), image("by-tag"), image("recent")]
    first = detected({}, images, {"r/recent:1", "sha256:used"}, 10.0)
    second = detected(first, images, {"r/by-tag:1", "r/used@sha256:9"}, 20.0)
    assert [found.id for found in removable(second.values())] == ["sha256:old", "sha256:recent"]
    assert second["sha256:old"].first_seen == 10.0
    assert second["sha256:recent"].last_used == 10.0
    assert set(detected(second, images[:1], set(), 30.0)) == {"sha256:old"}


def test_from_the_high_share_to_the_low_one() -> None:
    assert bytes_to_free(Fullness(1000, 160), RULES) == 0
    assert bytes_to_free(Fullness(1000, 150), RULES) == 50
    assert bytes_to_free(Fullness(1000, 0), RULES) == 200
    assert bytes_to_free(Fullness(0, 0), RULES) == 0
    assert bytes_to_free(Fullness(1000, 900), NodeRules(image_gc_high_percent=0, image_gc_low_percent=0)) == 100


def test_as_many_as_needed_and_none_that_came_a_moment_ago() -> None:
    images = [Known("a", 100, 0.0), Known("new", 100, 950.0), Known("b", 100, 0.0), Known("c", 100, 0.0)]
    assert [found.id for found in chosen(images, 150, RULES, 1000.0)] == ["a", "b"]
    assert [found.id for found in chosen(images, 1 << 62, RULES, 1000.0)] == ["a", "b", "c"]
    assert chosen(images, 0, RULES, 1000.0) == []


def test_old_ones_go_whatever_the_disk_says() -> None:
    rules = NodeRules(image_age_seconds_max=1000.0)
    images = [Known("unused", 1, 0.0), Known("used", 1, 0.0, last_used=1500.0)]
    assert too_old(images, RULES, 0.0, 9000.0) == []
    assert too_old(images, rules, 1500.0, 2000.0) == [], "what was used before this process began is not known"
    assert [found.id for found in too_old(images, rules, 0.0, 2000.0)] == ["unused"]


def test_the_words_are_the_kubelets() -> None:
    assert not_enough(Fullness(10 << 30, 1 << 30), 7) == (
        "Insufficient free disk space on the node's image filesystem (90% of 10.0 GiB used). Failed to free sufficient space by "
        "deleting unused images (freed 7 bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or "
        "other data."
    )


class Store:
    """The verbs of a runtime that takes its time."""

    def __init__(self) -> None:
        self.images = {f"sha256:{name}": image(name) for name in ("a", "b")}
        self.removed: list[str] = []

    async def list_images(self) -> list[Image]:
        await trio.sleep(1)
        return list(self.images.values())

    async def list_containers(self) -> list[Any]:
        return []

    async def remove_image(self, image_id: str) -> None:
        self.images.pop(image_id, None)
        self.removed.append(image_id)
        await trio.sleep(3)


async def test_a_disk_that_is_short_may_come_while_images_are_collected(tmp_path: Path, autojump_clock: object) -> None:
    store, rules = Store(), NodeRules(image_gc_high_percent=0, image_gc_low_percent=0, image_age_seconds_min=0.0)
    runtime: Any = store
    collector = Collector(runtime, rules, tmp_path, list, lambda *event: None, trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.collect)
        nursery.start_soon(collector.remove_unused)
    assert sorted(store.removed) == ["sha256:a", "sha256:b"]
