"""What `make docs` does beside MkDocs: formulas without a script, CONTRIBUTING.md, the settings."""

from __future__ import annotations

import dataclasses
import html
import importlib
import inspect
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_TAG = re.compile(r"\\tag\{(.*?)\}")


def on_files(files, config):
    """Adds CONTRIBUTING.md, which GitHub looks for beside docs/ and not in it."""
    root = Path(config.config_file_path).parent
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "contributing.md", content=text.replace("](docs/", "](")))
    files.append(File.generated(config, "settings.md", content="\n".join(_settings(root))))
    return files


def _settings(root):
    """Lines of a page with every setting of a config, its default, values and comment."""
    sys.path.insert(0, str(root))
    config = importlib.import_module("rgan_tf.config").Config()
    sys.path.pop(0)
    yield "# Settings"
    yield ""
    yield "Every setting of a config, with its default. A YAML file names those that differ;"
    yield "`--set section.key=value` and the overrides of `load_config` change single ones. A"
    yield "number has to be above 0 unless its values say otherwise, and fit into 32 bits."
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if not dataclasses.is_dataclass(value):
            continue
        source = inspect.getsource(type(value))
        comments = dict(re.findall(r"^    (\w+): .*?  # (.*)$", source, flags=re.MULTILINE))
        yield f"\n## {section.name}\n\n{inspect.getdoc(type(value))}\n"
        yield "| key | default | values | what |\n|---|---|---|---|"
        for field in dataclasses.fields(value):
            default = _shown(getattr(value, field.name))
            text = html.escape(comments.get(field.name, ""), quote=False).replace("|", "\\|")
            yield f"| `{field.name}` | {default} | {_values(field.metadata)} | {text} |"


def _shown(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _values(metadata):
    if "choices" in metadata:
        return ", ".join(metadata["choices"])
    words = {"least": "from", "above": "above", "most": "to", "below": "below"}
    return " ".join(f"{words[name]} {limit}" for name, limit in metadata.items())


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
