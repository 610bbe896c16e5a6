"""The graph that an exported model runs: checks, retrieval, generation, PNG."""
