"""The networks of ACE-Step. A checkpoint's config.json goes in; modules built to its sizes, and the
sizes themselves, come out. Modules never know where their weights are.
"""
