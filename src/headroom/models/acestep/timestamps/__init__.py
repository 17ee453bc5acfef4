"""From a rendered song to the times, in seconds, at which its lyrics are sung."""
