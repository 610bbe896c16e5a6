"""A study in which people judge which of two sets of patches fits together better.

RetrieveGAN's user study on patch compatibility: for two selections and the same scene graphs, the
question is which set could come from one image.
"""
