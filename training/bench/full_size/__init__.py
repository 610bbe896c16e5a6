"""`rgan bench full-size`: every command once on data as large as COCO and Visual Genome."""
