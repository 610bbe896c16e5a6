"""What `make docs` does beside MkDocs: formulas without a script, and CONTRIBUTING.md as a page."""

from __future__ import annotations

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_TAG = re.compile(r"\\tag\{(.*?)\}")


def on_files(files, config):
    """Adds CONTRIBUTING.md, which GitHub looks for beside docs/ and not in it."""
    text = (Path(config.config_file_path).parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "contributing.md", content=text.replace("](docs/", "](")))
    return files


def on_page_content(content, page, **_):
    """Turns LaTeX into MathML, which browsers show without a script."""
    return _FORMULA.sub(lambda found: _mathml(*found.groups(), page.file.src_uri), content)


def _mathml(element: str, latex: str, where: str) -> str:
    latex = html.unescape(latex).strip()
    number = _TAG.search(latex)
    markup = convert(_TAG.sub("", latex), display="inline" if element == "span" else "block")
    unknown = re.search(r"<m[a-z]+>(\\.*?)<", markup)
    if unknown:
        raise PluginError(f"{where}: no MathML for {unknown.group(1)} in {latex}")
    if element == "span":
        return markup
    number = f"<span>({number.group(1)})</span>" if number else ""
    return f'<div class="formula">{markup}{number}</div>'
