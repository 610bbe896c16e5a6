"""A page on which a person composes pictures, and the JSON API behind it; see docs/studio.md."""
