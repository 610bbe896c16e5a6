"""The Keras models of the stages: one training step each, with its losses, guard and average.

Joins retrieval, generator, discriminators and losses; knows no folders, which `runs` and
`training` have. Later rooms (`rivals`, `runs`) may import it, none of the earlier ones. Begin with
`adversarial_model.py`, the step that stages 1 and 3 share, then `retrievegan.py`.
"""
