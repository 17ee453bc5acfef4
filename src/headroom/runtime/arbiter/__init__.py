"""Share a card between processes: an account of its bytes in files, and turns."""
