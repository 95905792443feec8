"""Writes the pages that Sphinx reads, from what is said elsewhere: README, guide, scenario reference, public modules, gallery."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gallery

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = HERE / "pages"
#: Pages that are there already.
COPIED = ("scenario.md", "validation.md")
#: Public modules, each with a page of its own: what it is called there.
MODULES = {
    "sim": "Everything at hand",
    "sim.study": "Studies",
    "sim.analysis": "Analysis",
    "sim.plots": "Plots",
    "sim.report": "Reports",
    "sim.laws": "Laws",
    "sim.theory": "Closed forms",
    "sim.policies": "Policies",
    "sim.validation": "Validation",
    "sim.interop": "Traces and metrics",
    "sim.records": "Tables",
}


def parts(readme: str) -> Iterator[tuple[str, str]]:
    """The README's parts: heading, text; what stands before the first heading is the beginning."""
    for part in re.split(r"^## ", uncommented(readme), flags=re.MULTILINE):
        heading, _, body = part.partition("\n")
        yield heading.removeprefix("# "), body


def uncommented(text: str) -> str:
    """The same text without the marks between which `make figures` writes."""
    return re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)


def relinked(text: str) -> str:
    """The same text with links that hold inside of these pages; of files that are not among them only the words stay."""

    def one(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        if mark:
            return f"![{words}](images/{Path(target).name})"
        if target.startswith(("http", "#")):
            return found[0]
        path, _, place = target.partition("#")
        if Path(path).name in COPIED or "guide" in Path(path).parts:
            return f"[{words}]({Path(path).name}{place and '#' + place})"
        return words

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", one, text)


def slug(heading: str) -> str:
    """A heading as the name of a file."""
    return re.sub(r"\W+", "-", heading.lower()).strip("-")


def api_page(name: str, title: str) -> str:
    """The page of one module; of a package that exports nothing, of all modules in it."""
    module = importlib.import_module(name)
    if getattr(module, "__all__", None) or not hasattr(module, "__path__"):
        names, options = [name], ":imported-members:" if hasattr(module, "__path__") else ""
    else:
        names, options = [f"{name}.{one.name}" for one in pkgutil.iter_modules(module.__path__)], ""
    lines = [f"# {title}", ""]
    for one in names:
        lines += [] if one == name else [f"## {one}", ""]
        lines += ["```{eval-rst}", f".. automodule:: {one}", f"   {options}".rstrip(), "```", ""]
    return "\n".join(lines)


def write() -> None:
    """Write all pages anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    (PAGES / "images").mkdir(parents=True)
    for picture in (ROOT / "docs" / "images").iterdir():
        shutil.copy(picture, PAGES / "images" / picture.name)
    for page in COPIED:
        shutil.copy(ROOT / "docs" / page, PAGES / page)
    begin = []
    for heading, body in parts((ROOT / "README.md").read_text()):
        name = slug(heading.partition(":")[0])
        begin.append(name)
        (PAGES / f"{name}.md").write_text(relinked(f"# {heading}\n{body}").replace("\n### ", "\n## "))
    guide = sorted((ROOT / "docs" / "guide").glob("*.md"))
    for page in guide:
        (PAGES / page.name).write_text(relinked(uncommented(page.read_text())))
    for module, title in MODULES.items():
        (PAGES / f"{module}.md").write_text(api_page(module, title))
    with tempfile.TemporaryDirectory() as place:
        gallery.write(PAGES, Path(place))
    reference = ["scenario", "gallery", "validation"]
    trees = (("Begin", begin), ("Guide", [page.stem for page in guide]), ("Reference", reference), ("API", list(MODULES)))
    (HERE / "index.md").write_text("\n".join(["# sim", "", *(line for tree in trees for line in _toctree(*tree))]))


def _toctree(caption: str, names: list[str]) -> list[str]:
    return ["```{toctree}", f":caption: {caption}", ":maxdepth: 1", "", *(f"pages/{name}" for name in names), "```", ""]


if __name__ == "__main__":
    sys.exit(write())
