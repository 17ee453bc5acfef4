"""Step-Audio-EditX: clones a voice from a recording, and edits speech."""
