"""What Step-Audio-EditX takes of memory, by arithmetic. No torch."""
