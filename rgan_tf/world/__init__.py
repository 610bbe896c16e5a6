"""The built-in world: scenes drawn in several ambiences, written as a COCO-format folder.

Data flows one way: ambience -> layer -> shapes, plants, ground -> layout -> scene -> world.
"""

from rgan_tf.world.world import categories, draw_world, mask_polygon, split_of

__all__ = ["categories", "draw_world", "mask_polygon", "split_of"]
