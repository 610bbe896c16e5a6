"""Reading back what a page holds."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import numpy as np
from PIL import Image


def embedded(html: str) -> dict[str, Any]:
    """The data of a page."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    return json.loads(text)


def pixels(uri: str) -> np.ndarray:
    """The image in a PNG data URI: uint8 [H, W, 3]."""
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def without_images(html: str) -> str:
    """A page's text, in lower case; what happens to stand in encoded pixels says nothing."""
    return re.sub(r"base64,[^\"]*", "", html).lower()
