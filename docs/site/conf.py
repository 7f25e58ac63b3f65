# Sphinx settings of the site that `make docs` builds. Its source tree, build/docs/source, mirrors the checkout: links
# between the Markdown files, which are also read on GitHub, are adapted here and nowhere else.
import os.path
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parent.parent.parent
REPOSITORY = "https://github.com/tenantry/kube"
ANSIBLE_DOCS = "https://docs.ansible.com/projects/ansible-core/devel/"
QUICK_START = "## Quick start on your own clusters\n"

project = "tenantry.kube"
version = release = re.search(r"^version: (.+)$", (ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)[1]
author = "The tenantry.kube maintainers"
html_title = f"{project} {version}"
html_show_copyright = False
html_copy_source = False
html_use_index = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_theme = "furo"
html_theme_options = {"source_repository": REPOSITORY, "top_of_page_buttons": []}
extensions = ["myst_parser", "sphinx_antsibull_ext"]
pygments_style = "ansible"
highlight_language = "text"
myst_heading_anchors = 4

# Targets in Ansible's own documentation that the generated reference links to.
ANSIBLE_PAGES = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    app.connect("source-read", adapt_source)
    app.connect("missing-reference", link_to_ansible)


def adapt_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Adapt one file: split the README into two pages, add the navigation, point links to pages of the site."""
    text = source[0]
    if docname.startswith("reference/"):
        # furo shows the contents of a page beside it, and its navigation has room for short names.
        text = re.sub(r"^\.\. contents::\n(?:   .*\n)+", "", text, flags=re.MULTILINE)
        entry = r"^ +(\w+)_(module|filter|inventory|lookup|role)$"
        source[0] = re.sub(entry, r"    \1 \2 <\1_\2>", text, flags=re.MULTILINE)
        return
    if docname in ("index", "get-started"):
        before, rest = text.split(QUICK_START)
        quick_start, after = rest.split("\n## ", 1)
        text = f"{before}## Quick start\n\n[On your own clusters](get-started.md)\n\n## {after}"
        if docname == "get-started":
            text = f"# {QUICK_START[3:]}{quick_start}"
    text = re.sub(r"\]\(([^)\s]+)\)", lambda link: f"]({target_on_site(Path(app.srcdir), docname, link[1])})", text)
    if docname == "index":
        text += contents()
    elif docname == "docs/adr/README":
        text += toctree("", ["0*"], "glob")
    source[0] = text


def target_on_site(site: Path, docname: str, target: str) -> str:
    """Return the page of the site that a link means, or the URL of the file in the repository if there is none."""
    if "://" in target or target.startswith("#"):
        return target
    path, _hash, anchor = target.partition("#")
    path = os.path.normpath(Path(docname).parent / path)
    if path == "README.md" and anchor == "quick-start-on-your-own-clusters":
        return "/get-started.md"
    fragment = f"#{anchor}" if anchor else ""
    if path == "README.md":
        return f"/index.md{fragment}"
    if found := re.fullmatch(r"plugins/modules/(\w+)\.py", path):
        return f"/reference/{found[1]}_module.rst"
    if found := re.fullmatch(r"plugins/(inventory|lookup)/(\w+)\.py", path):
        return f"/reference/{found[2]}_{found[1]}.rst"
    if found := re.fullmatch(r"roles/(\w+)", path):
        return f"/reference/{found[1]}_role.rst"
    if (site / path).is_file():
        return f"/{path}{fragment}"
    if not (ROOT / path).exists():
        logger.warning("link to %s, which does not exist", target, location=docname)
    return f"{REPOSITORY}/blob/main/{path}{fragment}"


def contents() -> str:
    """Return the navigation of the site: the sections and links of docs/README.md."""
    overview = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    sections = re.split(r"^\*\*(.+)\*\*$", overview, flags=re.MULTILINE)[1:]
    text = ""
    for caption, links in zip(sections[::2], sections[1::2], strict=True):
        pages = [os.path.normpath(Path("docs") / link) for link in re.findall(r"\]\(([^)#]+\.md)\)", links)]
        if caption == "Start":
            pages = ["get-started.md", *pages, "docs/README.md"]
        elif caption == "Reference":
            pages = ["Modules, plugins and roles <reference/index>"]
        text += toctree(caption, pages)
    return text


def toctree(caption: str, pages: list[str], *flags: str) -> str:
    """Return the directive for one section of the navigation. An empty caption means none."""
    options = [f":caption: {caption}"] if caption else []
    options += [f":{flag}:" for flag in ("hidden", *flags)]
    return "\n".join(["\n```{toctree}", *options, "", *pages, "```", ""])


def link_to_ansible(_app: Sphinx, _env: object, node: nodes.Element, content: nodes.Element) -> nodes.reference | None:
    """Link a reference to Ansible's own documentation without its inventory, which the build would have to download."""
    page = ANSIBLE_PAGES.get(node["reftarget"])
    return nodes.reference("", "", content, refuri=ANSIBLE_DOCS + page) if page else None
