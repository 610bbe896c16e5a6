"""The forms of the selection loss that `rgan bench selection` compares."""

from __future__ import annotations

from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "one_step": {"selection_loss": "one_step"},
    "every_object": {"selection_loss": "every_object"},
    "half_size_patches": {"selection_loss": "every_object", "half_size_patches": 0.5},
    "iterative": {"selection_loss": "iterative"},
    "iterative_without_teacher_forcing": {"selection_loss": "iterative"},
    "scale_starts_at_5": {"initial_scale": 5.0},
    "scale_starts_at_40": {"initial_scale": 40.0},
    "layers_256_128": {"embedding_sizes": (256, 128)},
    "layers_512_128": {"embedding_sizes": (512, 128)},
    "layers_512_256_128": {"embedding_sizes": (512, 256, 128)},
    "layers_1024_128": {"embedding_sizes": (1024, 128)},
}
"""Name -> overrides of the run's `retrieval` settings."""
