"""What can be asked of Step-Audio-EditX: each field once, with type, limits and help. No torch."""
