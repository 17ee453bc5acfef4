"""The names that users of ACE-Step know. Everything here is answered by `headroom`."""
