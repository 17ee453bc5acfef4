"""Step-Audio-EditX's networks. Their sizes are those of the files; none knows where it lives."""
