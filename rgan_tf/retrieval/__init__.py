"""The choice of patches: candidates, embeddings, differentiable selection, rules, the index.

Knows vectors, ids and noise; of a bank only its arrays, and nothing of what is drawn from a patch.
Imports bank and graph. Begin with `retriever.py`, the interface, then `gumbel.py`, the paper's
Algorithm 1.
"""
