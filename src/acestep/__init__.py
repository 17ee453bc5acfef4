"""The module and function names of ACE-Step, implemented by `headroom`."""
