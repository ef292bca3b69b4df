"""Sets of completion indexes, as a Job's status writes them: ``1,3-5,7``.

Enters: text of status.completedIndexes, status.failedIndexes and of success policies; indexes of pods.
Leaves: ordered intervals, counts and text.
Holds: intervals are in order, apart from each other, and two neighbours are written with a comma, three and more with a dash;
bad parts of a text are passed over, for somebody else may have written the status.
Source: batch/v1 JobStatus.completedIndexes; k8s.io/kubernetes pkg/controller/job indexed_job_utils.
Next: controllers.job.counting.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, TypeAlias

#: First and last index, both within.
Intervals: TypeAlias = tuple[tuple[int, int], ...]

_NUMBER: Final = re.compile(r"\d{1,10}", re.ASCII)


def parse(text: str | None, completions: int) -> Intervals:
    """Indexes from ``completions`` on are left out: a Job may have been made smaller."""
    found: list[tuple[int, int]] = []
    for part in (text or "").split(","):
        ends = part.split("-")
        if len(ends) > 2 or not all(_NUMBER.fullmatch(end) for end in ends):
            continue
        first, last = int(ends[0]), min(int(ends[-1]), completions - 1)
        if first < completions and first <= last:
            found.append((first, last))
    return union(found)


def of(indexes: Iterable[int]) -> Intervals:
    return union((index, index) for index in indexes)


def union(*many: Iterable[tuple[int, int]]) -> Intervals:
    result: list[tuple[int, int]] = []
    for first, last in sorted(interval for one in many for interval in one):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)


def total(intervals: Intervals) -> int:
    return sum(last - first + 1 for first, last in intervals)


def contains(intervals: Intervals, index: int) -> bool:
    place = bisect_left(intervals, index, key=lambda interval: interval[1])
    return place < len(intervals) and intervals[place][0] <= index


def text_of(intervals: Intervals) -> str:
    parts = []
    for first, last in intervals:
        if first == last:
            parts.append(str(first))
        else:
            parts.append(f"{first}{',' if last == first + 1 else '-'}{last}")
    return ",".join(parts)


def shared(left: Intervals, right: Intervals) -> int:
    """How many indexes are in both."""
    count, i, j = 0, 0, 0
    while i < len(left) and j < len(right):
        count += max(0, min(left[i][1], right[j][1]) - max(left[i][0], right[j][0]) + 1)
        if left[i][1] <= right[j][1]:
            i += 1
        else:
            j += 1
    return count


def first_missing(intervals: Intervals, completions: int, count: int) -> list[int]:
    """The lowest ``count`` indexes below ``completions`` that are not in the set."""
    result: list[int] = []
    candidate = 0
    for first, last in (*intervals, (completions, completions)):
        stop = min(first, completions, candidate + count - len(result))
        result.extend(range(candidate, stop))
        if len(result) >= count:
            break
        candidate = max(candidate, last + 1)
    return result
