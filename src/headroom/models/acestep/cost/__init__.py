"""From the sizes of networks and songs to footprints: components, stages, bytes. No torch."""
