"""Sorting without allocation: small stable sorts of indices in a thread's working memory."""

from __future__ import annotations

from fabmesh.envs.network.books.state import Scratch
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def rank_by_bucket(x: Scratch, count: int) -> None:
    """Counting sort: items 0 .. count - 1 into `x.rank` by `x.bucket`; items of a bucket keep their order."""
    ends = x.bucket_end
    for i in range(len(ends)):
        ends[i] = 0
    for i in range(count):
        ends[x.bucket[i]] += 1
    total = 0
    for i in range(len(ends)):
        here = ends[i]
        ends[i] = total
        total += here
    for i in range(count):
        x.rank[ends[x.bucket[i]]] = i
        ends[x.bucket[i]] += 1


@kernel
def rank_by_key(x: Scratch, count: int) -> None:
    """Insertion sort of `x.rank` by `x.rank_key`: stable, in place, quick where little is out of order."""
    for i in range(1, count):
        item = x.rank[i]
        key = x.rank_key[item]
        j = i
        while j > 0 and x.rank_key[x.rank[j - 1]] > key:
            x.rank[j] = x.rank[j - 1]
            j -= 1
        x.rank[j] = item
