"""A rendered song goes in; the seconds at which its lyrics are sung come out."""
