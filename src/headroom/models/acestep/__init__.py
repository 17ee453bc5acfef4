"""ACE-Step 1.5: text to music."""
