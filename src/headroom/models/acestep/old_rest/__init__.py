"""ACE-Step's own REST interface: its bodies as requests of this family."""
