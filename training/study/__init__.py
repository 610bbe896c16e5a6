"""People judge which of two sets of patches fits together better.

RetrieveGAN's user study on patch compatibility: two ways of choosing patches, the same scene
graphs, and for each the question which set could come from one image.
"""
