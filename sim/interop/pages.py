"""What kind of request a trace is, told by the operations that its root calls, and a name for each kind.

One web handler often answers many pages under one span name. The set of distinct operations that a root calls directly, its
signature, tells them apart; the smallest part of a signature that no other has gives the name::

    {GetAds, GetCart, ListProducts}         list_products
    {GetAds, GetCart, GetProduct}           get_product
    {}                                      no_calls
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from sim.errors import ScenarioError
from sim.interop.spans import RecordedVisit

#: Less similar signatures (shared operations / all operations of both) are not taken for the same page.
_SIMILAR = 0.5


@dataclass(frozen=True)
class Page:
    """One kind of request: the entry operation that it becomes and the operations that its root calls.

    `root` is the operation of its root spans (None: any of the service), `told_by` the part of the signature that names it.
    """

    address: str
    root: str | None
    signature: frozenset[str]
    told_by: str = ""


def signature_of(root: RecordedVisit) -> frozenset[str]:
    """The distinct operations that a root visit calls itself."""
    return frozenset(call.target for call in root.calls)


def find_pages(roots: Iterable[RecordedVisit], names: Mapping[str, str], place: str) -> tuple[Page, ...]:
    """The pages among recorded roots, most frequent first.

    Signatures of fewer than three traces (or of less than half a percent) make no page of their own; `page_of` gives them to a
    similar one.

    Args:
        roots: root visits.
        names: other names for some pages, by the name they would get.
        place: of the recording, for messages.

    Raises:
        ScenarioError: `names` knows a page that is not there, or gives two pages one name.
    """
    counts = Counter((root.address, signature_of(root)) for root in roots)
    least = min(max(3, sum(counts.values()) / 200), max(counts.values()))
    kept = [kind for kind, count in counts.most_common() if count >= least]
    by_root: dict[str, list[frozenset[str]]] = {}
    for address, signature in kept:
        by_root.setdefault(address, []).append(signature)
    automatic = _names(kept, by_root)
    if unknown := set(names) - set(automatic.values()):
        known = ", ".join(sorted(set(automatic.values())))
        raise ScenarioError(f"{place}: no page {', '.join(sorted(unknown))} to rename; found {known}")
    pages = tuple(
        Page(f"{root.split('.')[0]}.{names.get(name, name)}", root, signature, name)
        for (root, signature), name in automatic.items()
    )
    if twice := [address for address, count in Counter(page.address for page in pages).items() if count > 1]:
        raise ScenarioError(f"{place}: two pages would be called {', '.join(twice)}; give them different names")
    return pages


def _names(
    kinds: list[tuple[str, frozenset[str]]], by_root: dict[str, list[frozenset[str]]]
) -> dict[tuple[str, frozenset[str]], str]:
    """The automatic name of each kind; with the root's operation in front where two of a service would be the same."""
    names = {(root, signature): _name(root, signature, by_root[root]) for root, signature in kinds}
    counts = Counter((root.split(".")[0], name) for (root, _), name in names.items())
    return {
        (root, signature): name if counts[root.split(".")[0], name] == 1 else f"{snake(root)}_{name}"
        for (root, signature), name in names.items()
    }


def page_of(root: RecordedVisit, pages: Iterable[Page]) -> Page | None:
    """The page that a root visit belongs to: the same signature, or else the most similar one; None if nothing is similar."""
    signature = signature_of(root)
    best, best_similarity = None, 0.0
    for page in pages:
        if page.root == root.address or (page.root is None and page.address.split(".")[0] == root.address.split(".")[0]):
            union = len(signature | page.signature)
            similarity = len(signature & page.signature) / union if union else 1.0
            if similarity > best_similarity:
                best, best_similarity = page, similarity
    return best if best_similarity >= _SIMILAR else None


def _name(root: str, signature: frozenset[str], others: list[frozenset[str]]) -> str:
    if len(others) == 1:
        return root.split(".")[1]
    if not signature:
        return "no_calls"
    rivals = [other for other in others if other != signature]
    how_common = {target: sum(target in other for other in others) for target in signature}
    ordered = sorted(signature, key=lambda target: (how_common[target], target))
    for size in range(1, min(len(ordered), 3) + 1):
        for part in combinations(ordered, size):
            if not any(other.issuperset(part) for other in rivals):
                return "_and_".join(sorted(map(snake, part)))
    # Everything it calls is called by a larger page too.
    return "_and_".join(sorted(map(snake, ordered))) + "_only"


def snake(address: str) -> str:
    """The operation's name in lower case with underscores.

    >>> snake("cartservice.AddItem"), snake("api.GetHTTPPage")
    ('add_item', 'get_http_page')
    """
    operation = address.rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", operation).lower()
