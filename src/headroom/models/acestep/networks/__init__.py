"""ACE-Step's networks: from a checkpoint's config.json to modules of its sizes, and the sizes
themselves.

Modules never know where their weights are.
"""
