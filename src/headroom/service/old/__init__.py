"""ACE-Step's own REST interface, as its clients know it, over the same jobs."""
